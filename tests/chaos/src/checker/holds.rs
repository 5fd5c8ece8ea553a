//! What a client holds in the end, held against what Redis holds.

use super::event::is_terminal;
use super::finding::Kind;
use super::loss::{FOUND_OUT_MS, Losses};
use super::track::{Held, Problem, Track};

/// Since when a client no longer could be told anything of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Presence {
    /// It was there to the end.
    Stayed,
    /// It last asked, or last was told, at this time.
    LeftAt(u64),
}

/// What the end of a client's way through a log means.
#[derive(Default)]
pub(super) struct Parting {
    pub(super) problems: Vec<Problem>,
    /// It had left with something that Redis then lost.
    pub(super) had_left: bool,
}

/// Judges what `track` holds, for a client that was there as `presence` says.
pub(super) fn judge(track: &Track<'_>, presence: Presence, losses: &Losses) -> Parting {
    let mut parting = Parting::default();
    if let Some(problem) = foreign(track) {
        parting.problems.push(problem);
    }
    let Some(lost) = first_lost(track) else {
        if presence == Presence::Stayed
            && !track.is_over()
            && !(track.is_feed() && track.at == track.log.end())
        {
            let sentence =
                format!("it stayed, was told up to {}, and the log ends at {}", track.at, track.log.end());
            parting.problems.push((Kind::Unfinished, sentence));
        }
        return parting;
    };
    if track.gone_at_ms.is_some() {
        return parting;
    }
    let holds = format!(
        "it holds `{}` {}, which Redis hasn't (it ends at {})",
        lost.kind,
        lost.cursor,
        track.log.end()
    );
    let excused_until = losses.last_end(track.log.partition, lost.written_ms, lost.written_ms);
    match (presence, excused_until) {
        (Presence::LeftAt(left), Some(until)) if left <= until.saturating_add(FOUND_OUT_MS) => {
            parting.had_left = true;
        }
        (Presence::LeftAt(_), None) if is_terminal(lost.kind) => {
            let written = lost.written_ms;
            let sentence =
                format!("{holds}, and nothing that was struck explains it (written at {written} ms)");
            parting.problems.push((Kind::EndLost, sentence));
        }
        _ => parting.problems.push((Kind::NotTold, format!("{holds}, and was never told"))),
    }
    parting
}

/// The first event that isn't in the log any more.
fn first_lost<'r>(track: &Track<'r>) -> Option<Held<'r>> {
    let end = track.log.end();
    let lost = |held: &&Held<'_>| {
        held.cursor.seq > end.seq
            || track
                .log
                .at(held.cursor.seq)
                .is_some_and(|_| track.log.mark_at(held.cursor.seq) != Some(held.cursor.mark))
    };
    track.held.iter().find(lost).copied()
}

/// An event with an entry's mark and another text.
fn foreign(track: &Track<'_>) -> Option<Problem> {
    track.held.iter().find_map(|held| {
        let entry = track.log.at(held.cursor.seq)?;
        let same = track.log.mark_at(held.cursor.seq) == Some(held.cursor.mark);
        let differs = entry.kind != held.kind || entry.json != held.data;
        (same && differs).then(|| {
            let (cursor, kind, data) = (held.cursor, held.kind, held.data);
            let sentence =
                format!("{cursor} was told as `{kind}` {data}, and is `{}` {}", entry.kind, entry.json);
            (Kind::Forged, sentence)
        })
    })
}
