//! A receiver of webhooks in the test's hands: it can be away, and answer what the test says.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use model::{Clock, SystemClock, Timestamp};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::SOON;

/// What the receiver answers to its request number `n`, counted from 0: a status, and a body.
type Script = dyn Fn(usize, &Got) -> (u16, String) + Send + Sync;

/// What a receiver says whose answers are set by [`Hook::answer`].
pub const ANSWER: &str = "thanks, or no thanks";

/// One request that arrived.
#[derive(Clone, Debug)]
pub struct Got {
    /// When it had come.
    pub at: Timestamp,
    /// The path that it was sent to.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Got {
    /// The header `name`.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("there is no {name}")).to_str().unwrap()
    }

    /// The `webhook-id`.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// How long after the end that it tells of it had come.
    pub fn since_end(&self) -> Duration {
        let ended: Timestamp = serde_json::from_value(self.json()["timestamp"].clone()).unwrap();
        self.at.since(ended)
    }

    /// The body, which must be JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The receiver. Dropping it stops it.
pub struct Hook {
    addr: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinSet<()>>,
}

struct Shared {
    script: Box<Script>,
    /// What is answered in place of what the script says.
    instead: Mutex<Option<u16>>,
    /// By what connections are encrypted, if they are.
    tls: Mutex<Option<TlsAcceptor>>,
    /// How many connections came that didn't begin as TLS does, where they should.
    plain: AtomicUsize,
    /// Answers wait while this is true.
    held: watch::Sender<bool>,
    got: Mutex<Vec<Got>>,
}

impl Hook {
    /// One that answers 204 to everything.
    pub async fn start() -> Self {
        Self::answering(|_, _| (204, String::new())).await
    }

    /// One that answers what `script` says.
    pub async fn answering(script: impl Fn(usize, &Got) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            instead: Mutex::default(),
            tls: Mutex::default(),
            plain: AtomicUsize::new(0),
            held: watch::Sender::new(false),
            got: Mutex::default(),
        });
        let mut hook = Self { addr: listener.local_addr().unwrap(), shared, serving: None };
        hook.serve(listener);
        hook
    }

    /// One that answers 204 to everything that comes over TLS, with this certificate.
    pub async fn over_tls(tls: TlsAcceptor) -> Self {
        let hook = Self::start().await;
        hook.show(tls);
        hook
    }

    /// New connections are over TLS from now on, with this certificate.
    pub fn show(&self, tls: TlsAcceptor) {
        *self.shared.tls.lock().unwrap() = Some(tls);
    }

    /// How many connections were not over TLS, where they should have been.
    pub fn plain(&self) -> usize {
        self.shared.plain.load(Ordering::SeqCst)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    /// The URL of another path, which begins with a slash.
    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// From now on everything is answered so, with [`ANSWER`].
    pub fn answer(&self, status: u16) {
        *self.shared.instead.lock().unwrap() = Some(status);
    }

    /// From now on nothing is answered, or again what waits for its answer.
    pub fn hold(&self, holds: bool) {
        self.shared.held.send_replace(holds);
    }

    /// What has arrived so far.
    pub fn got(&self) -> Vec<Got> {
        self.shared.got.lock().unwrap().clone()
    }

    /// The `webhook-id`s that have arrived so far.
    pub fn ids(&self) -> Vec<String> {
        self.got().iter().map(|got| got.id().to_owned()).collect()
    }

    /// Waits until so many requests have arrived, and gives them all.
    pub async fn wait(&self, count: usize) -> Vec<Got> {
        let what = format!("{count} webhooks arrive");
        testkit::eventually(SOON, &what, async || self.got().len() >= count).await;
        self.got()
    }

    /// Stops listening, and breaks what is open.
    pub fn stop(&mut self) {
        self.serving = None;
    }

    /// Listens again, on the same port.
    pub async fn restart(&mut self) {
        let bound = testkit::eventually_some(SOON, "the port is free again", async || {
            TcpListener::bind(self.addr).await.ok()
        });
        let listener = bound.await;
        self.serve(listener);
    }

    fn serve(&mut self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            // Ends with the receiver: dropped, it takes its connections along.
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                connections.spawn(connected(socket, shared));
            }
        });
        self.serving = Some(serving);
    }
}

/// The first byte of every TLS connection: a handshake.
const HANDSHAKE: u8 = 22;

async fn connected(socket: TcpStream, shared: Arc<Shared>) {
    let tls = shared.tls.lock().unwrap().clone();
    let Some(tls) = tls else { return serve(socket, shared).await };
    let mut first = [0];
    if socket.peek(&mut first).await.is_ok_and(|there| there == 1) && first != [HANDSHAKE] {
        shared.plain.fetch_add(1, Ordering::SeqCst);
    }
    // Who doesn't trust the certificate goes away.
    if let Ok(socket) = tls.accept(socket).await {
        serve(socket, shared).await;
    }
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
    let served = hyper::server::conn::http1::Builder::new();
    let _ = served.serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(Response::default()) };
    let got = Got {
        at: SystemClock.now(),
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body: body.to_bytes(),
    };
    let n = {
        let mut all = shared.got.lock().unwrap();
        all.push(got.clone());
        all.len() - 1
    };
    let mut held = shared.held.subscribe();
    held.wait_for(|held| !held).await.unwrap();
    let instead = *shared.instead.lock().unwrap();
    let (status, body) = match instead {
        // What must not have a body gets none.
        Some(status @ 204) => (status, String::new()),
        Some(status) => (status, ANSWER.to_owned()),
        None => (shared.script)(n, &got),
    };
    Ok(Response::builder().status(status).body(body.into()).unwrap())
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hook").field("addr", &self.addr).finish_non_exhaustive()
    }
}
