//! What a follower knows, and what it does next: no I/O, no clock and no randomness of its own.
//!
//! ```text
//!            ┌──────────── sleep ◄───────────┐
//!            ▼                               │ closed · away
//!   start ─► stream ─────────────────────────┤
//!            ▲   │ useless, or away thrice   │ away
//!            │   ▼                           │
//!            └── polls ──────────────────────┘
//!      from time to time, and at the job's end
//! ```

use std::time::Duration;

use model::wire::JobView;
use model::{Cursor, EventType, JobId, Position};

use crate::backoff;
use crate::error::{Error, FollowError};
use crate::event::{self, Event};
use crate::follow::Start;
use crate::follow::turn::{Lost, Next, Polled, Rules, Took};
use crate::sse::Frame;

/// So many failures in a row are looked at by a poll: perhaps only streams don't work.
const POLL_AFTER: u32 = 3;
/// So many frames in a row that break the stream's promise are too many. One could be a proxy's mischief.
const STUMBLES: u32 = 3;
/// So many streams that come to nothing are enough when a poll has told the end.
const LAST_TRIES: u32 = 2;
/// So long after the last answer streams that are away are still waited for when a poll has told the end.
const LAST_WAIT: Duration = Duration::from_mins(1);
/// A stream that lived so long did its work, even if nothing happened to the job meanwhile.
const LIVED: Duration = Duration::from_secs(10);
/// The longest time between two tries of a stream that can't be had, unless the rules say more.
const STREAM_AGAIN_MOST: Duration = Duration::from_mins(5);

#[derive(Debug)]
enum Phase {
    Stream,
    Sleep { until: Duration },
    Poll { until: Duration, not_before: Duration, first: bool },
    Over,
    Failed(FollowError),
}

/// A poll told the job's end; the events up to it are asked for.
#[derive(Debug)]
struct Closing {
    job: Box<JobView>,
    tries: u32,
}

/// An open stream.
#[derive(Debug)]
struct Open {
    since: Duration,
    news: bool,
}

/// A follower of one job.
#[derive(Debug)]
pub(crate) struct State {
    rules: Rules,
    job_id: JobId,
    /// Where the next stream starts: after the last event that was taken.
    start: Start,
    phase: Phase,
    open: Option<Open>,
    /// Failures in a row.
    failures: u32,
    /// How often in a row polls took over.
    fallbacks: u32,
    stumbles: u32,
    /// The last `retry:`.
    retry: Option<Duration>,
    /// The newest event that the last poll told of.
    polled: Option<Cursor>,
    /// When the last poll began.
    asked: Duration,
    closing: Option<Closing>,
    /// When somebody answered last.
    contact: Duration,
    /// What the last failure since then was.
    trouble: Option<Error>,
}

impl State {
    /// A follower that begins now.
    pub(crate) fn new(job_id: JobId, start: Start, rules: Rules) -> Self {
        Self {
            rules,
            job_id,
            start,
            phase: Phase::Stream,
            open: None,
            failures: 0,
            fallbacks: 0,
            stumbles: 0,
            retry: None,
            polled: None,
            asked: Duration::ZERO,
            closing: None,
            contact: Duration::ZERO,
            trouble: None,
        }
    }

    /// Whether all was told.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over | Phase::Failed(_))
    }

    /// What is to do at `now`.
    pub(crate) fn next(&mut self, now: Duration) -> Next {
        self.give_up_if_due(now);
        let left = |until: Duration| until.saturating_sub(now);
        match &self.phase {
            Phase::Over => Next::Over,
            Phase::Failed(_) => match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Failed(error) => Next::Fail(error),
                _ => Next::Over,
            },
            Phase::Sleep { until } if !left(*until).is_zero() => Next::Sleep(left(*until)),
            Phase::Poll { not_before, .. } if !left(*not_before).is_zero() => Next::Sleep(left(*not_before)),
            Phase::Poll { until, first, .. } if !left(*until).is_zero() => {
                // The first poll comes back at once: it is there to find out whether polls work.
                let wait = if *first { Duration::ZERO } else { self.rules.poll_wait.min(left(*until)) };
                self.asked = now;
                Next::Poll { known: self.known(), wait }
            }
            Phase::Stream | Phase::Sleep { .. } | Phase::Poll { .. } => {
                self.phase = Phase::Stream;
                Next::Stream(self.start)
            }
        }
    }

    /// The open stream sent something, if only a comment.
    pub(crate) fn heard(&mut self, now: Duration) {
        self.answered(now);
        self.open.get_or_insert(Open { since: now, news: false });
    }

    /// The open stream said how long to wait before the next one.
    pub(crate) fn retry(&mut self, retry: Duration) {
        self.retry = Some(retry);
    }

    /// The open stream sent a frame.
    pub(crate) fn frame(&mut self, frame: &Frame) -> Took {
        let cursor = match &frame.id {
            None => None,
            Some(id) => match event::cursor(id) {
                Some(cursor) => Some(cursor),
                None => return self.stumble(format!("{id:?} is no cursor")),
            },
        };
        if let (Some(cursor), Start::After(last)) = (cursor, self.start)
            && frame.event != "snapshot"
        {
            if cursor.seq < last.seq || last.is(cursor) {
                return Took::Nothing;
            }
            if cursor.seq != last.seq + 1 {
                return self.stumble(format!("{cursor} came after {last:?}"));
            }
        }
        let event = match event::read(self.job_id, &frame.event, cursor, &frame.data) {
            Ok(event) => event,
            Err(error) => return self.stumble(error.to_string()),
        };
        if let Some(cursor) = cursor {
            self.start = Start::After(cursor.into());
        }
        if matches!(event, Event::Snapshot(_)) {
            // It may be of another history than what was polled.
            self.polled = None;
        }
        (self.failures, self.fallbacks, self.stumbles) = (0, 0, 0);
        if let Some(open) = &mut self.open {
            open.news = true;
        }
        if ends(&event) {
            self.phase = Phase::Over;
        }
        Took::Event(Box::new(event))
    }

    /// The stream is over, or never was. May have something to tell.
    pub(crate) fn lost(&mut self, lost: Lost, now: Duration, random: f64) -> Option<Event> {
        let open = self.open.take();
        let lived = open.as_ref().is_some_and(|open| open.news || now >= open.since + LIVED);
        let passed = open.is_some_and(|open| open.news || self.contact >= open.since + LIVED);
        let away = matches!(lost, Lost::Away(_));
        let (useless, error) = match lost {
            _ if self.is_over() => return None,
            Lost::Seen => {
                self.phase = Phase::Over;
                return None;
            }
            Lost::Refused(error) => {
                self.phase = Phase::Failed(error);
                return None;
            }
            // Only whoever isn't back soon is worth a word.
            Lost::Closed | Lost::Broken(_) => (false, None),
            Lost::Away(error) => (false, Some(error)),
            Lost::Useless(error) => (true, Some(error)),
        };
        self.failures = if lived { 0 } else { self.failures.saturating_add(1) };
        let wait = self.wait(error.as_ref(), random);
        if passed && self.closing.take().is_some() {
            // Bytes come in order: an end that still is there would have been told. Redis may have lost it.
            self.polled = None;
        }
        if let Some(job) = self.close(away, now.saturating_add(wait)) {
            self.phase = Phase::Over;
            return Some(Event::Polled(job));
        }
        self.trouble = error.or(self.trouble.take());
        let poll = useless || (self.failures > 0 && self.failures.is_multiple_of(POLL_AFTER));
        if poll && self.rules.polls && self.closing.is_none() {
            // Where nothing came for long enough to be called useless, there is nothing to wait for.
            let not_before = if useless { now } else { now.saturating_add(wait) };
            let until = not_before.saturating_add(self.stream_again());
            self.phase = Phase::Poll { until, not_before, first: true };
            self.fallbacks = self.fallbacks.saturating_add(1);
        } else {
            self.phase = Phase::Sleep { until: self.until(now, wait) };
        }
        None
    }

    /// A poll was answered. May have something to tell.
    pub(crate) fn polled(&mut self, polled: Polled, now: Duration, random: f64) -> Option<Event> {
        if let Phase::Poll { not_before, first, .. } = &mut self.phase {
            *not_before = self.asked.saturating_add(self.rules.poll_pause);
            *first = false;
        }
        match polled {
            Polled::Same => {
                self.answered(now);
                None
            }
            Polled::Job(job) => {
                self.answered(now);
                let news = self.known() != Some(job.last_event_id);
                self.polled = Some(job.last_event_id);
                if job.status.is_terminal() {
                    // A response that ends comes through whatever holds streams back.
                    self.phase = Phase::Stream;
                    self.failures = 0;
                    self.closing = Some(Closing { job, tries: LAST_TRIES });
                    return None;
                }
                news.then_some(Event::Polled(job))
            }
            Polled::Failed(Error::Refused(problem)) if !problem.is_retryable() => {
                self.phase = Phase::Failed(FollowError::Refused(problem));
                None
            }
            Polled::Failed(error) => {
                self.failures = self.failures.saturating_add(1);
                let wait = self.wait(Some(&error), random);
                self.trouble = Some(error);
                self.phase = Phase::Sleep { until: self.until(now, wait) };
                None
            }
        }
    }

    /// The end that a poll told, when it is time to tell it because no stream does. The next stream would be opened at `next`.
    ///
    /// Something in between may hold back every stream for ever, so tries that come to nothing are few. A stream that is away,
    /// as all are while a gateway is replaced, is no such try: the events are still to be had, and are waited for a while.
    fn close(&mut self, away: bool, next: Duration) -> Option<Box<JobView>> {
        let closing = self.closing.as_mut()?;
        let enough = if away {
            let limit = self.rules.give_up_after.map_or(LAST_WAIT, |limit| limit.min(LAST_WAIT));
            next >= self.contact.saturating_add(limit)
        } else {
            closing.tries = closing.tries.saturating_sub(1);
            closing.tries == 0
        };
        self.closing.take_if(|_| enough).map(|closing| closing.job)
    }

    /// What the last failure was, as long as nobody has answered since.
    pub(crate) fn trouble(&self) -> Option<&Error> {
        self.trouble.as_ref()
    }

    /// The newest event that is known, from the stream or from a poll.
    fn known(&self) -> Option<Cursor> {
        let newer = |cursor: Option<Cursor>| cursor.map(|cursor| cursor.seq);
        let (streamed, polled) = (self.position(), self.polled);
        if newer(polled) > newer(streamed) { polled } else { streamed }
    }

    /// The last event that was taken, if its mark is known.
    fn position(&self) -> Option<Cursor> {
        match self.start {
            Start::After(Position { seq, mark: Some(mark) }) => Some(Cursor::new(seq, mark)),
            _ => None,
        }
    }

    fn answered(&mut self, now: Duration) {
        self.contact = now;
        self.trouble = None;
    }

    fn stumble(&mut self, why: String) -> Took {
        self.stumbles += 1;
        if self.stumbles >= STUMBLES {
            self.phase = Phase::Failed(FollowError::Broken(why));
        }
        Took::Stumbled
    }

    fn wait(&self, error: Option<&Error>, random: f64) -> Duration {
        let asked = error.and_then(Error::problem).and_then(|problem| problem.retry_after);
        backoff::wait_asked(asked, backoff::wait(self.failures, self.retry, random), random)
    }

    fn stream_again(&self) -> Duration {
        let first = self.rules.stream_again;
        first.saturating_mul(2_u32.saturating_pow(self.fallbacks.min(16))).min(STREAM_AGAIN_MOST.max(first))
    }

    /// The end of a wait; not later than the time to give up.
    fn until(&self, now: Duration, wait: Duration) -> Duration {
        let until = now.saturating_add(wait);
        let due = self.rules.give_up_after.map(|limit| self.contact.saturating_add(limit));
        due.filter(|_| self.trouble.is_some()).map_or(until, |due| until.min(due.max(now)))
    }

    fn give_up_if_due(&mut self, now: Duration) {
        let Some(limit) = self.rules.give_up_after else { return };
        let after = now.saturating_sub(self.contact);
        // Who knows the end has something better to tell, and soon does.
        if self.is_over() || self.closing.is_some() || after < limit {
            return;
        }
        if let Some(source) = self.trouble.take() {
            self.phase = Phase::Failed(FollowError::Unreachable { after, source });
        }
    }
}

/// Whether nothing follows this.
fn ends(event: &Event) -> bool {
    match event {
        Event::Snapshot(snapshot) => {
            snapshot.job.status.is_terminal() && snapshot.job.last_event_id == snapshot.cursor
        }
        // An end with fields that can't be read is one all the same.
        event => event.cursor().is_some() && event.name().parse().is_ok_and(EventType::is_terminal),
    }
}
