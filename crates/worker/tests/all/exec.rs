//! The exec protocol, each sentence of it with a real program.

use std::time::{Duration, Instant};

use model::{Json, Report};
use rustix::process::{Pid, test_kill_process};
use testkit::eventually;
use worker::{Context, Exec, Failure, Handler, Recording};

/// Generous: nothing here should take a tenth of it.
const LONG: Duration = Duration::from_mins(1);

fn exec(program: &str, args: &[&str]) -> Exec {
    let dir = std::env::temp_dir();
    let args = args.iter().map(|&arg| arg.to_owned()).collect();
    Exec { kill_after: Duration::from_millis(200), ..Exec::new(program, args, dir) }
}

fn sh(script: &str) -> Exec {
    exec("/bin/sh", &["-c", script])
}

fn python(script: &str) -> Exec {
    exec("python3", &["-c", script])
}

/// Runs a program to its end, within [`LONG`].
async fn run(exec: &Exec, payload: &str) -> (Result<Json, Failure>, Recording) {
    let (ctx, recording) = Context::recording();
    let payload = Json::parse(payload).unwrap();
    let result = tokio::time::timeout(LONG, exec.run(ctx, payload)).await.expect("the program hangs");
    assert!(recording.settle(LONG).await, "something of it is left");
    (result, recording)
}

async fn check(exec: Exec, payload: &str, result: &str, text: &str) {
    let (got, recording) = run(&exec, payload).await;
    assert_eq!(got.as_ref().map(Json::as_str), Ok(result), "{exec:?}");
    assert_eq!(recording.text(), text, "{exec:?}");
}

#[track_caller]
fn check_fatal(result: Result<Json, Failure>, sentence: &str) {
    match result {
        Err(Failure::Fatal(error)) => assert!(error.contains(sentence), "{error:?} lacks {sentence:?}"),
        other => panic!("{other:?} where {sentence:?} was due"),
    }
}

fn is_alive(pid: &str) -> bool {
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    // A zombie whose parent is not ours counts as dead.
    test_kill_process(pid).is_ok()
        && !std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
            .is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn the_payload_is_its_stdin_and_the_rest_its_environment() {
    check(sh("cat"), "{ \"a\": 1 }", "null", "{\"a\":1}").await;
    let script = "echo $JOBCAST_JOB_ID $JOBCAST_TASK $JOBCAST_ATTEMPT; pwd";
    let dir = std::env::temp_dir();
    let said = format!("00000000-0000-7000-8000-000000000000 recorded 1\n{}\n", dir.display());
    check(sh(script), "null", "null", &said).await;
}

#[tokio::test]
async fn every_line_becomes_what_it_says() {
    let script = r#"
        echo '{"progress":42,"message":"half"}'
        echo '{"output":{"n":1}}'
        echo '{"text":"token "}'
        echo 'a plain line'
        echo '{"other":1}'
        echo '{"result":"first"}'
        echo '{"result":["last"]}'
        printf 'no newline'
    "#;
    let (result, recording) = run(&sh(script), "null").await;
    assert_eq!(result.unwrap().as_str(), "[\"last\"]");
    assert_eq!(recording.progress(), [(Some(42.0), Some("half".into()))]);
    assert_eq!(recording.outputs(), [Json::parse("{\"n\":1}").unwrap()]);
    assert_eq!(recording.text(), "token a plain line\n{\"other\":1}\nno newline");
    assert!(matches!(recording.reports()[0], Report::Progress { .. }), "in order");
}

#[tokio::test]
async fn the_exit_code_decides() {
    for (script, failure) in [
        ("exit 75", Failure::retry("the program asked for another try (exit code 75)")),
        (
            "echo busy >&2; exit 75",
            Failure::retry("the program asked for another try (exit code 75); stderr: busy"),
        ),
        ("echo '{\"result\":1}'; exit 3", Failure::fatal("the program ended with exit code 3")),
        ("kill -SEGV $$", Failure::fatal("the program was killed by signal 11 (SIGSEGV)")),
        ("kill -KILL $$", Failure::fatal("the program was killed by signal 9 (SIGKILL)")),
        ("printf '\\377'; exit 3", Failure::fatal("the program ended with exit code 3")),
    ] {
        assert_eq!(run(&sh(script), "null").await.0, Err(failure), "{script}");
    }
}

#[tokio::test]
async fn the_end_of_stderr_is_in_the_error() {
    let script = "import sys; sys.stderr.write('x' * 3000000 + ' the cause'); sys.exit(1)";
    check_fatal(run(&python(script), "null").await.0, "x the cause");
    check_fatal(run(&sh("printf 'bad \\377 byte' >&2; exit 1"), "null").await.0, "stderr: bad \u{fffd} byte");
}

#[tokio::test]
async fn stdin_need_not_be_read() {
    let large = format!("\"{}\"", "x".repeat(1024 * 1024 - 2));
    for script in ["exit 0", "sleep 0.2; exit 0", "exec 0<&-; sleep 0.2; exit 0", "head -c 10 >/dev/null"] {
        check(sh(script), &large, "null", "").await;
    }
    let count = "import sys; print(len(sys.stdin.read()))";
    check(python(count), &large, "null", "1048576\n").await;
}

#[tokio::test]
async fn stdout_may_be_closed_early() {
    check(sh("echo a; exec 1>&-; sleep 0.2"), "null", "null", "a\n").await;
    let (result, _) = run(&sh("exec 1>&- 2>&-; sleep 0.2; exit 4"), "null").await;
    check_fatal(result, "exit code 4");
}

#[tokio::test]
async fn stdout_that_can_not_be_carried_fails_the_job() {
    let write = "import sys; sys.stdout.buffer.write";
    for (script, sentence) in [
        (
            format!("{write}(b'ok\\nab\\xff\\n')"),
            "line 2 of the program's stdout is not UTF-8: its byte 3 is wrong",
        ),
        (format!("{write}(b'ok\\nab\\xff')"), "line 2 of the program's stdout is not UTF-8"),
        (
            format!("{write}(b'x' * 1048577 + b'\\n')"),
            "line 1 of the program's stdout is longer than 1048576 bytes",
        ),
        (
            format!("{write}(b'{{\"output\":\"' + b'x' * 65536 + b'\"}}\\n')"),
            "the output is too large: 65730 bytes where an event holds at most 65536",
        ),
        (format!("{write}(b'{{\"output\":' + b'[' * 200 + b']' * 200 + b'}}\\n')"), "nested deeper than 128"),
    ] {
        check_fatal(run(&python(&script), "null").await.0, sentence);
    }
    let longest = format!("{write}(b'x' * 1048576 + b'\\n')");
    let (result, recording) = run(&python(&longest), "null").await;
    assert_eq!((result.unwrap().as_str(), recording.text().len()), ("null", 1_048_577));
}

#[tokio::test]
async fn a_line_of_100_mb_takes_no_memory() {
    let before = peak_memory();
    let script = "import sys\nfor _ in range(100): sys.stdout.buffer.write(b'x' * 1000000)";
    check_fatal(run(&python(script), "null").await.0, "longer than 1048576 bytes");
    let grown = peak_memory() - before;
    assert!(grown < 16 * 1024 * 1024, "grown by {grown} bytes");
}

/// The most memory that this process has held so far, in bytes.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[tokio::test]
async fn what_is_left_of_the_group_is_killed() {
    let begun = Instant::now();
    let (result, recording) = run(&sh("sleep 600 & echo $!; exit 0"), "null").await;
    result.unwrap();
    let pid = recording.text();
    eventually(LONG, "the forked child is dead", async || !is_alive(&pid)).await;
    assert!(begun.elapsed() < 2 * LONG, "nobody waited for it");
}

#[tokio::test]
async fn who_left_the_group_and_holds_stdout_hangs_nothing() {
    let script = "
import os, sys, time
if os.fork() == 0:
    os.setsid()
    print('from the child', flush=True)
    time.sleep(90)
else:
    time.sleep(0.5)
    print('{\"result\":1}', flush=True)
    os._exit(0)";
    let begun = Instant::now();
    check(python(script), "null", "1", "from the child\n").await;
    assert!(begun.elapsed() < LONG);
}

/// Drops the run of `exec` once its program has said a line, and returns that line and all that was said at the end.
async fn drop_in_the_middle(exec: &Exec) -> (String, Recording) {
    let (ctx, recording) = Context::recording();
    {
        let run = exec.run(ctx, Json::null());
        let heard = eventually(LONG, "the program speaks", async || recording.text().contains('\n'));
        tokio::select! {
            result = run => panic!("it ended by itself: {result:?}"),
            () = heard => {}
        }
    }
    (recording.text().trim().to_owned(), recording)
}

#[tokio::test]
async fn a_dropped_run_ends_its_program_in_order() {
    let dir = tempfile(line!());
    let file = dir.join("cleaned");
    let script = format!(
        "trap 'for i in 1 2 3; do echo going; done; touch {}; exit 0' TERM; echo $$; while :; do sleep 0.05; done",
        file.display()
    );
    let patient = Exec { kill_after: LONG, ..sh(&script) };
    let (pid, recording) = drop_in_the_middle(&patient).await;
    assert!(recording.settle(LONG).await);
    assert!(!is_alive(&pid) && file.exists(), "it had its time to clean up");
    std::fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_with_its_children() {
    let script = "trap '' TERM; sleep 600 & echo $$ $!; while :; do sleep 0.05; done";
    let (pids, recording) = drop_in_the_middle(&sh(script)).await;
    let dropped = Instant::now();
    assert!(recording.settle(LONG).await);
    assert!(dropped.elapsed() >= Duration::from_millis(200), "not before its time");
    for pid in pids.split(' ') {
        eventually(LONG, "all of the group are dead", async || !is_alive(pid)).await;
    }
}

#[tokio::test]
async fn a_program_that_breaks_the_protocol_is_killed() {
    let script = "trap '' TERM; echo $$; printf '\\377\\n'; while :; do sleep 0.05; done";
    let (result, recording) = run(&sh(script), "null").await;
    check_fatal(result, "line 2 of the program's stdout is not UTF-8");
    assert!(!is_alive(&recording.text()));
}

#[test]
fn a_runtime_that_ends_leaves_no_program() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let stubborn = Exec { kill_after: LONG, ..sh("trap '' TERM; echo $$; while :; do sleep 0.05; done") };
    let (pid, _) = runtime.block_on(drop_in_the_middle(&stubborn));
    runtime.shutdown_timeout(Duration::from_secs(1));
    let end = Instant::now() + LONG;
    while is_alive(&pid) {
        assert!(Instant::now() < end, "{pid} lives");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn what_can_not_be_started_says_so() {
    let missing = exec("/nowhere/at/all/thumbnail.sh", &[]);
    check_fatal(run(&missing, "null").await.0, "the program thumbnail.sh could not be started: No such file");
    let no_dir = Exec { dir: "/nowhere".into(), ..sh("exit 0") };
    check_fatal(run(&no_dir, "null").await.0, "the program sh could not be started");
    let no_program = exec("/usr", &[]);
    check_fatal(run(&no_program, "null").await.0, "could not be started: Permission denied");
}

fn tempfile(line: u32) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("jobcast-exec-{}-{line}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
