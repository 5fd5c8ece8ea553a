//! A scripted gateway: the worker API without any store behind it, one request a connection.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

/// The key that every request must bring.
pub(crate) const KEY: &str = "key-of-the-test";

pub(crate) struct Gateway {
    url: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    away: bool,
    refused: usize,
    calls: usize,
    lose_every: usize,
    offers: VecDeque<Value>,
    jobs: HashMap<String, Job>,
    violations: Vec<String>,
    repeats: usize,
}

#[derive(Default, Debug)]
struct Job {
    batch: u64,
    text: String,
    progress: f64,
    heartbeats: usize,
    calls: usize,
    end: Option<(String, Value)>,
}

/// What a call is answered with: a status and a body, or nothing but the end of the connection.
type Answer = Option<(u16, Value)>;

impl Gateway {
    /// Listens on a free port; answers are lost as often as `lose_every` says, after the call was taken.
    pub(crate) fn start(lose_every: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State { lose_every, ..State::default() }));
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = Arc::clone(&served);
                std::thread::spawn(move || serve(&state, connection));
            }
        });
        Self { url, state }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Puts a job up to be claimed. Its name says what becomes of it: `cancelled`, `lost`, `unknown`, `too-large`, `busy`.
    pub(crate) fn offer(&self, job: &str, payload: Value) {
        self.state().offers.push_back(json!({
            "jobId": job, "task": "shout", "payload": payload, "attempt": 1, "maxAttempts": 3,
            "leaseToken": format!("token-{job}"), "leaseExpiresAt": "2026-11-23T10:00:00.123Z",
        }));
    }

    /// Answers every call with 503 from now on, or no longer.
    pub(crate) fn away(&self, away: bool) {
        self.state().away = away;
    }

    /// How the job's attempt ended: the call and its body, but for the token.
    pub(crate) fn end(&self, job: &str) -> Option<(String, Value)> {
        self.state().jobs.get(job)?.end.clone()
    }

    pub(crate) fn text(&self, job: &str) -> String {
        self.state().jobs.get(job).map(|job| job.text.clone()).unwrap_or_default()
    }

    /// All that is known of a job, for a failing test.
    pub(crate) fn seen(&self, job: &str) -> String {
        format!("{:?}", self.state().jobs.get(job))
    }

    /// What the worker did against the rules.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// How many writes came again.
    pub(crate) fn repeats(&self) -> usize {
        self.state().repeats
    }

    /// Whether calls were refused so often.
    pub(crate) fn refused(&self, times: usize) -> Result<(), String> {
        let refused = self.state().refused;
        if refused >= times { Ok(()) } else { Err(format!("{refused} refused")) }
    }

    /// Whether so many heartbeats came for a job, beside outputs.
    pub(crate) fn beats(&self, job: &str, times: usize) -> Result<(), String> {
        let state = self.state();
        let job = state.jobs.get(job).ok_or("not claimed")?;
        if job.heartbeats >= times && !job.text.is_empty() { Ok(()) } else { Err(format!("{job:?}")) }
    }
}

fn serve(state: &Mutex<State>, connection: TcpStream) {
    let mut reader = BufReader::new(connection);
    let Some((path, body)) = read(&mut reader, state) else { return };
    let answer = if path.starts_with("/api/work/claim") {
        Some(claim(state, &path, &body))
    } else {
        call(state, &path, body)
    };
    if let Some((status, body)) = answer {
        let body = if status == 204 { String::new() } else { body.to_string() };
        let head =
            format!("HTTP/1.1 {status} So\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let _ = reader.into_inner().write_all((head + &body).as_bytes());
    }
}

fn read(reader: &mut BufReader<TcpStream>, state: &Mutex<State>) -> Option<(String, Value)> {
    let (mut first, mut length, mut authorized) = (String::new(), 0, false);
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => authorized = value == format!("Bearer {KEY}"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path =
        first.strip_prefix("POST ").and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
    if !authorized || path.is_empty() {
        state.lock().unwrap().violations.push(format!("no key, or no POST: {first}"));
    }
    Some((path, serde_json::from_slice(&body).ok()?))
}

fn claim(state: &Mutex<State>, path: &str, body: &Value) -> (u16, Value) {
    let mut state = state.lock().unwrap();
    if state.away {
        state.refused += 1;
        return (503, json!({}));
    }
    if path != "/api/work/claim?wait=20" || *body != json!({"tasks": ["shout"]}) {
        state.violations.push(format!("claim: {path} {body}"));
    }
    if let Some(offer) = state.offers.pop_front() {
        state.jobs.insert(offer["jobId"].as_str().unwrap().to_owned(), Job::default());
        return (200, offer);
    }
    drop(state);
    std::thread::sleep(Duration::from_millis(100)); // a short long poll
    (204, json!(null))
}

fn call(state: &Mutex<State>, path: &str, mut body: Value) -> Answer {
    let mut state = state.lock().unwrap();
    let state = &mut *state;
    let (name, what) =
        path.strip_prefix("/api/work/").and_then(|rest| rest.split_once('/')).unwrap_or_default();
    let Some(job) = state.jobs.get_mut(name) else {
        state.violations.push(format!("no such job: {path}"));
        return Some((404, json!({})));
    };
    let fields = body.as_object_mut().unwrap();
    if fields.remove("leaseToken") != Some(json!(format!("token-{name}"))) {
        state.violations.push(format!("{path}: without the token"));
    }
    (job.calls, state.calls) = (job.calls + 1, state.calls + 1);
    match what {
        "progress" | "output" => match fields.remove("batch").and_then(|batch| batch.as_u64()) {
            _ if matches!(name, "lost" | "unknown") => {}
            Some(batch) if batch == job.batch + 1 => {
                job.batch = batch;
                job.text += fields.get("text").and_then(Value::as_str).unwrap_or_default();
                job.progress = fields.get("progress").and_then(Value::as_f64).unwrap_or(job.progress);
            }
            Some(batch) if batch == job.batch => state.repeats += 1,
            batch => state.violations.push(format!("{path}: batch {batch:?} after {}", job.batch)),
        },
        "heartbeat" => job.heartbeats += 1,
        "complete" if name == "too-large" => return Some((413, json!("no"))),
        _ => job.end = Some((what.to_owned(), body)),
    }
    let cancelled = name == "cancelled" && job.text.matches("WORD").count() >= 3;
    match name {
        "lost" => Some((409, json!({"type": "urn:jobcast:lease-lost"}))),
        "unknown" => Some((404, json!({"type": "urn:jobcast:unknown-job"}))),
        "busy" if job.calls <= 2 => Some((503, json!({"type": "urn:jobcast:store-away"}))),
        _ if state.calls.is_multiple_of(state.lose_every) => None,
        _ => Some((200, json!({"leaseExpiresAt": "2026-11-23T10:00:00.123Z", "cancelled": cancelled}))),
    }
}
