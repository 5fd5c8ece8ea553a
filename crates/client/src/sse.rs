//! Server-Sent Events as the WHATWG standard reads them, bytes in, frames out.

use std::time::Duration;

/// The longest frame that is taken, in bytes. A snapshot holds a result (1 MiB by default) and little else.
pub(crate) const MAX_FRAME: usize = 64 * 1024 * 1024;

/// One whole event as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// `event:`, or `message` as the standard says where there is none.
    pub(crate) event: String,
    /// The `data:` lines, joined by newlines.
    pub(crate) data: String,
    /// The frame's own `id:`, if it has one. It is given with the whole frame and not before: an id that came with half a
    /// frame would make a client that resumes by it miss the event.
    pub(crate) id: Option<String>,
}

/// What a stream holds besides comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// How long to wait before connecting again.
    Retry(Duration),
    /// An event.
    Frame(Frame),
}

/// A frame or a line longer than [`MAX_FRAME`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {MAX_FRAME} bytes")]
pub(crate) struct TooLong;

/// Reads one response's body, cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The line that isn't whole yet.
    line: Vec<u8>,
    /// The last byte ended a line and was a CR: an LF now belongs to it.
    after_cr: bool,
    /// The first line is behind us; it alone may begin with a byte order mark.
    begun: bool,
    frame: Frame,
    has_data: bool,
    limit: Option<usize>,
}

impl Parser {
    /// Takes the next bytes, and puts what they complete at the end of `pieces`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], pieces: &mut impl Extend<Piece>) -> Result<(), TooLong> {
        if self.after_cr && !bytes.is_empty() {
            self.after_cr = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|&byte| matches!(byte, b'\n' | b'\r')) {
            let (line, rest) = bytes.split_at(end);
            self.hold(line)?;
            let line = std::mem::take(&mut self.line);
            pieces.extend(self.line(&line));
            // Its memory serves the next line.
            self.line = line;
            self.line.clear();
            bytes = match rest {
                [b'\r'] => {
                    self.after_cr = true;
                    &[]
                }
                [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => rest,
                [] => rest,
            };
        }
        self.hold(bytes)
    }

    fn hold(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        let held = self.line.len() + self.frame.data.len() + bytes.len();
        if held > self.limit.unwrap_or(MAX_FRAME) {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Option<Piece> {
        let line = if self.begun { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        self.begun = true;
        if line.is_empty() {
            return self.dispatch();
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = match line.split_once(':') {
            Some((field, value)) => (field, value.strip_prefix(' ').unwrap_or(value)),
            None => (&*line, ""),
        };
        match field {
            "event" => value.clone_into(&mut self.frame.event),
            "data" => {
                if self.has_data {
                    self.frame.data.push('\n');
                }
                self.has_data = true;
                self.frame.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.frame.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                return value.parse().ok().map(Duration::from_millis).map(Piece::Retry);
            }
            // Comments have an empty name; what else there is, the standard ignores too.
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Piece> {
        let mut frame = std::mem::take(&mut self.frame);
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        if frame.event.is_empty() {
            "message".clone_into(&mut frame.event);
        }
        Some(Piece::Frame(frame))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(event: &str, data: &str, id: Option<&str>) -> Piece {
        Piece::Frame(Frame { event: event.into(), data: data.into(), id: id.map(Into::into) })
    }

    fn parse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Piece> {
        let (mut parser, mut pieces) = (Parser::default(), Vec::new());
        for chunk in chunks {
            parser.push(chunk, &mut pieces).unwrap();
        }
        pieces
    }

    #[track_caller]
    fn check(text: &str, pieces: &[Piece]) {
        assert_eq!(parse([text.as_bytes()]), pieces, "{text:?}");
        assert_eq!(parse(text.as_bytes().chunks(1)), pieces, "{text:?}, byte by byte");
    }

    #[test]
    fn reads_what_the_standard_says() {
        check("", &[]);
        check(": nothing\n\n", &[]);
        check("data\n\n", &[frame("message", "", None)]);
        check("data: a\n\n", &[frame("message", "a", None)]);
        check("data:  a\ndata:b\n\n", &[frame("message", " a\nb", None)]);
        check("data\ndata\n\n", &[frame("message", "\n", None)]);
        check("event: x\ndata: a: b\nid: 1\n\n", &[frame("x", "a: b", Some("1"))]);
        check("id: 1\nevent: x\n\ndata: a\n\n", &[frame("message", "a", None)]);
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", &[frame("message", "a", None)]);
        check("data: a\r\n\r\ndata: b\r\rdata: c\n\n", &["a", "b", "c"].map(|c| frame("message", c, None)));
        check("retry: 250\n", &[Piece::Retry(Duration::from_millis(250))]);
        check("retry: 2.5\nretry:\nretry: -1\nretry: 99999999999999999999999\nfield: x\n", &[]);
        check("id: a\0b\ndata: a\n\n", &[frame("message", "a", None)]);
    }

    #[test]
    fn half_a_frame_is_none() {
        for text in ["event: x\nid: 1\ndata: a\n", "id: 1\n", "data: a\r\nid: 2\r"] {
            check(text, &[]);
        }
    }

    #[test]
    fn text_that_is_not_utf_8_is_replaced() {
        assert_eq!(parse([&b"data: a\xffb\n\n"[..]]), [frame("message", "a\u{fffd}b", None)]);
        // A character that is cut in two is one character.
        assert_eq!(parse([&b"data: \xc3"[..], b"\xa4\n\n"]), [frame("message", "ä", None)]);
    }

    #[test]
    fn what_never_ends_is_refused() {
        let mut parser = Parser { limit: Some(10), ..Parser::default() };
        assert_eq!(parser.push(b"data: 123456", &mut Vec::new()), Err(TooLong));
        let mut parser = Parser { limit: Some(10), ..Parser::default() };
        let lines = (0..10).map(|_| parser.push(b"data: 12\n", &mut Vec::new()));
        assert!(lines.collect::<Vec<_>>().contains(&Err(TooLong)));
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_changes_nothing(
            text in "(id|event|data|retry|:|: |\r|\n|\r\n|\n\n|1|ä|x){0,60}",
            cuts in prop::collection::vec(0..200_usize, 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let (mut chunks, mut from) = (Vec::new(), 0);
            for cut in cuts.into_iter().chain([text.len()]) {
                chunks.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            prop_assert_eq!(parse(chunks), parse([text.as_bytes()]));
        }
    }
}
