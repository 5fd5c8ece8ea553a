//! What follows from how an attempt went.

use std::time::Duration;

use model::webhook::TargetError;
use store::Outcome;

use crate::Options;
use crate::http::{Answer, NoAnswer};
use crate::metrics::Failure;
use crate::schedule::Waits;
use crate::secrets::NoSecret;

/// An answer that says: never again.
const GONE: u16 = 410;
/// Answers that say: not now.
const NOT_NOW: [u16; 2] = [429, 503];

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// What is written.
    pub(crate) outcome: Outcome,
    /// Why it failed, for people; `None` where it didn't.
    pub(crate) error: Option<String>,
    /// Why it failed, for metrics.
    pub(crate) failure: Option<Failure>,
}

impl Options {
    /// Judges an attempt before which `tries` have failed. `random` is from 0 to 1.
    pub(crate) fn judge(&self, went: &Result<Answer, NoAnswer>, tries: u32, random: f64) -> Verdict {
        match went {
            Ok(answer) => self.judge_answer(answer, tries, random),
            Err(NoAnswer::Refused(error)) => refuse(error),
            Err(NoAnswer::Timeout) => {
                let error = format!("no answer within {} s", self.timeout.as_secs_f64());
                self.fail(Failure::Timeout, error, tries, None, random)
            }
            Err(NoAnswer::Broken(error)) => {
                self.fail(Failure::Connection, error.clone(), tries, None, random)
            }
        }
    }

    fn judge_answer(&self, answer: &Answer, tries: u32, random: f64) -> Verdict {
        match answer.status {
            200..=299 => Verdict { outcome: Outcome::Delivered, error: None, failure: None },
            GONE => bury(Failure::Status, "the receiver wants no more (410)".into()),
            status @ 300..=399 => {
                let to = answer.location.as_deref().map(|to| format!(" to {to}")).unwrap_or_default();
                let error = format!("redirects are not followed ({status}{to})");
                self.fail(Failure::Status, error, tries, None, random)
            }
            status => {
                let asked = answer.retry_after.filter(|_| NOT_NOW.contains(&status));
                self.fail(Failure::Status, format!("the receiver answered {status}"), tries, asked, random)
            }
        }
    }

    /// What follows where a delivery can't be signed.
    pub(crate) fn unsigned(&self, error: &NoSecret, tries: u32, random: f64) -> Verdict {
        self.fail(Failure::Secret, error.to_string(), tries, None, random)
    }

    /// What follows where there is no place at the receiver's host for a delivery that is `age` old: put off, and given up in the end.
    pub(crate) fn put_off(&self, age: Duration, delay: Duration) -> Verdict {
        if age <= self.give_up {
            return Verdict { outcome: Outcome::Postponed(delay), error: None, failure: None };
        }
        let error = "not tried any more: its receiver's host has been too slow or broken for too long";
        bury(Failure::Host, error.into())
    }

    fn fail(
        &self,
        failure: Failure,
        error: String,
        tries: u32,
        asked: Option<Duration>,
        random: f64,
    ) -> Verdict {
        if tries.saturating_add(1) >= self.attempts {
            return bury(failure, error);
        }
        let waits = Waits { first: self.retry_delay, longest: self.max_retry_delay };
        let outcome = Outcome::Retry(waits.next(tries, asked, random));
        Verdict { outcome, error: Some(error), failure: Some(failure) }
    }
}

/// What follows where the target may not be gone to.
pub(crate) fn refuse(error: &TargetError) -> Verdict {
    bury(Failure::Refused, format!("refused: {error}"))
}

/// What follows where there is nothing left to send.
pub(crate) fn without_body() -> Verdict {
    bury(Failure::Body, "not tried: what it tells has expired".into())
}

fn bury(failure: Failure, error: String) -> Verdict {
    Verdict { outcome: Outcome::Dead, error: Some(error), failure: Some(failure) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<u64>) -> Answer {
        let retry_after = retry_after.map(Duration::from_secs);
        Answer { status, retry_after, location: Some("http://elsewhere/".into()), body: None }
    }

    #[derive(Debug, PartialEq)]
    enum Is {
        Delivered,
        Dead,
        RetryIn(u64),
    }

    #[track_caller]
    fn check(went: &Result<Answer, NoAnswer>, tries: u32, expected: Is, says: &str) {
        let verdict = Options::default().judge(went, tries, 1.0);
        let is = match verdict.outcome {
            Outcome::Delivered => Is::Delivered,
            Outcome::Dead => Is::Dead,
            Outcome::Retry(after) => Is::RetryIn(after.as_secs()),
            other @ Outcome::Postponed(_) => panic!("{other:?}"),
        };
        assert_eq!((is, verdict.error.as_deref().unwrap_or_default()), (expected, says), "{went:?}");
        assert_eq!(verdict.failure.is_none(), says.is_empty());
    }

    #[test]
    fn two_hundreds_are_delivered_and_all_else_is_tried_again_until_attempts_are_used_up() {
        for status in [200, 201, 204, 299] {
            check(&Ok(answer(status, None)), 4, Is::Delivered, "");
        }
        for status in [400, 404, 429, 500, 503, 199, 600] {
            let says = format!("the receiver answered {status}");
            check(&Ok(answer(status, None)), 0, Is::RetryIn(5), &says);
            check(&Ok(answer(status, None)), 3, Is::RetryIn(320), &says);
            check(&Ok(answer(status, Some(1))), 4, Is::Dead, &says);
        }
        check(&Err(NoAnswer::Timeout), 1, Is::RetryIn(20), "no answer within 15 s");
        check(&Err(NoAnswer::Timeout), 4, Is::Dead, "no answer within 15 s");
        check(&Err(NoAnswer::Broken("no connection: no".into())), 0, Is::RetryIn(5), "no connection: no");
    }

    #[test]
    fn what_can_never_go_well_is_dead_at_once() {
        check(&Ok(answer(410, Some(1))), 0, Is::Dead, "the receiver wants no more (410)");
        let refused = Err(NoAnswer::Refused(TargetError::Local));
        check(&refused, 0, Is::Dead, &format!("refused: {}", TargetError::Local));
    }

    #[test]
    fn redirects_are_failures_and_say_so() {
        let says = "redirects are not followed (307 to http://elsewhere/)";
        check(&Ok(answer(307, Some(1))), 0, Is::RetryIn(5), says);
    }

    #[test]
    fn a_receiver_that_says_not_now_is_heard() {
        for status in NOT_NOW {
            let says = format!("the receiver answered {status}");
            check(&Ok(answer(status, Some(1000))), 0, Is::RetryIn(1100), &says);
            check(&Ok(answer(status, Some(100_000))), 0, Is::RetryIn(3600), &says);
        }
        check(&Ok(answer(500, Some(1000))), 0, Is::RetryIn(5), "the receiver answered 500");
    }

    #[test]
    fn what_finds_no_place_is_put_off_until_it_is_too_old() {
        let options = Options::default();
        let delay = Duration::from_secs(7);
        let put_off = options.put_off(options.give_up, delay);
        assert_eq!(put_off, Verdict { outcome: Outcome::Postponed(delay), error: None, failure: None });
        let given_up = options.put_off(options.give_up + Duration::from_millis(1), delay);
        assert_eq!((given_up.outcome, given_up.failure), (Outcome::Dead, Some(Failure::Host)));
    }
}
