//! Configuration as an operator meets it: a file, variables, flags, and what the errors say.

use std::fs;
use std::path::Path;

use super::*;

/// Loads `file` as `jobcast.toml`, with overrides.
fn load(file: &str, overrides: &[Override]) -> Result<Loaded, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jobcast.toml");
    fs::write(&path, file).unwrap();
    Config::load(Some(&path), overrides)
}

/// The error's text, the file's folder left out.
fn refusal(file: &str, overrides: &[Override]) -> String {
    let text = load(file, overrides).unwrap_err().to_string();
    text.split_whitespace()
        .map(|word| word.rsplit_once("/jobcast.toml:").map_or(word.to_owned(), |(_, at)| format!("f:{at}")))
        .collect::<Vec<_>>()
        .join(" ")
}

fn variables(pairs: &[(&str, &str)]) -> Vec<Override> {
    env_overrides(pairs.iter().copied())
}

const HASH: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[test]
fn a_bad_file_names_place_key_and_what_is_allowed() {
    for (file, said) in [
        (
            "[stream]\n  hartbeat = \"15s\"",
            "f:2:3: unknown key `stream.hartbeat`; allowed here: heartbeat, heartbeat_jitter, retry, linger, \
             reconcile, ping, max_age, stall, drain, coalesce, ring_log, rings, page, reads_in_flight",
        ),
        (
            "[strem]",
            "f:1:2: unknown key `strem`; allowed here: store, auth, gateway, stream, jobs, worker, webhooks, courier, tasks, dev, log",
        ),
        (
            "[stream]\nheartbeat = 15",
            "f:2:13: `stream.heartbeat` is 15; allowed: a duration from 100ms to 5m, such as \"30s\" or \
             \"1h 30m\"",
        ),
        (
            "stream.heartbeat = \"ä\"",
            "f:1:20: `stream.heartbeat` is \"ä\"; allowed: a duration from 100ms to 5m, such as \"30s\" or \
             \"1h 30m\"",
        ),
        (
            "[jobs]\nlease = \"500ms\"",
            "f:2:9: `jobs.lease` is \"500ms\"; allowed: a duration from 1s to 1h, such as \"30s\" or \"1h 30m\"",
        ),
        (
            "[jobs]\nmax_event = \"1 MB\"",
            "f:2:13: `jobs.max_event` is \"1 MB\"; allowed: a size from 1 KiB to 1 MiB, such as \"64 KiB\", \"1 \
             MiB\" or a number of bytes",
        ),
        (
            "[jobs]\nmax_attempts = 0",
            "f:2:16: `jobs.max_attempts` is 0; allowed: a whole number from 1 to 100",
        ),
        (
            "[store]\npartitions = 65",
            "f:2:14: `store.partitions` is 65; allowed: a whole number from 1 to 64",
        ),
        (
            "[store]\ndurability = \"replicas\"",
            "f:2:14: `store.durability` is \"replicas\"; allowed: local, replicated",
        ),
        ("[store]\nreplicas = 0", "f:2:12: `store.replicas` is 0; allowed: a whole number from 1 to 16"),
        (
            "[store]\nprefix = \"a:b\"",
            "f:2:10: `store.prefix` is \"a:b\"; allowed: 1 to 32 of the characters A-Z a-z 0-9 _ . -",
        ),
        (
            "[gateway]\nlisten = \"8080\"",
            "f:2:10: `gateway.listen` is \"8080\"; allowed: an IP address and a port, such as \"127.0.0.1:8080\" or \
             \"[::]:8080\"",
        ),
        (
            "[gateway]\npublic_url = \"https://a/\"",
            "f:2:14: `gateway.public_url` is \"https://a/\"; allowed: an http or https URL without a slash at the \
             end, such as \"https://jobs.example.com\"",
        ),
        ("[log]\nformat = \"xml\"", "f:2:10: `log.format` is \"xml\"; allowed: auto, text, json"),
        (
            "[log]\nlevel = \"a=b=c\"",
            "f:2:9: `log.level` is \"a=b=c\"; allowed: error, warn, info, debug, trace or off, for all or by \
             module, such as \"info\" or \"info,jobcast_store=debug\"",
        ),
        (
            "[tasks.a]\nhandler = \"x\"\ncommand = [\"y\"]",
            "f:1:1: `tasks.a`: both `handler` and `command`; allowed: one of them, or neither for a task of \
             workers over HTTP",
        ),
        (
            "[tasks.a]\ncommand = []",
            "f:1:1: `tasks.a`: an empty `command`; allowed: a list of the program and its arguments",
        ),
        ("[tasks.a]\ncommand = \"run me\"", "f:2:11: `tasks.a.command` is \"run me\"; allowed: a list"),
        ("[tasks.\"a b\"]", "f:1:8: `tasks.\"a b\"`: a name is 1 to 64 of the characters A-Z a-z 0-9 _ . -"),
        (
            "[tasks.\"a.b\"]\nretries = 3",
            "f:2:1: unknown key `tasks.\"a.b\".retries`; allowed here: handler, command, timeout, queue_timeout, \
             max_attempts, retry_delay, concurrency, max_running, max_running_per_owner, log_events, log_bytes",
        ),
        ("[jobs]\nlease = 30s", "f:2:9: not TOML: string values must be quoted, expected literal string"),
        (
            "[store]\nurl = \"redis://h:x\"",
            "f:2:7: `store.url`: it has a port that is none from 1 to 65535; allowed: \
             redis://[user:password@]host:6379[/db], rediss:// (the same with TLS), unix:///path, \
             redis-sentinel://host:26379,host:26379/master-name, redis-cluster://host:6379,host:6379 \
             (rediss-sentinel and rediss-cluster with TLS)",
        ),
        ("[jobs]\n[jobs]", "f:2:2: not TOML: duplicate key"),
        (
            "[webhooks]\nallow = [\"10.0.0.0/33\"]",
            "f:2:9: `webhooks.allow[0]` is \"10.0.0.0/33\"; allowed: a network (10.0.0.0/8), an address, or a name; the \
             latter two maybe with a port",
        ),
        (
            "[webhooks.owners.a]\nendpoints = [\"https://x.example/\", \"ftp://y.example/\"]",
            "f:2:13: `webhooks.owners.a.endpoints`: its scheme is `ftp`; a webhook goes to http:// or https://",
        ),
    ] {
        assert_eq!(refusal(file, &[]), said, "\n{file}");
    }
}

#[test]
fn a_bad_key_is_told_by_its_number() {
    let key = |fields: &str| format!("[[auth.keys]]\n{fields}");
    let hash = |text: &str| key(&format!("owner = \"a\"\nsha256 = \"{text}\"\nscopes = [\"read\"]"));
    for (file, said) in [
        (
            hash("abc"),
            "f:3:10: `auth.keys[0].sha256` is a text of 3 characters; allowed: 64 hex digits, the SHA-256 of the \
             whole key (printf %s \"$KEY\" | sha256sum)",
        ),
        (key("owner = \"a\""), "f:1:1: `auth.keys[0].sha256` is missing"),
        (
            key(&format!("owner = \"a\"\nsha256 = \"{HASH}\"\nscopes = []")),
            "f:4:10: `auth.keys[0].scopes` is an empty list; allowed: at least one of submit, read, work, admin",
        ),
        (
            key(&format!("owner = \"a\"\nsha256 = \"{HASH}\"\nscopes = [\"write\"]")),
            "f:4:11: `auth.keys[0].scopes[0]` is \"write\"; allowed: submit, read, work, admin",
        ),
        (
            format!("{0}\n{0}", hash(HASH)),
            "f:7:1: `auth.keys[1].sha256` is the same as `auth.keys[0].sha256`; allowed: each key once",
        ),
    ] {
        assert_eq!(refusal(&file, &[]), said, "\n{file}");
    }
}

#[test]
fn settings_that_do_not_fit_together_name_both() {
    for (file, said) in [
        (
            "[jobs]\nlease = \"15s\"",
            "f:2:1: `jobs.heartbeat` (10s) must be at most half of `jobs.lease` (15s); allowed: up to 7s 500ms",
        ),
        (
            "[jobs]\nlease = \"1s\"\nheartbeat = \"500ms\"\nsweep = \"2s\"",
            "f:4:1: `jobs.sweep` (2s) must be at most `jobs.lease`; allowed: up to 1s",
        ),
        (
            "jobs.max_deadline = \"1h\"",
            "f:1:6: `jobs.deadline` (1d) must be at most `jobs.max_deadline`; allowed: up to 1h",
        ),
        (
            "[jobs]\nretention = \"8d\"",
            "f:2:1: `jobs.retention` (8d) must be at most `jobs.max_retention`; allowed: up to 7d",
        ),
        (
            "[jobs]\npoll_min = \"1m\"",
            "f:2:1: `jobs.poll_min` (1m) must be at most `jobs.poll_max`; allowed: up to 30s",
        ),
        (
            "[jobs]\nqueue_timeout = \"8d\"",
            "f:2:1: `jobs.queue_timeout` (8d) must be at most `jobs.max_deadline`; allowed: up to 7d",
        ),
        (
            "[tasks.a]\nlog_bytes = \"4 KiB\"",
            "f:2:1: `jobs.max_event` (64 KiB) must be at most `tasks.a.log_bytes`; allowed: up to 4 KiB",
        ),
        (
            "[worker]\nbuffer = 1024",
            "f:2:1: `jobs.max_event` (64 KiB) must be at most `worker.buffer`; allowed: up to 1 KiB",
        ),
        (
            "[stream]\nrings = \"1 KiB\"",
            "f:2:1: `stream.ring_log` (1 MiB) must be at most `stream.rings`; allowed: up to 1 KiB",
        ),
        (
            "[stream]\nheartbeat = \"1s\"",
            "f:2:1: `stream.heartbeat_jitter` (3s) must be at most `stream.heartbeat`; allowed: up to 1s",
        ),
        (
            "[webhooks.owners.a]\nendpoints = [\"https://x.example/\"]",
            "f:2:1: `webhooks.owners.a.endpoints` needs `webhooks.owners.a.secrets` to sign with; allowed: one or two secrets",
        ),
    ] {
        assert_eq!(refusal(file, &[]), said, "\n{file}");
    }
}

#[test]
fn variables_and_flags_override_the_file() {
    let mut overrides = variables(&[
        ("JOBCAST__STREAM__HEARTBEAT", "20s"),
        ("JOBCAST__STORE__URL", "redis://:secret@h:1"),
        ("JOBCAST__STORE__PARTITIONS", "4"),
        ("JOBCAST__STORE__PREFIX", "12"),
        ("JOBCAST__STORE__DURABILITY", "replicated"),
        ("JOBCAST__STORE__REPLICAS", "2"),
        ("JOBCAST__AUTH__ANONYMOUS", "true"),
        ("JOBCAST__JOBS__MAX_PAYLOAD", "2 MiB"),
        ("JOBCAST__GATEWAY__LISTEN", "0.0.0.0:1"),
        ("JOBCAST_JOB_ID", "x"),
        ("PATH", "x"),
    ]);
    overrides.push(Override::flag("--listen", "gateway.listen", "0.0.0.0:2"));
    let config = load("[stream]\nheartbeat = \"30s\"\nretry = \"1s\"", &overrides).unwrap().config;
    assert_eq!(config.stream.heartbeat.as_secs(), 20);
    assert_eq!(config.stream.retry.as_secs(), 1);
    assert_eq!(config.store.url.expose(), "redis://:secret@h:1");
    assert_eq!(config.store.partitions(), 4);
    assert_eq!(config.store.prefix.as_str(), "12");
    assert_eq!((config.store.durability, config.store.replicas), (DurabilityConfig::Replicated, 2));
    assert_eq!(config.jobs.max_payload, Size::mib(2));
    assert!(config.auth.anonymous);
    assert_eq!(config.gateway.listen.to_string(), "0.0.0.0:2");
}

#[test]
fn a_bad_override_names_the_variable_or_flag() {
    let variable = |name: &str, value: &str| variables(&[(name, value)]);
    for (overrides, said) in [
        (
            variable("JOBCAST__STREM__PING", "1s"),
            "JOBCAST__STREM__PING: unknown key `strem`; allowed here: store, auth, gateway, stream, jobs, worker, \
             webhooks, courier, tasks, dev, log",
        ),
        (
            variable("JOBCAST__DEV__DIRR", "x"),
            "JOBCAST__DEV__DIRR: unknown key `dev.dirr`; allowed here: dir, server, gateways",
        ),
        (
            variable("JOBCAST__DEV__GATEWAYS", "two"),
            "JOBCAST__DEV__GATEWAYS: `dev.gateways` is \"two\"; allowed: a whole number from 1 to 16",
        ),
        (
            variable("JOBCAST__DEV__GATEWAYS", "0"),
            "JOBCAST__DEV__GATEWAYS: `dev.gateways` is 0; allowed: a whole number from 1 to 16",
        ),
        (variable("JOBCAST__DEV", "x"), "JOBCAST__DEV: `dev` is \"x\"; allowed: a table"),
        (
            variable("JOBCAST__TASKS__WORDCOUNT__TIMEOUT", "1s"),
            "JOBCAST__TASKS__WORDCOUNT__TIMEOUT: tasks can't be set by a variable or flag; write a table \
             [tasks.<name>] in the file",
        ),
        (
            [variable("JOBCAST__JOBS__HEARTBEAT", "2s"), vec![Override::flag("--lease", "jobs.lease", "3s")]]
                .concat(),
            "JOBCAST__JOBS__HEARTBEAT: `jobs.heartbeat` (2s) must be at most half of `jobs.lease` (3s); allowed: \
             up to 1s 500ms",
        ),
        (
            vec![Override::flag("--lease", "jobs.lease", "4s")],
            "--lease: `jobs.heartbeat` (10s) must be at most half of `jobs.lease` (4s); allowed: up to 2s",
        ),
        (
            variable("JOBCAST__STORE__URL", "12"),
            "JOBCAST__STORE__URL: `store.url` can't be this; allowed: a text",
        ),
    ] {
        assert_eq!(refusal("", &overrides), said);
    }
}

#[test]
fn what_is_laid_over_the_file_is_to_blame_before_the_file() {
    let lease = variables(&[("JOBCAST__JOBS__LEASE", "15s")]);
    assert_eq!(
        refusal("[jobs]\nheartbeat = \"9s\"", &lease),
        "JOBCAST__JOBS__LEASE: `jobs.heartbeat` (9s) must be at most half of `jobs.lease` (15s); allowed: up to 7s \
         500ms"
    );
}

#[test]
fn no_error_and_no_debug_shows_a_secret() {
    for (file, overrides) in [
        ("[store]\nurl = \"http://:hunter2@h\"", vec![]),
        ("[store]\nurl = [\"hunter2\"]", vec![]),
        ("store = \"hunter2\"", vec![]),
        ("auth = \"hunter2\"", vec![]),
        ("[auth]\nkeys = \"hunter2\"", vec![]),
        ("[[auth.keys]]\nowner = \"a\"\nsha256 = \"hunter2\"\nscopes = [\"read\"]", vec![]),
        ("", variables(&[("JOBCAST__STORE__URL", "hunter2")])),
        ("", variables(&[("JOBCAST__STORE", "hunter2")])),
        ("", variables(&[("JOBCAST__AUTH__KEYS", "[\"hunter2\"]")])),
    ] {
        let error = load(file, &overrides).unwrap_err();
        assert!(!format!("{error} {error:?} {overrides:?}").contains("hunter2"), "{error}\n{error:?}");
    }
    let file = format!(
        "[store]\nurl = \"redis://u:hunter2@h\"\n[[auth.keys]]\nowner = \"a\"\nsha256 = \"{HASH}\"\nscopes = [\"read\"]"
    );
    let shown = format!("{:?}", load(&file, &[]).unwrap());
    assert!(!shown.contains("hunter2") && !shown.contains(&HASH[..8]), "{shown}");
    assert!(shown.contains("redis://***@h"), "{shown}");
}

#[test]
fn paths_start_from_the_files_folder() {
    let file = "[tasks.a]\ncommand = [\"./run.sh\", \"./x\"]\n[tasks.b]\ncommand = [\"python3\", \"w.py\"]\n\
        [tasks.c]\ncommand = [\"/bin/true\"]\n[worker]\ninput_dir = \"data\"";
    let loaded = load(file, &[]).unwrap();
    assert_eq!(loaded.file.as_deref(), Some(loaded.dir.join("jobcast.toml").as_path()));
    assert!(loaded.dir.is_absolute());
    assert_eq!(loaded.config.worker.input_dir, loaded.dir.join("data"));
    for (task, program, args) in [
        ("a", loaded.dir.join("run.sh"), vec!["./x"]),
        ("b", "python3".into(), vec!["w.py"]),
        ("c", "/bin/true".into(), vec![]),
    ] {
        let args = args.into_iter().map(str::to_owned).collect();
        let runs = Runs::Command(Command { program, args });
        assert_eq!(loaded.config.tasks[&task.parse().unwrap()].runs, runs);
    }
}

#[test]
fn a_file_that_is_named_must_exist() {
    let error = Config::load(Some(Path::new("no/such.toml")), &[]).unwrap_err();
    assert_eq!(error.to_string(), "no/such.toml: can't be read: No such file or directory (os error 2)");
}

#[test]
fn without_a_file_the_defaults_hold() {
    // Tests run in the crate's folder, which has no config/jobcast.toml.
    let loaded = Config::load(None, &[]).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!((loaded.file, &loaded.dir), (None, &here));
    let mut defaults = Config::default();
    defaults.worker.input_dir = here;
    assert_eq!(loaded.config.tasks.len(), 0);
    assert_eq!(loaded.config.store, defaults.store);
    assert_eq!((StoreConfig::default().partitions(), loaded.config.auth.anonymous), (1, false));
}
