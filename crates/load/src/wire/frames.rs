//! Frames of an event stream, of which only what is checked is read.

use memchr::memchr;

use super::Broken;

/// What stands before the due time in the data of an event that the load tester published.
const DUE: &[u8] = b"\"due\":";
/// The longest line that is kept while its end hasn't come: more than an event of any setting.
const LONGEST: usize = 4 * 1024 * 1024;

/// What a frame tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An event that goes on.
    #[default]
    Event,
    /// The job has ended.
    End,
    /// A state in place of events that the log no longer has.
    Trimmed,
    /// A state, because the history that was told isn't Redis' any more.
    Rewound,
    /// A state that was asked for.
    Now,
}

/// One frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it tells.
    pub(crate) kind: Kind,
    /// The number of its id; `None` if it has none.
    pub(crate) seq: Option<u64>,
    /// The mark of its id, if it has one.
    pub(crate) mark: Option<u32>,
    /// When the event should have been published, in microseconds since the Unix epoch.
    pub(crate) due: Option<u64>,
}

/// Reads frames from bytes that come in pieces of any size. Nothing is allocated but for a line that comes in two pieces.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The beginning of a line whose end hasn't come.
    begun: Vec<u8>,
    frame: Frame,
    any: bool,
    retry: Option<u64>,
}

impl Frames {
    /// Takes `bytes`, and gives each frame that they complete to `each`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) -> Result<(), Broken> {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if self.begun.is_empty() {
                self.line(line, &mut each);
            } else {
                let mut whole = std::mem::take(&mut self.begun);
                whole.extend_from_slice(line);
                self.line(&whole, &mut each);
            }
        }
        if self.begun.len() + bytes.len() > LONGEST {
            return Err(Broken::LongLine);
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    /// The milliseconds of the last `retry:`, once.
    pub(crate) fn take_retry(&mut self) -> Option<u64> {
        self.retry.take()
    }

    fn line(&mut self, line: &[u8], each: &mut impl FnMut(Frame)) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line.first() {
            None if self.any => {
                self.any = false;
                each(std::mem::take(&mut self.frame));
            }
            None | Some(b':') => {}
            Some(_) => self.field(line),
        }
    }

    fn field(&mut self, line: &[u8]) {
        let colon = memchr(b':', line).unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => self.data(value),
            b"id" => (self.frame.seq, self.frame.mark) = cursor(value),
            b"event" => self.event(value),
            b"retry" => {
                self.retry = number(value);
                return;
            }
            _ => return,
        }
        self.any = true;
    }

    fn event(&mut self, name: &[u8]) {
        self.frame.kind = match name {
            b"completed" | b"failed" | b"cancelled" => Kind::End,
            b"snapshot" => Kind::Now,
            _ => Kind::Event,
        };
    }

    fn data(&mut self, json: &[u8]) {
        if self.frame.kind == Kind::Now {
            self.frame.kind = match () {
                () if has(json, b"\"reason\":\"rewound\"") => Kind::Rewound,
                () if has(json, b"\"reason\":\"trimmed\"") => Kind::Trimmed,
                () => Kind::Now,
            };
            return;
        }
        // The output is the only object in an output's event: what the publisher writes first stands at its beginning.
        let inner = json.get(1..).and_then(|rest| Some(&rest[memchr(b'{', rest)? + 1..]));
        let due = inner.and_then(|inner| inner.strip_prefix(DUE));
        self.frame.due = due.and_then(|due| {
            let digits = due.iter().take_while(|byte| byte.is_ascii_digit()).count();
            number(&due[..digits])
        });
    }
}

fn has(text: &[u8], words: &[u8]) -> bool {
    memchr::memmem::find(text, words).is_some()
}

/// Reads `<seq>-<mark>`, or a bare seq.
fn cursor(value: &[u8]) -> (Option<u64>, Option<u32>) {
    let dash = memchr(b'-', value).unwrap_or(value.len());
    let (seq, mark) = value.split_at(dash);
    let Some(seq) = number(seq) else { return (None, None) };
    let mark = mark.get(1..).and_then(|mark| {
        let is_mark = mark.len() == 6;
        is_mark
            .then(|| mark.iter().try_fold(0, |all, &byte| Some(all << 4 | char::from(byte).to_digit(16)?)))?
    });
    (Some(seq), mark)
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u64, |all, byte| byte.is_ascii_digit().then(|| all * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        "retry: 2345\n:\n",
        "event: queued\ndata: {\"jobId\":\"x\",\"seq\":1,\"type\":\"queued\",\"task\":\"t\"}\nid: 1-0a1b2c\n\n",
        ": a comment\n",
        "event: output\r\ndata: {\"jobId\":\"x\",\"seq\":2,\"output\":{\"due\":1764329000000001,\"pad\":\"{\"}}\r\nid:2-ffffff\r\n\r\n",
        "event: snapshot\ndata: {\"type\":\"snapshot\",\"reason\":\"trimmed\",\"job\":{\"due\":5}}\nid: 9-000001\n\n",
        "event: snapshot\ndata: {\"type\":\"snapshot\",\"reason\":\"rewound\",\"job\":{}}\nid: 0\n\n",
        "\n",
        "event: completed\ndata: {}\nid: 10-abcdef\n\n",
        "event: output\ndata: cut in the mid",
    );

    fn read(pieces: &[&[u8]]) -> (Vec<Frame>, Option<u64>) {
        let (mut frames, mut read) = (Frames::default(), Vec::new());
        for piece in pieces {
            frames.feed(piece, |frame| read.push(frame)).unwrap();
        }
        (read, frames.take_retry())
    }

    #[test]
    fn split_anywhere_it_is_the_same() {
        let event = |seq, mark| Frame { seq: Some(seq), mark: Some(mark), ..Frame::default() };
        let (read_whole, retry) = read(&[STREAM.as_bytes()]);
        assert_eq!(retry, Some(2345));
        assert_eq!(
            read_whole,
            [
                event(1, 0x000a_1b2c),
                Frame { due: Some(1_764_329_000_000_001), ..event(2, 0x00ff_ffff) },
                Frame { kind: Kind::Trimmed, ..event(9, 1) },
                Frame { kind: Kind::Rewound, mark: None, ..event(0, 0) },
                Frame { kind: Kind::End, ..event(10, 0x00ab_cdef) },
            ]
        );
        for at in 0..=STREAM.len() {
            let (before, after) = STREAM.as_bytes().split_at(at);
            assert_eq!(read(&[before, after]), (read_whole.clone(), retry), "split at {at}");
        }
        let bytes: Vec<_> = STREAM.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes), (read_whole, retry));
    }

    #[test]
    fn an_id_that_is_no_cursor_is_none() {
        for (id, read) in [
            ("7-00000a", (Some(7), Some(10))),
            ("7", (Some(7), None)),
            ("7-0", (Some(7), None)),
            ("7-zzzzzz", (Some(7), None)),
            ("", (None, None)),
            ("-000000", (None, None)),
            ("99999999999999999999-000000", (None, None)),
        ] {
            assert_eq!(cursor(id.as_bytes()), read, "{id}");
        }
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let (mut frames, piece) = (Frames::default(), vec![b'x'; LONGEST / 2 + 1]);
        frames.feed(&piece, |_| {}).unwrap();
        assert_eq!(frames.feed(&piece, |_| {}), Err(Broken::LongLine));
    }
}
