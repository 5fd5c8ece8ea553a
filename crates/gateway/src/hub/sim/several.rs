//! [`Several`] against models of its logs, over the real hub, whose Redis is never reached: here is what reads and what is heard.
//! After every frame its id says exactly where the client stands in each log, and a stream that opens there tells the rest.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use model::replay::{self, Verdict as Settled};
use model::several::{ListHash, Seen, decode};
use model::{Cursor, EntryBody, LogId, Position};
use proptest::prelude::*;
use store::LiveSink;

use super::super::core::Wake;
use super::super::frame::{id_lines, render};
use super::super::node::Node;
use super::super::page::ReadPage;
use super::super::read::ReadOutcome;
use super::super::{Hub, Member, Several};
use super::log::{Events, Kind, Log, Lost, line};
use super::oracle::{Client, Verdict};
use super::still::{hub, name, still_runtime};

/// One thing that happens, to one of the logs where it is of one.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// An event, and `more`; heard live or not.
    Append {
        log: u8,
        more: u8,
        heard: bool,
    },
    /// The job ends, or one of those that the feed is of.
    Finish {
        log: u8,
        heard: bool,
    },
    Trim {
        log: u8,
        pick: u8,
    },
    /// Redis lost its newest events; of a feed, maybe all.
    Rewind {
        log: u8,
        to: u8,
    },
    /// The job isn't there any more; or the feed has expired.
    Vanish {
        log: u8,
    },
    /// The read that the log's core wants, if it does.
    Read {
        log: u8,
        fails: bool,
    },
    /// A reconcile.
    Reconcile {
        log: u8,
    },
    Take,
    /// The client comes back with the last id that it got.
    Reopen,
}

/// One log, what the client knows of it, and what reads of it said.
struct Part {
    name: LogId,
    log: Log,
    events: Events,
    verdicts: Vec<Verdict>,
    client: Client,
    gone: bool,
}

impl Part {
    /// Nothing of it will follow: the client was told that it is gone, or stands at its end, which a snapshot may have told.
    fn is_over(&self) -> bool {
        let Position { seq, mark } = self.client.position;
        let event = mark.and_then(|mark| self.events.at(Cursor::new(seq, mark)));
        let ended = event.and_then(|event| event.body.as_ref()).is_some_and(EntryBody::is_terminal);
        self.gone || (self.log.kind == Kind::Job && ended)
    }
}

struct World {
    hub: Hub,
    list: ListHash,
    now: u64,
    parts: Vec<Part>,
    stream: Several,
    over: bool,
    last_id: Option<String>,
}

impl World {
    fn new(kinds: &[Kind]) -> Self {
        let hub = hub(1 << 20);
        let part = |(index, &kind): (u8, &Kind)| {
            let mut events = Events::salted(index + 1);
            let mut log = Log::of(kind);
            if kind == Kind::Job {
                events.append(&mut log, false);
            }
            let client = Client { position: Position::START, since: 0, ended: false };
            Part { name: name(kind, index), log, events, verdicts: Vec::new(), client, gone: false }
        };
        let parts: Vec<_> = (0..).zip(kinds).map(part).collect();
        let list = ListHash::of_jobs(&[]);
        let mut world = Self {
            stream: Several::of_jobs(&hub, list, Vec::new()),
            hub,
            list,
            now: 0,
            parts,
            over: false,
            last_id: None,
        };
        world.open();
        world
    }

    /// A stream of all logs from where the client stands by its last id, as `api/stream/several` opens it.
    fn open(&mut self) {
        let seen = match &self.last_id {
            Some(id) => decode(id, |_| Some(self.list)).unwrap(),
            None => vec![Seen::NOTHING; self.parts.len()],
        };
        let members = self.parts.iter().zip(seen).map(|(part, seen)| match seen {
            Seen::UpTo(cursor) if part.log.ended() && part.log.last() == cursor && !part.log.gone => {
                Member::over(part.name.clone(), seen)
            }
            _ => Member::open(&self.hub, part.name.clone(), seen),
        });
        let members = members.collect();
        self.stream = Several::of_jobs(&self.hub, self.list, members);
        self.over = false;
        for part in &mut self.parts {
            part.client.since = self.now;
            // What it saw as the end may be one that Redis has lost since.
            part.client.ended &=
                part.log.ended() && !part.log.gone && part.client.position.is(part.log.last());
        }
    }

    fn step(&mut self, op: Op) {
        self.now += 1;
        let count = self.parts.len();
        let pick = |log: u8| usize::from(log) % count;
        match op {
            Op::Append { log, more, heard } => {
                (0..=more).for_each(|_| self.append(pick(log), false, heard));
            }
            Op::Finish { log, heard } => self.append(pick(log), true, heard),
            Op::Trim { log, pick: n } => {
                let log = &mut self.parts[pick(log)].log;
                let kept = log.history.len() - log.trimmed;
                let most = if log.kind == Kind::Job { kept + 1 } else { kept.max(1) };
                log.trimmed += usize::from(n) % most;
            }
            Op::Rewind { log, to } => {
                let log = &mut self.parts[pick(log)].log;
                // A job is there with its first event.
                let least = usize::from(log.kind == Kind::Job);
                log.history.truncate((usize::from(to) % (log.history.len() + 1)).max(least));
                let most = log.history.len().saturating_sub(1 - least);
                log.trimmed = log.trimmed.min(most);
            }
            Op::Vanish { log } => {
                let log = &mut self.parts[pick(log)].log;
                match log.kind {
                    Kind::Job => log.gone = true,
                    Kind::Feed => (log.history, log.trimmed) = (Vec::new(), 0),
                }
            }
            Op::Read { log, fails } => {
                self.read(pick(log), fails);
            }
            Op::Reconcile { log } => {
                self.reconcile(pick(log));
            }
            Op::Take => self.take(),
            Op::Reopen => self.open(),
        }
        self.check_held();
    }

    /// What the hub believes that all logs hold is what a walk finds.
    fn check_held(&self) {
        let logs = self.hub.0.logs.lock();
        let walked = logs.all().map(|node| node.core.lock().bytes()).sum::<usize>();
        assert_eq!(self.hub.0.held.bytes(), walked);
    }

    fn append(&mut self, index: usize, terminal: bool, heard: bool) {
        let node = self.node(index);
        let Part { log, events, .. } = &mut self.parts[index];
        if log.ended() || log.gone {
            return;
        }
        if log.kind == Kind::Feed && log.history.is_empty() {
            log.base = events.highest().max(1000) + self.now % 3 * 20;
        }
        let entry = events.append(log, terminal);
        if heard {
            node.entry(line(&entry));
        }
    }

    fn node(&self, index: usize) -> Arc<Node> {
        self.followed(index).unwrap()
    }

    /// The read that the core of a log wants, made and answered. Whether it wanted one.
    fn read(&mut self, index: usize, fails: bool) -> bool {
        let Some(node) = self.followed(index) else { return false };
        let Some(read) = node.core.lock().wanted() else { return false };
        let Part { log, verdicts, .. } = &mut self.parts[index];
        let page = log.read(read.position.seq, 3);
        let judge = if log.kind == Kind::Job { replay::settle } else { replay::settle_feed };
        let outcome = if fails {
            ReadOutcome::Failed
        } else if log.gone {
            ReadOutcome::Gone
        } else {
            let lost = match judge(read.position, &page) {
                Settled::Follows => Err(ReadPage::follows(read.position, page, log.ended()).unwrap()),
                Settled::Begins => Ok((None, page)),
                Settled::Trimmed => Ok((Some(Lost::Trimmed), log.read(0, 3))),
                Settled::Rewound => Ok((Some(Lost::Rewound), log.read(0, 3))),
            };
            ReadOutcome::Page(lost.map_or_else(
                |follows| follows,
                |(lost, page)| {
                    let number = verdicts.len().to_string();
                    let told = lost.map(|_| render(b"snapshot", number.as_bytes(), log.start()));
                    verdicts.push(Verdict { at: self.now, log: log.clone(), lost, start: log.start() });
                    ReadPage::restart(told.unwrap_or_default(), page, log.ended()).unwrap()
                },
            ))
        };
        let wake = node.core.lock().answer(read, outcome);
        node.wake(Wake { read: false, ..wake });
        true
    }

    /// The node of a log that was ever followed.
    fn followed(&self, index: usize) -> Option<Arc<Node>> {
        self.hub.0.logs.lock().get(&self.parts[index].name).map(Arc::clone)
    }

    /// Whether it found that something was lost.
    fn reconcile(&mut self, index: usize) -> bool {
        let Some(node) = self.followed(index) else { return false };
        let log = &self.parts[index].log;
        let tip = if log.gone { Cursor::START } else { log.last() };
        let mut core = node.core.lock();
        let head = core.head();
        let differs = core.differs(head, tip);
        if differs {
            // The shell looks at what is wanted by itself.
            let _: Wake = core.unsettle();
        }
        differs
    }

    /// One round of the stream, checked.
    fn take(&mut self) {
        if self.over {
            return;
        }
        let mut pieces = Vec::new();
        match self.stream.poll_next(&Context::from_waker(Waker::noop()), &mut pieces) {
            Poll::Pending => return,
            Poll::Ready(None) => {
                self.over = true;
                assert!(self.parts.iter().all(Part::is_over), "ends too soon");
                return;
            }
            Poll::Ready(Some(frames)) => assert_eq!(2 * frames, pieces.len() as u64),
        }
        for frame in pieces.chunks(2) {
            let [head, id] = frame else { panic!("{pieces:?}") };
            let id = std::str::from_utf8(id).unwrap().strip_prefix("id: ").unwrap().trim_end().to_owned();
            let seen = decode(&id, |_| Some(self.list)).unwrap();
            assert_eq!(seen.len(), self.parts.len());
            self.told(head, &seen);
            self.last_id = Some(id);
        }
    }

    /// The frame `head` was told, and now the client has `seen` so much: of one log one frame more, of the others the same.
    fn told(&mut self, head: &Bytes, seen: &[Seen]) {
        let mut frames = 0;
        for (part, &seen) in self.parts.iter_mut().zip(seen) {
            let Seen::UpTo(cursor) = seen else {
                frames += usize::from(!part.gone);
                assert!(
                    part.gone || head.starts_with(b"event: gone\n"),
                    "{head:?} says {:?} is gone",
                    part.name
                );
                part.gone = true;
                continue;
            };
            assert!(!part.gone, "{:?} was told as gone", part.name);
            if part.client.position.is(cursor) {
                continue;
            }
            let begins = |verdict: &Verdict| verdict.lost.is_none() && verdict.start == cursor;
            if part.client.position == Position::START && part.verdicts.iter().any(begins) {
                part.client.begin(cursor, self.now, &part.verdicts);
                continue;
            }
            let before = part.client.position;
            if before == Position::START && !head.starts_with(b"event: snapshot\n") {
                // Where it began is told with the first of its events.
                let of = part.events.at(cursor).map(|entry| entry.head.cursor_before());
                if let Some(start) = of.filter(|start| !before.is(*start)) {
                    part.client.begin(start, self.now, &part.verdicts);
                }
            }
            let frame = [&head[..], &id_lines(&cursor.to_string())].concat().into();
            part.client.take(part.log.kind, &frame, self.now, &part.events, &part.verdicts);
            frames += 1;
        }
        assert_eq!(frames, 1, "{head:?} is of {frames} logs");
    }

    /// Nothing happens any more, and what was lost is found: the client comes to the end of each log.
    fn settle_down(&mut self) {
        self.now += 1;
        for round in 0.. {
            assert!(round < 10_000, "without end");
            let before = self.last_id.clone();
            self.take();
            let busy = (0..self.parts.len()).fold(false, |busy, index| self.read(index, false) | busy);
            if before == self.last_id && !busy {
                let lost = (0..self.parts.len()).fold(false, |lost, index| self.reconcile(index) | lost);
                if !lost {
                    break;
                }
            }
        }
        for part in &self.parts {
            let Part { log, client, name, .. } = part;
            let at_end = client.position.is(log.last()) || (log.kind == Kind::Feed && log.history.is_empty());
            assert!(part.is_over() || (at_end && !log.gone), "{name:?}: {client:?} of {log:?}");
        }
        let over = self.parts.iter().all(Part::is_over);
        assert_eq!(self.over, over);
    }
}

fn op() -> impl Strategy<Value = Op> {
    let log = || any::<u8>();
    let heard = || prop::bool::weighted(0.8);
    prop_oneof![
        16 => (log(), 0..4u8, heard()).prop_map(|(log, more, heard)| Op::Append { log, more, heard }),
        3 => (log(), heard()).prop_map(|(log, heard)| Op::Finish { log, heard }),
        2 => (log(), any::<u8>()).prop_map(|(log, pick)| Op::Trim { log, pick }),
        2 => (log(), any::<u8>()).prop_map(|(log, to)| Op::Rewind { log, to }),
        1 => log().prop_map(|log| Op::Vanish { log }),
        20 => (log(), prop::bool::weighted(0.1)).prop_map(|(log, fails)| Op::Read { log, fails }),
        4 => log().prop_map(|log| Op::Reconcile { log }),
        20 => Just(Op::Take),
        3 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 20_000, ..super::config() })]

    #[test]
    fn every_log_of_a_stream_is_told_in_order_and_each_id_resumes_exactly(
        kinds in prop::collection::vec(prop_oneof![Just(Kind::Job), Just(Kind::Feed)], 1..5),
        ops in prop::collection::vec(op(), 1..150),
    ) {
        let runtime = still_runtime();
        let _here = runtime.enter();
        let mut world = World::new(&kinds);
        for op in ops {
            world.step(op);
        }
        world.settle_down();
    }
}

#[test]
fn a_busy_log_holds_up_no_other() {
    let runtime = still_runtime();
    let _here = runtime.enter();
    let mut world = World::new(&[Kind::Job; 4]);
    for index in 0..4 {
        world.take();
        world.read(index, false);
    }
    while world.last_id.is_none() || world.parts.iter().any(|part| part.client.position == Position::START) {
        world.take();
    }
    let seen = |world: &World, index: usize| world.parts[index].client.position.seq;
    world.append(0, false, true);
    world.take();
    (1..4).for_each(|index| world.append(index, false, true));
    for _ in 0..8 {
        // It always has more.
        world.append(0, false, true);
        world.take();
    }
    assert!((1..4).all(|index| seen(&world, index) == 2), "each of the others within two rounds");
}
