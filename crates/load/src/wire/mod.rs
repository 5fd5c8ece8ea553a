//! What comes over the socket, taken apart as it comes: the head of an answer, chunks, and the frames of a stream. Bytes in,
//! facts out; no I/O.

mod body;
mod chunks;
mod frames;
mod head;

pub(crate) use body::Body;
pub(crate) use frames::{Frame, Frames, Kind};
pub(crate) use head::Head;

/// An answer that is no HTTP/1.1, or a stream that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// The head can't be read.
    #[error("an answer whose head is no HTTP")]
    Head,
    /// The head doesn't end.
    #[error("an answer whose head is too long")]
    LongHead,
    /// The chunked coding is broken.
    #[error("an answer whose chunks are broken")]
    Chunk,
    /// A line of a stream doesn't end.
    #[error("a stream with a line that doesn't end")]
    LongLine,
}
