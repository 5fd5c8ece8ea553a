//! `jobcast dev` as a whole: the real process, its Redis server, and what is left when they end.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::process::{Jobcast, JobcastBuilder};
use testkit::{eventually, eventually_some};
use tokio::io::AsyncReadExt;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_mins(1);

/// One task that runs here, and one that nobody works on.
const CONFIG: &str = "[tasks.narrate]\nhandler = \"narrate\"\n[tasks.nobody]\n";

/// A `jobcast dev` with its data in `folder`, on free ports.
fn dev(folder: &Path) -> JobcastBuilder {
    Jobcast::builder().args(["dev", "--port", "0", "--dir"]).arg(folder).config(CONFIG)
}

/// Waits until it says that it is ready, and returns its gateways' addresses.
async fn ready(dev: &Jobcast) -> Vec<String> {
    eventually_some(PATIENCE, "it says that it is ready", async || {
        assert_eq!(dev.exited(), None, "{}", dev.stderr());
        let said = dev.stdout();
        let (urls, _rest) = said.split_once("Jobcast is ready:\n")?.1.split_once("\n\n")?;
        Some(urls.lines().map(|url| url.trim().to_owned()).collect())
    })
    .await
}

/// How it ended by itself: its exit code and the end of what it said.
async fn refused(builder: JobcastBuilder) -> (Option<i32>, String) {
    let dev = builder.start();
    let status = dev.wait_exit(PATIENCE).await;
    (status.code(), dev.stderr())
}

/// The server's process.
fn server(folder: &Path) -> Pid {
    Pid::from_raw(fs::read_to_string(folder.join("server.pid")).unwrap().trim().parse().unwrap()).unwrap()
}

async fn gone(pid: Pid) {
    eventually(PATIENCE, "the Redis server is gone", async || !alive(pid)).await;
}

/// Where nothing reaps orphans (as in many containers), one that has ended stays a zombie.
fn alive(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let zombie = stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'));
    test_kill_process(pid).is_ok() && !zombie
}

async fn submit(gateway: &str, task: &str) -> String {
    let client = testkit::http().build().unwrap();
    let body = json!({ "task": task, "payload": { "tokens": 3 } });
    let answer = client.post(format!("{gateway}/api/jobs")).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    answer.json::<Value>().await.unwrap()["jobId"].as_str().unwrap().to_owned()
}

async fn status(gateway: &str, job: &str) -> Option<String> {
    let client = testkit::http().build().unwrap();
    let answer = client.get(format!("{gateway}/api/jobs/{job}")).send().await.ok()?;
    Some(answer.json::<Value>().await.ok()?["status"].as_str()?.to_owned())
}

async fn becomes(gateway: &str, job: &str, expected: &str) {
    let what = format!("job {job} is {expected}");
    eventually(PATIENCE, &what, async || status(gateway, job).await.as_deref() == Some(expected)).await;
}

#[tokio::test]
async fn jobs_survive_a_kill() {
    let folder = TempDir::new().unwrap();
    let first = dev(folder.path()).arg("--gateways").arg("2").start();
    let gateways = ready(&first).await;
    assert_eq!(gateways.len(), 2);
    let (waiting, done) = (submit(&gateways[0], "nobody").await, submit(&gateways[0], "narrate").await);
    becomes(&gateways[1], &done, "completed").await;
    let old_server = server(folder.path());
    first.kill();

    let second = dev(folder.path()).start();
    let gateways = ready(&second).await;
    gone(old_server).await;
    becomes(&gateways[0], &waiting, "pending").await;
    becomes(&gateways[0], &done, "completed").await;
    let again = submit(&gateways[0], "narrate").await;
    becomes(&gateways[0], &again, "completed").await;
}

/// A receiver on this machine: what each request says is sent on.
fn receiver() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (said, hear) = mpsc::channel();
    thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let (mut text, mut piece) = (String::new(), [0; 4096]);
            // The body is JSON, and the last of it closes the object.
            while !text.ends_with('}') {
                let read = socket.read(&mut piece).unwrap();
                if read == 0 {
                    break;
                }
                text.push_str(&String::from_utf8_lossy(&piece[..read]));
            }
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
            let _ = said.send(text);
        }
    });
    (port, hear)
}

#[tokio::test]
async fn a_webhook_to_this_machine_is_delivered_also_after_a_kill() {
    let folder = TempDir::new().unwrap();
    let (port, hear) = receiver();
    let first = dev(folder.path()).start();
    let gateways = ready(&first).await;
    assert!(
        first.stderr().contains("webhooks may point at this machine (127.0.0.0/8, ::1)"),
        "{}",
        first.stderr()
    );
    let client = testkit::http().build().unwrap();
    let webhook = json!({ "url": format!("http://localhost:{port}/hook"), "secret": "hush" });
    let body = json!({ "task": "nobody", "webhook": webhook });
    let answer = client.post(format!("{}/api/jobs", gateways[0])).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let job = answer.json::<Value>().await.unwrap()["jobId"].as_str().unwrap().to_owned();
    first.kill();

    // The next one opens what the first one sealed.
    let second = dev(folder.path()).start();
    let gateways = ready(&second).await;
    let cancel = client.post(format!("{}/api/jobs/{job}/cancel", gateways[0]));
    assert_eq!(cancel.send().await.unwrap().status(), 202);
    let said = tokio::task::spawn_blocking(move || hear.recv_timeout(PATIENCE).unwrap()).await.unwrap();
    assert!(said.starts_with("POST /hook HTTP/1.1\r\n") && said.contains(&job), "{said}");
    assert!(said.contains("webhook-signature: v1,"), "{said}");
}

#[tokio::test]
async fn a_webhook_to_this_machine_is_delivered() {
    let folder = TempDir::new().unwrap();
    let dev = dev(folder.path()).start();
    let gateway = ready(&dev).await.remove(0);
    let receiver = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}/hook", receiver.local_addr().unwrap().port());
    let body =
        json!({ "task": "narrate", "payload": { "tokens": 3 }, "webhook": { "url": url, "secret": "hush" } });
    let answer =
        testkit::http().build().unwrap().post(format!("{gateway}/api/jobs")).json(&body).send().await;
    assert_eq!(answer.unwrap().status(), 202);
    let (mut socket, _) = timeout(PATIENCE, receiver.accept()).await.unwrap().unwrap();
    let mut said = vec![0; 64];
    socket.read_exact(&mut said).await.unwrap();
    assert!(said.starts_with(b"POST /hook HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&said));
    dev.terminate();
    assert!(dev.wait_exit(PATIENCE).await.success(), "a request under way holds nobody up: {}", dev.stderr());
}

#[tokio::test]
async fn a_killed_one_takes_its_server_along() {
    let folder = TempDir::new().unwrap();
    let dev = dev(folder.path()).start();
    ready(&dev).await;
    let server = server(folder.path());
    assert!(alive(server));
    dev.kill();
    gone(server).await;
}

#[tokio::test]
async fn a_server_that_dies_comes_back() {
    let folder = TempDir::new().unwrap();
    let dev = dev(folder.path()).start();
    let gateways = ready(&dev).await;
    let waiting = submit(&gateways[0], "nobody").await;
    kill_process(server(folder.path()), Signal::KILL).unwrap();
    becomes(&gateways[0], &waiting, "pending").await;
    let done = submit(&gateways[0], "narrate").await;
    becomes(&gateways[0], &done, "completed").await;
    assert!(dev.stderr().contains("the private Redis server ended; starting it again"), "{}", dev.stderr());
}

#[tokio::test]
async fn ctrl_c_leaves_nothing_running() {
    let folder = TempDir::new().unwrap();
    let dev = dev(folder.path()).start();
    ready(&dev).await;
    let server = server(folder.path());
    dev.interrupt();
    let status = dev.wait_exit(PATIENCE).await;
    assert!(status.success(), "{status}: {}", dev.stderr());
    assert!(!alive(server));
    assert!(!folder.path().join("redis.sock").exists());
}

#[tokio::test]
async fn a_second_ctrl_c_ends_it_at_once() {
    let folder = TempDir::new().unwrap();
    // A job that takes longer than the test may.
    let dev = dev(folder.path()).args(["--set", "worker.grace=1h"]).start();
    let gateways = ready(&dev).await;
    let client = testkit::http().build().unwrap();
    let body = json!({ "task": "narrate", "payload": { "tokens": 100_000, "perSecond": 1 } });
    let answer = client.post(format!("{}/api/jobs", gateways[0])).json(&body).send().await.unwrap();
    let job = answer.json::<Value>().await.unwrap()["jobId"].as_str().unwrap().to_owned();
    becomes(&gateways[0], &job, "processing").await;
    let server = server(folder.path());
    dev.interrupt();
    eventually(PATIENCE, "the first one is heard", async || dev.stderr().contains("once more")).await;
    dev.interrupt();
    dev.wait_exit(PATIENCE).await;
    assert!(!alive(server));
}

#[tokio::test]
async fn one_folder_has_one_jobcast_dev() {
    let folder = TempDir::new().unwrap();
    let first = dev(folder.path()).start();
    ready(&first).await;
    let (code, said) = refused(dev(folder.path())).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("another `jobcast dev` is using "), "{said}");
    assert!(alive(server(folder.path())));
}

#[tokio::test]
async fn a_port_in_use_is_told() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let builder = Jobcast::builder().args(["dev", "--port", &port, "--dir"]).arg(folder.path());
    let (code, said) = refused(builder).await;
    assert_eq!(code, Some(1));
    let sentence = format!(
        "can't listen on 127.0.0.1:{port}: another program has this port; choose another with --port"
    );
    assert!(said.contains(&sentence), "{said}");
    assert!(!folder.path().join("server.pid").exists(), "nothing was started");
}

#[tokio::test]
async fn a_missing_server_is_told_with_the_packages_that_have_it() {
    let folder = TempDir::new().unwrap();
    let (code, said) = refused(dev(folder.path()).env("PATH", "/nowhere")).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("apt install redis-server"), "{said}");
}

#[tokio::test]
async fn an_unknown_handler_is_a_wrong_configuration() {
    let folder = TempDir::new().unwrap();
    let builder = dev(folder.path()).config("[tasks.count]\nhandler = \"wordcont\"\n");
    let (code, said) = refused(builder).await;
    assert_eq!(code, Some(2));
    assert!(said.contains("`tasks.count.handler`: there is no built-in handler \"wordcont\""), "{said}");
}
