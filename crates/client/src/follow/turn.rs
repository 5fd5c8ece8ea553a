//! What a follower is told, and what it wants.

use std::time::Duration;

use model::Cursor;
use model::wire::JobView;

use crate::error::{Error, FollowError};
use crate::event::Event;
use crate::follow::Start;

/// How to follow.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// How long nobody may answer; `None` for ever.
    pub(crate) give_up_after: Option<Duration>,
    /// How long one poll waits for a change.
    pub(crate) poll_wait: Duration,
    /// The least time between the beginnings of two polls.
    pub(crate) poll_pause: Duration,
    /// How long after the first failure of a stream it is tried again, while polls serve; doubled by each.
    pub(crate) stream_again: Duration,
    /// Whether polls may serve: with a stream token alone they would be refused.
    pub(crate) polls: bool,
}

/// What to do next. All times are from the following's beginning.
#[derive(Debug)]
pub(crate) enum Next {
    /// Open a stream, and tell what comes of it by `heard`, `retry`, `frame` and at last `lost`.
    Stream(Start),
    /// Poll, wait so long for what differs from `known`, and tell the answer by `polled`.
    Poll { known: Option<Cursor>, wait: Duration },
    /// Wait so long.
    Sleep(Duration),
    /// Nothing: all was told.
    Over,
    /// Tell this and nothing more.
    Fail(FollowError),
}

/// How a stream ended, or why there is none.
#[derive(Debug)]
pub(crate) enum Lost {
    /// No connection, or an answer that says: later.
    Away(Error),
    /// It can't be had like this: the connection stands and nothing comes, or something that is no stream.
    Useless(Error),
    /// It ended, or sent what can't be.
    Closed,
    /// It broke in its middle.
    Broken(Error),
    /// The gateway says that the end was seen.
    Seen,
    /// Refused for good.
    Refused(FollowError),
}

/// What a poll came to.
#[derive(Debug)]
pub(crate) enum Polled {
    /// The job.
    Job(Box<JobView>),
    /// The job is as it was.
    Same,
    /// No job.
    Failed(Error),
}

/// What became of a frame.
#[derive(Debug, PartialEq)]
pub(crate) enum Took {
    /// It is news.
    Event(Box<Event>),
    /// It was seen before.
    Nothing,
    /// It can't follow what was seen: the stream must be closed and another one opened.
    Stumbled,
}
