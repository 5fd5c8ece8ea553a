//! A gateway that stops refuses nothing that it has accepted, nor what still comes while it drains, and is gone in time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::eventually;
use tokio::net::TcpStream;
use whole::{Client, SOON, System, Wire};

/// Longer than what comes at its beginning may take on a busy machine.
const DRAIN: Duration = Duration::from_secs(10);

fn submission(length: usize) -> String {
    format!(
        "POST /api/jobs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Sends all but the body's last byte.
async fn begun(client: &Client, body: &str) -> Wire {
    let mut wire = Wire::open(client).await;
    assert!(wire.send(submission(body.len())).await);
    assert!(wire.send(&body[..body.len() - 1]).await);
    wire
}

#[tokio::test]
async fn what_has_begun_and_what_comes_meanwhile_is_answered() {
    // Bodies may stop for longer than the drain.
    let settings = format!("[stream]\ndrain = \"{}s\"\n[gateway]\nheader_timeout = \"1m\"", DRAIN.as_secs());
    let system = System::builder().workers(0).settings(&settings).start().await;
    let client = system.client(0);
    let body = json!({ "task": "remote", "payload": "x".repeat(100_000) }).to_string();
    let mut early = begun(client, &body).await;
    let mut late = begun(client, &body).await;
    let mut idle = Wire::open(client).await;
    assert!(idle.send("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await);
    assert_eq!(idle.answer().await.unwrap().status, 200);

    let asked = Instant::now();
    system.gateways[0].terminate();
    eventually(SOON, "/readyz says no", async || client.get("/readyz").await.status() == 503).await;
    let mut accepted = 0;
    // Whose body was on its way, who comes on a connection of before, and who comes anew.
    assert!(early.send("}").await);
    assert_eq!(early.answer().await.unwrap().status, 202);
    assert!(idle.send(submission(body.len())).await && idle.send(&body).await);
    assert_eq!(idle.answer().await.unwrap().status, 202);
    accepted += 2;
    while asked.elapsed() < DRAIN / 4 {
        let mut wire = Wire::open(client).await;
        assert!(wire.send(submission(body.len())).await && wire.send(&body).await);
        assert_eq!(wire.answer().await.unwrap().status, 202);
        accepted += 1;
    }
    // A body that ends when the drain does is answered too.
    tokio::time::sleep(DRAIN.saturating_sub(asked.elapsed())).await;
    assert!(late.send("}").await);
    assert_eq!(late.answer().await.unwrap().status, 202);
    accepted += 1;
    assert_eq!(system.gateways[0].wait_exit(SOON).await.code(), Some(0));
    let took = asked.elapsed();
    assert!(took >= DRAIN, "the drain is for others to hear of it: {took:?}");
    assert_eq!(system.jobs().await, accepted, "all that was accepted is there");
}

#[tokio::test]
async fn once_the_drain_is_over_nobody_is_let_in_to_wait_in_vain() {
    let system = System::builder().workers(0).settings("[stream]\ndrain = \"1s\"").start().await;
    let client = system.client(0);
    let address = client.url("").replace("http://", "");
    let body = json!({ "task": "remote", "payload": Value::Null }).to_string();
    // Keeps the gateway up beyond its drain, for as long as it waits for such.
    let mut held = begun(client, &body).await;
    system.gateways[0].terminate();
    eventually(SOON, "new connections are refused", async || TcpStream::connect(&address).await.is_err())
        .await;
    assert!(system.gateways[0].exited().is_none(), "while what had begun is waited for");
    assert!(held.send("}").await);
    assert_eq!(held.answer().await.unwrap().status, 202);
    assert_eq!(system.gateways[0].wait_exit(SOON).await.code(), Some(0));
}
