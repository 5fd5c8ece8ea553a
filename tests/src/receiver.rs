//! A receiver of webhooks.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use model::{Clock, SystemClock, Timestamp};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::SOON;

/// What its answers say.
pub const ANSWER: &str = "thanks, or no thanks";

/// A webhook that came.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// When.
    pub at: Timestamp,
    /// The path that it was sent to.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its bytes.
    pub body: Bytes,
}

impl Arrival {
    /// The value of the header `name`; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A server on this machine that keeps what it gets, and answers as it is told to. Dropping it ends it.
#[derive(Debug)]
pub struct Receiver {
    address: String,
    seen: Arc<Seen>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Seen {
    answers: Mutex<StatusCode>,
    holds: watch::Sender<bool>,
    arrivals: Mutex<Vec<Arrival>>,
}

impl Receiver {
    /// Starts one that answers 200 to everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Seen {
            answers: Mutex::new(StatusCode::OK),
            holds: watch::Sender::new(false),
            arrivals: Mutex::default(),
        });
        let router = Router::new().fallback(take).with_state(Arc::clone(&seen));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, seen, _server: server }
    }

    /// The URL of `path`, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers with `status` from now on.
    pub fn answer(&self, status: u16) {
        *self.seen.answers.lock().unwrap() = StatusCode::from_u16(status).unwrap();
    }

    /// Takes what comes and answers nothing, or, with `false`, everything that waits.
    pub fn hold(&self, holds: bool) {
        self.seen.holds.send_replace(holds);
    }

    /// What came so far.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.seen.arrivals.lock().unwrap().clone()
    }

    /// What came, once so many have come.
    pub async fn wait(&self, count: usize) -> Vec<Arrival> {
        let what = format!("{count} webhooks have come");
        testkit::eventually(SOON, &what, async || self.arrivals().len() >= count).await;
        self.arrivals()
    }
}

async fn take(
    State(seen): State<Arc<Seen>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    seen.arrivals.lock().unwrap().push(Arrival {
        at: SystemClock.now(),
        path: uri.path().to_owned(),
        headers,
        body,
    });
    // The sender that could be gone is in `seen`.
    let _ = seen.holds.subscribe().wait_for(|holds| !holds).await;
    (*seen.answers.lock().unwrap(), ANSWER)
}
