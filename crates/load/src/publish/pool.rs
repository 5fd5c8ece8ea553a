//! Connections that carry reports of whichever job has news.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::clock::Due;
use super::connection::Connection;
use super::lane::{Lane, Report};
use super::{Publishing, Sent};
use crate::clock::now_us;
use crate::times::Times;

/// The wait before a report is sent again.
const AGAIN: Duration = Duration::from_millis(200);

/// The jobs, and which of them have news.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) publishing: Publishing,
    pub(super) state: RefCell<State>,
    news: Notify,
    pad: String,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) lanes: Vec<Lane>,
    ready: VecDeque<usize>,
    pub(super) sent: Sent,
    pub(super) reports: u64,
    pub(super) lost_jobs: u64,
    pub(super) late: Times,
    pub(super) answered: Times,
    pub(super) errors: BTreeMap<String, u64>,
}

impl Pool {
    pub(super) fn new(publishing: Publishing) -> Self {
        let lanes = publishing.jobs.iter().map(|&(job, token)| Lane::new(job, token)).collect();
        let state = State {
            lanes,
            ready: VecDeque::new(),
            sent: Sent::default(),
            reports: 0,
            lost_jobs: 0,
            late: Times::new(),
            answered: Times::new(),
            errors: BTreeMap::new(),
        };
        Self { pad: "x".repeat(publishing.pad), publishing, state: RefCell::new(state), news: Notify::new() }
    }

    /// An event is due; jobs take them in turn.
    pub(super) fn due(&self, due: Due) {
        let mut state = self.state.borrow_mut();
        let lane = usize::try_from(due.number % state.lanes.len() as u64).unwrap_or(0);
        state.sent.due += 1;
        state.lanes[lane].due(due.us);
        self.wake(&mut state, lane);
    }

    /// Something went wrong.
    pub(super) fn error(&self, what: String) {
        self.state.borrow_mut().error(what);
    }

    /// All jobs end.
    pub(super) fn end_all(&self) {
        let mut state = self.state.borrow_mut();
        for lane in 0..state.lanes.len() {
            state.lanes[lane].end();
            self.wake(&mut state, lane);
        }
    }

    fn wake(&self, state: &mut State, at: usize) {
        let lane = &mut state.lanes[at];
        if !lane.busy && lane.has_news() {
            lane.busy = true;
            state.ready.push_back(at);
            self.news.notify_one();
        }
    }

    async fn next(&self) -> usize {
        loop {
            let news = self.news.notified();
            let next = self.state.borrow_mut().ready.pop_front();
            match next {
                Some(at) => return at,
                None => news.await,
            }
        }
    }
}

/// Sends reports on one connection, for ever.
pub(super) async fn carry(pool: Rc<Pool>, number: usize) {
    let mut connection = Connection::to(pool.publishing.servers.clone(), number);
    loop {
        let at = pool.next().await;
        let report = pool.state.borrow_mut().lanes[at].report(pool.publishing.batch, &pool.pad);
        deliver(&pool, &mut connection, at, &report).await;
        let mut state = pool.state.borrow_mut();
        state.lanes[at].busy = false;
        if state.lanes[at].is_over() {
            state.sent.ended += 1;
        }
        pool.wake(&mut state, at);
    }
}

/// Sends `report` until it is answered, by another server each time.
async fn deliver(pool: &Pool, connection: &mut Connection, at: usize, report: &Report) {
    let now = now_us();
    for due in &report.due {
        pool.state.borrow_mut().late.add_us(now.saturating_sub(*due));
    }
    loop {
        let began = Instant::now();
        let key = pool.publishing.key.as_deref();
        let answer = connection.post(&report.path, key, report.body.as_bytes()).await;
        {
            let state = &mut *pool.state.borrow_mut();
            match answer {
                Ok((200, answer)) => return state.answered(at, report, answer, began.elapsed()),
                // Not now: too much at once, a gateway that stops, a Redis that is away.
                Ok((status @ (408 | 429 | 500..=599), _)) => state.error(format!("status {status}")),
                Ok((status, answer)) => {
                    return state.lose(at, format!("status {status}: {}", detail(answer)));
                }
                Err(error) => state.error(error.to_string()),
            }
        }
        connection.turn();
        sleep(AGAIN).await;
    }
}

impl State {
    fn answered(&mut self, at: usize, report: &Report, answer: &[u8], took: Duration) {
        self.reports += 1;
        self.answered.add(took);
        if memchr::memmem::find(answer, b"\"cancelled\":true").is_some() {
            return self.lose(at, "a job was cancelled by somebody else".to_owned());
        }
        self.lanes[at].acknowledge(report);
        self.sent.acknowledged += report.due.len() as u64;
    }

    /// The job takes no more.
    fn lose(&mut self, at: usize, why: String) {
        self.lanes[at].lose();
        self.lost_jobs += 1;
        self.error(why);
    }

    fn error(&mut self, what: String) {
        *self.errors.entry(what).or_default() += 1;
    }
}

/// What a problem document says.
fn detail(answer: &[u8]) -> String {
    let document: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    document["detail"].as_str().unwrap_or("it doesn't say why").to_owned()
}
