//! The receiver of webhooks: writes down what comes, and answers as its URL says.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::clock::Clock;
use super::settings::SECRET;
use crate::record::Arrival;

/// How often `flaky` refuses a message before it takes it.
const REFUSALS: u32 = 3;
/// How many messages it refuses in a row. With five, couriers would take it for a host that is away, and leave it alone for longer
/// and longer, when nobody else is told anything any more.
const IN_A_ROW: u32 = 4;

/// A server for webhooks. Dropping it ends it.
pub struct Receiver {
    address: String,
    seen: Arc<Seen>,
    _server: JoinSet<()>,
}

struct Seen {
    clock: Clock,
    arrivals: Mutex<Vec<Arrival>>,
    refused: Mutex<Refused>,
}

#[derive(Default)]
struct Refused {
    of_message: HashMap<String, u32>,
    in_a_row: u32,
}

/// How a receiver takes a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// At once.
    Willing,
    /// After it has refused it three times, or four messages in a row.
    Flaky,
}

impl Receiver {
    pub(super) async fn start(clock: Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("the port").to_string();
        let seen = Arc::new(Seen { clock, arrivals: Mutex::default(), refused: Mutex::default() });
        let router = Router::new().route("/{manner}", post(take)).with_state(Arc::clone(&seen));
        let mut server = JoinSet::new();
        server.spawn(async move {
            axum::serve(listener, router).await.expect("a server that goes on");
        });
        Self { address, seen, _server: server }
    }

    /// Where messages go.
    pub fn url(&self, manner: Manner) -> String {
        let path = match manner {
            Manner::Willing => "willing",
            Manner::Flaky => "flaky",
        };
        format!("http://{}/{path}", self.address)
    }

    /// What came so far, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.seen.arrivals.lock().clone()
    }
}

async fn take(
    State(seen): State<Arc<Seen>>,
    Path(manner): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let webhook_id = header("webhook-id").to_owned();
    let told: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    let answer = if manner == "flaky" && seen.refuses(&webhook_id) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::NO_CONTENT
    };
    let arrival = Arrival {
        at_ms: seen.clock.now_ms(),
        is_signed: header("webhook-signature") == signature(&webhook_id, header("webhook-timestamp"), &body),
        job_id: text("jobId"),
        kind: text("type"),
        webhook_id,
        answered: answer.as_u16(),
    };
    seen.arrivals.lock().push(arrival);
    answer
}

impl Seen {
    fn refuses(&self, id: &str) -> bool {
        let mut refused = self.refused.lock();
        let times = refused.of_message.entry(id.to_owned()).or_default();
        *times += 1;
        let is_new = *times <= REFUSALS;
        let refuses = is_new && refused.in_a_row < IN_A_ROW;
        refused.in_a_row = if refuses { refused.in_a_row + 1 } else { 0 };
        refuses
    }
}

/// As Standard Webhooks has it.
fn signature(id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(SECRET.trim_start_matches("whsec_")).expect("base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
