//! Receivers of webhooks that behave badly, on bare sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What a bad receiver does once the request is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Nothing.
    Silent,
    /// The head, a byte a second.
    DripsHead,
    /// 200 and a body, a byte a second.
    DripsBody,
    /// 200 and a body without end.
    Floods,
    /// A reset.
    Resets,
    /// An end in the middle of the head.
    Breaks,
}

impl Bad {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Silent, Self::DripsHead, Self::DripsBody, Self::Floods, Self::Resets, Self::Breaks];
}

/// A bad receiver, on every address of this machine: 127.0.0.1, 127.0.0.2 and so on are hosts of their own.
#[derive(Debug)]
pub struct BadReceiver {
    port: u16,
    _serving: JoinSet<()>,
}

impl BadReceiver {
    /// Starts one.
    pub async fn start(bad: Bad) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(misbehave(socket, bad));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port, _serving: serving }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.url_at(1)
    }

    /// Its URL at the host number n, from 1.
    pub fn url_at(&self, host: u16) -> String {
        let [high, low] = host.to_be_bytes();
        format!("http://127.0.{high}.{low}:{}/hook", self.port)
    }
}

async fn misbehave(mut socket: TcpStream, bad: Bad) {
    let mut request = [0; 1024];
    if socket.read(&mut request).await.is_err() {
        return;
    }
    match bad {
        Bad::Silent => std::future::pending::<()>().await,
        Bad::DripsHead => drip(&mut socket, "HTTP/1.1 200 OK\r\nx: ").await,
        Bad::DripsBody => drip(&mut socket, "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\nslow").await,
        Bad::Floods => {
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10737418240\r\n\r\n";
            let lot = vec![b'x'; 1 << 16];
            let mut sent = socket.write_all(head).await;
            while sent.is_ok() {
                sent = socket.write_all(&lot).await;
            }
        }
        Bad::Resets => {
            socket.set_zero_linger().unwrap();
        }
        Bad::Breaks => drop(socket.write_all(b"HTTP/1.1 200 O").await),
    }
}

async fn drip(socket: &mut TcpStream, begin: &str) {
    let mut sent = socket.write_all(begin.as_bytes()).await;
    while sent.is_ok() {
        sleep(Duration::from_secs(1)).await;
        sent = socket.write_all(b"x").await;
    }
}
