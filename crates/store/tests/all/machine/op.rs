//! What may happen, and what is said by it.

use std::time::Duration;

use model::report::Percent;
use model::{ErrorCode, Json, Priority, Report, Token};
use proptest::prelude::*;
use store::{End, External, Idempotency, NewJob, Retry};

/// How long an ended job is kept.
pub(crate) const RETENTION: Duration = Duration::from_mins(10);

/// One thing that happens. Numbers pick from what there is.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Submit {
        owner: bool,
        task: bool,
        small: bool,
        key: Option<u8>,
        other_body: bool,
        attempts: u8,
        wish: Wish,
    },
    Claim {
        tasks: u8,
        lease: u8,
        most: Most,
    },
    Pause(bool),
    Resume(bool),
    Renew(u8),
    Append {
        pick: u8,
        batch: Batch,
        says: Vec<Say>,
    },
    End {
        pick: u8,
        how: How,
        batch: Batch,
        says: Vec<Say>,
    },
    Release(u8),
    /// The worker forgets its lease.
    Crash(u8),
    Cancel {
        pick: u8,
        stranger: bool,
    },
    /// Somebody follows a job, and goes on for so many seconds.
    Follow {
        pick: u8,
        still: u8,
    },
    Delete {
        pick: u8,
        stranger: bool,
    },
    Sweep(bool),
    Pass(u32),
    GoBack(u32),
    /// A call that was accepted some time ago arrives once more.
    Again(u8),
}

/// What a job wants. Times are in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) priority: Priority,
    pub(crate) delay: u8,
    /// Nobody claims it, and its lease is so long.
    pub(crate) external: Option<u8>,
    /// It is cancelled when nobody has followed it for so long.
    pub(crate) disconnect: Option<u8>,
    /// Whether another attempt waits.
    pub(crate) patient: bool,
}

/// How many may run, by who claims.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) fleet: Option<u32>,
    pub(crate) of_owner: Option<u32>,
}

/// How long another attempt of a patient job waits.
pub(crate) const PATIENT: Retry = Retry { first: Duration::from_secs(2), longest: Duration::from_secs(5) };

#[derive(Clone, Copy, Debug)]
pub(crate) enum Batch {
    Next,
    Old,
    Gap,
    Uncounted,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum How {
    Completed,
    CompletedLarge,
    Failed,
    Retry,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Say {
    Progress(u8),
    Text(u8),
    Output(u8),
    Large,
}

/// Anything.
pub(crate) fn any_op() -> impl Strategy<Value = Op> {
    let says = || {
        let say = prop_oneof![
            4 => (0..6u8).prop_map(Say::Progress),
            3 => (0..4u8).prop_map(Say::Text),
            2 => (0..3u8).prop_map(Say::Output),
        ];
        (prop::collection::vec(say, 0..4), prop::bool::weighted(0.15)).prop_map(|(mut says, large)| {
            says.extend(large.then_some(Say::Large));
            says
        })
    };
    let batch = || {
        prop_oneof![
            8 => Just(Batch::Next),
            2 => Just(Batch::Uncounted),
            1 => Just(Batch::Old),
            1 => Just(Batch::Gap),
        ]
    };
    let how = prop_oneof![
        4 => Just(How::Completed),
        1 => Just(How::CompletedLarge),
        3 => Just(How::Failed),
        6 => Just(How::Retry),
    ];
    let priority =
        prop_oneof![1 => Just(Priority::High), 3 => Just(Priority::Normal), 1 => Just(Priority::Low)];
    let delay = prop_oneof![3 => Just(0), 1 => 1..20u8];
    let external = prop::option::weighted(0.25, 1..9u8);
    let disconnect = prop::option::weighted(0.25, 1..15u8);
    let wish = (priority, delay, external, disconnect, any::<bool>()).prop_map(
        |(priority, delay, external, disconnect, patient)| Wish {
            priority,
            delay,
            external,
            disconnect,
            patient,
        },
    );
    let most = (prop::option::weighted(0.3, 1..3u32), prop::option::weighted(0.3, 1..3u32))
        .prop_map(|(fleet, of_owner)| Most { fleet, of_owner });
    prop_oneof![
        12 => (any::<[bool; 3]>(), prop::option::weighted(0.3, 0..2u8), any::<bool>(), 1..4u8, wish).prop_map(
            |([owner, task, small], key, other_body, attempts, wish)| {
                Op::Submit { owner, task, small, key, other_body, attempts, wish }
            }
        ),
        16 => (0..4u8, 1..9u8, most).prop_map(|(tasks, lease, most)| Op::Claim { tasks, lease, most }),
        1 => any::<bool>().prop_map(Op::Pause),
        2 => any::<bool>().prop_map(Op::Resume),
        6 => any::<u8>().prop_map(Op::Renew),
        16 => (any::<u8>(), batch(), says()).prop_map(|(pick, batch, says)| Op::Append { pick, batch, says }),
        10 => (any::<u8>(), how, batch(), says()).prop_map(|(pick, how, batch, says)| Op::End { pick, how, batch, says }),
        4 => any::<u8>().prop_map(Op::Release),
        3 => any::<u8>().prop_map(Op::Crash),
        4 => (any::<u8>(), prop::bool::weighted(0.1)).prop_map(|(pick, stranger)| Op::Cancel { pick, stranger }),
        3 => (any::<u8>(), 0..6u8).prop_map(|(pick, still)| Op::Follow { pick, still }),
        4 => (any::<u8>(), prop::bool::weighted(0.1)).prop_map(|(pick, stranger)| Op::Delete { pick, stranger }),
        14 => any::<bool>().prop_map(Op::Sweep),
        12 => (0..2_000u32).prop_map(Op::Pass),
        4 => (2_000..9_000u32).prop_map(Op::Pass),
        1 => (9_000..50_000u32).prop_map(Op::Pass),
        2 => (1..40_000u32).prop_map(Op::GoBack),
        8 => any::<u8>().prop_map(Op::Again),
    ]
}

impl Batch {
    pub(crate) fn number(self, last: u64) -> Option<u64> {
        match self {
            Self::Next => Some(last + 1),
            Self::Old => Some(last.max(1)),
            Self::Gap => Some(last + 2),
            Self::Uncounted => None,
        }
    }
}

impl How {
    pub(crate) fn end(self) -> End {
        match self {
            Self::Completed => End::Completed(Json::parse("{\"n\":[]}").unwrap()),
            Self::CompletedLarge => End::Completed(Json::of(&"r".repeat(2_000)).unwrap()),
            Self::Failed => End::Failed { error: "bad\nluck".into(), code: ErrorCode::Handler },
            Self::Retry => End::Retry { error: String::new(), code: ErrorCode::Handler },
        }
    }
}

pub(crate) fn reports(says: &[Say]) -> Vec<Report> {
    let report = |say: &Say| match *say {
        Say::Progress(0) => Report::Progress { progress: None, message: None },
        Say::Progress(n) => Report::Progress {
            progress: Some(Percent::clamped(f64::from(n) * 12.5)),
            message: (n > 2).then(|| "\"ä\"\n".repeat(n.into())),
        },
        Say::Text(n) => Report::Text("é \u{1}".repeat(n.into())),
        Say::Output(0) => Report::Output(Json::null()),
        Say::Output(n) => Report::Output(Json::parse(&format!("{{\"a b\":[[],{{}},1e{n}00]}}")).unwrap()),
        // Published by its head alone.
        Say::Large => Report::Text("x".repeat(5_000)),
    };
    says.iter().map(report).collect()
}

pub(crate) fn new_job(
    owner: &str,
    task: &str,
    small: bool,
    attempts: u8,
    key: Option<u8>,
    other_body: bool,
    wish: Wish,
) -> NewJob {
    let seconds = |seconds: u8| Duration::from_secs(seconds.into());
    let external = wish
        .external
        .map(|lease| External { token: Token::from_random(rand::random()), lease: seconds(lease) });
    NewJob {
        payload: Json::of(&owner).unwrap(),
        max_attempts: attempts.into(),
        priority: wish.priority,
        delay: if external.is_some() { Duration::ZERO } else { seconds(wish.delay) },
        retry: if wish.patient { PATIENT } else { Retry::default() },
        external,
        cancel_on_disconnect: wish.disconnect.map(seconds),
        timeout: Duration::from_secs(20),
        deadline: Duration::from_mins(1),
        queue_timeout: Duration::from_secs(15),
        retention: RETENTION,
        // No batch is so large that an event of it is gone before it was seen.
        log_events: if small { 8 } else { 1_000 },
        log_bytes: if small { 8_000 } else { 1 << 20 },
        idempotency: key.map(|key| Idempotency {
            key: format!("key{key}"),
            fingerprint: if other_body { "two" } else { "one" }.into(),
        }),
        ..NewJob::new(owner.parse().unwrap(), task.parse().unwrap())
    }
}
