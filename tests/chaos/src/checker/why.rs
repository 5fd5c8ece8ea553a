//! Why a client was told that its history is void: what explains a `rewound`, and what a `trimmed`.

use super::across::Across;
use super::finding::Kind;
use super::loss::Losses;
use super::track::{Problem, Track};
use super::truth::Truth;
use crate::opaque::Cursor;

/// Whether Redis itself can have lost the event at which `track` stands. When it was written isn't known of one that isn't held.
fn may_be_lost(track: &Track<'_>, at_ms: u64, losses: &Losses) -> bool {
    let written = track.held.last().map_or((0, at_ms), |held| (held.written_ms, held.written_ms));
    losses.of_writes(track.log.partition, written.0, written.1)
}

/// Why a `rewound` that came where `track` stands should not have come.
pub(super) fn rewind_unexplained(
    track: &Track<'_>,
    at_ms: u64,
    losses: &Losses,
    truth: &Truth<'_>,
) -> Option<Problem> {
    let at = track.at;
    let unexplained = |why: String| Some((Kind::UnexplainedRewind, format!("`rewound` at {at}, and {why}")));
    if !truth.run.topology.fails_over() {
        return unexplained("this Redis loses nothing".to_owned());
    }
    if track.log.mark_at(at.seq) == Some(at.mark)
        && at.seq <= track.log.end().seq
        && !track.log.entries.is_empty()
    {
        return unexplained("that is in the log to this day".to_owned());
    }
    if may_be_lost(track, at_ms, losses) {
        return None;
    }
    let written = track.held.last().map(|held| held.written_ms);
    unexplained(format!("nothing that was struck explains it (written at {written:?} ms)"))
}

/// Why a `trimmed` to `cursor` that came where `track` stands should not have come.
pub(super) fn trim_unexplained(
    track: &Track<'_>,
    at_ms: u64,
    cursor: Cursor,
    losses: &Losses,
    across: &Across<'_>,
) -> Option<Problem> {
    let (at, log) = (track.at, track.log);
    let unexplained =
        |why: String| Some((Kind::UnexplainedTrim, format!("`trimmed` at {at} to {cursor}, and {why}")));
    // What was trimmed for an event that a failover then took isn't known any more; and a log that lost all but its youngest events
    // may begin after a place that was never in it.
    let written = track.held.last().map_or(0, |held| held.written_ms);
    if losses.of_writes(log.partition, written, at_ms) {
        return None;
    }
    if cursor.seq <= at.seq {
        return unexplained("nothing is left out".to_owned());
    }
    if log.at(at.seq + 1).is_some() {
        return unexplained("the next event is in the log to this day".to_owned());
    }
    let longest = across.highest(track.key).max(log.end().seq);
    let due = cursor.seq.saturating_add(log.cap);
    let from_start = if track.is_feed() { log.entries.len() as u64 == log.cap } else { longest >= due };
    if from_start {
        None
    } else {
        unexplained(format!("the log had {longest} events at most, and its cap is {}", log.cap))
    }
}
