//! The parser: bytes in, events out, wherever the bytes are cut. No I/O.

/// One event, as an EventSource would fire it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The value of the block's own `id:` line; `None` if it has none.
    pub id: Option<String>,
    /// The last id seen so far: this block's, or that of a block before. What a reconnect sends.
    pub last_event_id: String,
    /// The event's name; `message` if the block has none.
    pub event: String,
    /// The data lines, joined by `\n`.
    pub data: String,
    /// The exact bytes of the block, up to the end of its empty line. Comments and `retry:` lines before its first
    /// other line are not in it, since they belong to the stream. (Where the empty line ends in CR LF, the LF is not in
    /// it: the event is complete before it comes.)
    pub raw: Vec<u8>,
}

/// An incremental parser of one event stream.
#[derive(Debug, Default)]
pub struct Parser {
    /// The line that isn't complete yet.
    line: Vec<u8>,
    /// The byte before was a CR, so an LF now belongs to it.
    after_cr: bool,
    /// A line was complete: from now on there is no byte order mark.
    begun: bool,
    raw: Vec<u8>,
    data: String,
    name: String,
    id: Option<String>,
    id_buffer: String,
    last_event_id: String,
    retry: Option<u64>,
    comments: Vec<String>,
}

impl Parser {
    /// A parser for a new connection of a client that has already seen `last_event_id` (empty if none). As in
    /// browsers, events without an id of their own carry it on.
    pub fn new(last_event_id: &str) -> Self {
        Self { id_buffer: last_event_id.into(), last_event_id: last_event_id.into(), ..Self::default() }
    }

    /// The last `retry:` of the stream, in milliseconds.
    pub fn retry(&self) -> Option<u64> {
        self.retry
    }

    /// The comments so far, without their colon.
    pub fn comments(&self) -> &[String] {
        &self.comments
    }

    /// The last id of a complete block, also of one that fired nothing; empty if none.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Takes the stream's next bytes, and gives the events that they complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            if std::mem::take(&mut self.after_cr) && byte == b'\n' {
                if !self.raw.is_empty() {
                    self.raw.push(byte);
                }
                continue;
            }
            if byte != b'\n' && byte != b'\r' {
                self.line.push(byte);
                continue;
            }
            self.after_cr = byte == b'\r';
            let line = std::mem::take(&mut self.line);
            let line =
                if self.begun { &line[..] } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line) };
            self.begun = true;
            events.extend(self.take_line(line, byte));
        }
        events
    }

    fn take_line(&mut self, line: &[u8], ending: u8) -> Option<Event> {
        let (field, value) = split(line);
        let of_the_stream = !line.is_empty() && (field.is_empty() || field == "retry");
        if !of_the_stream || !self.raw.is_empty() {
            self.raw.extend_from_slice(line);
            self.raw.push(ending);
        }
        if line.is_empty() {
            return self.dispatch();
        }
        match field.as_str() {
            "" => self.comments.push(value),
            "data" => {
                self.data.push_str(&value);
                self.data.push('\n');
            }
            "event" => self.name = value,
            "id" if !value.contains('\0') => {
                self.id_buffer.clone_from(&value);
                self.id = Some(value);
            }
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok();
            }
            _ => {}
        }
        None
    }

    /// The end of a block: an event, unless it had no data line.
    fn dispatch(&mut self) -> Option<Event> {
        self.last_event_id.clone_from(&self.id_buffer);
        let (raw, name) = (std::mem::take(&mut self.raw), std::mem::take(&mut self.name));
        let (mut data, id) = (std::mem::take(&mut self.data), self.id.take());
        data.pop()?; // the last line's end; where there is none, there was no data
        let event = if name.is_empty() { "message".into() } else { name };
        Some(Event { id, last_event_id: self.last_event_id.clone(), event, data, raw })
    }
}

/// A line's field and value; a comment's field is empty.
fn split(line: &[u8]) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match line.iter().position(|&byte| byte == b':') {
        None => (text(line), String::new()),
        Some(colon) => {
            let value = &line[colon + 1..];
            (text(&line[..colon]), text(value.strip_prefix(b" ").unwrap_or(value)))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Name, data, id line, last id: what a client sees of an event.
    type Seen<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

    fn parse<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Parser) {
        let mut parser = Parser::new("");
        let events = chunks.into_iter().flat_map(|chunk| parser.push(chunk)).collect();
        (events, parser)
    }

    #[track_caller]
    fn check(input: &[u8], expected: &[Seen<'_>]) {
        let (whole, _) = parse([input]);
        let seen: Vec<Seen<'_>> = whole
            .iter()
            .map(|e| (e.event.as_str(), e.data.as_str(), e.id.as_deref(), e.last_event_id.as_str()))
            .collect();
        assert_eq!(seen, expected, "{:?}", String::from_utf8_lossy(input));
        assert_eq!(parse(input.chunks(1)).0, whole, "byte by byte");
        for cut in 0..=input.len() {
            let (one, two) = input.split_at(cut);
            assert_eq!(parse([one, two]).0, whole, "cut at {cut}");
        }
    }

    #[test]
    fn events_as_the_standard_says() {
        check(b"", &[]);
        check(b"data: a\n\n", &[("message", "a", None, "")]);
        check(b"data:a\n\n", &[("message", "a", None, "")]);
        check(b"data:  a\n\n", &[("message", " a", None, "")]);
        check(b"data: a:b\n\n", &[("message", "a:b", None, "")]);
        check(b"data\n\n", &[("message", "", None, "")]);
        check(b"data:\n\n", &[("message", "", None, "")]);
        check(b"data\ndata\n\ndata:", &[("message", "\n", None, "")]);
        check(b"data: YHOO\ndata: +2\ndata: 10\n\n", &[("message", "YHOO\n+2\n10", None, "")]);
        check(b"event: x\ndata: 1\nid: 7\n\n", &[("x", "1", Some("7"), "7")]);
        check("data: \u{e9}\u{1f600}\n\n".as_bytes(), &[("message", "\u{e9}\u{1f600}", None, "")]);
        check(b"data: \xff\n\n", &[("message", "\u{fffd}", None, "")]);
        check(b"\xef\xbb\xbfdata: bom\n\n", &[("message", "bom", None, "")]);
        check(b"data: a\n\n\xef\xbb\xbfdata: b\n\n", &[("message", "a", None, "")]);
    }

    #[test]
    fn every_line_ending() {
        let expected: &[Seen<'_>] = &[("message", "a\nb", Some("1"), "1"), ("message", "c", None, "1")];
        check(b"data: a\ndata: b\nid: 1\n\ndata: c\n\n", expected);
        check(b"data: a\rdata: b\rid: 1\r\rdata: c\r\r", expected);
        check(b"data: a\r\ndata: b\r\nid: 1\r\n\r\ndata: c\r\n\r\n", expected);
        check(b"data: a\rdata: b\nid: 1\r\n\ndata: c\n\r", expected);
    }

    #[test]
    fn ids_persist_until_changed_emptied_or_refused() {
        let events: &[Seen<'_>] = &[("message", "a", Some("1"), "1"), ("message", "b", None, "1")];
        check(b"id: 1\ndata: a\n\ndata: b\n\n", events);
        check(b"id: 1\ndata: a\n\nid\ndata: b\n\n", &[events[0], ("message", "b", Some(""), "")]);
        check(b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", events);
        check(b"id: 2\n\ndata: a\n\n", &[("message", "a", None, "2")]); // a block without data sets it too
        check(b"id: 1\ndata: a\n\nid: 2\ndata: cut", &[events[0]]);
    }

    #[test]
    fn what_fires_nothing() {
        check(b"event: x\n\n", &[]);
        check(b"event: x\n\ndata: a\n\n", &[("message", "a", None, "")]);
        check(b"data: never finished", &[]);
        check(b"data: never finished\n", &[]);
        check(b": comment\n\n\n\n", &[]);
        check(b"Data: a\nunknown: b\n data: c\n\n", &[]);
    }

    #[test]
    fn the_streams_own_lines() {
        let (events, parser) =
            parse([&b"retry: 1500\n: one\n:two\nretry: 1x\nretry\ndata: a\n: in it\nid: 1\n\n"[..]]);
        assert_eq!(parser.retry(), Some(1500));
        assert_eq!(parser.comments(), ["one", "two", "in it"]);
        assert_eq!(parser.last_event_id(), "1");
        assert_eq!(events[0].raw, b"data: a\n: in it\nid: 1\n\n");
    }

    #[test]
    fn an_id_counts_once_its_block_is_complete() {
        let (_, mut parser) = parse([&b"id: 1\ndata: a\n\nid: 2\ndata: b\n"[..]]);
        assert_eq!(parser.last_event_id(), "1");
        parser.push(b"\n");
        assert_eq!(parser.last_event_id(), "2");
        assert_eq!(Parser::new("8").push(b"data: a\n\n")[0].last_event_id, "8");
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "data: x", "data", "id: 1", "id: 2", "event: e", ": c", "retry: 5", "\r", "\n", "\r\n", "\n\n", "\u{feff}", "é", "\0", ":",
            ]), 0..40),
            cuts in prop::collection::vec(0_usize..200, 0..10),
        ) {
            let input = pieces.concat().into_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let (whole, one) = parse([&input[..]]);
            let (cut, two) = parse(cuts.windows(2).map(|ends| &input[ends[0]..ends[1]]));
            prop_assert_eq!(whole, cut);
            prop_assert_eq!((one.retry(), one.comments(), one.last_event_id()), (two.retry(), two.comments(), two.last_event_id()));
        }

        #[test]
        fn raw_is_the_stream_itself(data in prop::collection::vec("[a-z\n]{0,20}", 1..10)) {
            let frames: Vec<String> =
                data.iter().map(|data| format!("data: {}\n\n", data.replace('\n', "\ndata: "))).collect();
            let (events, _) = parse([frames.concat().as_bytes()]);
            prop_assert_eq!(events.iter().map(|e| &e.data).collect::<Vec<_>>(), data.iter().collect::<Vec<_>>());
            prop_assert_eq!(events.into_iter().flat_map(|e| e.raw).collect::<Vec<_>>(), frames.concat().into_bytes());
        }
    }
}
