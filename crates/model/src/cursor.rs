//! Marks and cursors: how a client says what it has seen, and how it is found out that history changed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Six hex digits, a hash of the event before's mark, the event's time and a random number: equal marks at one seq
/// mean equal history up to there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mark([u8; 3]);

impl Mark {
    /// The mark before the first event.
    pub const START: Self = Self([0; 3]);

    /// A mark from its three bytes.
    pub const fn from_bytes(bytes: [u8; 3]) -> Self {
        Self(bytes)
    }

    /// Its three bytes.
    pub const fn to_bytes(self) -> [u8; 3] {
        self.0
    }
}

impl FromStr for Mark {
    type Err = BadCursor;
    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        let mut bytes = [0; 3];
        if lower && hex::decode_to_slice(text, &mut bytes).is_ok() { Ok(Self(bytes)) } else { Err(BadCursor) }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}")
    }
}

impl fmt::Debug for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A place in a log's history: the event `seq` with its mark, or the start (seq 0).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Cursor {
    /// The number of the last event seen; 0 before the first.
    pub seq: u64,
    /// That event's mark.
    pub mark: Mark,
}

impl Cursor {
    /// Before the first event.
    pub const START: Self = Self { seq: 0, mark: Mark::START };

    /// A cursor from its parts.
    pub const fn new(seq: u64, mark: Mark) -> Self {
        Self { seq, mark }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.seq, self.mark)
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        match text.parse::<Position>().map_err(de::Error::custom)? {
            Position { seq, mark: Some(mark) } => Ok(Self { seq, mark }),
            Position { .. } => Err(de::Error::custom(BadCursor)),
        }
    }
}

/// What a client says that it has seen: a cursor, or a bare seq whose mark isn't checked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    /// The number of the last event seen; 0 before the first.
    pub seq: u64,
    /// That event's mark, if the client said it.
    pub mark: Option<Mark>,
}

impl Position {
    /// Before the first event.
    pub const START: Self = Self { seq: 0, mark: Some(Mark::START) };

    /// Whether `cursor` is the place that this says.
    pub fn is(self, cursor: Cursor) -> bool {
        self.seq == cursor.seq && self.agrees(cursor.mark)
    }

    /// Whether `mark` is the one seen at this seq, as far as the client said it.
    pub fn agrees(self, mark: Mark) -> bool {
        self.mark.is_none_or(|own| own == mark)
    }
}

impl From<Cursor> for Position {
    fn from(cursor: Cursor) -> Self {
        Self { seq: cursor.seq, mark: Some(cursor.mark) }
    }
}

/// Text that is no cursor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is <seq>-<mark> as in an event's id, such as 17-4f2a9c, or a bare seq, or 0 for the start")]
pub struct BadCursor;

impl FromStr for Position {
    type Err = BadCursor;

    /// Reads `<seq>-<mark>` or a bare `<seq>`; `0` is the start.
    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let (seq, mark) = match text.split_once('-') {
            Some((seq, mark)) => (seq, Some(mark.parse()?)),
            None => (text, None),
        };
        // `u64::from_str` also reads `+1` and `007`, which no server of ours ever wrote.
        let canonical =
            seq == "0" || (seq.starts_with(|c: char| c != '0') && seq.bytes().all(|b| b.is_ascii_digit()));
        if !canonical {
            return Err(BadCursor);
        }
        let seq = seq.parse().map_err(|_| BadCursor)?;
        Ok(if seq == 0 && mark.is_none() { Self::START } else { Self { seq, mark } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let cursor = Cursor::new(17, "4f2a9c".parse().unwrap());
        assert_eq!(cursor.to_string(), "17-4f2a9c");
        assert_eq!("17-4f2a9c".parse(), Ok(Position::from(cursor)));
        assert_eq!("17".parse(), Ok(Position { seq: 17, mark: None }));
        assert_eq!("0".parse(), Ok(Position::START));
        assert_eq!("0-000000".parse(), Ok(Position::START));
    }

    #[test]
    fn refuses_what_is_no_cursor() {
        for bad in [
            "",
            "-",
            "x",
            "-1",
            "+1",
            "01",
            "1-",
            "1-4f2a9",
            "1-4f2a9cc",
            "1-4F2A9C",
            "1-zzzzzz",
            " 1",
            "1 ",
            "18446744073709551616",
            "1-4f2a9c-1",
            "١",
        ] {
            assert_eq!(bad.parse::<Position>(), Err(BadCursor), "{bad:?}");
        }
    }
}
