//! What Redis held after quiescence.

use std::collections::HashMap;

use super::finding::{Findings, Kind};
use crate::opaque::{Cursor, mark_of, partition_of};
use crate::record::{JobRecord, LogEntry, OwnerRecord, Run};

/// The most entries of a log that has no cap of its own, and of a feed.
const DEFAULT_CAP: u64 = 10_000;

/// Which log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum LogKey {
    /// The job with this index in the run.
    Job(usize),
    /// The feed of the owner with this index in the run, in this partition.
    Feed(usize, u16),
}

/// The run's final state, by name.
pub(super) struct Truth<'r> {
    pub(super) run: &'r Run,
    jobs: HashMap<&'r str, usize>,
    owners: HashMap<&'r str, usize>,
}

impl<'r> Truth<'r> {
    pub(super) fn of(run: &'r Run, findings: &mut Findings) -> Self {
        let mut jobs = HashMap::new();
        for (index, job) in run.jobs.iter().enumerate() {
            if partition_of(&job.id).is_none() || jobs.insert(job.id.as_str(), index).is_some() {
                let sentence = "its record is there twice, or its id is no UUID".to_owned();
                findings.about(Kind::Malformed, job.id.clone(), sentence);
            }
        }
        let owners =
            run.owners.iter().enumerate().map(|(index, owner)| (owner.owner.as_str(), index)).collect();
        Self { run, jobs, owners }
    }

    pub(super) fn job(&self, id: &str) -> Option<usize> {
        self.jobs.get(id).copied()
    }

    pub(super) fn owner(&self, name: &str) -> Option<usize> {
        self.owners.get(name).copied()
    }

    /// What people call the log.
    pub(super) fn name_of(&self, key: LogKey) -> String {
        match key {
            LogKey::Job(index) => self.run.jobs[index].id.clone(),
            LogKey::Feed(owner, partition) => format!("{}/{partition}", self.run.owners[owner].owner),
        }
    }

    pub(super) fn log(&self, key: LogKey) -> Log<'r> {
        let run = self.run;
        match key {
            LogKey::Job(index) => Log::of_job(&run.jobs[index]),
            LogKey::Feed(owner, partition) => Log::of_feed(&run.owners[owner], partition),
        }
    }
}

/// One log as Redis held it.
#[derive(Clone, Copy)]
pub(super) struct Log<'r> {
    pub(super) entries: &'r [LogEntry],
    pub(super) partition: u16,
    pub(super) cap: u64,
}

impl<'r> Log<'r> {
    pub(super) fn of_job(job: &'r JobRecord) -> Self {
        Self {
            entries: &job.final_log,
            partition: partition_of(&job.id).unwrap_or_default(),
            cap: job.log_cap.unwrap_or(DEFAULT_CAP),
        }
    }

    pub(super) fn of_feed(owner: &'r OwnerRecord, partition: u16) -> Self {
        let entries = owner.feeds.get(usize::from(partition)).map_or(&[][..], Vec::as_slice);
        Self { entries, partition, cap: DEFAULT_CAP }
    }

    /// The entry with this number, if the log still has it.
    pub(super) fn at(&self, seq: u64) -> Option<&'r LogEntry> {
        let index = self.entries.binary_search_by_key(&seq, |entry| entry.seq).ok()?;
        self.entries.get(index)
    }

    /// Before its first entry; the start if it has none.
    pub(super) fn start(&self) -> Cursor {
        self.entries.first().map_or(Cursor::START, |first| Cursor {
            seq: first.seq.saturating_sub(1),
            mark: mark_of(&first.before).unwrap_or_default(),
        })
    }

    /// After its last entry; the start if it has none.
    pub(super) fn end(&self) -> Cursor {
        self.entries.last().map_or(Cursor::START, cursor_of)
    }

    /// The log's mark at `seq`, if it still knows it.
    pub(super) fn mark_at(&self, seq: u64) -> Option<u32> {
        if seq == self.start().seq {
            return Some(self.start().mark);
        }
        self.at(seq).map(|entry| cursor_of(entry).mark)
    }

    /// Judges the chain by itself: numbers by one, each mark the next one's mark before, no more than the cap, and trimmed only
    /// by it. `numbered_from_1` is how a job's log begins; a feed's begins with a time.
    pub(super) fn check(&self, numbered_from_1: bool) -> Result<(), String> {
        for entry in self.entries {
            if mark_of(&entry.mark).is_none() || mark_of(&entry.before).is_none() {
                return Err(format!(
                    "entry {} has no proper marks: {} {}",
                    entry.seq, entry.mark, entry.before
                ));
            }
        }
        for pair in self.entries.windows(2) {
            let (one, next) = (&pair[0], &pair[1]);
            if next.seq != one.seq + 1 || next.before != one.mark {
                return Err(format!(
                    "{}-{} is followed by {}-{}, whose mark before is {}",
                    one.seq, one.mark, next.seq, next.mark, next.before
                ));
            }
        }
        let length = self.entries.len() as u64;
        let Some(first) = self.entries.first() else { return Ok(()) };
        let begins = first.before == "000000" && (!numbered_from_1 || first.seq == 1);
        if length > self.cap {
            return Err(format!("it has {length} entries, and its cap is {}", self.cap));
        }
        if !begins && length < self.cap {
            return Err(format!(
                "it begins at {} (mark before {}), and has only {length} entries of at most {}",
                first.seq, first.before, self.cap
            ));
        }
        Ok(())
    }
}

/// After an entry.
pub(super) fn cursor_of(entry: &LogEntry) -> Cursor {
    Cursor { seq: entry.seq, mark: mark_of(&entry.mark).unwrap_or_default() }
}
