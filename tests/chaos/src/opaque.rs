//! Reading ids: those of frames, and those of jobs. Written from the description of the wire, not from the code that writes them.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The place after an event of a log: `<seq>-<mark>`. Seq 0 with mark `000000` is before the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Cursor {
    /// The event's number.
    pub(crate) seq: u64,
    /// Its mark, as a number of 24 bits.
    pub(crate) mark: u32,
}

impl Cursor {
    /// Before a log's first event.
    pub(crate) const START: Self = Self { seq: 0, mark: 0 };

    /// Reads `<seq>-<mark>`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (seq, mark) = text.split_once('-')?;
        Some(Self { seq: plain_number(seq)?, mark: mark_of(mark)? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:06x}", self.seq, self.mark)
    }
}

/// Reads a mark: six lower-case hex digits.
pub(crate) fn mark_of(text: &str) -> Option<u32> {
    let hex = text.len() == 6 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if hex { u32::from_str_radix(text, 16).ok() } else { None }
}

fn plain_number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// The id of a frame on a stream of several logs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SeveralId {
    /// Which stream it is of; the same on all of a stream's ids.
    pub(crate) hash: [u8; 4],
    /// How far the stream is in each log, in the stream's order; `None` where it said that the log is gone.
    pub(crate) places: Vec<Option<Cursor>>,
}

impl SeveralId {
    /// Reads base64url of: four bytes of hash, then for each log a LEB128 varint of seq + 1 and three bytes of mark; or the varint
    /// 0 alone for one that is gone.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (hash, mut rest) = bytes.split_first_chunk::<4>()?;
        let mut places = Vec::new();
        while !rest.is_empty() {
            let number = varint(&mut rest)?;
            if number == 0 {
                places.push(None);
                continue;
            }
            let (&[a, b, c], after) = rest.split_first_chunk::<3>()?;
            rest = after;
            places.push(Some(Cursor { seq: number - 1, mark: u32::from_be_bytes([0, a, b, c]) }));
        }
        Some(Self { hash: *hash, places })
    }

    /// Writes what [`SeveralId::parse`] reads: for made-up runs.
    #[cfg(test)]
    pub(crate) fn write(&self) -> String {
        let mut bytes = self.hash.to_vec();
        for place in &self.places {
            let mut number = place.map_or(0, |cursor| cursor.seq + 1);
            while number >= 0x80 {
                bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
                number >>= 7;
            }
            bytes.push(u8::try_from(number).unwrap());
            if let Some(cursor) = place {
                bytes.extend(&cursor.mark.to_be_bytes()[1..]);
            }
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The partition that a job's id names: the UUID's last ten bits.
pub(crate) fn partition_of(job: &str) -> Option<u16> {
    let uuid = job.len() == 36 && job.is_ascii();
    let last = u16::from_str_radix(job.get(33..)?, 16).ok()?;
    uuid.then_some(last & 0x3ff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_strictly() {
        for (text, want) in [
            ("17-4f2a9c", Some((17, 0x004f_2a9c))),
            ("0-000000", Some((0, 0))),
            ("017-4f2a9c", None),
            ("17-4F2A9C", None),
            ("17-4f2a9", None),
            ("17", None),
            ("-4f2a9c", None),
            ("+1-4f2a9c", None),
            ("", None),
        ] {
            assert_eq!(Cursor::parse(text), want.map(|(seq, mark)| Cursor { seq, mark }), "{text}");
        }
    }

    #[test]
    fn ids_of_several_logs_are_read() {
        let some = |seq, mark| Some(Cursor { seq, mark });
        // Made by hand: hash 01020304; seq 0 is varint 01; seq 299 is varint ac 02; gone is 00.
        for (bytes, want) in [
            (&[1, 2, 3, 4][..], Some(vec![])),
            (&[1, 2, 3, 4, 1, 0, 0, 0], Some(vec![some(0, 0)])),
            (
                &[1, 2, 3, 4, 0xac, 0x02, 0x4f, 0x2a, 0x9c, 0, 1, 0, 0, 0],
                Some(vec![some(299, 0x004f_2a9c), None, some(0, 0)]),
            ),
            (&[1, 2, 3, 4, 1, 0, 0], None),
            (&[1, 2, 3, 4, 0xac], None),
            (&[1, 2, 3], None),
        ] {
            let read = SeveralId::parse(&URL_SAFE_NO_PAD.encode(bytes));
            assert_eq!(read.as_ref().map(|id| id.places.clone()), want, "{bytes:?}");
            if let Some(id) = read {
                assert_eq!(SeveralId::parse(&id.write()), Some(id));
            }
        }
        assert_eq!(SeveralId::parse("17-4f2a9c"), None);
    }

    #[test]
    fn a_job_says_its_partition() {
        for (id, want) in [
            ("019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000", Some(0)),
            ("019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6403", Some(3)),
            ("019ab3c4-5d6e-7f80-9a1b-2c3d4e5f7fff", Some(1023)),
            ("019ab3c4", None),
        ] {
            assert_eq!(partition_of(id), want, "{id}");
        }
    }
}
