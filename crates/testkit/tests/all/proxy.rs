//! The proxy breaks as asked, before a real Redis.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::eventually;
use testkit::proxy::{Framer, Proxy};
use testkit::redis::{AsyncCommands, RedisServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(150);
/// Twice as long as a busy machine stands still.
const LATE: Duration = Duration::from_secs(6);

async fn start() -> (RedisServer, Proxy) {
    let server = RedisServer::start().await;
    let proxy = Proxy::start(server.addr()).await;
    (server, proxy)
}

/// A bare client: what arrives is seen frame by frame, also the end.
struct Client {
    socket: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    async fn connect(proxy: &Proxy) -> Self {
        Self { socket: TcpStream::connect(proxy.addr()).await.unwrap(), unread: Vec::new() }
    }

    async fn send(&mut self, commands: &str) {
        self.socket.write_all(commands.as_bytes()).await.unwrap();
    }

    /// The next frame, or `None` at the end of the connection.
    async fn frame(&mut self) -> Option<String> {
        loop {
            if let Some(end) = Framer::default().advance(&self.unread).unwrap() {
                return Some(String::from_utf8(self.unread.drain(..end).collect()).unwrap());
            }
            match timeout(LONG, self.socket.read_buf(&mut self.unread)).await.expect("a frame or the end") {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn ask(&mut self, command: &str) -> Option<String> {
        self.send(command).await;
        self.frame().await
    }

    async fn hears_nothing(&mut self) -> bool {
        timeout(SHORT, self.socket.read_buf(&mut self.unread)).await.is_err()
    }
}

#[tokio::test]
async fn passes() {
    let (server, proxy) = start().await;
    let mut client = Client::connect(&proxy).await;
    assert_eq!(client.ask("SET a 1\r\n").await.unwrap(), "+OK\r\n");
    let big = "x".repeat(3 << 20);
    let () = server.client().await.set("big", &big).await.unwrap();
    assert_eq!(client.ask("GET big\r\n").await.unwrap(), format!("${}\r\n{big}\r\n", big.len()));
    assert_eq!((proxy.connections(), proxy.open_connections()), (1, 1));
    drop(client);
    eventually(LONG, "the connection is closed", async || proxy.open_connections() == 0).await;
}

#[tokio::test]
async fn passes_what_is_not_resp() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(server.local_addr().unwrap().to_string()).await;
    let mut client = Client::connect(&proxy).await;
    let (mut peer, _) = server.accept().await.unwrap();
    peer.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
    let mut seen = [0; 17];
    client.socket.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"HTTP/1.1 200 OK\r\n");
}

#[tokio::test]
async fn refuses_and_comes_back() {
    let (_server, proxy) = start().await;
    for _ in 0..3 {
        let mut client = Client::connect(&proxy).await;
        assert_eq!(client.ask("PING\r\n").await.unwrap(), "+PONG\r\n");
        proxy.refuse();
        assert_eq!(client.frame().await, None);
        let refused = TcpStream::connect(proxy.addr()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        proxy.pass();
    }
}

#[tokio::test]
async fn a_black_hole_keeps_connections_and_passes_nothing() {
    let (server, proxy) = start().await;
    let mut client = Client::connect(&proxy).await;
    assert_eq!(client.ask("PING\r\n").await.unwrap(), "+PONG\r\n");
    proxy.blackhole();
    client.send("SET a 1\r\n").await;
    let mut late = Client::connect(&proxy).await;
    late.send("SET b 1\r\n").await;
    assert!(client.hears_nothing().await);
    assert!(late.hears_nothing().await);
    let count: usize = server.client().await.exists(&["a", "b"]).await.unwrap();
    assert_eq!(count, 0, "a command passed");
    server.restart().await; // the end of a connection doesn't pass either
    assert!(client.hears_nothing().await);
    proxy.pass();
    assert_eq!(client.frame().await, None, "its server is gone");
    assert_eq!(late.frame().await.unwrap(), "+OK\r\n");
}

#[tokio::test]
async fn some_clients_are_held_and_others_pass() {
    let (_server, proxy) = start().await;
    let mut held = Client::connect(&proxy).await;
    let mut free = Client::connect(&proxy).await;
    assert_eq!(held.ask("SET a 1\r\n").await.unwrap(), "+OK\r\n");
    let known = held.socket.local_addr().unwrap();
    // Of new ones, the first.
    let new = AtomicUsize::new(0);
    let free_addr = free.socket.local_addr().unwrap();
    let rule = proxy.hold_clients(move |client| {
        Some(client == known || (client != free_addr && new.fetch_add(1, Ordering::SeqCst) == 0))
    });
    assert!(free.ask("GET a\r\n").await.is_some());
    held.send("INCR a\r\n").await;
    assert!(held.hears_nothing().await);
    let mut new_held = Client::connect(&proxy).await;
    new_held.send("INCR a\r\n").await;
    assert!(new_held.hears_nothing().await);
    assert!(rule.connections() >= 2, "{rule:?}");
    // Whatever else is done to the proxy meanwhile.
    proxy.blackhole();
    proxy.pass();
    assert_eq!(free.ask("INCR b\r\n").await.unwrap(), ":1\r\n");
    assert!(held.hears_nothing().await && new_held.hears_nothing().await);
    drop(rule);
    let mut answers = [held.frame().await.unwrap(), new_held.frame().await.unwrap()];
    answers.sort();
    assert_eq!(answers, [":2\r\n", ":3\r\n"], "what was held arrives");
}

#[tokio::test]
async fn a_client_that_nobody_knows_yet_waits() {
    let (_server, proxy) = start().await;
    let knows = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&knows);
    let rule = proxy.hold_clients(move |_| asked.load(Ordering::SeqCst).then_some(false));
    let mut client = Client::connect(&proxy).await;
    client.send("INCR a\r\n").await;
    assert!(client.hears_nothing().await);
    knows.store(true, Ordering::SeqCst);
    rule.ask_again();
    assert_eq!(client.frame().await.unwrap(), ":1\r\n");
    assert_eq!(rule.connections(), 0);
}

#[tokio::test]
async fn what_was_open_is_held_for_ever_when_only_new_connections_pass() {
    let (server, proxy) = start().await;
    let mut client = Client::connect(&proxy).await;
    assert_eq!(client.ask("PING\r\n").await.unwrap(), "+PONG\r\n");
    proxy.blackhole();
    let mut late = Client::connect(&proxy).await;
    server.restart().await;
    eventually(LONG, "the late one is there", async || proxy.connections() == 2).await;
    proxy.pass_new();
    assert_eq!(Client::connect(&proxy).await.ask("PING\r\n").await.unwrap(), "+PONG\r\n");
    client.send("PING\r\n").await;
    late.send("PING\r\n").await;
    assert!(client.hears_nothing().await, "not even that its server is gone");
    assert!(late.hears_nothing().await);
    proxy.cut();
    assert_eq!((client.frame().await, late.frame().await), (None, None));
}

#[tokio::test]
async fn cuts_once() {
    let (_server, proxy) = start().await;
    let mut client = Client::connect(&proxy).await;
    assert_eq!(client.ask("PING\r\n").await.unwrap(), "+PONG\r\n");
    proxy.cut();
    assert_eq!(client.frame().await, None);
    let mut client = Client::connect(&proxy).await;
    assert_eq!(client.ask("PING\r\n").await.unwrap(), "+PONG\r\n");
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn every_nth_reply_is_lost_after_its_command_was_executed() {
    let (server, proxy) = start().await;
    proxy.close_every_nth_reply(5);
    for _ in 0..10 {
        let mut client = Client::connect(&proxy).await;
        // Pipelined, so that the replies come in one piece.
        client.send(&"INCR n\r\n".repeat(5)).await;
        for _ in 0..4 {
            assert!(client.frame().await.unwrap().starts_with(':'));
        }
        assert_eq!(client.frame().await, None);
    }
    assert_eq!(proxy.replies_swallowed(), 10);
    let executed: usize = server.client().await.get("n").await.unwrap();
    assert_eq!(executed, 50);
    proxy.pass();
    let mut client = Client::connect(&proxy).await;
    client.send(&"PING\r\n".repeat(20)).await;
    for _ in 0..20 {
        assert_eq!(client.frame().await.unwrap(), "+PONG\r\n");
    }
}

#[tokio::test]
async fn replies_are_counted_over_all_connections() {
    let (_server, proxy) = start().await;
    let mut clients = [Client::connect(&proxy).await, Client::connect(&proxy).await];
    proxy.close_every_nth_reply(3);
    assert!(clients[0].ask("PING\r\n").await.is_some());
    assert!(clients[1].ask("PING\r\n").await.is_some());
    assert!(clients[0].ask("PING\r\n").await.is_none());
    assert!(clients[1].ask("PING\r\n").await.is_some());
}

#[tokio::test]
async fn replies_come_late_and_commands_do_not() {
    let (server, proxy) = start().await;
    let mut client = Client::connect(&proxy).await;
    assert_eq!(client.ask("PING\r\n").await.unwrap(), "+PONG\r\n");
    proxy.delay_replies(LATE);
    let asked = Instant::now();
    client.send("INCR n\r\n").await;
    let beside = server.client().await;
    eventually(LATE / 2, "it is executed", async || {
        beside.clone().get::<_, Option<u8>>("n").await.unwrap() == Some(1)
    })
    .await;
    assert_eq!(client.frame().await.unwrap(), ":1\r\n");
    assert!(asked.elapsed() >= LATE);
    proxy.pass();
    let asked = Instant::now();
    assert_eq!(client.ask("PING\r\n").await.unwrap(), "+PONG\r\n");
    assert!(asked.elapsed() < LATE);
}

#[tokio::test]
async fn messages_are_dropped_whole() {
    let (server, proxy) = start().await;
    let mut client = Client::connect(&proxy).await;
    assert!(client.ask("HELLO 3\r\n").await.unwrap().starts_with('%'));
    assert!(client.ask("SUBSCRIBE a\r\n").await.unwrap().starts_with(">3\r\n$9\r\nsubscribe"));
    assert!(client.ask("SSUBSCRIBE b\r\n").await.unwrap().starts_with(">3\r\n$10\r\nssubscribe"));
    let seen = AtomicUsize::new(0);
    proxy.drop_messages(move |channel, payload| {
        // Every third message, and all on this channel that say so.
        let n = seen.fetch_add(1, Ordering::SeqCst);
        assert!(channel == "a" || channel == "b");
        n % 3 == 2 || payload == b"drop me"
    });
    let mut publisher = server.client().await;
    for n in 0..9 {
        let _: usize = publisher.publish("a", n).await.unwrap();
    }
    let _: usize = publisher.publish("a", "drop me").await.unwrap();
    let _: usize = publisher.spublish("b", "x".repeat(100_000)).await.unwrap();
    for n in [0, 1, 3, 4, 6, 7] {
        assert_eq!(client.frame().await.unwrap(), format!(">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\n{n}\r\n"));
    }
    assert!(client.frame().await.unwrap().starts_with(">3\r\n$8\r\nsmessage\r\n$1\r\nb\r\n$100000\r\n"));
    assert_eq!(client.ask("PING\r\n").await.unwrap(), "+PONG\r\n");
    assert_eq!(proxy.messages_dropped(), 4);
    proxy.pass();
    let _: usize = publisher.publish("a", "drop me").await.unwrap();
    assert!(client.frame().await.unwrap().contains("drop me"));
}

#[tokio::test]
async fn a_server_that_comes_back_is_found() {
    let (server, proxy) = start().await;
    server.kill();
    let mut client = Client::connect(&proxy).await;
    assert_eq!(client.frame().await, None);
    server.restart().await;
    let mut client = Client::connect(&proxy).await;
    assert_eq!(client.ask("PING\r\n").await.unwrap(), "+PONG\r\n");
}
