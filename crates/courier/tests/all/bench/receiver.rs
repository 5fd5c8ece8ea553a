//! A receiver of webhooks, whose answers the test writes.

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
use tokio::net::TcpListener;
use tokio::sync::watch;
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
    /// Whether answers are held back.
    is_holding: watch::Sender<bool>,
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
        Self::at("127.0.0.1:0", answer).await
    }

    /// Answers request number n, from 0, by a status, whichever host of this machine it came for: see [`Self::url_at`].
    pub async fn everywhere(answer: impl Fn(usize) -> u16 + Send + Sync + 'static) -> Self {
        Self::at("0.0.0.0:0", move |n, _| (Duration::ZERO, status(answer(n)).into_response())).await
    }

    async fn at(
        address: &str,
        answer: impl Fn(usize, &Got) -> (Duration, Response) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let desk = Arc::new(Desk {
            answer: Box::new(answer),
            got: Mutex::default(),
            open: Mutex::default(),
            most_open: AtomicUsize::new(0),
            twice: Mutex::default(),
            is_holding: watch::Sender::new(false),
        });
        let router =
            Router::new().fallback(take).layer(DefaultBodyLimit::disable()).with_state(Arc::clone(&desk));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, desk, _serving: serving }
    }

    pub fn url(&self) -> String {
        self.url_at(1)
    }

    /// The same, as another host of this machine, of a receiver that is [`Self::everywhere`].
    pub fn url_at(&self, host: u8) -> String {
        format!("http://127.0.0.{host}:{}/hook?a=b", self.addr.port())
    }

    /// Holds answers back from now on.
    pub fn hold(&self) {
        self.desk.is_holding.send_replace(true);
    }

    /// Gives those that are held back, and all others.
    pub fn let_go(&self) {
        self.desk.is_holding.send_replace(false);
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
    // The desk outlives all that are answered at it.
    let _ = desk.is_holding.subscribe().wait_for(|is_holding| !is_holding).await;
    desk.open.lock().remove(&id);
    response
}

pub fn status(status: u16) -> axum::http::StatusCode {
    axum::http::StatusCode::from_u16(status).unwrap()
}
