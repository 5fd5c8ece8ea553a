//! A body, in whichever way its end is told.

use super::chunks::Chunks;
use super::{Broken, Head};

/// A body (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Body {
    /// In chunks.
    Chunked(Chunks),
    /// So many bytes more.
    Length(u64),
    /// Until the connection ends.
    UntilClose,
}

impl Body {
    /// The body that follows `head`, the answer to a GET or POST.
    pub(crate) fn of(head: &Head) -> Self {
        match (head.status, head.chunked, head.length) {
            (204 | 304, ..) => Self::Length(0),
            (_, true, _) => Self::Chunked(Chunks::default()),
            (_, false, Some(length)) => Self::Length(length),
            (_, false, None) => Self::UntilClose,
        }
    }

    /// Takes `bytes`, and gives what of the body is in them to `take`.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), Broken> {
        match self {
            Self::Chunked(chunks) => return chunks.feed(bytes, take),
            Self::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                take(&bytes[..here]);
                *left -= here as u64;
            }
            Self::UntilClose => take(bytes),
        }
        Ok(())
    }

    /// Whether it is over; where the connection's end is its own, only that one can tell.
    pub(crate) fn ended(&self) -> bool {
        match self {
            Self::Chunked(chunks) => chunks.ended(),
            Self::Length(left) => *left == 0,
            Self::UntilClose => false,
        }
    }
}
