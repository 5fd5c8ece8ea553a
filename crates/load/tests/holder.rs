//! The holder by itself, before servers that the test writes byte by byte.
#![allow(clippy::unwrap_used, clippy::panic, reason = "for tests alone: what fails must fail loudly")]

use std::net::SocketAddr;
use std::time::Duration;

use load::hold::{Counts, Holder, Holding, Log, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// As long as anything may take that should take moments.
const SOON: Duration = Duration::from_mins(1);

fn holding(server: SocketAddr, streams: usize) -> Holding {
    Holding {
        servers: vec![Server::at(server)],
        sources: Vec::new(),
        key: Some("sesame".into()),
        logs: vec![Log { path: "/log".into(), streams }],
        opening: 8,
        every: Duration::ZERO,
    }
}

async fn until(holder: &Holder, what: &str, condition: impl Fn(Counts) -> bool) -> Counts {
    let wait = async {
        while !condition(holder.counts()) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, wait).await.unwrap_or_else(|_| panic!("{what}: {:?}", holder.counts()));
    holder.counts()
}

async fn accept(listener: &TcpListener) -> (TcpStream, String) {
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    (socket, String::from_utf8(head).unwrap())
}

fn frame(seq: u64) -> String {
    let kind = if seq == 5 { "completed" } else { "output" };
    let frame = format!(
        "event: {kind}\ndata: {{\"seq\":{seq},\"output\":{{\"due\":1000000}}}}\nid: {seq}-00000{seq}\n\n"
    );
    format!("{:x}\r\n{frame}\r\n", frame.len())
}

const HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
/// The server asks to come back at once.
const RETRY: &str = "9\r\nretry: 1\n\r\n";

#[tokio::test]
async fn bytes_may_come_one_at_a_time_and_a_cut_stream_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let holder = Holder::start(holding(listener.local_addr().unwrap(), 1)).unwrap();

    let (mut socket, request) = accept(&listener).await;
    assert!(request.starts_with("GET /log HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nAuthorization: Bearer sesame\r\n"), "{request}");
    assert!(!request.contains("Last-Event-ID"), "{request}");
    let cut = frame(3);
    let text = format!("{HEAD}{RETRY}{}{}{}", frame(1), frame(2), &cut[..cut.len() - 8]);
    for byte in text.as_bytes() {
        socket.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let counts = until(&holder, "two events have come", |counts| counts.events == 2).await;
    assert_eq!((counts.open, counts.opened, counts.outputs), (1, 1, 2));
    drop(socket);

    let (mut socket, request) = accept(&listener).await;
    assert!(request.contains("\r\nLast-Event-ID: 2-000002\r\n"), "{request}");
    let text = format!("{HEAD}{}{}{}0\r\n\r\n", frame(3), frame(4), frame(5));
    socket.write_all(text.as_bytes()).await.unwrap();
    until(&holder, "it has ended", |counts| counts.ended == 1).await;

    let tally = holder.stop(vec![5]).await.unwrap();
    let Counts { events, lost, repeated, reordered, rewritten, cuts, .. } = tally.counts;
    assert_eq!((events, lost, repeated, reordered, rewritten, cuts), (5, 0, 0, 0, 0, 1));
    assert_eq!((tally.latency.figures().count, tally.streams_with_loss), (5, 0));
}

#[tokio::test]
async fn a_storm_brings_all_back_with_their_last_ids_and_what_is_missing_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let holder = Holder::start(holding(listener.local_addr().unwrap(), 3)).unwrap();
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let (mut socket, _) = accept(&listener).await;
        socket.write_all(format!("{HEAD}{}", frame(1)).as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    until(&holder, "each has an event", |counts| counts.events == 3).await;
    holder.storm();
    for mut cut in sockets {
        assert_eq!(cut.read(&mut [0]).await.unwrap_or(0), 0, "the connection is given up");
    }
    for at in 0..3 {
        let (mut socket, request) = accept(&listener).await;
        assert!(request.contains("\r\nLast-Event-ID: 1-000001\r\n"), "{request}");
        // One gets all, one too little in the middle, one at the end.
        let events: &[u64] = [&[2, 3, 4, 5][..], &[2, 4, 5], &[2, 3]][at];
        let text: String = events.iter().map(|&seq| frame(seq)).collect();
        socket.write_all(format!("{HEAD}{text}0\r\n\r\n").as_bytes()).await.unwrap();
    }
    until(&holder, "all that there is was read", |counts| counts.events == 12).await;
    let tally = holder.stop(vec![5]).await.unwrap();
    assert_eq!((tally.counts.lost, tally.streams_with_loss, tally.reopening.figures().count), (3, 2, 3));
}

#[tokio::test]
async fn a_no_is_told_and_tried_again_and_204_is_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let holder = Holder::start(holding(listener.local_addr().unwrap(), 1)).unwrap();
    let (mut socket, _) = accept(&listener).await;
    socket.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    until(&holder, "the failure is counted", |counts| counts.failures == 1).await;
    assert_eq!(holder.last_error().as_deref(), Some("status 503"));
    let (mut socket, _) = accept(&listener).await;
    socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let counts = until(&holder, "it has ended", |counts| counts.ended == 1).await;
    assert_eq!(counts.opened, 0);
}
