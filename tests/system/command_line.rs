//! The command line for people and scripts: what it prints where, and how it ends.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::process::{self, Jobcast};
use whole::command::{Ended, command, end, in_terminal, run};
use whole::{Remote, SOON, System};

/// The id that `jobcast submit` printed.
async fn submit(url: &str, args: &[&str]) -> String {
    let ended = run(url, &[&["submit"], args].concat()).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
    ended.stdout.trim_end().to_owned()
}

#[tokio::test]
async fn submit_prints_the_id_and_takes_payloads_from_anywhere() {
    let system = System::builder().workers(0).start().await;
    let url = system.client(0).url("");
    let payload = json!({ "a": [1, 2] });
    let file = tempfile(&payload.to_string());
    let here = payload.to_string();
    let from_file = format!("@{}", file.path().display());
    for (given, stdin) in [(&*here, ""), (&*from_file, ""), ("-", &*here)] {
        let ended = end(command(&url, &["submit", "remote", given]).stdin(stdin)).await;
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{given}");
        let id: model::JobId = ended.stdout.strip_suffix('\n').unwrap().parse().unwrap();
        let client = system.client(0);
        let claimed: Value = client
            .post("/api/work/claim?wait=10", &json!({ "tasks": ["remote"] }))
            .await
            .json()
            .await
            .unwrap();
        assert_eq!((&claimed["jobId"], &claimed["payload"]), (&json!(id), &payload), "{given}");
    }

    let options =
        "remote null --max-attempts 7 --metadata {\"who\":\"me\"} --deadline 1h --priority low --delay 90s";
    let id = submit(&url, &options.split(' ').collect::<Vec<_>>()).await;
    let shown = run(&url, &["jobs", "show", &id]).await;
    let [job] = &shown.json_lines()[..] else { panic!("one line: {shown:?}") };
    assert_eq!((&job["maxAttempts"], &job["metadata"]), (&json!(7), &json!({ "who": "me" })));
    assert_eq!(job["priority"], "low");
    let client = system.client(0);
    let early = client.post("/api/work/claim?wait=1", &json!({ "tasks": ["remote"] })).await;
    assert_eq!(early.status(), 204, "it is delayed");
    let unknown = run(&url, &["submit", "remote", "--priority", "urgent"]).await;
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("[possible values: high, normal, low]"), "{}", unknown.stderr);

    let keyed = ["submit", "remote", "--idempotency-key", "one", "--json"];
    let answers = [run(&url, &keyed).await.json_lines(), run(&url, &keyed).await.json_lines()].concat();
    assert_eq!(answers[0]["jobId"], answers[1]["jobId"]);
    assert_eq!((&answers[0]["replayed"], &answers[1]["replayed"]), (&json!(false), &json!(true)));
}

fn tempfile(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test]
async fn how_it_ends_says_its_exit_code() {
    let system = System::builder().start().await;
    let url = &system.client(0).url("");
    let nowhere = &format!("http://127.0.0.1:{}", testkit::free_port());
    let unknown = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";
    let done = &submit(url, &["count", r#"{"n": 2}"#]).await;
    let failed = &submit(url, &["count", r#"{"m": 2}"#]).await;
    let cancelled = &submit(url, &["remote"]).await;
    let waiting = &submit(url, &["remote"]).await;
    let said = run(url, &["cancel", cancelled]).await;
    assert_eq!((said.code, said.stdout), (Some(0), format!("{cancelled} cancelled\n")));

    for (url, args, code, says) in [
        (url, &["watch", done][..], 0, ""),
        (url, &["watch", failed], 1, ""),
        (url, &["watch", cancelled], 1, ""),
        (url, &["watch", done, failed], 1, ""),
        (url, &["watch", unknown], 1, "404 not-found"),
        (url, &["watch"], 2, "required"),
        (url, &["watch", "x"], 2, "a job id is a UUID"),
        (url, &["watch", done, cancelled, "--from", "3"], 2, "a cursor belongs to one job"),
        (nowhere, &["watch", done], 3, "Is a gateway running there?"),
        (url, &["submit", "count", r#"{"n": 1}"#, "--watch"], 0, ""),
        (url, &["submit", "count", "{}", "--watch"], 1, ""),
        (url, &["submit", "count", r#"{"n": 1}"#, "--wait", "1m"], 0, ""),
        (url, &["submit", "count", "{}", "--wait", "1m"], 1, "the job is failed"),
        (url, &["submit", "remote", "--wait", "0.5"], 4, "hasn't ended yet"),
        (url, &["submit", "nope"], 1, "There is no task `nope`"),
        (url, &["submit", "count", "{"], 2, "this is no JSON"),
        (url, &["submit", "count", "@/nowhere.json"], 2, "/nowhere.json"),
        (url, &["submit", "count", "1", "--timeout", "soon"], 2, "it is a number of seconds"),
        (url, &["submit", "count", "--config", "x.toml"], 2, "leave them out"),
        (url, &["--set", "worker.grace=1s", "submit", "count"], 2, "leave them out"),
        (url, &["--config", "x.toml", "completions", "bash"], 2, "leave them out"),
        (&"ftp://h".to_owned(), &["submit", "count"], 2, "it begins with http"),
        (nowhere, &["submit", "count", "1", "--patience", "0"], 3, "Is a gateway running there?"),
        (url, &["jobs", "show", failed], 0, ""),
        (url, &["jobs", "show", unknown], 1, "404 not-found"),
        (nowhere, &["jobs", "show", done, "--patience", "0"], 3, "Connection refused"),
        (url, &["jobs"], 0, ""),
        (url, &["jobs", "--status", "failed", "--task", "count"], 0, ""),
        (url, &["jobs", "--status", "gone"], 2, "unknown value"),
        (url, &["jobs", "--limit", "0"], 2, "0"),
        (url, &["jobs", "--task", "nope"], 1, "422 unknown-task"),
        (url, &["jobs", "--limit", "1", "show", done], 2, "subcommand"),
        (nowhere, &["jobs", "--patience", "0"], 3, "Connection refused"),
        (url, &["jobs", "delete", waiting], 1, "409 job-living"),
        (url, &["jobs", "delete", unknown, done], 1, "404 not-found"),
        (nowhere, &["jobs", "delete", done, "--patience", "0"], 3, "Connection refused"),
        (url, &["retry", waiting, failed], 1, "409 job-living"),
        (url, &["retry", "x"], 2, "a job id is a UUID"),
        (nowhere, &["retry", failed, "--patience", "0"], 3, "Connection refused"),
        (url, &["cancel", failed, waiting], 1, "409 job-ended"),
        (nowhere, &["cancel", failed, "--patience", "0"], 3, "Connection refused"),
        (url, &["jobs", "deliveries", failed], 0, ""),
        (url, &["jobs", "deliveries", unknown], 1, "404 not-found"),
        (url, &["dead-letters"], 0, ""),
        (url, &["dead-letters", "--since", "yesterday"], 2, "how long ago"),
        (url, &["dead-letters", "--after", "x"], 1, "400 bad-cursor"),
        (url, &["dead-letters", "show", "x"], 2, "a delivery's id is"),
        (url, &["dead-letters", "show", &format!("{failed}.1")], 1, "no such delivery"),
        (url, &["dead-letters", "replay"], 2, "say --all"),
        (url, &["dead-letters", "replay", "--all"], 0, ""),
        (url, &["dead-letters", "replay", "--all", "--since", "1d"], 2, "cannot be used with"),
        (url, &["dead-letters", "replay", &format!("{failed}.1")], 1, "404 not-found"),
        (nowhere, &["dead-letters", "--patience", "0"], 3, "Connection refused"),
        (url, &["submit", "count", "--webhook", "http://10.0.0.1/"], 1, "no-webhook-secret"),
        (url, &["submit", "count", "--webhook-secret-env", "X"], 2, "--webhook"),
        (
            url,
            &["submit", "count", "--webhook", "http://h/", "--webhook-secret-env", "NONE"],
            2,
            "no such variable",
        ),
        (
            url,
            &["submit", "count", "--webhook", "http://h/", "--webhook-secret-file", "/none"],
            2,
            "/none: No such",
        ),
        (url, &["completions", "bash"], 0, ""),
        (url, &["completions", "cmd"], 2, "bash"),
    ] {
        let ended = run(url, args).await;
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args:?}: {ended:?}");
        assert_eq!(ended.stderr.is_empty(), says.is_empty(), "{args:?}: {ended:?}");
    }
    assert_eq!(system.client(0).ended(waiting.parse().unwrap()).await["status"], "cancelled");
}

#[tokio::test]
async fn a_pipe_gets_the_events_as_lines_of_json() {
    let mut system = System::builder().gateways(2).workers(0).start().await;
    let url = system.client(0).url("");
    let watched = command(&url, &["submit", "remote", "--watch", "--patience", "1m"]).start();
    let remote = Remote::claim(system.client(1), "remote").await;
    remote.must("output", json!({ "text": "one " })).await;
    testkit::eventually(SOON, "the text has come", async || watched.stdout().contains("one ")).await;
    system.gateways[0].kill();
    remote.must("output", json!({ "text": "two" })).await;
    testkit::eventually(SOON, "the outage is told", async || watched.stderr().contains("trying on")).await;
    system.restart_gateway(0);
    remote.complete(json!({ "n": 2 })).await;
    let status = watched.wait_exit(SOON).await;
    assert_eq!(status.code(), Some(0));
    let ended = Ended { code: status.code(), stdout: watched.stdout(), stderr: watched.stderr() };
    let lines = ended.json_lines();
    let types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["queued", "started", "output", "output", "completed"]);
    let log: Vec<_> = system.client(1).events(remote.job()).await.iter().map(whole::data).collect();
    assert_eq!(lines, log, "the events as the stream has them");
}

#[tokio::test]
async fn nobody_who_reads_is_no_error() {
    let system = System::builder().start().await;
    let line = format!(
        "{} submit count '{{\"n\": 2000}}' --watch | head -n 1; echo ${{PIPESTATUS[0]}}",
        process::binary().display()
    );
    let ended = end(Jobcast::builder()
        .program("/bin/bash")
        .args(["-c", &line])
        .env("JOBCAST_URL", system.client(0).url("")))
    .await;
    assert!(ended.stdout.ends_with("\n0\n") && ended.stderr.is_empty(), "{ended:?}");
}

#[tokio::test]
async fn a_terminal_shows_a_bar_and_the_text_above_it() {
    let system = System::builder().start().await;
    let url = system.client(0).url("");
    let (code, screen, written) =
        in_terminal(&url, None, &["submit", "narrate", r#"{"tokens": 60, "perSecond": 40}"#, "--watch"])
            .await;
    assert_eq!(code, Some(0), "{screen:#?}");
    let [id, text @ .., result, bar] = &screen[..] else { panic!("{screen:#?}") };
    let events = system.client(0).events(id.parse().unwrap()).await;
    let texts = events.iter().map(whole::data);
    let whole: String = texts.filter_map(|data| data["text"].as_str().map(str::to_owned)).collect();
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&text.join("\n")), words(&whole), "the whole text, once");
    assert!(text.len() > 2 && text.iter().all(|line| line.chars().count() < 80), "{screen:#?}");
    assert!(result.starts_with(r#"{"tokens":60"#), "{screen:#?}");
    assert!(bar.starts_with("narrate ") && bar.contains("✓ completed in "), "{screen:#?}");
    assert!(written.contains('━') && written.contains(" of 60 tokens"), "a bar was drawn: {written}");
}

#[tokio::test]
async fn a_load_shows_how_it_goes_and_leaves_the_table() {
    let system = System::builder().workers(0).start().await;
    let url = system.client(0).url("");
    let args = ["load", "fanout", "--streams", "5", "--duration", "2s"];
    let (code, screen, written) = in_terminal(&url, None, &args).await;
    assert_eq!(code, Some(0), "{screen:#?}");
    assert!(written.contains("running") && written.contains("5 streams open"), "a bar was drawn: {written}");
    let text = screen.join("\n");
    assert!(text.starts_with("jobcast load fanout: 5 streams"), "the bar is gone: {text}");
    assert!(text.contains("check       ok: every stream"), "{text}");
}

#[tokio::test]
async fn several_jobs_have_a_bar_each() {
    let system = System::builder().start().await;
    let url = system.client(0).url("");
    let good = submit(&url, &["count", r#"{"n": 3, "seconds": 1}"#]).await;
    let bad = submit(&url, &["count", "{}"]).await;
    let (code, screen, _) = in_terminal(&url, None, &["watch", &good, &bad]).await;
    assert_eq!(code, Some(1), "{screen:#?}");
    let tail = |id: &str| format!("count {}", &id[id.len() - 8..]);
    let bars: Vec<_> = screen.iter().filter(|line| line.contains('✓') || line.contains('✗')).collect();
    assert_eq!(bars.len(), 2, "{screen:#?}");
    assert!(
        bars.iter().any(|bar| bar.starts_with(&format!("{} ✓ completed in", tail(&good)))),
        "{screen:#?}"
    );
    assert!(bars.iter().any(|bar| bar.starts_with(&format!("{} ✗ failed: ", tail(&bad)))), "{screen:#?}");
    let output = format!("{}: {{\"attempt\":1,\"count\":2}}", tail(&good));
    assert_eq!(screen.iter().filter(|line| **line == output).count(), 1, "{screen:#?}");
}

#[tokio::test]
async fn leaving_cancels_nothing() {
    let system = System::builder().workers(0).start().await;
    let url = system.client(0).url("");
    let id = submit(&url, &["remote"]).await;
    let (code, screen, _) = in_terminal(&url, Some(["queued", "\u{3}"]), &["watch", &id]).await;
    assert_eq!(code, Some(130), "{screen:#?}");
    assert!(screen.iter().any(|line| line.contains("the jobs go on")), "{screen:#?}");
    assert_eq!(system.client(0).job(id.parse().unwrap()).await["status"], "pending");
    let (_, screen, _) = in_terminal(&url, None, &["jobs", "show", &id]).await;
    assert!(screen.contains(&"status     pending".to_owned()), "{screen:#?}");
}

#[tokio::test]
async fn jobs_are_listed_retried_and_deleted() {
    let system = System::builder().start().await;
    let client = system.client(0);
    let url = client.url("");
    let bad = submit(&url, &["count", "{}", "--metadata", r#"{"who":"me"}"#]).await;
    client.ended(bad.parse().unwrap()).await;
    let good = submit(&url, &["count", r#"{"n": 1}"#]).await;
    client.ended(good.parse().unwrap()).await;

    // A line of JSON for each job, as it is polled.
    let listed = run(&url, &["jobs"]).await;
    assert_eq!((listed.code, &*listed.stderr), (Some(0), ""));
    let ids = |ended: &Ended| {
        ended.json_lines().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&listed), [&*good, &*bad]);
    assert_eq!(listed.json_lines()[1], client.job(bad.parse().unwrap()).await);
    assert_eq!(ids(&run(&url, &["jobs", "--status", "failed"]).await), [&*bad]);
    assert_eq!(ids(&run(&url, &["jobs", "--limit", "1"]).await), [&*good]);
    assert_eq!(ids(&run(&url, &["jobs", "--after", &good]).await), [&*bad]);

    let (code, screen, _) = in_terminal(&url, None, &["jobs"]).await;
    assert_eq!((code, screen.len()), (Some(0), 3), "{screen:#?}");
    assert!(screen[0].starts_with("ID ") && screen[1].starts_with(&good), "{screen:#?}");
    assert!(screen[1].contains("completed") && screen[2].contains("failed"), "{screen:#?}");

    let retried = run(&url, &["retry", &bad]).await;
    assert_eq!((retried.code, &*retried.stderr), (Some(0), ""));
    let again = retried.stdout.trim_end();
    assert_eq!(client.ended(again.parse().unwrap()).await["metadata"], json!({ "who": "me" }));
    let deleted = run(&url, &["jobs", "delete", &bad, &good]).await;
    assert_eq!((deleted.code, deleted.stdout), (Some(0), format!("{bad} deleted\n{good} deleted\n")));
    assert_eq!(ids(&run(&url, &["jobs"]).await), [again]);
}

#[tokio::test]
async fn an_external_job_is_printed_with_what_it_takes_to_report() {
    let system = System::builder().workers(0).start().await;
    let client = system.client(0);
    let url = client.url("");
    let report = async |id: &str, token: &str, call: &str, fields: Value| {
        let mut body = json!({ "leaseToken": token });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let answer = client.tell(&format!("/api/work/{id}/{call}"), &body).await;
        assert_eq!((answer.status, &answer.body["cancelled"]), (200, &json!(false)), "{answer:?}");
    };
    let two = |text: &str| {
        let (id, token) = text.trim_end().split_once(' ').unwrap_or_else(|| panic!("{text}"));
        (id.to_owned(), token.to_owned())
    };

    // Two words for a script. A retry has a token of its own.
    let (id, token) = two(&submit(&url, &["remote", "[1]", "--external", "--lease", "20m"]).await);
    report(&id, &token, "fail", json!({ "error": "no" })).await;
    let retried = run(&url, &["retry", &id]).await;
    assert_eq!((retried.code, &*retried.stderr), (Some(0), ""));
    let (again, new_token) = two(&retried.stdout);
    assert!(again != id && new_token != token);
    report(&again, &new_token, "complete", json!({ "result": 1 })).await;
    assert_eq!(run(&url, &["watch", &again]).await.code, Some(0));

    // As JSON, the same both times that it is asked for by its key.
    let keyed = ["submit", "remote", "--external", "--json", "--idempotency-key", "one"];
    let answers = [run(&url, &keyed).await.json_lines(), run(&url, &keyed).await.json_lines()].concat();
    let of = |answer: &Value| (answer["jobId"].clone(), answer["leaseToken"].as_str().unwrap().to_owned());
    assert_eq!(of(&answers[0]), of(&answers[1]));
    assert_eq!(answers[0]["status"], "pending");
    let usual = run(&url, &["submit", "remote", "--json"]).await.json_lines();
    assert_eq!(usual[0].get("leaseToken"), None);

    // Nobody could report of one that is watched, were its token not told first.
    let watched = command(&url, &["submit", "remote", "--external", "--watch"]).start();
    testkit::eventually(SOON, "it is queued", async || watched.stdout().contains("queued")).await;
    let (id, token) = two(watched.stdout().lines().next().unwrap());
    report(&id, &token, "complete", json!({ "result": 2 })).await;
    assert_eq!(watched.wait_exit(SOON).await.code(), Some(0));

    // At a terminal it says how; that works as it stands there.
    let (code, screen, written) = in_terminal(&url, None, &["submit", "remote", "--external"]).await;
    assert_eq!(code, Some(0), "{screen:#?}");
    let (id, token) = two(&screen[0]);
    let command = written.lines().find(|line| line.trim_start().starts_with("curl ")).unwrap();
    let command = command.trim().replace("CALL", "complete").replace("…", "\"result\": 3");
    let ended = end(Jobcast::builder().program("/bin/sh").args(["-c", &command])).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(client.job(id.parse().unwrap()).await["result"], 3, "{command}: {ended:?}, {token}");

    for (args, says) in [
        (&["--lease", "1m"][..], "--external"),
        (&["--external", "--lease", "soon"], "it is a number of seconds"),
    ] {
        let ended = run(&url, &[&["submit", "remote"], args].concat()).await;
        assert!(ended.code == Some(2) && ended.stderr.contains(says), "{ended:?}");
    }
    for args in [&["--external", "--lease", "2h"][..], &["--external", "--max-attempts", "2"]] {
        let ended = run(&url, &[&["submit", "remote"], args].concat()).await;
        assert!(ended.code == Some(1) && ended.stderr.contains("422"), "{ended:?}");
    }
}

#[tokio::test]
async fn the_key_is_shown_nowhere() {
    let system = System::builder().start().await;
    let url = system.client(0).url("");
    for args in
        [&["submit", "--help"][..], &["watch", "--help"], &["submit", "count"], &["submit", "count", "{"]]
    {
        let ended = end(command(&url, args).env("JOBCAST_KEY", "sesame")).await;
        assert!(!format!("{ended:?}").contains("sesame"), "{ended:?}");
    }
    // A key that nobody knows is refused even where none is needed, so it was sent.
    let ended = run(&url, &["submit", "count", "1", "--key", "sesame"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("401") && ended.stderr.contains("JOBCAST_KEY"), "{ended:?}");
    assert!(!ended.stderr.contains("sesame"));
}

#[tokio::test]
async fn help_has_examples_and_completions_know_all_commands() {
    for command in [
        "submit",
        "watch",
        "cancel",
        "retry",
        "jobs",
        "jobs show",
        "jobs deliveries",
        "jobs delete",
        "dead-letters",
        "dead-letters show",
        "dead-letters replay",
        "listen",
        "completions",
    ] {
        let args: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let ended = run("http://h", &args).await;
        assert_eq!(ended.code, Some(0));
        assert!(
            ended.stdout.contains(&format!("Examples:\n  jobcast {command}")) || command == "completions"
        );
        assert!(ended.stdout.contains("Examples:"), "{}", ended.stdout);
        assert!(!ended.stdout.contains("--set"), "settings mean nothing here: {}", ended.stdout);
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ended = run("http://h", &["completions", shell]).await;
        for command in [
            "submit",
            "watch",
            "cancel",
            "retry",
            "jobs",
            "dead-letters",
            "listen",
            "completions",
            "gateway",
            "dev",
        ] {
            assert!(ended.stdout.contains(command), "{shell}: {command}");
        }
    }
}

#[tokio::test]
async fn a_gateway_that_starts_late_is_waited_for() {
    let mut system = System::builder().workers(0).start().await;
    let url = system.client(0).url("");
    system.gateways[0].kill();
    let submitted = command(&url, &["submit", "remote", "--patience", "1m"]).start();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(submitted.exited(), None, "{}", submitted.stderr());
    system.restart_gateway(0);
    assert_eq!(submitted.wait_exit(SOON).await.code(), Some(0));
    assert_eq!(system.jobs().await, 1);
}
