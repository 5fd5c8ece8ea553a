//! What happened in a run, as facts: who submitted what, who saw what when, what was broken, and what Redis held in the end.
//!
//! The driver writes it, the checker judges it; neither knows the other. It goes to a file as JSON, so that a run can be
//! judged again by a better checker. Times are milliseconds since the run's start, by one monotonic clock. Texts that came
//! over the wire are kept as they came.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One run from start to quiescence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// How Redis stood.
    pub topology: Topology,
    /// What the schedule of faults was made from.
    pub seed: u64,
    /// How long faults and load went on; what came after is quiescence.
    pub seconds: u64,
    /// `store.durability` of all roles.
    pub durability: Durability,
    /// The server's name and version, such as `redis 7.0.15`.
    pub server: String,
    /// The planted fault, by its name, if the system under test was broken on purpose.
    pub planted: Option<String>,
    /// The run's start on the wall clock that Redis reads too, in ms since 1970: events' `at` minus this is the run's time.
    pub started_at_unix_ms: u64,
    /// The number of partitions at the end.
    pub partitions: u16,
    /// Every submission that was answered with a job id in the end.
    pub jobs: Vec<JobRecord>,
    /// Every owner that submitted.
    pub owners: Vec<OwnerRecord>,
    /// Every client that followed.
    pub clients: Vec<ClientRecord>,
    /// Every webhook that came to the receiver, in order.
    #[serde(default)]
    pub arrivals: Vec<Arrival>,
    /// What the nemesis did, and what it saw Redis do about it (failovers), in order of `from_ms`.
    pub faults: Vec<FaultRecord>,
    /// Whatever else is worth a line in the report: seconds to quiescence, peak memory…
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How Redis stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Topology {
    /// One server, `appendfsync always`: loses nothing, ever.
    Single,
    /// A primary, its replicas and Sentinels: an asynchronous failover can lose writes.
    Sentinel,
    /// Primaries with a replica each: likewise.
    Cluster,
}

impl Topology {
    /// The name that the command line and the report use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Sentinel => "sentinel",
            Self::Cluster => "cluster",
        }
    }

    /// Whether a failover can lose what was written.
    pub fn fails_over(self) -> bool {
        self != Self::Single
    }
}

/// When a submission or an end is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// When the primary has it.
    Local,
    /// When replicas have it.
    Replicated,
}

impl Durability {
    /// The name that configuration uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Replicated => "replicated",
        }
    }
}

/// A submission that was answered, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRecord {
    /// The id of the answer.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// The `Idempotency-Key` that all tries carried.
    pub key: String,
    /// When it was first sent.
    pub submitted_at_ms: u64,
    /// When the answer came that named this id. Where a repeat of the key was answered with another id later (Redis had lost
    /// the first), that is another record with the same key.
    pub answered_at_ms: u64,
    /// How many requests it took.
    pub tries: u32,
    /// The most entries that the job's log may hold (the task's `log_max`); `None` where the run relied on the default.
    pub log_cap: Option<u64>,
    /// How many counted outputs (`{"n": 1}`, `{"n": 2}`…) the handler writes in an attempt that completes.
    pub outputs: Option<u64>,
    /// Whether its end is to be told to the receiver.
    #[serde(default)]
    pub webhook: bool,
    /// The job's deadline, in ms from its submission; `None` where the run relied on the default, which no run lives to see.
    #[serde(default)]
    pub deadline_ms: Option<u64>,
    /// The ends that someone was told are written: by a cancel's 202, or by the answer to a worker. There are several only where
    /// Redis lost one, and the job ended again.
    #[serde(default)]
    pub acknowledged_ends: Vec<AcknowledgedEnd>,
    /// `GET /api/jobs/{id}` after quiescence.
    pub final_poll: Polled,
    /// `LRANGE jc:{tag}:log:<id> 0 -1` on the primary after quiescence, oldest first; empty if there is none.
    pub final_log: Vec<LogEntry>,
}

/// A webhook that came to the receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Arrival {
    /// When.
    pub at_ms: u64,
    /// Its `webhook-id`.
    pub webhook_id: String,
    /// The `jobId` of its body.
    pub job_id: String,
    /// The `type` of its body.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether its signature is right.
    pub is_signed: bool,
    /// What it was answered with.
    pub answered: u16,
}

/// An end that Jobcast said was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcknowledgedEnd {
    /// When it said so.
    pub at_ms: u64,
    /// Which: `completed`, `failed` or `cancelled`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What a poll answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Polled {
    /// The HTTP status.
    pub status: u16,
    /// The body as it came.
    pub body: String,
}

/// One entry of a log in Redis: `<seq> <mark> <mark before> <type> <json>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its number.
    pub seq: u64,
    /// Its mark, six hex digits.
    pub mark: String,
    /// The mark of the entry before, `000000` if it is the first ever.
    pub before: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The event as JSON.
    pub json: String,
}

impl LogEntry {
    /// Reads an entry as Redis holds it; `None` if it isn't one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(5, ' ');
        let mut word = || words.next().map(str::to_owned);
        Some(Self {
            seq: word()?.parse().ok()?,
            mark: word()?,
            before: word()?,
            kind: word()?,
            json: word()?,
        })
    }
}

/// An owner, and what is left of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerRecord {
    /// Its name.
    pub owner: String,
    /// Keys of submissions that were given up without any answer that named an id: each may have made a job.
    pub unanswered: Vec<String>,
    /// Ids of all its jobs by `GET /api/jobs`, every page, after quiescence; `None` if that wasn't asked.
    pub listed: Option<Vec<String>>,
    /// `LRANGE jc:{tag}:feedof:<owner> 0 -1` after quiescence for every partition, in the order of partitions.
    pub feeds: Vec<Vec<LogEntry>>,
}

/// A client that followed, and everything that it saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientRecord {
    /// Its number in the run.
    pub n: u32,
    /// As whom.
    pub owner: String,
    /// What.
    pub follows: Follows,
    /// What it saw, in order.
    pub sightings: Vec<Sighting>,
    /// Whether it was there until quiescence, or until told that all had ended; `false` for one that walked away by plan.
    pub stayed: bool,
}

/// What a client follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Follows {
    /// `GET /api/jobs/{id}/events`.
    Job(String),
    /// `GET /api/events?job=…`, in this order.
    Jobs(Vec<String>),
    /// `GET /api/feed`.
    Feed,
}

/// Something that a client saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sighting {
    /// When.
    pub at_ms: u64,
    /// What.
    pub saw: Saw,
}

/// What a client can see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Saw {
    /// The head of an answer: 200 begins a stream, 204 says that nothing follows, anything else is a refusal. `sent` is the
    /// `Last-Event-ID` of the request.
    Opened {
        /// The HTTP status.
        status: u16,
        /// The cursor that the request carried.
        sent: Option<String>,
    },
    /// No answer at all: refused, reset or timed out before a head came.
    Unreached {
        /// Why, for people.
        why: String,
    },
    /// A frame that has data.
    Frame {
        /// Its `event:`.
        event: String,
        /// Its `id:`, if it had one.
        id: Option<String>,
        /// Its `data:` as it came.
        data: String,
    },
    /// The body ended as it should (a last chunk, or the end of an HTTP/2 stream).
    Closed,
    /// The body broke off, or the client gave it up (no heartbeat).
    Broken {
        /// Why, for people.
        why: String,
    },
}

/// Something that was broken, from when until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultRecord {
    /// From when.
    pub from_ms: u64,
    /// Until when it was undone (restarted, continued, connected again); `from_ms` for what has no length.
    pub until_ms: u64,
    /// What.
    pub kind: FaultKind,
    /// The part that it struck.
    pub target: Target,
    /// Whether the part was a Redis primary at `from_ms`.
    #[serde(default)]
    pub primary: bool,
    /// The partitions that it touched; empty if that isn't known, and so may be all.
    #[serde(default)]
    pub partitions: Vec<u16>,
    /// More, for people.
    #[serde(default)]
    pub note: Option<String>,
}

/// A part of the system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its role.
    pub role: Role,
    /// Its number among its kind, from 1; 0 for all of them.
    pub n: u16,
}

/// What a part does. The order is that of the report's lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The balancer before the gateways.
    Balancer,
    /// A gateway.
    Gateway,
    /// A worker.
    Worker,
    /// A courier.
    Courier,
    /// A Sentinel.
    Sentinel,
    /// A Redis server.
    Redis,
    /// The way of clients to the balancer.
    Clients,
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Balancer => "balancer",
            Self::Gateway => "gateway",
            Self::Worker => "worker",
            Self::Courier => "courier",
            Self::Sentinel => "sentinel",
            Self::Redis => "redis",
            Self::Clients => "clients",
        }
    }
}

/// What is done to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FaultKind {
    /// SIGKILL; started again at `until_ms`.
    Kill,
    /// SIGTERM, a clean stop; started again at `until_ms`.
    Stop,
    /// SIGSTOP; SIGCONT at `until_ms`.
    Pause,
    /// Its connections stay open and carry nothing, or are cut: nothing goes in or out.
    Cut,
    /// Connections are closed in place of replies.
    CloseReplies,
    /// Live messages are swallowed.
    DropMessages,
    /// A slot was in migration.
    SlotMove,
    /// A failover that was asked for, or was seen to happen: from when the old primary was struck until the new one serves.
    Failover,
    /// Streams are rotated, or gateways restarted one after the other.
    Rollover,
}

impl FaultKind {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::Cut => "cut",
            Self::CloseReplies => "close replies",
            Self::DropMessages => "drop messages",
            Self::SlotMove => "slot move",
            Self::Failover => "failover",
            Self::Rollover => "rollover",
        }
    }
}

/// A record that could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file.
    #[error("the record's file: {0}")]
    File(#[from] std::io::Error),
    /// What is in it.
    #[error("the record is not one of this version: {0}")]
    Content(#[from] serde_json::Error),
}

impl Run {
    /// Writes the record to `path`.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        let mut file = BufWriter::new(File::create(path)?);
        serde_json::to_writer(&mut file, self)?;
        Ok(file.flush()?)
    }

    /// Reads a record that [`Run::write`] wrote.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?)
    }
}
