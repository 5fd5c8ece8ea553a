//! Child processes start, break and end as asked. (`jobcast` itself is tried by the whole-system tests.)

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use testkit::eventually;
use testkit::process::Jobcast;

const LONG: Duration = Duration::from_secs(10);

fn shell(script: &str) -> testkit::process::JobcastBuilder {
    Jobcast::builder().program("sh").arg("-c").arg(script)
}

#[tokio::test]
async fn output_environment_and_folder() {
    let process = shell("pwd; echo $NAME >&2; exit 3").env("NAME", "value").start();
    assert_eq!(process.wait_exit(LONG).await.code(), Some(3));
    assert_eq!(process.stdout().trim_end(), process.folder().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(process.stderr(), "value\n");
}

#[tokio::test]
async fn the_configuration_comes_as_a_file() {
    // sh calls its first argument after the script $0.
    let process = shell(r#"[ "$0" = --config ] && cat "$1""#).config("[gateway]\n").start();
    assert!(process.wait_exit(LONG).await.success());
    assert_eq!(process.stdout(), "[gateway]\n");
}

#[tokio::test]
async fn signals() {
    let process = shell("trap 'echo term; exit 7' TERM; echo up; while :; do sleep 0.01; done").start();
    eventually(LONG, "it is up", async || process.stdout() == "up\n").await;
    process.pause();
    process.terminate();
    assert_eq!(process.exited(), None);
    process.resume();
    assert_eq!(process.wait_exit(LONG).await.code(), Some(7));
    assert_eq!(process.stdout(), "up\nterm\n");

    let process = shell("sleep 600").start();
    process.kill();
    assert_eq!(process.exited().and_then(|status| status.signal()), Some(9));
    process.terminate(); // harmless once it is gone
}

#[tokio::test]
#[should_panic(expected = "not within 100ms: `sh -c sleep 600` ends")]
async fn a_process_that_goes_on_is_a_failure() {
    shell("sleep 600").start().wait_exit(Duration::from_millis(100)).await;
}
