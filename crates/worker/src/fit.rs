//! How much of a text fits, once it is JSON.

/// The two quotes around a JSON string.
pub(crate) const QUOTES: usize = 2;

/// The most bytes that one character takes inside a JSON string.
pub(crate) const WIDEST: usize = 6;

/// The longest beginning of `text` that takes at most `room` bytes inside a JSON string, quotes not counted: its length, and
/// the bytes that it takes there. Cut between characters.
pub(crate) fn fit(text: &str, room: usize) -> (usize, usize) {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        let width = width(c);
        if taken + width > room {
            return (at, taken);
        }
        taken += width;
    }
    (text.len(), taken)
}

/// The bytes that `c` takes inside a JSON string.
fn width(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' => WIDEST,
        c => c.len_utf8(),
    }
}

/// `text`, cut to `room` bytes inside a JSON string; what was cut shows as `…`.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if fit(text, room).0 == text.len() {
        return text.to_owned();
    }
    let (end, _) = fit(text, room.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_json_writer() {
        for c in (0..0x300_u32).chain(0x1f600..0x1f610).filter_map(char::from_u32) {
            let json = serde_json::to_string(&c).unwrap();
            assert_eq!(width(c), json.len() - QUOTES, "{c:?}");
            assert!(width(c) <= WIDEST);
        }
    }

    #[test]
    fn cuts_between_characters() {
        for (text, room, end, taken) in [
            ("", 0, 0, 0),
            ("abc", 2, 2, 2),
            ("aäb", 2, 1, 1),
            ("aäb", 3, 3, 3),
            ("\n\n", 3, 1, 2),
            ("a\u{1}", 6, 1, 1),
            ("abc", 9, 3, 3),
        ] {
            assert_eq!(fit(text, room), (end, taken), "{text:?} in {room}");
        }
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abc…");
    }
}
