//! Many large results at once don't fill the courier's machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use whole::{Client, Remote, SOON, System};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// How many deliveries there are, each to a host of its own: all of them could be under way at once.
const COUNT: usize = 200;
/// After how many the courier's memory is looked at: far more than fit into it at once.
const ENOUGH: usize = 50;
/// What long bodies may take, and what the courier may grow by. Without a limit it is some 400 MiB: each body has the result twice.
const BODIES: &str = "32 MiB";
const MOST_MIB: u64 = 100;

/// The most memory that the process ever took, in MiB.
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A receiver that takes its time, on every address of this machine: 127.0.0.1, 127.0.0.2 and so on are hosts of their own.
struct Slow {
    port: u16,
    taken: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl Slow {
    async fn start() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let (port, taken) = (listener.local_addr().unwrap().port(), Arc::<AtomicUsize>::default());
        let (mut serving, count) = (JoinSet::new(), Arc::clone(&taken));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(take_slowly(socket, Arc::clone(&count)));
            }
        });
        Self { port, taken, _serving: serving }
    }

    fn url_at(&self, host: usize) -> String {
        format!("http://127.0.1.{host}:{}/hook", self.port)
    }
}

/// Reads nothing of the body for a while, then all of it, and answers.
async fn take_slowly(socket: TcpStream, taken: Arc<AtomicUsize>) {
    let mut socket = BufReader::new(socket);
    let (mut line, mut length) = (String::new(), 0);
    while socket.read_line(&mut line).await.is_ok_and(|bytes| bytes > 2) {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    sleep(Duration::from_millis(100)).await;
    let read = tokio::io::copy(&mut (&mut socket).take(length), &mut tokio::io::sink()).await;
    if read.is_ok_and(|read| read == length) && length > 2 << 20 {
        taken.fetch_add(1, Ordering::SeqCst);
        let _ = socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    }
}

/// Jobs whose results are as large as they may be, told to hosts of their own.
async fn end_all(client: &Client, receiver: &Slow) {
    let result: Value = "x".repeat(1024 * 1024 - 2).into();
    let mut ending = JoinSet::new();
    for host in 1..=COUNT {
        let webhook = json!({ "url": receiver.url_at(host), "secret": "hush" });
        client.submit_with(&json!({ "task": "remote", "webhook": webhook })).await;
        let (attempt, result) = (Remote::claim(client, "remote").await, result.clone());
        ending.spawn(async move { attempt.complete(result).await });
        if ending.len() > 4 {
            ending.join_next().await.unwrap().unwrap();
        }
    }
    ending.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_of_a_mebibyte_take_a_bounded_part_of_memory_and_arrive() {
    let settings = format!(
        "[webhooks]\nallow = [\"127.0.0.0/8\"]\nencryption_keys = [\"{KEY}\"]\ntimeout = \"1m\"\n[jobs]\nlease = \"10m\"\n[courier]\nbodies = {BODIES:?}"
    );
    let mut system = System::builder().workers(0).settings(&settings).start().await;
    let receiver = Slow::start().await;
    end_all(system.client(0), &receiver).await;
    // All are due when it starts.
    system.start_courier();
    let pid = system.couriers[0].pid();
    testkit::eventually_ok(2 * SOON, "many have arrived, some at a time", async || {
        match receiver.taken.load(Ordering::SeqCst) {
            ENOUGH.. => Ok(()),
            fewer => Err(format!("{fewer}")),
        }
    })
    .await;
    let most = memory(pid);
    println!("the courier took {most} MiB at most");
    assert!(most < MOST_MIB, "{most} MiB");
}
