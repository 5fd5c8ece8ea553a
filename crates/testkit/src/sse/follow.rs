//! A client that behaves as a browser's EventSource: it comes back after a break, with the last id it has seen.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::{End, Event, SseStream};

/// How to follow.
#[derive(Debug, Clone)]
pub struct FollowOptions {
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Other URLs of the same stream (of other gateways): connections go to the first URL and these in turn, as a
    /// load balancer would send them.
    pub also: Vec<String>,
    /// Where to begin; empty (the default) is the beginning.
    pub last_event_id: String,
    /// The wait before a reconnect until a stream says `retry:`; 1 s by default.
    pub retry: Duration,
    /// The longest wait before a reconnect, whatever `retry:` says; no limit by default.
    pub max_retry: Duration,
    /// After this time it stops by itself; 60 s by default.
    pub deadline: Duration,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            headers: Vec::new(),
            also: Vec::new(),
            last_event_id: String::new(),
            retry: Duration::from_secs(1),
            max_retry: Duration::MAX,
            deadline: Duration::from_mins(1),
        }
    }
}

impl FollowOptions {
    /// The defaults with `Authorization: Bearer <key>`.
    pub fn bearer(key: &str) -> Self {
        Self { headers: vec![("Authorization".into(), format!("Bearer {key}"))], ..Self::default() }
    }
}

/// What a [`Follower`] has seen.
#[derive(Debug, Clone, Default)]
pub struct FollowLog {
    /// All events of all connections, in order.
    pub events: Vec<Event>,
    /// How often it asked for the stream, failures included.
    pub connects: usize,
    /// How many of these got no answer.
    pub failures: usize,
    /// How many streams broke in the middle of the body, instead of being ended by the server.
    pub breaks: usize,
    /// The comments (heartbeats) of all connections, up to the last event or end.
    pub comments: usize,
    /// The status that ended it (204 after a job's end; 200 with a wrong content type); `None` while it runs and after
    /// its deadline.
    pub ended: Option<u16>,
}

/// Follows a stream in the background until it is told to stop by a status, its deadline, or its drop.
#[derive(Debug)]
pub struct Follower {
    log: Arc<Mutex<FollowLog>>,
    task: JoinSet<()>,
}

/// Follows the stream at `url` as an EventSource does: when the connection can't be made or ends, it comes back
/// after the stream's `retry:` with the last id in `Last-Event-ID`; any status but 200 ends it. Call it within a
/// Tokio runtime.
pub fn follow(url: impl Into<String>, options: FollowOptions) -> Follower {
    let log = Arc::new(Mutex::new(FollowLog::default()));
    let mut urls = vec![url.into()];
    urls.extend(options.also.iter().cloned());
    let mut task = JoinSet::new();
    let shared = Arc::clone(&log);
    task.spawn(async move {
        // At the deadline the log simply stays as it is.
        let _ = timeout(options.deadline, run(&urls, &options, &shared)).await;
    });
    Follower { log, task }
}

impl Follower {
    /// What it has seen so far.
    pub fn log(&self) -> FollowLog {
        self.log.lock().clone()
    }

    /// How many events it has seen so far.
    pub fn count(&self) -> usize {
        self.log.lock().events.len()
    }

    /// Waits until it stops by itself, and gives all it has seen.
    pub async fn wait(mut self) -> FollowLog {
        if let Some(Err(error)) = self.task.join_next().await {
            std::panic::resume_unwind(error.into_panic());
        }
        self.log()
    }

    /// Stops it now, closing its connection, and gives all it has seen.
    pub async fn stop(mut self) -> FollowLog {
        self.task.shutdown().await;
        self.log()
    }
}

async fn run(urls: &[String], options: &FollowOptions, log: &Mutex<FollowLog>) {
    let mut last_event_id = options.last_event_id.clone();
    let mut retry = options.retry;
    for url in urls.iter().cycle() {
        log.lock().connects += 1;
        let mut request = SseStream::builder(url).last_event_id(&last_event_id);
        for (name, value) in &options.headers {
            request = request.header(name, value);
        }
        if let Ok(mut stream) = request.try_open().await {
            read(&mut stream, log).await;
            if stream.end() == Some(&End::NoStream) {
                log.lock().ended = Some(stream.status().as_u16());
                return;
            }
            stream.last_event_id().clone_into(&mut last_event_id);
            retry = stream.retry().unwrap_or(retry);
        } else {
            log.lock().failures += 1;
        }
        sleep(retry.min(options.max_retry)).await;
    }
}

/// Reads one stream to its end.
async fn read(stream: &mut SseStream, log: &Mutex<FollowLog>) {
    let mut comments = 0;
    loop {
        let event = stream.next().await;
        let mut log = log.lock();
        log.comments += stream.comments().len() - std::mem::replace(&mut comments, stream.comments().len());
        log.breaks += usize::from(matches!(stream.end(), Some(End::Broken(_))));
        match event {
            Some(event) => log.events.push(event),
            None => return,
        }
    }
}
