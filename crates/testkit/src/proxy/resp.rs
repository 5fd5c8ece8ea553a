//! Where each reply of RESP2 or RESP3 ends: as much of the protocol as a proxy needs.

/// Finds the ends of frames in a stream of bytes, however it is cut. It keeps no bytes, only where it stands.
///
/// An attribute (`|`) is part of the frame that it precedes. Streamed types (`$?`, `*?`), which no server sends, are
/// errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framer {
    /// Values that are missing until the frame is complete, whatever their depth.
    missing: u64,
    place: Place,
}

/// The bytes aren't RESP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameError;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Before a value's first byte.
    Start,
    /// In a line that is a value by itself.
    Line,
    /// In the line of a number that says how much follows.
    Length { kind: u8, negative: bool, digits: u8, value: u64 },
    /// Before so many bytes of a string, its line end included.
    Bytes(u64),
}

impl Default for Framer {
    fn default() -> Self {
        Self { missing: 1, place: Place::Start }
    }
}

impl Framer {
    /// Takes bytes that follow those taken before, up to the end of a frame.
    ///
    /// `Some(n)`: the frame is complete with the first `n` of these bytes; call it again with those after. `None`: all
    /// are taken, and the frame is not complete.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, FrameError> {
        let mut at = 0;
        while at < bytes.len() {
            at += self.step(&bytes[at..])?;
            if self.missing == 0 {
                *self = Self::default();
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Takes at least one byte, and at most the rest of what it stands in.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, FrameError> {
        match &mut self.place {
            Place::Start => {
                self.place = match bytes[0] {
                    b'+' | b'-' | b':' | b',' | b'#' | b'_' | b'(' => Place::Line,
                    kind @ (b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|') => {
                        Place::Length { kind, negative: false, digits: 0, value: 0 }
                    }
                    _ => return Err(FrameError),
                };
                Ok(1)
            }
            Place::Line => match bytes.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    self.value_is_complete();
                    Ok(end + 1)
                }
                None => Ok(bytes.len()),
            },
            Place::Length { kind, negative, digits, value } => {
                match bytes[0] {
                    b'-' if *digits == 0 && !*negative => *negative = true,
                    digit @ b'0'..=b'9' if *digits < 18 => {
                        *value = *value * 10 + u64::from(digit - b'0');
                        *digits += 1;
                    }
                    b'\r' if *digits > 0 => {}
                    b'\n' if *digits > 0 => {
                        let (kind, length) = (*kind, if *negative { None } else { Some(*value) });
                        self.take_length(kind, length);
                    }
                    _ => return Err(FrameError),
                }
                Ok(1)
            }
            Place::Bytes(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.value_is_complete();
                }
                Ok(taken)
            }
        }
    }

    /// A length is known; `None` is the null of RESP2.
    fn take_length(&mut self, kind: u8, length: Option<u64>) {
        let children = match (kind, length) {
            (b'$' | b'!' | b'=', Some(length)) => {
                self.place = Place::Bytes(length + 2);
                return;
            }
            (b'|', Some(pairs)) => {
                // It counts for nothing itself: the value it speaks of is still to come.
                self.missing += 2 * pairs;
                self.place = Place::Start;
                return;
            }
            (b'%', Some(pairs)) => 2 * pairs,
            (_, Some(length)) => length,
            (_, None) => 0,
        };
        self.missing += children;
        self.value_is_complete();
    }

    fn value_is_complete(&mut self) {
        self.missing -= 1;
        self.place = Place::Start;
    }
}

/// The channel and the payload of a whole frame, if it is a RESP3 push of a `message` or `smessage` (on a channel
/// whose name is UTF-8).
pub(super) fn pubsub_message(frame: &[u8]) -> Option<(&str, &[u8])> {
    let rest = frame.strip_prefix(b">3\r\n")?;
    let (kind, rest) = string(rest)?;
    let (channel, rest) = string(rest)?;
    let (payload, _) = string(rest)?;
    if !matches!(kind, b"message" | b"smessage") {
        return None;
    }
    Some((std::str::from_utf8(channel).ok()?, payload))
}

/// A `$` string at the start of `bytes`, and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(b"$")?;
    let line = rest.iter().position(|&byte| byte == b'\r')?;
    let length: usize = std::str::from_utf8(&rest[..line]).ok()?.parse().ok()?;
    let rest = &rest[line + 2..];
    Some((rest.get(..length)?, rest.get(length + 2..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The lengths of the frames in a stream that comes in these pieces, and whether it ends with a whole one.
    fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Vec<usize>, bool), FrameError> {
        let (mut framer, mut lengths, mut length) = (Framer::default(), Vec::new(), 0);
        for mut piece in pieces {
            while let Some(end) = framer.advance(piece)? {
                lengths.push(std::mem::take(&mut length) + end);
                piece = &piece[end..];
            }
            length += piece.len();
        }
        Ok((lengths, length == 0))
    }

    #[test]
    fn every_type_is_one_frame() {
        let all = [
            "+OK\r\n",
            "-ERR no\r\n",
            ":-7\r\n",
            "_\r\n",
            ",1.5e3\r\n",
            "#t\r\n",
            "(123456789012345678901234567890\r\n",
            "$0\r\n\r\n",
            "$5\r\nhe\r\nl\r\n",
            "$-1\r\n",
            "!8\r\nERR a\r\nb\r\n",
            "=7\r\ntxt:abc\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*2\r\n$1\r\na\r\n:1\r\n",
            "*2\r\n*2\r\n+a\r\n*0\r\n%1\r\n+k\r\n~1\r\n#f\r\n",
            "%0\r\n",
            "%2\r\n+a\r\n:1\r\n+b\r\n*1\r\n_\r\n",
            "~2\r\n+a\r\n+b\r\n",
            ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$0\r\n\r\n",
            "|1\r\n+ttl\r\n:1\r\n+value\r\n",
            "|0\r\n+v\r\n",
            "*2\r\n|1\r\n+a\r\n*1\r\n:1\r\n+x\r\n+y\r\n",
        ];
        for frame in all {
            let expected = Ok((vec![frame.len()], true));
            let bytes = frame.as_bytes();
            assert_eq!(frames([bytes]), expected, "{frame:?}");
            assert_eq!(frames(bytes.chunks(1)), expected, "{frame:?} byte by byte");
            for cut in 0..bytes.len() {
                assert_eq!(frames([&bytes[..cut], &bytes[cut..]]), expected, "{frame:?} cut at {cut}");
                assert_eq!(frames([&bytes[..cut]]), Ok((vec![], cut == 0)), "{frame:?} incomplete at {cut}");
            }
        }
        let stream = all.concat();
        let lengths = all.iter().map(|frame| frame.len()).collect();
        assert_eq!(frames([stream.as_bytes()]), Ok((lengths, true)));
    }

    #[test]
    fn what_is_not_resp() {
        for bytes in [
            "HTTP/1.1 200 OK\r\n",
            "\r\n",
            "$x\r\n",
            "$?\r\n",
            "*\r\n",
            "$1234567890123456789\r\n",
            "$--1\r\n",
        ] {
            assert_eq!(frames([bytes.as_bytes()]), Err(FrameError), "{bytes:?}");
        }
    }

    #[test]
    fn which_pushes_are_messages() {
        let push = |words: &[&str]| {
            let words: Vec<String> =
                words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
            format!(">{}\r\n{}", words.len(), words.concat())
        };
        for (words, expected) in [
            (&["message", "a", "x\r\ny"][..], Some(("a", "x\r\ny"))),
            (&["smessage", "live:1", ""], Some(("live:1", ""))),
            (&["pmessage", "l*", "live:1", "x"], None),
            (&["invalidate", "a", "x"], None),
        ] {
            let frame = push(words);
            let expected = expected.map(|(channel, payload)| (channel, payload.as_bytes()));
            assert_eq!(pubsub_message(frame.as_bytes()), expected, "{words:?}");
        }
        assert_eq!(pubsub_message(b">3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n"), None);
        assert_eq!(pubsub_message(b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"), None);
    }

    fn value() -> impl Strategy<Value = Vec<u8>> {
        let with_length = |kind: char, n: usize, parts: Vec<Vec<u8>>| {
            [format!("{kind}{n}\r\n").into_bytes(), parts.concat()].concat()
        };
        let leaf = prop_oneof![
            "[-+:,#_(][ -~]{0,12}\r\n".prop_map(String::into_bytes),
            (prop::sample::select(vec!['$', '!', '=']), prop::collection::vec(any::<u8>(), 0..40))
                .prop_map(move |(kind, bytes)| with_length(kind, bytes.len(), vec![bytes, b"\r\n".to_vec()])),
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            let list = prop::collection::vec(inner.clone(), 0..6);
            let pairs = prop::collection::vec(
                (inner.clone(), inner.clone()).prop_map(|(k, v)| [k, v].concat()),
                0..4,
            );
            prop_oneof![
                (prop::sample::select(vec!['*', '~', '>']), list).prop_map(move |(kind, parts)| with_length(
                    kind,
                    parts.len(),
                    parts
                )),
                pairs.clone().prop_map(move |parts| with_length('%', parts.len(), parts)),
                (pairs, inner)
                    .prop_map(move |(parts, value)| [with_length('|', parts.len(), parts), value].concat()),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_values_cut_anywhere(
            values in prop::collection::vec(value(), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream = values.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]]);
            prop_assert_eq!(frames(pieces), Ok((values.iter().map(Vec::len).collect(), true)));
        }
    }
}
