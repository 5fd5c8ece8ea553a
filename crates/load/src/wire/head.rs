//! The head of an answer.

use super::Broken;

/// The longest head that is waited for.
const LONGEST: usize = 32 * 1024;

/// What of a head counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The status.
    pub(crate) status: u16,
    /// The body is in chunks.
    pub(crate) chunked: bool,
    /// The body's length, if it is told.
    pub(crate) length: Option<u64>,
    /// The connection ends with the body.
    pub(crate) closes: bool,
    /// The body is an event stream.
    pub(crate) is_stream: bool,
}

impl Head {
    /// Reads the head in `bytes`, and how long it is; `None` while its end hasn't come.
    pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Broken> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            return if bytes.len() > LONGEST { Err(Broken::LongHead) } else { Ok(None) };
        };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Broken::Head)?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let rest = first.strip_prefix("HTTP/1.").ok_or(Broken::Head)?;
        let status = rest.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(Broken::Head)?;
        let mut head =
            Self { status, chunked: false, length: None, closes: rest.starts_with('0'), is_stream: false };
        for line in lines {
            let (name, value) = line.split_once(':').ok_or(Broken::Head)?;
            head.field(name, value.trim())?;
        }
        Ok(Some((head, end + 4)))
    }

    fn field(&mut self, name: &str, value: &str) -> Result<(), Broken> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        let has = |word: &str| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
        if is("transfer-encoding") {
            self.chunked |= has("chunked");
        } else if is("content-length") {
            self.length = Some(value.parse().map_err(|_| Broken::Head)?);
        } else if is("connection") {
            self.closes |= has("close");
        } else if is("content-type") {
            let media = value.split(';').next().unwrap_or_default();
            self.is_stream = media.trim().eq_ignore_ascii_case("text/event-stream");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_and_a_refusal() {
        let stream =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\ntransfer-encoding: Chunked\r\n\r\n5";
        let (head, length) = Head::read(stream).unwrap().unwrap();
        assert_eq!(length, stream.len() - 1);
        assert_eq!((head.status, head.chunked, head.is_stream, head.closes), (200, true, true, false));
        let refusal = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 12\r\nConnection: close\r\n\r\n";
        let (head, _) = Head::read(refusal).unwrap().unwrap();
        assert_eq!((head.status, head.length, head.closes, head.is_stream), (401, Some(12), true, false));
        for at in 0..refusal.len() {
            assert_eq!(Head::read(&refusal[..at]), Ok(None), "cut at {at}");
        }
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for bytes in [&b"SSH-2.0-x\r\n\r\n"[..], b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"]
        {
            assert_eq!(Head::read(bytes), Err(Broken::Head));
        }
        assert_eq!(Head::read(&vec![b'a'; LONGEST + 1]), Err(Broken::LongHead));
    }
}
