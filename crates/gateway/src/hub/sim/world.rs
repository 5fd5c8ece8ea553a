//! A run: Redis, the live channel, the shell, and the streams.

use bytes::Bytes;
use model::replay::{self, Verdict as Settled};
use model::{Cursor, Entry, Mark, Position};

use super::super::core::{Limits, LogCore, Taken, WaitFor, Wake};
use super::super::frame::render;
use super::super::page::ReadPage;
use super::super::read::{ReadAt, ReadOutcome};
use super::super::seat::Seat;
use super::log::{Events, Log, Lost};
use super::oracle::{Client, Verdict};

/// Sizes of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) ring_bytes: usize,
    /// The most entries of a page.
    pub(super) page: usize,
}

/// What becomes of a live message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Heard,
    /// Heard some time later, maybe after others.
    Late,
    Lost,
    /// Heard now and again some time later.
    Twice,
}

/// One thing that happens. A `pick` chooses among what there is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// One event, and `more`. Large ones are told without their body.
    Append {
        more: u8,
        large: bool,
        fate: Fate,
    },
    /// A late live message arrives, maybe to arrive `again`.
    Hear {
        pick: u8,
        again: bool,
    },
    /// The log is trimmed.
    Trim(u8),
    /// Redis lost its newest events, and maybe has some that it had trimmed.
    Rewind {
        to: u8,
        kept: u8,
    },
    /// A history that Redis had lost is back.
    Restore(u8),
    /// The job ends.
    Finish,
    /// The job isn't there any more.
    Vanish,
    /// A stream opens: at the start, a cursor that was told once, a bare seq, a foreign mark, or at the log's end.
    Open {
        how: u8,
        pick: u8,
    },
    Close(u8),
    /// A stream that is awake takes what is ready.
    Take {
        pick: u8,
        budget: u8,
    },
    /// Another stream opens where one stands: both get the same.
    Twin(u8),
    /// The shell asks the core what to read.
    Ask,
    /// The read runs in Redis.
    Run,
    /// The read is answered, or fails.
    Answer(bool),
    Shed(u8),
    /// A reconcile asks Redis for the newest cursor.
    AskTip,
    /// It is told to the core, maybe after live has caught up.
    TellTip(bool),
    /// The subscription was built anew.
    Unsettle,
}

#[derive(Debug)]
struct Stream {
    seat: Seat,
    client: Client,
    waits: Option<WaitFor>,
    over: bool,
}

#[derive(Debug)]
enum Ran {
    NotYet,
    Done(ReadOutcome),
    /// The position is lost; the shell reads again from the start.
    Lost(Verdict),
}

pub(super) struct World {
    setting: Setting,
    now: u64,
    log: Log,
    /// Histories that Redis lost.
    lost: Vec<Log>,
    events: Events,
    late: Vec<Entry>,
    verdicts: Vec<Verdict>,
    core: LogCore,
    /// The core said that it wants something read.
    look: bool,
    reading: Option<(ReadAt, Ran)>,
    reads: usize,
    tip: Option<(Option<Cursor>, Cursor)>,
    streams: Vec<Stream>,
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let (mut log, mut events) = (Log::default(), Events::default());
        events.append(&mut log, false);
        Self {
            setting,
            now: 0,
            log,
            lost: Vec::new(),
            events,
            late: Vec::new(),
            verdicts: Vec::new(),
            core: LogCore::new(Limits { ring_bytes: setting.ring_bytes }),
            look: false,
            reading: None,
            reads: 0,
            tip: None,
            streams: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, op: Op) {
        self.now += 1;
        match op {
            Op::Append { more, large, fate } => (0..=more).for_each(|_| self.append(false, large, fate)),
            Op::Hear { pick, again } => self.hear_late(pick, again),
            Op::Trim(pick) => {
                self.log.trimmed += index(pick, self.log.history.len() - self.log.trimmed + 1).unwrap();
            }
            Op::Rewind { to, kept } => self.rewind(to, kept),
            Op::Restore(pick) => {
                if let Some(i) = index(pick, self.lost.len()) {
                    std::mem::swap(&mut self.log, &mut self.lost[i]);
                }
            }
            Op::Finish => self.append(true, false, Fate::Heard),
            Op::Vanish => self.log.gone = true,
            Op::Open { how, pick } => self.open(how, pick),
            Op::Close(pick) => {
                if let Some(i) = index(pick, self.streams.len()) {
                    self.core.close(self.streams.swap_remove(i).seat);
                }
            }
            Op::Take { pick, budget } => self.take_one(pick, budget),
            Op::Twin(pick) => self.twin(pick),
            Op::Ask => self.ask(),
            Op::Run => self.run(),
            Op::Answer(fails) => self.answer(fails),
            Op::Shed(bytes) => {
                let before = self.core.bytes();
                let freed = self.core.shed(usize::from(bytes) * 8);
                assert_eq!(self.core.bytes(), before - freed);
            }
            Op::AskTip if self.log.gone => {}
            Op::AskTip => self.tip = Some((self.core.head(), self.log.last())),
            Op::TellTip(barrier) => self.tell_tip(barrier),
            Op::Unsettle => {
                let wake = self.core.unsettle();
                self.wake(wake);
            }
        }
        self.check_core();
    }

    fn append(&mut self, terminal: bool, large: bool, fate: Fate) {
        if self.log.ended() || self.log.gone {
            return;
        }
        let mut entry = self.events.append(&mut self.log, terminal);
        if large {
            entry.body = None;
        }
        if matches!(fate, Fate::Late | Fate::Twice) {
            self.late.push(entry.clone());
        }
        if matches!(fate, Fate::Heard | Fate::Twice) {
            self.hear(&entry);
        }
    }

    fn hear(&mut self, entry: &Entry) {
        let wake = self.core.live(entry);
        self.wake(wake);
    }

    fn hear_late(&mut self, pick: u8, again: bool) {
        if let Some(i) = index(pick, self.late.len()) {
            let entry = if again { self.late[i].clone() } else { self.late.remove(i) };
            self.hear(&entry);
        }
    }

    fn rewind(&mut self, to: u8, kept: u8) {
        self.lost.push(self.log.clone());
        let to = index(to, self.log.history.len() + 1).unwrap();
        self.log.history.truncate(to);
        self.log.trimmed = self.log.trimmed.min(index(kept, to + 1).unwrap());
        self.log.gone = false;
    }

    fn open(&mut self, how: u8, pick: u8) {
        let told = self.events.pick(pick);
        let position = match how {
            0 => Position::START,
            1 => told.into(),
            2 => Position { seq: told.seq + u64::from(pick % 3), mark: None },
            3 => Cursor::new(told.seq + u64::from(pick % 3), Mark::from_bytes([255, 0, pick % 2])).into(),
            _ => self.log.last().into(),
        };
        self.sit(position);
    }

    fn sit(&mut self, position: Position) {
        let client = Client { position, since: self.now, ended: false };
        self.streams.push(Stream { seat: self.core.open(position), client, waits: None, over: false });
    }

    fn take_one(&mut self, pick: u8, budget: u8) {
        let awake: Vec<_> = (0..self.streams.len()).filter(|&i| self.streams[i].is_awake()).collect();
        if let Some(i) = index(pick, awake.len()) {
            self.take(awake[i], budget.into());
        }
    }

    fn take(&mut self, i: usize, budget: usize) -> Vec<Bytes> {
        let stream = &mut self.streams[i];
        let client = &mut stream.client;
        match self.core.take(&mut stream.seat, budget) {
            Taken::Frames(frames) => {
                assert!(!frames.is_empty());
                assert!(frames.len() == 1 || frames.iter().map(Bytes::len).sum::<usize>() <= budget);
                frames.iter().for_each(|frame| client.take(frame, self.now, &self.events, &self.verdicts));
                return frames;
            }
            Taken::Wait(what) => {
                stream.waits = Some(what);
                assert!(!client.ended);
                if what == WaitFor::Head {
                    let head = self.core.head().unwrap();
                    assert!(client.position.is(head), "{client:?} waits at {head:?}");
                    client.position = head.into();
                }
                self.look = true;
            }
            Taken::End => {
                let seen = Cursor::new(client.position.seq, stream.seat.position().mark.unwrap());
                assert!(
                    self.events.at(seen).unwrap().body.as_ref().unwrap().is_terminal(),
                    "ended at {seen:?}"
                );
                stream.over = true;
            }
            Taken::Gone => {
                assert!(self.core.gone());
                stream.over = true;
            }
        }
        Vec::new()
    }

    /// Two at one place get the same, but for a verdict that was read before the second one came.
    fn twin(&mut self, pick: u8) {
        let Some(i) = index(pick, self.streams.len()) else { return };
        if !self.streams[i].is_awake() || self.core.gone() {
            return;
        }
        let position = self.streams[i].client.position;
        self.sit(position);
        let first = self.take(i, 100);
        let second = self.take(self.streams.len() - 1, 100);
        if !first.first().is_some_and(|frame| frame.starts_with(b"event: snapshot")) {
            assert_eq!(first, second, "at {position:?}");
            assert!(first.iter().zip(&second).all(|(a, b)| a.as_ptr() == b.as_ptr()), "rendered twice");
        }
    }

    fn ask(&mut self) {
        if std::mem::take(&mut self.look) && self.reading.is_none() {
            self.reading = self.core.wanted().map(|read| (read, Ran::NotYet));
            self.reads += usize::from(self.reading.is_some());
        }
    }

    fn run(&mut self) {
        let Some((read, ran @ Ran::NotYet)) = &mut self.reading else { return };
        if self.log.gone {
            *ran = Ran::Done(ReadOutcome::Gone);
            return;
        }
        let page = self.log.read(read.position.seq, self.setting.page);
        let lost = match replay::settle(read.position, &page) {
            Settled::Follows => {
                let page = ReadPage::follows(read.position, page, self.log.ended()).unwrap();
                *ran = Ran::Done(ReadOutcome::Page(page));
                return;
            }
            Settled::Trimmed => Lost::Trimmed,
            Settled::Rewound => Lost::Rewound,
        };
        *ran = Ran::Lost(Verdict { at: self.now, log: self.log.clone(), lost, start: Cursor::START });
    }

    fn answer(&mut self, fails: bool) {
        self.run();
        let Some((read, ran)) = self.reading.take() else { return };
        let outcome = match ran {
            Ran::Done(outcome) if !fails => outcome,
            Ran::Lost(_) if self.log.gone && !fails => ReadOutcome::Gone,
            Ran::Lost(verdict) if !fails => {
                let start = self.log.start();
                let snapshot = render(b"snapshot", self.verdicts.len().to_string().as_bytes(), start);
                self.verdicts.push(Verdict { start, ..verdict });
                let page = self.log.read(0, self.setting.page);
                ReadOutcome::Page(ReadPage::restart(snapshot, page, self.log.ended()).unwrap())
            }
            _ => ReadOutcome::Failed,
        };
        let wake = self.core.answer(read, outcome);
        self.wake(wake);
    }

    fn tell_tip(&mut self, barrier: bool) {
        let Some((asked_at, tip)) = self.tip.take() else { return };
        if self.core.differs(asked_at, tip) {
            if barrier {
                std::mem::take(&mut self.late).iter().for_each(|entry| self.hear(entry));
            }
            if self.core.differs(asked_at, tip) {
                let wake = self.core.unsettle();
                self.wake(wake);
            }
        }
    }

    fn wake(&mut self, wake: Wake) {
        self.look |= wake.read;
        for stream in &mut self.streams {
            match stream.waits {
                Some(WaitFor::Head) if wake.head => stream.waits = None,
                Some(WaitFor::Read) if wake.behind => stream.waits = None,
                _ => {}
            }
        }
    }

    fn check_core(&self) {
        let ring = self.core.ring.as_ref();
        assert!(ring.is_none_or(|ring| ring.bytes() <= self.setting.ring_bytes || ring.len() == 1));
        assert!(self.core.pages.len() <= self.streams.len(), "more pages than streams");
        // Equal marks at one seq mean equal history up to there, so one look at the highest seq of both is enough.
        let chains: Vec<_> = ring.into_iter().chain(self.core.pages.iter().map(|page| &page.chain)).collect();
        for (i, one) in chains.iter().enumerate() {
            for other in &chains[i + 1..] {
                let seq = one.end().seq.min(other.end().seq);
                let (a, b) = (one.mark_at(seq), other.mark_at(seq));
                assert!(a == b || a.is_none() || b.is_none(), "two histories at {seq}: {a:?}, {b:?}");
            }
        }
    }

    /// Nothing happens any more, no late message arrives, nothing fails: each stream comes to the log's end.
    pub(super) fn settle_down(&mut self) {
        self.now += 1;
        self.late.clear();
        self.answer(false);
        self.reads = 0;
        loop {
            while let Some(i) = (0..self.streams.len()).find(|&i| self.streams[i].is_awake()) {
                self.take(i, 150);
            }
            self.ask();
            if self.reading.is_some() {
                self.answer(false);
            } else if self.differs() {
                let wake = self.core.unsettle();
                self.wake(wake);
            } else {
                break;
            }
            self.check_core();
            // Each place of a stream, and each page from there to the end, is read once, and the end a few times.
            assert!(self.reads <= 8 + self.streams.len() * (self.log.history.len() + 2), "reads without end");
        }
        for stream in self.streams.iter().filter(|stream| !stream.over) {
            assert!(!self.log.gone, "{stream:?} of a job that is gone");
            assert!(stream.client.position.is(self.log.last()), "{stream:?} isn't at {:?}", self.log.last());
        }
        for stream in std::mem::take(&mut self.streams) {
            self.core.close(stream.seat);
        }
        assert_eq!(self.core.bytes(), 0, "kept for nobody");
    }

    /// A reconcile.
    fn differs(&self) -> bool {
        let head = self.core.head();
        if self.log.gone {
            head.is_some() && !self.core.gone()
        } else {
            self.core.differs(head, self.log.last())
        }
    }
}

impl Stream {
    fn is_awake(&self) -> bool {
        self.waits.is_none() && !self.over
    }
}

fn index(pick: u8, len: usize) -> Option<usize> {
    (len > 0).then(|| usize::from(pick) % len)
}
