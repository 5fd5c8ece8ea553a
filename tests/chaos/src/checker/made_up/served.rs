//! A client that is served as it should be.

use serde_json::json;

use super::logs::Logs;
use super::{Dice, PARTITIONS};
use crate::checker::event::is_terminal;
use crate::opaque::{Cursor, SeveralId, mark_of};
use crate::record::{ClientRecord, Follows, LogEntry, Run, Saw, Sighting};

/// One client, and the stream that serves it.
pub(super) struct Served {
    record: ClientRecord,
    members: Vec<Member>,
    open: bool,
    last_id: Option<String>,
    /// It leaves when it has seen so many things.
    patience: usize,
    done: bool,
}

struct Member {
    log: Source,
    /// `None` when it was said to be gone.
    at: Option<Cursor>,
    /// Its end was told on this stream.
    over: bool,
}

#[derive(Clone, Copy)]
enum Source {
    Job(usize),
    Feed(usize, u16),
}

/// What a log has for one who stands at a place in it.
enum Next {
    Nothing,
    Gone,
    Entry(LogEntry),
    Begin(Cursor),
    Snapshot(&'static str, Cursor),
}

impl Served {
    pub(super) fn new(n: usize, run: &Run, dice: &mut Dice) -> Self {
        let owner = n % run.owners.len();
        let name = run.owners[owner].owner.clone();
        let own: Vec<usize> = (0..run.jobs.len()).filter(|index| run.jobs[*index].owner == name).collect();
        let id = |index: &usize| run.jobs[*index].id.clone();
        let (follows, logs): (_, Vec<Source>) = match n / 2 % 3 {
            0 => {
                let index = own[dice.index(own.len())];
                (Follows::Job(id(&index)), vec![Source::Job(index)])
            }
            1 => {
                (Follows::Jobs(own.iter().map(id).collect()), own.iter().copied().map(Source::Job).collect())
            }
            _ => (Follows::Feed, (0..PARTITIONS).map(|partition| Source::Feed(owner, partition)).collect()),
        };
        let stayed = !dice.one_in(6);
        Self {
            record: ClientRecord {
                n: n.try_into().unwrap(),
                owner: name,
                follows,
                sightings: Vec::new(),
                stayed,
            },
            members: logs
                .into_iter()
                .map(|log| Member { log, at: Some(Cursor::START), over: false })
                .collect(),
            open: false,
            last_id: None,
            patience: if stayed { usize::MAX } else { 5 + dice.index(40) },
            done: false,
        }
    }

    pub(super) fn record(self) -> ClientRecord {
        self.record
    }

    /// Whether nothing more is to be served: it has left, or everything was told.
    pub(super) fn is_done(&self, logs: &Logs) -> bool {
        let feed = self.record.follows == Follows::Feed;
        let told_all =
            || self.members.iter().all(|member| matches!(next(logs, member.log, member.at), Next::Nothing));
        self.done || feed && self.open && told_all()
    }

    pub(super) fn step(&mut self, run: &Run, logs: &Logs, dice: &mut Dice, now: u64) {
        if self.done {
            return;
        }
        if self.record.sightings.len() > self.patience {
            self.done = true;
        } else if !self.open {
            self.connect(logs, dice, now);
        } else if dice.one_in(25) {
            self.open = false;
            self.saw(now, if dice.one_in(2) { Saw::Closed } else { Saw::Broken { why: "reset".to_owned() } });
        } else {
            self.serve(run, logs, dice, now);
        }
    }

    fn connect(&mut self, logs: &Logs, dice: &mut Dice, now: u64) {
        if dice.one_in(8) {
            return self.saw(now, Saw::Unreached { why: "refused".to_owned() });
        }
        for member in &mut self.members {
            member.over = false;
        }
        let sent = self.last_id.clone();
        let of_jobs = self.record.follows != Follows::Feed;
        let gone =
            |member: &Member| matches!(next(logs, member.log, member.at), Next::Gone) || member.at.is_none();
        let ended = |member: &Member| {
            let Source::Job(index) = member.log else { return false };
            let last = logs.of_job(index).last();
            last.is_some_and(|last| is_terminal(&last.kind) && member.at == Some(after(last)))
        };
        let status = match of_jobs {
            true if self.members.iter().all(gone) => 404,
            true if self
                .members
                .iter()
                .all(|member| gone(member) && member.at.is_none() || ended(member)) =>
            {
                204
            }
            _ => 200,
        };
        self.saw(now, Saw::Opened { status, sent });
        (self.open, self.done) = (status == 200, status != 200);
    }

    /// What one of its logs has for it.
    fn serve(&mut self, run: &Run, logs: &Logs, dice: &mut Dice, now: u64) {
        let single = matches!(self.record.follows, Follows::Job(_));
        let live = |member: &Member| !member.over && member.at.is_some();
        if !self.members.iter().any(live) {
            self.open = false;
            self.saw(now, Saw::Closed);
            // Some make sure by one more request, most go.
            self.done = !dice.one_in(3);
            return;
        }
        let index = dice.index(self.members.len());
        let member = &mut self.members[index];
        if !live(member) {
            return;
        }
        let job = match member.log {
            Source::Job(index) => Some(index),
            Source::Feed(..) => None,
        };
        match next(logs, member.log, member.at) {
            Next::Nothing => {
                let last = job.and_then(|job| logs.of_job(job).last());
                member.over = last.is_some_and(|last| is_terminal(&last.kind));
            }
            Next::Begin(cursor) => member.at = Some(cursor),
            Next::Gone if single => {
                self.open = false;
                self.saw(now, Saw::Closed);
            }
            Next::Gone => {
                member.at = None;
                let data = json!({"jobId": run.jobs[job.unwrap()].id, "type": "gone"});
                self.frame(now, "gone", data.to_string());
            }
            Next::Entry(entry) => {
                member.at = Some(after(&entry));
                member.over = job.is_some() && is_terminal(&entry.kind);
                self.frame(now, &entry.kind, entry.json);
            }
            Next::Snapshot(reason, cursor) => {
                member.at = Some(cursor);
                let mut data = json!({"type": "snapshot", "reason": reason});
                if let Some(job) = job {
                    let id = &run.jobs[job].id;
                    data["jobId"] = json!(id);
                    data["job"] = serde_json::from_str(&logs.poll(run, job).body).unwrap();
                }
                self.frame(now, "snapshot", data.to_string());
            }
        }
    }

    fn frame(&mut self, now: u64, event: &str, data: String) {
        let id = if matches!(self.record.follows, Follows::Job(_)) {
            self.members[0].at.unwrap().to_string()
        } else {
            SeveralId { hash: [1, 2, 3, 4], places: self.members.iter().map(|member| member.at).collect() }
                .write()
        };
        self.last_id = Some(id.clone());
        self.saw(now, Saw::Frame { event: event.to_owned(), id: Some(id), data });
    }

    fn saw(&mut self, at_ms: u64, saw: Saw) {
        self.record.sightings.push(Sighting { at_ms, saw });
    }
}

fn after(entry: &LogEntry) -> Cursor {
    Cursor { seq: entry.seq, mark: mark_of(&entry.mark).unwrap() }
}

fn next(logs: &Logs, source: Source, at: Option<Cursor>) -> Next {
    let Some(at) = at else { return Next::Nothing };
    let (log, feed) = match source {
        Source::Job(index) => (logs.of_job(index), false),
        Source::Feed(owner, partition) => (logs.of_feed(owner, partition), true),
    };
    let Some(first) = log.first() else {
        return match (feed, at == Cursor::START) {
            (false, _) => Next::Gone,
            (true, true) => Next::Nothing,
            (true, false) => Next::Snapshot("trimmed", Cursor::START),
        };
    };
    let start = Cursor { seq: first.seq - 1, mark: mark_of(&first.before).unwrap() };
    let end = after(log.last().unwrap());
    if feed && at == Cursor::START && start.mark == 0 {
        return Next::Begin(start);
    }
    if at.seq > end.seq {
        return Next::Snapshot("rewound", start);
    }
    if at.seq < start.seq {
        return Next::Snapshot("trimmed", start);
    }
    let known = if at.seq == start.seq {
        start
    } else {
        after(log.iter().find(|entry| entry.seq == at.seq).unwrap())
    };
    if known != at {
        return Next::Snapshot("rewound", start);
    }
    log.iter().find(|entry| entry.seq == at.seq + 1).cloned().map_or(Next::Nothing, Next::Entry)
}
