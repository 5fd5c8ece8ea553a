//! What random runs have found once, and what they find too seldom.

use super::check;
use super::log::Kind;
use super::ops::{Ending, Fate, Op, Setting};

const APPEND: Op = Op::Append { more: 0, large: false, fate: Fate::Heard };
const OPEN: Op = Op::Open { how: 0, pick: 0 };
const TAKE: Op = Op::Take { pick: 0, budget: 0 };
const ANSWER: Op = Op::Answer(false);

/// A rewind to nothing was read, then the history came back before the snapshot was made: after it the stream came to where it
/// had asked from, and was told the same verdict again, without end.
#[test]
fn a_verdict_is_told_once() {
    let told = Op::Open { how: 1, pick: 0 };
    let to_nothing = Op::Rewind { to: 0, kept: 0 };
    check(
        Setting { kind: Kind::Job, ring_bytes: 1, page: 1, ending: Ending::Reconcile },
        &[told, APPEND, OPEN, TAKE, Op::Ask, to_nothing, Op::Run, Op::Restore(0), ANSWER, TAKE, TAKE],
    );
}

/// A page was kept for a verdict that its stream was too late for, and the newer page, which the stream could use, was
/// dropped since the older one seemed to serve it: it was read again and again.
#[test]
fn a_newer_page_takes_the_place_of_an_older_one() {
    let append = |more| Op::Append { more, large: false, fate: Fate::Heard };
    check(
        Setting { kind: Kind::Job, ring_bytes: 1, page: 3, ending: Ending::Reconcile },
        &[
            OPEN,
            TAKE,
            append(2),
            Op::Ask,
            Op::Run,
            append(9),
            ANSWER,
            Op::Trim(9),
            Op::Ask,
            TAKE,
            Op::Run,
            Op::Rewind { to: 5, kept: 1 },
        ],
    );
}

/// A page of a history that was gone again contradicted each newer page, and no read at the log's end touched it.
#[test]
fn a_newer_page_ends_an_older_one_that_it_contradicts() {
    check(
        Setting { kind: Kind::Job, ring_bytes: 1, page: 8, ending: Ending::Reconcile },
        &[
            OPEN,
            APPEND,
            APPEND,
            OPEN,
            APPEND,
            APPEND,
            Op::Close(0),
            APPEND,
            OPEN,
            TAKE,
            Op::Ask,
            ANSWER,
            APPEND,
            TAKE,
            Op::Close(0),
            Op::Rewind { to: 88, kept: 0 },
            Op::Twin(0),
            Op::Shed(17),
            Op::Twin(0),
            APPEND,
            Op::Ask,
            ANSWER,
            OPEN,
            OPEN,
            OPEN,
            Op::Finish,
            Op::Twin(72),
            Op::Restore(0),
        ],
    );
}

const LATE: Op = Op::Append { more: 1, large: false, fate: Fate::Late };
/// At the second of three events.
const OPEN_AHEAD: Op = Op::Open { how: 1, pick: 128 };
const HEAR: Op = Op::Hear { pick: 0, again: false };
const TAKE_SECOND: Op = Op::Take { pick: 1, budget: 0 };

/// A stream that knows more than this node waits for a read; live brings what it waits for.
#[test]
fn who_waits_for_a_read_hears_of_live_events_too() {
    check(
        Setting { kind: Kind::Job, ring_bytes: 1000, page: 1, ending: Ending::Nothing },
        &[OPEN, TAKE, Op::Ask, ANSWER, LATE, OPEN_AHEAD, TAKE_SECOND, HEAR, HEAR],
    );
}

/// The same, while the read is in flight, which then fails.
#[test]
fn who_waits_for_a_read_that_fails_hears_of_live_events_too() {
    let fails = Op::Answer(true);
    check(
        Setting { kind: Kind::Job, ring_bytes: 1000, page: 1, ending: Ending::Nothing },
        &[OPEN, TAKE, Op::Ask, ANSWER, LATE, OPEN_AHEAD, TAKE_SECOND, Op::Ask, HEAR, HEAR, fails],
    );
}

/// A page that reaches beyond the end that is known, and then another history told by live.
#[test]
fn live_does_not_contradict_a_page() {
    let page_ahead = [OPEN, TAKE, Op::Ask, ANSWER, LATE, OPEN_AHEAD, TAKE_SECOND, Op::Ask, ANSWER];
    let rewind = [Op::Rewind { to: 1, kept: 0 }, APPEND];
    check(
        Setting { kind: Kind::Job, ring_bytes: 1000, page: 1, ending: Ending::Reconcile },
        &[page_ahead.as_slice(), &rewind].concat(),
    );
}

/// A read at the end that was known when it ran; live went past the end that it tells of before it was answered.
#[test]
fn a_read_that_live_has_overtaken_takes_nothing_back() {
    let overtaken = [LATE, Op::Unsettle, Op::Ask, Op::Run, HEAR, HEAR, APPEND, ANSWER];
    check(
        Setting { kind: Kind::Job, ring_bytes: 1000, page: 1, ending: Ending::Reconcile },
        &[[OPEN, TAKE, Op::Ask, ANSWER].as_slice(), &overtaken].concat(),
    );
}
