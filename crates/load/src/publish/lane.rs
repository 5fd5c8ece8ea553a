//! One job's events: what is due, and the report that carries them.

use std::collections::VecDeque;
use std::fmt::Write as _;

use model::{JobId, Token};

/// One job. It has one report under way at a time, sent again until it is answered: the batch number says that it is the same.
#[derive(Debug)]
pub(super) struct Lane {
    job: JobId,
    token: Token,
    /// The due times of events that wait, in microseconds since the Unix epoch.
    waiting: VecDeque<u64>,
    batch: u64,
    end: End,
    /// It waits for a connection, or has one.
    pub(super) busy: bool,
    /// Events that were acknowledged.
    pub(super) events: u64,
}

/// Whether a job goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It does.
    NotYet,
    /// It is to end after what waits.
    Asked,
    /// Its end is acknowledged.
    Acknowledged,
    /// It takes no more reports.
    Lost,
}

/// The events of a job beside its outputs: `queued`, `started`, `completed`.
const OTHERS: u64 = 3;

/// A report.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Its path.
    pub(super) path: String,
    /// Its body.
    pub(super) body: String,
    /// The due times of its events; none for the end.
    pub(super) due: Vec<u64>,
}

impl Lane {
    pub(super) fn new(job: JobId, token: Token) -> Self {
        let waiting = VecDeque::new();
        Self { job, token, waiting, batch: 1, end: End::NotYet, busy: false, events: 0 }
    }

    /// An event is due at `us`.
    pub(super) fn due(&mut self, us: u64) {
        self.waiting.push_back(us);
    }

    /// After what waits, the job ends.
    pub(super) fn end(&mut self) {
        if self.end == End::NotYet {
            self.end = End::Asked;
        }
    }

    /// It takes no more reports.
    pub(super) fn lose(&mut self) {
        self.end = End::Lost;
    }

    /// Whether nothing more will be reported of it.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.end, End::Acknowledged | End::Lost)
    }

    /// Whether there is something to report.
    pub(super) fn has_news(&self) -> bool {
        !self.is_over() && (self.end == End::Asked || !self.waiting.is_empty())
    }

    /// The next report, of at most `most` events whose outputs hold `pad` bytes; then the end, if it is to end.
    pub(super) fn report(&mut self, most: usize, pad: &str) -> Report {
        let Self { job, token, batch, .. } = self;
        let due: Vec<_> = self.waiting.drain(..most.min(self.waiting.len())).collect();
        if due.is_empty() {
            let body = format!(r#"{{"leaseToken":"{token}","batch":{batch},"result":null}}"#);
            return Report { path: format!("/api/work/{job}/complete"), body, due };
        }
        let mut body = format!(r#"{{"leaseToken":"{token}","batch":{batch},"outputs":["#);
        for (at, due) in due.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let _ = write!(body, r#"{comma}{{"output":{{"due":{due},"pad":"{pad}"}}}}"#);
        }
        body.push_str("]}");
        Report { path: format!("/api/work/{job}/output"), body, due }
    }

    /// `report` is acknowledged.
    pub(super) fn acknowledge(&mut self, report: &Report) {
        self.batch += 1;
        self.events += report.due.len() as u64;
        if report.due.is_empty() {
            self.end = End::Acknowledged;
        }
    }

    /// The number of the job's last event; 0 where it isn't known.
    pub(super) fn last(&self) -> u64 {
        if self.end == End::Acknowledged { self.events + OTHERS } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fell_due_meanwhile_goes_together_and_then_the_end() {
        let job: JobId = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000".parse().unwrap();
        let mut lane = Lane::new(job, Token::from_random([7; 16]));
        assert!(!lane.has_news());
        for us in [5, 6, 7] {
            lane.due(us);
        }
        lane.end();
        let report = lane.report(2, "xx");
        assert_eq!(report.path, format!("/api/work/{job}/output"));
        let body: model::wire::OutputRequest = serde_json::from_str(&report.body).unwrap();
        assert_eq!((body.batch, body.outputs.unwrap().len(), &report.due[..]), (Some(1), 2, &[5, 6][..]));
        assert!(report.body.contains(r#"{"output":{"due":6,"pad":"xx"}}"#), "{}", report.body);
        lane.acknowledge(&report);
        let report = lane.report(2, "");
        assert_eq!((report.due.len(), lane.events), (1, 2));
        lane.acknowledge(&report);
        assert_eq!(lane.last(), 0, "not known yet");
        let end = lane.report(2, "");
        assert!(end.path.ends_with("/complete") && end.body.contains(r#""batch":3"#), "{end:?}");
        lane.acknowledge(&end);
        assert!(lane.is_over() && !lane.has_news());
        assert_eq!((lane.events, lane.last()), (3, 6));
    }
}
