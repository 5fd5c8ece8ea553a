//! Receivers of webhooks: good ones, whose answers the test writes, and bad ones, on bare sockets.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    pub at: Instant,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

type Answer = dyn Fn(usize, &Got) -> (Duration, Response) + Send + Sync;

struct Desk {
    answer: Box<Answer>,
    got: Mutex<Vec<Got>>,
    /// Messages that are being answered.
    open: Mutex<HashSet<String>>,
    /// The most that were so at once.
    most_open: AtomicUsize,
    /// Messages of which a second request came while the first was being answered.
    twice: Mutex<Vec<String>>,
}

/// A receiver that answers as the test says.
pub struct Receiver {
    pub addr: SocketAddr,
    desk: Arc<Desk>,
    _serving: JoinSet<()>,
}

impl Receiver {
    /// Answers 204 to everything, at once.
    pub async fn start() -> Self {
        Self::answering(|_, _| 204).await
    }

    /// Answers request number n, from 0, by a status.
    pub async fn answering(answer: impl Fn(usize, &Got) -> u16 + Send + Sync + 'static) -> Self {
        Self::scripted(move |n, got| (Duration::ZERO, status(answer(n, got)).into_response())).await
    }

    /// Answers as the test says, after so long.
    pub async fn scripted(
        answer: impl Fn(usize, &Got) -> (Duration, Response) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let desk = Arc::new(Desk {
            answer: Box::new(answer),
            got: Mutex::default(),
            open: Mutex::default(),
            most_open: AtomicUsize::new(0),
            twice: Mutex::default(),
        });
        let router =
            Router::new().fallback(take).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(&desk));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, desk, _serving: serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.addr)
    }

    pub fn got(&self) -> Vec<Got> {
        self.desk.got.lock().clone()
    }

    pub fn count(&self) -> usize {
        self.desk.got.lock().len()
    }

    /// All that came, as soon as that is so many.
    pub async fn wait(&self, count: usize) -> Vec<Got> {
        let what = format!("{count} requests at the receiver");
        testkit::eventually_ok(super::LONG, &what, async || match self.got() {
            got if got.len() >= count => Ok(got),
            got => Err(format!("{}", got.len())),
        })
        .await
    }

    /// The most messages that were being answered at once.
    pub fn most_open(&self) -> usize {
        self.desk.most_open.load(Ordering::SeqCst)
    }

    /// Messages of which a second request came while the first was being answered.
    pub fn twice(&self) -> Vec<String> {
        self.desk.twice.lock().clone()
    }
}

async fn take(State(desk): State<Arc<Desk>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let got = Got { at: Instant::now(), path: uri.to_string(), headers, body };
    let id = got.id().to_owned();
    {
        let mut open = desk.open.lock();
        if !open.insert(id.clone()) {
            desk.twice.lock().push(id.clone());
        }
        desk.most_open.fetch_max(open.len(), Ordering::SeqCst);
    }
    let n = {
        let mut all = desk.got.lock();
        all.push(got.clone());
        all.len() - 1
    };
    let (after, response) = (desk.answer)(n, &got);
    sleep(after).await;
    desk.open.lock().remove(&id);
    response
}

pub fn status(status: u16) -> axum::http::StatusCode {
    axum::http::StatusCode::from_u16(status).unwrap()
}

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

pub const ALL_BAD: [Bad; 6] =
    [Bad::Silent, Bad::DripsHead, Bad::DripsBody, Bad::Floods, Bad::Resets, Bad::Breaks];

/// A bad receiver, on every address of this machine: 127.0.0.1, 127.0.0.2 and so on are hosts of their own.
pub struct BadReceiver {
    pub port: u16,
    _serving: JoinSet<()>,
}

impl BadReceiver {
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
        Bad::Silent => std::future::pending().await,
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
            // Closed while bytes are unread or in flight: a reset.
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
