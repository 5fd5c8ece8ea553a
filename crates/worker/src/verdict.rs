//! What an attempt tells Redis at its end. Pure.

use std::any::Any;
use std::time::Duration;

use model::{ErrorCode, Json};
use store::End;
use tokio::task::JoinError;

use crate::lease::Gone;
use crate::{Failure, Outcome};

/// How the work on an attempt stopped.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The handler returned, or panicked.
    Done(Result<Result<Json, Failure>, JoinError>),
    /// Its time was up.
    TimeUp,
    /// It may not go on.
    Gone(Gone),
    /// The worker stops.
    GiveBack,
}

/// What is told.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Word {
    /// This end, with all reports.
    End(End),
    /// This end, without any report: Redis lacks what came before them.
    EndBare(End),
    /// Another worker may have it.
    Release,
    /// Nothing: it isn't ours any more.
    Nothing,
}

/// What is to be told, and what it is counted as.
pub(crate) fn verdict(stopped: Stopped, time_left: Duration, max_result: usize) -> (Word, Outcome) {
    match stopped {
        Stopped::Done(Ok(Ok(result))) if result.as_str().len() > max_result => failed(format!(
            "the result is too large: {} bytes where at most {max_result} are kept; store it elsewhere and return a link",
            result.as_str().len()
        )),
        Stopped::Done(Ok(Ok(result))) => (Word::End(End::Completed(result)), Outcome::Completed),
        Stopped::Done(Ok(Err(Failure::Retry(error)))) => {
            (Word::End(End::Retry { error, code: ErrorCode::Handler }), Outcome::Retry)
        }
        Stopped::Done(Ok(Err(Failure::Fatal(error)))) => failed(error),
        Stopped::Done(Ok(Err(Failure::Over))) => {
            failed("the handler gave up as if its attempt were over, which it wasn't".into())
        }
        Stopped::Done(Err(error)) => failed(match error.try_into_panic() {
            Ok(panic) => format!("the handler panicked: {}", panic_message(&*panic)),
            Err(_) => "the handler was stopped".into(),
        }),
        Stopped::TimeUp => {
            let error = format!("the attempt did not end within its {} s", time_left.as_secs_f64());
            (Word::End(End::Failed { error, code: ErrorCode::Timeout }), Outcome::Timeout)
        }
        Stopped::Gone(gone) => after(gone),
        Stopped::GiveBack => (Word::Release, Outcome::Released),
    }
}

/// What is to be told by an attempt that may not go on.
pub(crate) fn after(gone: Gone) -> (Word, Outcome) {
    match gone {
        // A release frees a cancelled job's place. Should a failover have lost the cancellation, the job isn't ended by us.
        Gone::Cancelled => (Word::Release, Outcome::Cancelled),
        Gone::Lost => (Word::Nothing, Outcome::Lost),
        Gone::Blind => (Word::Nothing, Outcome::Blind),
        Gone::Rewound => {
            let error = "Redis lost reports of this attempt, as a failover can".into();
            (Word::EndBare(End::Retry { error, code: ErrorCode::Lost }), Outcome::Lost)
        }
    }
}

fn failed(error: String) -> (Word, Outcome) {
    (Word::End(End::Failed { error, code: ErrorCode::Handler }), Outcome::Failed)
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else {
        panic.downcast_ref::<String>().map_or("without a message", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(stopped: Stopped) -> End {
        match verdict(stopped, Duration::from_millis(1500), 10).0 {
            Word::End(end) => end,
            other => panic!("{other:?}"),
        }
    }

    fn handler_error(error: &str) -> End {
        End::Failed { error: error.into(), code: ErrorCode::Handler }
    }

    #[test]
    fn every_stop_has_its_word() {
        let done = |result| Stopped::Done(Ok(result));
        let json = |text: &str| Json::parse(text).unwrap();
        for (stopped, expected) in [
            (done(Ok(json("\"12345678\""))), End::Completed(json("\"12345678\""))),
            (
                done(Ok(json("\"123456789\""))),
                handler_error(
                    "the result is too large: 11 bytes where at most 10 are kept; store it elsewhere and return a link",
                ),
            ),
            (
                done(Err(Failure::retry("later"))),
                End::Retry { error: "later".into(), code: ErrorCode::Handler },
            ),
            (done(Err(Failure::fatal("bad"))), handler_error("bad")),
            (
                Stopped::TimeUp,
                End::Failed {
                    error: "the attempt did not end within its 1.5 s".into(),
                    code: ErrorCode::Timeout,
                },
            ),
        ] {
            assert_eq!(end(stopped), expected);
        }
    }

    #[tokio::test]
    async fn a_panic_keeps_its_message() {
        async fn panicked(work: impl Future<Output = ()> + Send + 'static) -> End {
            let mut tasks = tokio::task::JoinSet::new();
            tasks.spawn(work);
            let error = tasks.join_next().await.unwrap().unwrap_err();
            end(Stopped::Done(Err(error)))
        }
        let seven = 7;
        for (end, said) in [
            (panicked(async { panic!("plain") }).await, "the handler panicked: plain"),
            (panicked(async move { panic!("number {seven}") }).await, "the handler panicked: number 7"),
            (
                panicked(async { std::panic::panic_any(7_u8) }).await,
                "the handler panicked: without a message",
            ),
        ] {
            assert_eq!(end, handler_error(said));
        }
    }
}
