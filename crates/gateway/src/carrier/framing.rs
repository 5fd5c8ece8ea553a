//! How a response on the bare socket says where its body ends (RFC 9112, section 6.3).

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use axum::body::Bytes;
use axum::http::Version;
use axum::http::response::Parts;
use bytes::BytesMut;
use model::{Clock, SystemClock};
use smallvec::SmallVec;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The most that is written around a part of a body.
pub(super) const AROUND: usize = "ffffffffffffffff\r\n\r\n".len() + LAST_CHUNK.len();

/// What a client is told of its body's end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framing {
    /// Chunks, of which the last one says so. Common clients hold back a body that only the close ends, so this is for all that
    /// know chunks.
    Chunked,
    /// Nothing: the body goes on until the connection is closed.
    UntilClose,
}

impl Framing {
    /// For who asked in that version of HTTP/1.
    pub(crate) fn of(version: Version) -> Self {
        if version == Version::HTTP_10 { Self::UntilClose } else { Self::Chunked }
    }

    /// The response's head. Its version is the client's own, as it is in hyper's answers.
    pub(super) fn head(self, parts: &Parts) -> Bytes {
        let (version, coding) = match self {
            Self::Chunked => ("1.1", "transfer-encoding: chunked\r\n"),
            Self::UntilClose => ("1.0", ""),
        };
        let mut head = BytesMut::with_capacity(512);
        head.extend_from_slice(format!("HTTP/{version} {}\r\n", parts.status).as_bytes());
        for (name, value) in &parts.headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        let date =
            httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_millis(SystemClock.now().as_millis()));
        head.extend_from_slice(format!("connection: close\r\n{coding}date: {date}\r\n\r\n").as_bytes());
        head.freeze()
    }

    /// What comes before and after a part of so many bytes; with what says that it was the last one, if the stream is `over`.
    pub(super) fn around(self, size: usize, over: bool) -> (SmallVec<[u8; 32]>, &'static [u8]) {
        let mut begin = SmallVec::new();
        let Self::Chunked = self else { return (begin, b"") };
        if size > 0 {
            // It takes all that there is memory for.
            let _ = write!(begin, "{size:x}\r\n");
        }
        let end: &[u8] = match (size > 0, over) {
            (true, true) => b"\r\n0\r\n\r\n",
            (true, false) => b"\r\n",
            (false, true) => LAST_CHUNK,
            (false, false) => b"",
        };
        (begin, end)
    }
}
