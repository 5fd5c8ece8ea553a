//! The chunked transfer coding (RFC 9112, section 7.1), taken off piece by piece.

use super::Broken;

/// Where in the coding the next byte stands. Bytes may come in pieces of any size; none is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// In the digits of a chunk's size; how many there were.
    Size { size: u64, digits: u8 },
    /// In what follows the size on its line.
    Extension(u64),
    /// Before the line feed of the size's line.
    SizeEnd(u64),
    /// Before so many bytes of the body.
    Data(u64),
    /// After a chunk's data, before its CR.
    DataCr,
    /// After a chunk's data, before its LF.
    DataLf,
    /// After the last chunk, in a line of so many bytes (CR and LF not counted).
    Trailer(u32),
    /// The body is over.
    Ended,
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunks {
    /// Takes `bytes`, and gives what of the body is in them to `take`. What follows the body's end is left alone.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), Broken> {
        while let [first, rest @ ..] = bytes {
            if let Self::Data(left) = *self {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let (data, after) = bytes.split_at(here);
                take(data);
                let left = left - here as u64;
                *self = if left == 0 { Self::DataCr } else { Self::Data(left) };
                bytes = after;
                continue;
            }
            if *self == Self::Ended {
                return Ok(());
            }
            *self = self.after(*first)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Whether the body is over.
    pub(crate) fn ended(self) -> bool {
        self == Self::Ended
    }

    /// Where it stands after a byte that is none of the body.
    fn after(self, byte: u8) -> Result<Self, Broken> {
        Ok(match (self, byte) {
            (Self::Size { size, digits: digits @ 1.. }, b'\r' | b';' | b' ' | b'\t' | b'\n') => {
                let _ = digits;
                Self::Extension(size).after(byte)?
            }
            (Self::Size { size, digits: digits @ 0..15 }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Broken::Chunk)?;
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Extension(size), b'\r') => Self::SizeEnd(size),
            (Self::Extension(0) | Self::SizeEnd(0), b'\n') => Self::Trailer(0),
            (Self::Extension(size) | Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::default(),
            (Self::Extension(_), _) | (Self::Trailer(_), b'\r') => self,
            (Self::Trailer(0), b'\n') => Self::Ended,
            (Self::Trailer(_), b'\n') => Self::Trailer(0),
            (Self::Trailer(length), _) => Self::Trailer(length.saturating_add(1)),
            _ => return Err(Broken::Chunk),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, Chunks), Broken> {
        let (mut chunks, mut body) = (Chunks::default(), Vec::new());
        for piece in pieces {
            chunks.feed(piece, |data| body.extend_from_slice(data))?;
        }
        Ok((body, chunks))
    }

    #[test]
    fn split_anywhere_it_is_the_same() {
        let coded = b"4\r\nabcd\r\n1A;x=\"y\"\r\n0123456789\r\nabcdefghijklmn\r\n0\r\nTrailer: 1\r\n\r\nnext";
        let whole = decode(&[coded]).unwrap();
        assert_eq!(whole, (b"abcd0123456789\r\nabcdefghijklmn".to_vec(), Chunks::Ended));
        for at in 0..=coded.len() {
            let (before, after) = coded.split_at(at);
            assert_eq!(decode(&[before, after]).unwrap(), whole, "split at {at}");
        }
        let bytes: Vec<_> = coded.chunks(1).collect();
        assert_eq!(decode(&bytes).unwrap(), whole);
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for coded in [&b"\r\n"[..], b"x\r\n", b"1\r\nab\r\n", b"-1\r\n", b"ffffffffffffffff\r\n", b"1\r\nax"]
        {
            assert_eq!(decode(&[coded]), Err(Broken::Chunk), "{coded:?}");
        }
    }

    #[test]
    fn an_unfinished_body_has_not_ended() {
        for coded in [&b""[..], b"3\r\nab", b"2\r\nab\r\n", b"0\r\n", b"0\r\nA: b\r\n"] {
            assert!(!decode(&[coded]).unwrap().1.ended(), "{coded:?}");
        }
    }
}
