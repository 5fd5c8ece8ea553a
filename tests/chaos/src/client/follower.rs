//! One client: it comes back after every break, with the last id, as an EventSource does; only that it gives up on nothing
//! but 204 and 404.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::jobs::Work;
use super::wire::{Answer, Next};
use crate::dice::Dice;
use crate::record::{ClientRecord, Follows, Saw, Sighting};
use crate::world::{Clock, KEYS};

/// What a client is to follow, and as whom.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The owner's number in [`KEYS`].
    pub tenant: usize,
    /// What.
    pub follows: Follows,
    /// When it walks away, if by plan it does.
    pub leaves_after: Option<Duration>,
}

/// What all clients together have seen, for the progress on the terminal.
#[derive(Debug, Default)]
pub struct Seen {
    /// Frames.
    pub frames: AtomicU64,
    /// Streams opened.
    pub opened: AtomicU64,
    /// Requests without an answer, and answers that were neither 200 nor 204.
    pub refused: AtomicU64,
    /// Snapshots because of a rewind.
    pub rewound: AtomicU64,
    /// When the newest frame of a feed came.
    pub feed_at_ms: AtomicU64,
}

/// Until a stream says otherwise.
const RETRY: Duration = Duration::from_millis(500);

/// What every client needs.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) address: String,
    pub(super) clock: Clock,
    pub(super) work: Arc<Work>,
    pub(super) seen: Arc<Seen>,
    /// The end of the run: who still follows then stops.
    pub(super) over: CancellationToken,
}

/// Follows to the end.
pub(super) async fn follow(n: u32, choice: Choice, around: &Surroundings, dice: &mut Dice) -> ClientRecord {
    let tenant = KEYS[choice.tenant];
    let mut client = Client {
        record: ClientRecord {
            n,
            owner: tenant.owner.to_owned(),
            follows: choice.follows,
            sightings: Vec::new(),
            stayed: true,
        },
        around,
    };
    let leaves = async {
        match choice.leaves_after {
            Some(after) => sleep(after).await,
            None => std::future::pending().await,
        }
    };
    let path = path_of(&client.record.follows);
    tokio::select! {
        biased;
        () = around.over.cancelled() => {}
        () = client.run(&path, tenant.key, dice) => {}
        () = leaves => client.record.stayed = false,
    }
    client.record
}

fn path_of(follows: &Follows) -> String {
    match follows {
        Follows::Job(id) => format!("/api/jobs/{id}/events"),
        Follows::Jobs(ids) => {
            let query: Vec<_> = ids.iter().map(|id| format!("job={id}")).collect();
            format!("/api/events?{}", query.join("&"))
        }
        Follows::Feed => "/api/feed".to_owned(),
    }
}

struct Client<'a> {
    record: ClientRecord,
    around: &'a Surroundings,
}

impl Client<'_> {
    async fn run(&mut self, path: &str, key: &str, dice: &mut Dice) {
        let mut last_event_id = String::new();
        let mut retry = RETRY;
        loop {
            match Answer::get(&self.around.address, path, key, &last_event_id).await {
                Err(why) => self.saw(Saw::Unreached { why }),
                Ok(mut answer) => {
                    let status = answer.status;
                    let sent = (!last_event_id.is_empty()).then(|| last_event_id.clone());
                    self.saw(Saw::Opened { status, sent });
                    match status {
                        200 => {
                            self.read(&mut answer).await;
                            answer.last_event_id().clone_into(&mut last_event_id);
                            retry = answer.retry().unwrap_or(retry);
                        }
                        204 | 404 => return self.all_ended(),
                        _ => retry = RETRY,
                    }
                }
            }
            // The server jitters; the rest is for those that never got a stream.
            sleep(retry.mul_f64(0.9) + Duration::from_millis(dice.between(0, 100))).await;
        }
    }

    async fn read(&mut self, answer: &mut Answer) {
        loop {
            match answer.next().await {
                Next::Events(events) => {
                    for event in events {
                        self.note(&event.event, &event.data);
                        self.saw(Saw::Frame { event: event.event, id: event.id, data: event.data });
                    }
                }
                Next::Closed => return self.saw(Saw::Closed),
                Next::Broken(why) => return self.saw(Saw::Broken { why }),
            }
        }
    }

    fn saw(&mut self, saw: Saw) {
        let seen = &self.around.seen;
        let at_ms = self.around.clock.now_ms();
        match &saw {
            Saw::Frame { .. } => {
                seen.frames.fetch_add(1, Ordering::Relaxed);
                if self.record.follows == Follows::Feed {
                    seen.feed_at_ms.fetch_max(at_ms, Ordering::Relaxed);
                }
            }
            Saw::Opened { status: 200, .. } => _ = seen.opened.fetch_add(1, Ordering::Relaxed),
            Saw::Opened { status: 204, .. } | Saw::Closed | Saw::Broken { .. } => {}
            Saw::Opened { .. } | Saw::Unreached { .. } => _ = seen.refused.fetch_add(1, Ordering::Relaxed),
        }
        self.record.sightings.push(Sighting { at_ms, saw });
    }

    /// What the others want to know: ends, and rewinds.
    fn note(&self, event: &str, data: &str) {
        match event {
            "completed" | "failed" | "cancelled" | "gone" => match &self.record.follows {
                Follows::Job(id) => self.around.work.ended(id),
                Follows::Jobs(_) | Follows::Feed => {
                    if let Some(id) = job_id(data) {
                        self.around.work.ended(&id);
                    }
                }
            },
            "snapshot" if data.contains("\"reason\":\"rewound\"") => {
                self.around.seen.rewound.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }

    fn all_ended(&self) {
        match &self.record.follows {
            Follows::Job(id) => self.around.work.ended(id),
            Follows::Jobs(ids) => ids.iter().for_each(|id| self.around.work.ended(id)),
            Follows::Feed => {}
        }
    }
}

fn job_id(data: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(data).ok()?;
    Some(value.get("jobId")?.as_str()?.to_owned())
}
