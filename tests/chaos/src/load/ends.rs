//! Ends that workers were told are written. Each says so in its log the moment it hears it, so a worker that is killed a moment
//! later has said it too.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::record::AcknowledgedEnd;

/// What the worker says, once for each end.
const SAID: &str = "an attempt's end was acknowledged";

/// The ends of jobs, by their ids, that `log` tells of, in its order. Its times are of the wall clock.
pub(super) fn acknowledged(log: &str, started_at_unix_ms: u64) -> HashMap<String, Vec<AcknowledgedEnd>> {
    let mut ends: HashMap<String, Vec<AcknowledgedEnd>> = HashMap::new();
    for line in log.lines().filter(|line| line.contains(SAID)) {
        if let Some((job, end)) = read(line, started_at_unix_ms) {
            ends.entry(job).or_default().push(end);
        }
    }
    ends
}

fn read(line: &str, started_at_unix_ms: u64) -> Option<(String, AcknowledgedEnd)> {
    let field = |name: &str| {
        let after = line.split_once(name)?.1;
        Some(after.split([' ', '"']).next()?.to_owned())
    };
    let kind = match field(" outcome=\"")?.as_str() {
        "completed" => "completed",
        "failed" | "timeout" => "failed",
        // It is tried again, or given back: no end of the job.
        _ => return None,
    };
    let at: Timestamp = line.split(' ').next()?.parse().ok()?;
    let at_ms = u64::try_from(at.as_millisecond()).ok()?.saturating_sub(started_at_unix_ms);
    Some((field(" job=")?, AcknowledgedEnd { at_ms, kind: kind.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_and_nothing_else() {
        let log = "\
2026-11-28T10:00:01.500000Z  INFO worker::attempt: an attempt failed job=a task=counted attempt=1 error=\"it was to fail\"
2026-11-28T10:00:01.600000Z DEBUG worker::attempt: an attempt's end was acknowledged job=a outcome=\"failed\"
2026-11-28T10:00:02.000000Z DEBUG worker::attempt: an attempt's end was acknowledged job=b outcome=\"retry\"
2026-11-28T10:00:02.250000Z DEBUG worker::attempt: an attempt's end was acknowledged job=b outcome=\"completed\"
2026-11-28T10:00:02.300000Z DEBUG worker::attempt: an attempt's end was ackno";
        let started: Timestamp = "2026-11-28T10:00:00Z".parse().unwrap();
        let ends = acknowledged(log, started.as_millisecond().try_into().unwrap());
        let end = |at_ms, kind: &str| vec![AcknowledgedEnd { at_ms, kind: kind.to_owned() }];
        let want = [("a".to_owned(), end(1_600, "failed")), ("b".to_owned(), end(2_250, "completed"))];
        assert_eq!(ends, HashMap::from(want));
    }
}
