//! The life of a job as its events tell it: which event may follow which, and the handler's counters.

use super::event::{Event, is_terminal};
use super::finding::Kind;

/// How far a job's life was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Not from its beginning: what came before isn't known.
    Unknown,
    Unborn,
    Pending,
    Processing,
    Ended,
}

/// A life being told.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) stage: Stage,
    /// The newest attempt told.
    attempt: Option<u64>,
    /// The newest attempt's last counter.
    counter: Option<u64>,
    /// How many counted outputs a completed attempt has.
    planned: Option<u64>,
}

impl Life {
    /// From the first event on.
    pub(super) fn from_start(planned: Option<u64>) -> Self {
        Self { stage: Stage::Unborn, attempt: Some(0), counter: None, planned }
    }

    /// From somewhere on.
    pub(super) fn from_somewhere(planned: Option<u64>) -> Self {
        Self { stage: Stage::Unknown, attempt: None, counter: None, planned }
    }

    /// Takes the next event, and says what is wrong with it.
    pub(super) fn take(&mut self, event: &Event) -> Result<(), (Kind, String)> {
        let kind = event.kind.as_str();
        let stage = self.stage;
        if stage == Stage::Ended {
            return Err((Kind::AfterEnd, format!("`{kind}` after the end")));
        }
        self.stage = match kind {
            "started" => Stage::Processing,
            "queued" | "retrying" => Stage::Pending,
            _ if is_terminal(kind) => Stage::Ended,
            _ if stage == Stage::Unknown => Stage::Unknown,
            _ => Stage::Processing,
        };
        let legal = match stage {
            Stage::Unborn => kind == "queued",
            Stage::Pending => matches!(kind, "started" | "failed" | "cancelled"),
            Stage::Processing => !matches!(kind, "queued" | "started"),
            Stage::Unknown | Stage::Ended => kind != "queued",
        };
        let attempt = self.attempts(event);
        let counter = self.counters(event);
        if !legal {
            return Err((Kind::IllegalLife, format!("`{kind}` can't follow what went before ({stage:?})")));
        }
        attempt.and(counter)
    }

    fn attempts(&mut self, event: &Event) -> Result<(), (Kind, String)> {
        let before = self.attempt;
        self.attempt = event.attempt.or(before);
        let due = before.map(|before| if event.kind == "started" { before + 1 } else { before });
        match (event.attempt, due) {
            (Some(told), Some(due)) if told != due => {
                Err((Kind::IllegalLife, format!("`{}` of attempt {told}, where {due} was due", event.kind)))
            }
            (None, _) => Err((Kind::Malformed, format!("`{}` without an attempt", event.kind))),
            _ => Ok(()),
        }
    }

    fn counters(&mut self, event: &Event) -> Result<(), (Kind, String)> {
        match event.kind.as_str() {
            "started" => self.counter = Some(0),
            "output" => {
                let Some(n) = event.counter() else { return Ok(()) };
                let before = self.counter.replace(n);
                if let Some(before) = before.filter(|before| before + 1 != n) {
                    let attempt = event.attempt.unwrap_or_default();
                    return Err((
                        Kind::Counter,
                        format!("output {n} of attempt {attempt} after output {before}"),
                    ));
                }
            }
            "completed" => {
                if let (Some(last), Some(planned)) = (self.counter, self.planned)
                    && last != planned
                {
                    return Err((Kind::Counter, format!("completed after {last} outputs of {planned}")));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
