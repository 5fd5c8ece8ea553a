//! What a run is made of.

use super::log::Kind;

/// What holds for a whole run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    pub(super) kind: Kind,
    pub(super) ring_bytes: usize,
    /// The most entries of a page.
    pub(super) page: usize,
    pub(super) ending: Ending,
}

/// By what the streams come to the log's end when a run is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// What was lost is found by a reconcile.
    Reconcile,
    /// An event beyond all that was known is heard: it tells of whatever was lost before it.
    Live,
    /// Redis and the live channel lost nothing in the whole run, though some was late: nothing more is needed.
    Nothing,
}

/// What becomes of a live message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Heard,
    /// Heard some time later, maybe after others.
    Late,
    Lost,
    /// Heard now and again some time later.
    Twice,
}

/// One thing that happens. A `pick` chooses among what there is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// One event, and `more`; a feed that has none begins. Large ones are told without their body.
    Append {
        more: u8,
        large: bool,
        fate: Fate,
    },
    /// A late live message arrives, maybe to arrive `again`.
    Hear {
        pick: u8,
        again: bool,
    },
    /// The log is trimmed.
    Trim(u8),
    /// Redis lost its newest events, and maybe has some that it had trimmed.
    Rewind {
        to: u8,
        kept: u8,
    },
    /// A history that Redis had lost is back.
    Restore(u8),
    /// The job ends; or one of those that the feed is of.
    Finish,
    /// The job isn't there any more; or the feed has expired.
    Vanish,
    /// A stream opens: at the start, a cursor that was told once, a bare seq, a foreign mark, or at the log's end.
    Open {
        how: u8,
        pick: u8,
    },
    Close(u8),
    /// A stream that is awake takes what is ready.
    Take {
        pick: u8,
        budget: u8,
    },
    /// Another stream opens where one stands: both get the same.
    Twin(u8),
    /// The shell asks the core what to read.
    Ask,
    /// The read runs in Redis.
    Run,
    /// The read is answered, or fails.
    Answer(bool),
    Shed(u8),
    /// A reconcile asks Redis for the newest cursor.
    AskTip,
    /// It is told to the core, maybe after live has caught up.
    TellTip(bool),
    /// The subscription was built anew.
    Unsettle,
    /// A second has passed.
    Cool,
}
