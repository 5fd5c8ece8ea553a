//! A run: Redis, the live channel, the shell, and the streams.

use bytes::Bytes;
use model::{Cursor, Entry, Mark, Position};

use super::super::core::{Limits, LogCore, Taken, WaitFor};
use super::super::held::Held;
use super::super::read::ReadAt;
use super::super::seat::Seat;
use super::log::{Events, Kind, Log};
use super::ops::{Ending, Fate, Op, Setting};
use super::oracle::{Client, Verdict};
use super::shell::Ran;

/// A client, and its seat.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) seat: Seat,
    pub(super) client: Client,
    pub(super) waits: Option<WaitFor>,
    pub(super) over: bool,
}

pub(super) struct World {
    pub(super) setting: Setting,
    pub(super) now: u64,
    pub(super) log: Log,
    /// Histories that Redis lost.
    pub(super) lost: Vec<Log>,
    pub(super) events: Events,
    pub(super) late: Vec<Entry>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) core: LogCore,
    /// What the hub believes that is held.
    pub(super) held: Held,
    /// The core said that it wants something read.
    pub(super) look: bool,
    pub(super) reading: Option<(ReadAt, Ran)>,
    pub(super) reads: usize,
    /// Something was appended and heard since the read ran.
    pub(super) news: bool,
    pub(super) tip: Option<(Option<Cursor>, Cursor)>,
    pub(super) streams: Vec<Stream>,
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let (mut log, mut events) = (Log::of(setting.kind), Events::default());
        let limits = Limits { ring_bytes: setting.ring_bytes, endless: false };
        let held = Held::default();
        let core = match setting.kind {
            Kind::Job => {
                events.append(&mut log, false);
                LogCore::of_job(limits, held.share())
            }
            Kind::Feed => LogCore::of_feed(limits, held.share()),
        };
        Self {
            setting,
            now: 0,
            log,
            lost: Vec::new(),
            events,
            late: Vec::new(),
            verdicts: Vec::new(),
            core,
            held,
            look: false,
            reading: None,
            reads: 0,
            news: false,
            tip: None,
            streams: Vec::new(),
        }
    }

    pub(super) fn step(&mut self, op: Op) {
        self.now += 1;
        let loses =
            matches!(op, Op::Rewind { .. } | Op::Restore(_) | Op::Vanish | Op::Unsettle | Op::TellTip(_));
        match op {
            _ if loses && self.setting.ending == Ending::Nothing => {}
            Op::Append { more, large, fate: Fate::Lost } if self.setting.ending == Ending::Nothing => {
                (0..=more).for_each(|_| self.append(false, large, Fate::Late));
            }
            Op::Append { more, large, fate } => (0..=more).for_each(|_| self.append(false, large, fate)),
            Op::Hear { pick, again } => self.hear_late(pick, again),
            Op::Trim(pick) => {
                let kept = self.log.history.len() - self.log.trimmed;
                let most = match self.setting.kind {
                    Kind::Job => kept + 1,
                    // A list of nothing is no list.
                    Kind::Feed => kept.max(1),
                };
                self.log.trimmed += index(pick, most).unwrap();
            }
            Op::Rewind { to, kept } => self.rewind(to, kept),
            Op::Restore(pick) => {
                if let Some(i) = index(pick, self.lost.len()) {
                    std::mem::swap(&mut self.log, &mut self.lost[i]);
                }
            }
            Op::Finish => self.append(true, false, Fate::Heard),
            Op::Vanish => match self.setting.kind {
                Kind::Job => self.log.gone = true,
                Kind::Feed => self.rewind(0, 0),
            },
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
            Op::Cool => self.core.cool(),
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

    pub(super) fn append(&mut self, terminal: bool, large: bool, fate: Fate) {
        if self.log.ended() || self.log.gone {
            return;
        }
        if self.setting.kind == Kind::Feed && self.log.history.is_empty() {
            self.log.base = self.clock();
        }
        let mut entry = self.events.append(&mut self.log, terminal);
        if large {
            entry.body = None;
        }
        if matches!(fate, Fate::Late | Fate::Twice) {
            self.late.push(entry.clone());
        }
        if matches!(fate, Fate::Heard | Fate::Twice) {
            self.news = true;
            self.hear(&entry);
        }
    }

    /// The seq before a feed's first event: the time, by a clock that is far ahead of a feed that expired; or not, after a failover.
    fn clock(&self) -> u64 {
        let newest = self.events.highest();
        match self.now % 8 {
            0 => newest.saturating_sub(self.now % 7),
            1 => newest,
            _ => 1000.max(newest + self.now % 50),
        }
    }

    pub(super) fn hear(&mut self, entry: &Entry) {
        let wake = self.core.live(entry);
        assert!(!self.core.gone, "gone, though it is heard of");
        self.wake(wake);
    }

    pub(super) fn hear_all(&mut self) {
        for entry in std::mem::take(&mut self.late) {
            self.hear(&entry);
        }
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
        let most = match self.setting.kind {
            Kind::Job => to + 1,
            Kind::Feed => to.max(1),
        };
        self.log.trimmed = self.log.trimmed.min(index(kept, most).unwrap());
        self.log.gone = false;
    }

    fn open(&mut self, how: u8, pick: u8) {
        let told = self.events.pick(pick);
        let position = match how {
            // The cursors of feeds always have marks.
            2 if self.setting.kind == Kind::Feed => Cursor::new(told.seq, told.mark).into(),
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

    pub(super) fn take(&mut self, i: usize, budget: usize) -> Vec<Bytes> {
        let stream = &mut self.streams[i];
        let client = &mut stream.client;
        let on_ring = self.core.on_ring(stream.seat.position);
        match self.core.take(&mut stream.seat, budget) {
            Taken::Frames(told) => {
                let afters: Vec<_> = told.iter().map(|told| told.after).collect();
                let frames: Vec<_> = told.into_iter().map(|told| told.bytes).collect();
                assert!(
                    !on_ring || !frames[0].starts_with(b"event: snapshot"),
                    "{client:?} is lost on the ring"
                );
                assert!(frames.len() == 1 || frames.iter().map(Bytes::len).sum::<usize>() <= budget);
                for (frame, after) in frames.iter().zip(afters) {
                    if frame.is_empty() {
                        client.begin(after, self.now, &self.verdicts);
                    } else {
                        client.take(self.setting.kind, frame, self.now, &self.events, &self.verdicts);
                    }
                    assert!(client.position.is(after), "stands at {after:?}, and was told {client:?}");
                }
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
                let seen = Cursor::new(client.position.seq, stream.seat.position.mark.unwrap());
                assert!(
                    self.events.at(seen).unwrap().body.as_ref().unwrap().is_terminal(),
                    "ended at {seen:?}"
                );
                stream.over = true;
            }
            Taken::Gone => {
                assert!(self.core.gone);
                stream.over = true;
            }
        }
        Vec::new()
    }

    /// Two at one place get the same, but for a verdict that was read before the second one came.
    fn twin(&mut self, pick: u8) {
        let Some(i) = index(pick, self.streams.len()) else { return };
        if !self.streams[i].is_awake() || self.core.gone {
            return;
        }
        let position = self.streams[i].client.position;
        self.sit(position);
        let first = self.take(i, 100);
        let second = self.take(self.streams.len() - 1, 100);
        if !first.first().is_some_and(|frame| frame.is_empty() || frame.starts_with(b"event: snapshot")) {
            assert_eq!(first, second, "at {position:?}");
            assert!(first.iter().zip(&second).all(|(a, b)| a.as_ptr() == b.as_ptr()), "rendered twice");
        }
    }
}

impl Stream {
    pub(super) fn is_awake(&self) -> bool {
        self.waits.is_none() && !self.over
    }
}

fn index(pick: u8, len: usize) -> Option<usize> {
    (len > 0).then(|| usize::from(pick) % len)
}
