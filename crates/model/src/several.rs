//! The id of a frame on a stream of several logs: one cursor for each, in one opaque word.
//!
//! Base64url of: four bytes that say which logs it is of, and how many; then for each log in their order a LEB128 varint and, unless it is 0, a
//! mark of three bytes. The varint is the seq + 1; 0 is a log of which it was told that it is gone.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::BytesMut;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;

use crate::cursor::BadCursor;
use crate::{Cursor, JobId, Mark};

/// Which logs a stream is of; a cursor of another stream is none of this one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListHash([u8; 4]);

impl ListHash {
    /// Of the jobs `jobs`, in this order.
    pub fn of_jobs(jobs: &[JobId]) -> Self {
        let mut hash = Sha256::new();
        for job in jobs {
            hash.update(job.to_string());
        }
        Self::first_of(&hash.finalize())
    }

    /// Of an owner's feed in the first `partitions` partitions.
    pub fn of_feed(partitions: usize) -> Self {
        Self::first_of(&Sha256::digest(format!("feed {partitions}")))
    }

    fn first_of(hash: &[u8]) -> Self {
        let mut first = [0; 4];
        first.copy_from_slice(&hash[..4]);
        Self(first)
    }
}

/// What a stream has told of one of its logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Everything up to this event.
    UpTo(Cursor),
    /// That it doesn't exist, or no longer.
    Gone,
}

impl Seen {
    /// Nothing yet.
    pub const NOTHING: Self = Self::UpTo(Cursor::START);
}

/// What the id of a stream of a hundred logs takes, or of 64 partitions, without memory of its own.
type IdBytes = SmallVec<[u8; 1536]>;

/// The id of a frame, before it is text.
#[derive(Clone, Debug)]
pub struct Id(IdBytes);

impl Id {
    /// Of a frame after which the stream has told `seen` of its logs.
    pub fn new(list: ListHash, seen: impl IntoIterator<Item = Seen>) -> Self {
        let mut bytes = IdBytes::from_slice(&list.0);
        for seen in seen {
            match seen {
                Seen::Gone => bytes.push(0),
                Seen::UpTo(cursor) => {
                    put_varint(&mut bytes, cursor.seq.saturating_add(1));
                    bytes.extend_from_slice(&cursor.mark.to_bytes());
                }
            }
        }
        Self(bytes)
    }

    /// How many bytes its text has.
    #[allow(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> usize {
        (4 * self.0.len()).div_ceil(3)
    }

    /// Adds its text to `out`; in the memory that `out` has, if that is enough.
    pub fn put(&self, out: &mut BytesMut) {
        let begin = out.len();
        out.resize(begin + self.len(), 0);
        // There is room for exactly that.
        let _ = URL_SAFE_NO_PAD.encode_slice(&self.0, &mut out[begin..]);
    }
}

/// The id of a frame after which the stream has told `seen` of its logs.
pub fn encode(list: ListHash, seen: impl IntoIterator<Item = Seen>) -> String {
    URL_SAFE_NO_PAD.encode(Id::new(list, seen).0)
}

/// What a stream had told of each of its logs when it wrote the id `text`. `list` says which logs those are if there are so many,
/// and `None` if there can't be.
pub fn decode(text: &str, list: impl FnOnce(usize) -> Option<ListHash>) -> Result<Vec<Seen>, BadCursor> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
    let (hash, mut rest) = bytes.split_first_chunk().ok_or(BadCursor)?;
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let number = take_varint(&mut rest).ok_or(BadCursor)?;
        seen.push(match number.checked_sub(1) {
            None => Seen::Gone,
            Some(seq) => {
                let (mark, after) = rest.split_first_chunk().ok_or(BadCursor)?;
                rest = after;
                Seen::UpTo(Cursor::new(seq, Mark::from_bytes(*mark)))
            }
        });
    }
    if list(seen.len()) == Some(ListHash(*hash)) { Ok(seen) } else { Err(BadCursor) }
}

fn put_varint(out: &mut IdBytes, mut number: u64) {
    while number >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the low seven bits")]
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 0x80")]
    out.push(number as u8);
}

/// Takes a varint of at most 64 bits, in its shortest form.
fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return (byte != 0 || shift == 0).then_some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen() -> impl Strategy<Value = Seen> {
        let cursor =
            (0..u64::MAX, any::<[u8; 3]>()).prop_map(|(seq, mark)| Cursor::new(seq, Mark::from_bytes(mark)));
        prop_oneof![Just(Seen::Gone), Just(Seen::NOTHING), cursor.prop_map(Seen::UpTo)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(all in prop::collection::vec(seen(), 0..100)) {
            let list = ListHash::of_feed(all.len());
            let text = encode(list, all.iter().copied());
            let id = Id::new(list, all.iter().copied());
            let mut put = BytesMut::from("id: ");
            id.put(&mut put);
            prop_assert_eq!((&put[4..], id.len()), (text.as_bytes(), text.len()));
            prop_assert_eq!(decode(&text, |_| Some(list)), Ok(all));
        }

        #[test]
        fn nothing_that_is_read_was_not_written(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let list = ListHash::of_feed(1);
            let text = URL_SAFE_NO_PAD.encode([&list.0[..], &bytes].concat());
            if let Ok(all) = decode(&text, |_| Some(list)) {
                prop_assert_eq!(encode(list, all), text);
            }
        }
    }

    #[test]
    fn another_stream_has_other_cursors() {
        let jobs: Vec<JobId> =
            ["019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000", "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6001"]
                .map(|id| id.parse().unwrap())
                .into();
        let turned: Vec<_> = jobs.iter().rev().copied().collect();
        let list = ListHash::of_jobs(&jobs);
        let text = encode(list, [Seen::NOTHING, Seen::Gone]);
        let other = |other| decode(&text, |count| (count == 2).then_some(other));
        assert_eq!(other(list), Ok(vec![Seen::NOTHING, Seen::Gone]));
        for list in [ListHash::of_jobs(&turned), ListHash::of_feed(2)] {
            assert_eq!(other(list), Err(BadCursor));
        }
        for text in ["17-4f2a9c", "", "AAAA", &text[..text.len() - 2], &encode(list, [Seen::NOTHING])] {
            assert_eq!(decode(text, |count| (count == 2).then_some(list)), Err(BadCursor), "{text}");
        }
    }

    #[test]
    fn a_feeds_cursor_that_was_cut_is_none() {
        let seen = Seen::UpTo(Cursor::new(1_795_514_400_000, Mark::from_bytes([1, 2, 3])));
        let text = encode(ListHash::of_feed(4), [seen; 4]);
        let read = |text: &str| decode(text, |count| Some(ListHash::of_feed(count)));
        assert_eq!(read(&text), Ok(vec![seen; 4]));
        for end in 0..text.len() {
            assert_eq!(read(&text[..end]), Err(BadCursor), "{end}");
        }
    }
}
