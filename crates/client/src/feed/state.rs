//! What a feed's follower knows, and what it does next: no I/O, no clock and no randomness of its own.

use std::time::Duration;

use super::FeedStart;
use super::news::{FeedNews, read};
use crate::backoff;
use crate::error::{Error, FollowError};
use crate::follow::Lost;
use crate::sse::Frame;

/// So many frames in a row that can't be read are too many.
const STUMBLES: u32 = 3;
/// A stream that lived so long did its work, even if no job did anything meanwhile.
const LIVED: Duration = Duration::from_secs(10);

/// What to do next. All times are from the following's beginning.
#[derive(Debug)]
pub(super) enum Next {
    /// Open a stream, and tell what comes of it by `heard`, `retry`, `frame` and at last `lost`.
    Stream(FeedStart),
    /// Wait so long.
    Sleep(Duration),
    /// Nothing: all was told.
    Over,
    /// Tell this and nothing more.
    Fail(FollowError),
}

/// What became of a frame.
#[derive(Debug)]
pub(super) enum Took {
    /// It is news.
    News(Box<FeedNews>),
    /// It can't be read: the stream must be closed and another one opened.
    Stumbled,
}

#[derive(Debug)]
enum Phase {
    Stream,
    Sleep { until: Duration },
    Failed(FollowError),
    Over,
}

/// A follower of one feed.
#[derive(Debug)]
pub(super) struct State {
    give_up_after: Option<Duration>,
    /// Where the next stream starts: after the last event that was told.
    start: FeedStart,
    phase: Phase,
    /// Since when the open stream has sent something.
    open: Option<Duration>,
    /// The open stream brought an event.
    news: bool,
    /// The caller knows that the stream is open.
    told_open: bool,
    /// The last failure that the caller was told.
    told_why: String,
    failures: u32,
    stumbles: u32,
    retry: Option<Duration>,
    /// When somebody answered last, and what the last failure since then was.
    contact: Duration,
    trouble: Option<Error>,
}

impl State {
    /// A follower that begins now.
    pub(super) fn new(start: FeedStart, give_up_after: Option<Duration>) -> Self {
        Self {
            give_up_after,
            start,
            phase: Phase::Stream,
            open: None,
            news: false,
            told_open: false,
            told_why: String::new(),
            failures: 0,
            stumbles: 0,
            retry: None,
            contact: Duration::ZERO,
            trouble: None,
        }
    }

    /// What is to do at `now`.
    pub(super) fn next(&mut self, now: Duration) -> Next {
        let after = now.saturating_sub(self.contact);
        if self.give_up_after.is_some_and(|limit| after >= limit)
            && let Some(source) = self.trouble.take()
        {
            self.phase = Phase::Failed(FollowError::Unreachable { after, source });
        }
        match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Over => Next::Over,
            Phase::Failed(error) => Next::Fail(error),
            Phase::Sleep { until } if until > now => {
                self.phase = Phase::Sleep { until };
                Next::Sleep(until.saturating_sub(now))
            }
            Phase::Sleep { .. } | Phase::Stream => {
                self.phase = Phase::Stream;
                Next::Stream(self.start.clone())
            }
        }
    }

    /// The open stream sent something, if only a comment. Whether the caller must hear of it.
    pub(super) fn heard(&mut self, now: Duration) -> bool {
        (self.contact, self.trouble) = (now, None);
        self.open.get_or_insert(now);
        self.told_why.clear();
        !std::mem::replace(&mut self.told_open, true)
    }

    /// The open stream said how long to wait before the next one.
    pub(super) fn retry(&mut self, retry: Duration) {
        self.retry = Some(retry);
    }

    /// The open stream sent a frame.
    pub(super) fn frame(&mut self, frame: &Frame) -> Took {
        let news = match read(frame) {
            Ok(news) => news,
            Err(error) => {
                self.stumbles += 1;
                if self.stumbles >= STUMBLES {
                    self.phase = Phase::Failed(FollowError::Broken(error.to_string()));
                }
                return Took::Stumbled;
            }
        };
        if let FeedNews::Event(crate::FeedEvent { cursor, .. }) | FeedNews::Snapshot { cursor, .. } = &news {
            self.start = FeedStart::After(cursor.clone());
        }
        (self.failures, self.stumbles, self.news) = (0, 0, true);
        Took::News(Box::new(news))
    }

    /// The stream is over, or never was: what the caller must hear of it, if anything. A planned end is told with an empty word,
    /// and only what differs from what was told before.
    pub(super) fn lost(&mut self, lost: Lost, now: Duration, random: f64) -> Option<String> {
        let open = self.open.take();
        let lived = open.is_some_and(|since| self.news || now >= since + LIVED);
        self.news = false;
        if open.is_some() {
            // Whoever takes long over an event hears late that the stream is over; until then it counts as open.
            self.contact = now;
        }
        if matches!(self.phase, Phase::Failed(_)) {
            return None;
        }
        let error = match lost {
            // No feed was ever at its end.
            Lost::Seen | Lost::Closed => None,
            Lost::Broken(error) | Lost::Away(error) | Lost::Useless(error) => Some(error),
            Lost::Refused(error) => {
                self.phase = Phase::Failed(error);
                return None;
            }
        };
        self.failures = if lived { 0 } else { self.failures.saturating_add(1) };
        let asked = error.as_ref().and_then(Error::problem).and_then(|problem| problem.retry_after);
        let wait = backoff::wait_asked(asked, backoff::wait(self.failures, self.retry, random), random);
        let why = error.as_ref().map(ToString::to_string).unwrap_or_default();
        self.trouble = error.or(self.trouble.take());
        let limit = self.give_up_after.filter(|_| self.trouble.is_some());
        let due = limit.map(|limit| self.contact.saturating_add(limit));
        let until = now.saturating_add(wait);
        self.phase = Phase::Sleep { until: due.map_or(until, |due| until.min(due.max(now))) };
        let was_open = std::mem::take(&mut self.told_open);
        let is_new = was_open || why != self.told_why;
        self.told_why.clone_from(&why);
        is_new.then_some(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn away(says: &str) -> Lost {
        let problem = crate::error::Problem::read(503, None, says);
        Lost::Away(Error::Refused(problem))
    }

    fn frame(n: u32) -> Frame {
        let id = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";
        let data = format!(r#"{{"jobId":"{id}","at":"2026-11-23T10:00:00.123Z"}}"#);
        Frame { event: "queued".into(), data, id: Some(format!("c{n}")) }
    }

    #[track_caller]
    fn opens(state: &mut State, now: Duration, expected: &FeedStart) {
        let Next::Stream(start) = state.next(now) else { panic!("it opens a stream") };
        assert_eq!(start, *expected);
    }

    #[test]
    fn it_goes_on_after_the_last_event_and_waits_ever_longer() {
        let mut state = State::new(FeedStart::Now, None);
        opens(&mut state, S(0), &FeedStart::Now);
        assert!(state.heard(S(0)) && !state.heard(S(0)), "told once");
        state.retry(S(2));
        assert!(matches!(state.frame(&frame(1)), Took::News(_)));
        assert_eq!(state.lost(Lost::Closed, S(1), 0.5).as_deref(), Some(""), "a planned end");
        let mut now = S(1);
        for expected in [2, 2, 3, 6, 12, 22] {
            let Next::Sleep(wait) = state.next(now) else { panic!("it waits") };
            assert_eq!(wait.as_secs(), expected, "at {now:?}");
            now += wait;
            opens(&mut state, now, &FeedStart::After("c1".parse().unwrap()));
            let told = state.lost(away("busy"), now, 0.5);
            assert_eq!(told.is_some(), expected == 2 && now == S(3), "the same is told once");
        }
        opens(&mut state, S(1000), &FeedStart::After("c1".parse().unwrap()));
        assert!(state.heard(S(1000)), "it is back");
    }

    #[test]
    fn it_gives_up_if_it_shall_and_only_without_an_answer() {
        let mut state = State::new(FeedStart::Beginning, Some(S(60)));
        opens(&mut state, S(0), &FeedStart::Beginning);
        state.heard(S(0));
        state.lost(Lost::Closed, S(100), 0.5);
        opens(&mut state, S(200), &FeedStart::Beginning);
        state.lost(away("busy"), S(200), 0.5);
        assert!(matches!(state.next(S(200)), Next::Fail(FollowError::Unreachable { .. })));
        assert!(matches!(state.next(S(200)), Next::Over));
    }

    #[test]
    fn who_never_gives_up_may_say_so_by_the_longest_time() {
        let mut state = State::new(FeedStart::Beginning, Some(Duration::MAX));
        state.heard(S(1));
        state.lost(away("busy"), S(1), 0.5);
        assert!(matches!(state.next(S(1)), Next::Sleep(_)));
    }

    #[test]
    fn what_is_refused_or_broken_for_good_ends_it() {
        let mut state = State::new(FeedStart::Beginning, None);
        let problem = crate::error::Problem::read(401, None, "");
        assert_eq!(state.lost(Lost::Refused(FollowError::Refused(problem)), S(0), 0.5), None);
        assert!(matches!(state.next(S(0)), Next::Fail(FollowError::Refused(_))));

        let mut state = State::new(FeedStart::Beginning, None);
        for _ in 0..STUMBLES {
            assert!(matches!(state.frame(&Frame::default()), Took::Stumbled));
            state.lost(Lost::Closed, S(0), 0.5);
        }
        assert!(matches!(state.next(S(0)), Next::Fail(FollowError::Broken(_))));
    }
}
