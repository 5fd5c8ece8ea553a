//! Counting a text that comes in pieces of any size, cut anywhere, in bounded memory.

use std::collections::HashMap;

use serde::Serialize;

/// Words are told apart by their first this many letters; what follows is taken as equal.
const MAX_LETTERS: usize = 64;

/// How many different words are kept apart. With [`MAX_LETTERS`] it bounds the memory of a count to some 80 MB at the very
/// worst, 10 MB in practice, however large the text.
const MAX_DISTINCT: usize = 250_000;

/// What was counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Counts {
    /// Lines; a last one without its line break is one too.
    pub lines: u64,
    /// Runs of anything but white space.
    pub words: u64,
    /// Bytes.
    pub bytes: u64,
    /// Different words: in small letters, without the quotation marks, commas and so on around them. A run without a letter
    /// or digit, such as a dash alone, isn't among them.
    pub distinct: u64,
    /// The most frequent of these; equally frequent ones by alphabet.
    pub top: Vec<WordCount>,
    /// There were more different words than are kept apart: `distinct` is then their least number.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub capped: bool,
}

/// A word and how often it came.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct WordCount {
    pub word: String,
    pub count: u64,
}

/// Bytes that are no UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no UTF-8 text: byte {at} and what follows it make no character")]
pub(crate) struct NotUtf8 {
    /// Where, from 0.
    pub at: u64,
}

/// A count under way.
#[derive(Default)]
pub(crate) struct Tally {
    lines: u64,
    words: u64,
    bytes: u64,
    /// The start of a character whose end hasn't come yet: at most 3 bytes.
    cut: Vec<u8>,
    /// There is something on the line since its beginning.
    in_line: bool,
    in_word: bool,
    /// The word so far, from its first letter.
    word: String,
    letters: usize,
    counts: HashMap<Box<str>, u64>,
    capped: bool,
}

impl Tally {
    /// Counts the next piece of the text.
    pub(crate) fn feed(&mut self, mut piece: &[u8]) -> Result<(), NotUtf8> {
        while let (false, Some((&byte, rest))) = (self.cut.is_empty(), piece.split_first()) {
            self.cut.push(byte);
            piece = rest;
            let cut = std::mem::take(&mut self.cut);
            self.decode(&cut)?;
        }
        self.decode(piece)
    }

    /// Counts all of `bytes` but an unfinished character at the end, which it keeps.
    fn decode(&mut self, bytes: &[u8]) -> Result<(), NotUtf8> {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => {
                self.text(text);
                return Ok(());
            }
            Err(error) => error,
        };
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        self.text(&String::from_utf8_lossy(valid));
        if error.error_len().is_some() {
            return Err(NotUtf8 { at: self.bytes });
        }
        self.cut = rest.to_vec();
        Ok(())
    }

    fn text(&mut self, text: &str) {
        self.bytes += text.len() as u64;
        for letter in text.chars() {
            self.in_line = letter != '\n';
            self.lines += u64::from(letter == '\n');
            if letter.is_whitespace() {
                self.end_word();
            } else {
                self.in_word = true;
                if self.letters < MAX_LETTERS && (self.letters > 0 || belongs(letter)) {
                    self.word.push(letter);
                    self.letters += 1;
                }
            }
        }
    }

    fn end_word(&mut self) {
        if !self.in_word {
            return;
        }
        self.words += 1;
        let word: String =
            self.word.trim_end_matches(|c| !belongs(c)).chars().flat_map(char::to_lowercase).collect();
        (self.in_word, self.letters) = (false, 0);
        self.word.clear();
        if word.is_empty() {
            return;
        }
        if let Some(count) = self.counts.get_mut(word.as_str()) {
            *count += 1;
        } else if self.counts.len() < MAX_DISTINCT {
            self.counts.insert(word.into(), 1);
        } else {
            self.capped = true;
        }
    }

    /// The text is over: its counts, with the `top` most frequent words.
    pub(crate) fn finish(mut self, top: usize) -> Result<Counts, NotUtf8> {
        if !self.cut.is_empty() {
            return Err(NotUtf8 { at: self.bytes });
        }
        self.end_word();
        Ok(Counts {
            lines: self.lines + u64::from(self.in_line),
            words: self.words,
            bytes: self.bytes,
            distinct: self.counts.len() as u64,
            top: most_frequent(&self.counts, top),
            capped: self.capped,
        })
    }
}

fn most_frequent(counts: &HashMap<Box<str>, u64>, top: usize) -> Vec<WordCount> {
    let mut words: Vec<_> = counts.iter().collect();
    words.sort_unstable_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    words.into_iter().take(top).map(|(word, &count)| WordCount { word: word.to_string(), count }).collect()
}

/// Whether a word may begin and end with this character: a letter, a digit, or an accent set on one.
fn belongs(letter: char) -> bool {
    letter.is_alphanumeric() || ('\u{300}'..='\u{36f}').contains(&letter)
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The same counts, of a whole text at once, without a thought for memory.
    fn naive(text: &str, top: usize) -> Counts {
        let mut counts = BTreeMap::<String, u64>::new();
        for run in text.split_whitespace() {
            let word: String = run.chars().skip_while(|&c| !belongs(c)).take(MAX_LETTERS).collect();
            let word = word.trim_end_matches(|c| !belongs(c));
            if !word.is_empty() {
                *counts.entry(word.chars().flat_map(char::to_lowercase).collect()).or_default() += 1;
            }
        }
        let mut words: Vec<_> =
            counts.iter().map(|(word, &count)| WordCount { word: word.clone(), count }).collect();
        words.sort_by_key(|word| Reverse(word.count)); // stable: the alphabet stays
        words.truncate(top);
        Counts {
            lines: text.lines().count() as u64,
            words: text.split_whitespace().count() as u64,
            bytes: text.len() as u64,
            distinct: counts.len() as u64,
            top: words,
            capped: false,
        }
    }

    fn in_pieces(text: &[u8], sizes: &[usize], top: usize) -> Result<Counts, NotUtf8> {
        let (mut tally, mut rest) = (Tally::default(), text);
        for &size in sizes {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            tally.feed(piece)?;
            rest = after;
        }
        tally.feed(rest)?;
        tally.finish(top)
    }

    /// Texts with few different letters, so that words come again: of one to four bytes, with all sorts of space.
    fn texts() -> impl Strategy<Value = String> {
        let letters = vec!["a", "B", "b", "ä", "İ", "ł", "'", "—", "、", "語", "🦀", "e\u{301}", "ß", "7"];
        let spaces = vec![" ", "\n", "\r\n", "\t", "\u{a0}", "\u{2003}", "\u{85}"];
        let letter = prop_oneof![3 => prop::sample::select(letters), 1 => prop::sample::select(spaces)];
        prop_oneof![8 => prop::collection::vec(letter, 0..400).prop_map(|letters| letters.concat()), 1 => any::<String>()]
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(text in texts(), sizes in prop::collection::vec(0_usize..9, 0..200), top in 0_usize..20) {
            prop_assert_eq!(in_pieces(text.as_bytes(), &sizes, top), Ok(naive(&text, top)));
        }

        #[test]
        fn what_is_no_text_is_refused_at_the_same_place(
            bytes in prop::collection::vec(prop_oneof![Just(b'a'), Just(b' '), any::<u8>()], 0..60),
            sizes in prop::collection::vec(0_usize..5, 0..60),
        ) {
            match std::str::from_utf8(&bytes) {
                Ok(text) => prop_assert_eq!(in_pieces(&bytes, &sizes, 3), Ok(naive(text, 3))),
                Err(error) => {
                    let at = error.valid_up_to() as u64;
                    prop_assert_eq!(in_pieces(&bytes, &sizes, 3), Err(NotUtf8 { at }));
                }
            }
        }
    }

    #[test]
    fn every_cut_of_a_text_with_long_characters() {
        let text = "„Größe“ 語語\n🦀 größe — e\u{301}té\r\nlast";
        let whole = naive(text, 10);
        assert_eq!((whole.lines, whole.words, whole.distinct), (3, 7, 4));
        for first in 0..=text.len() {
            for second in 0..=text.len() - first {
                assert_eq!(in_pieces(text.as_bytes(), &[first, second], 10).as_ref(), Ok(&whole));
            }
        }
    }

    #[test]
    fn words_are_told_apart_by_what_people_read() {
        let counts = in_pieces("It's it’s, \"IT'S\" (it's) -- don't. don't".as_bytes(), &[], 9).unwrap();
        let top: Vec<_> = counts.top.iter().map(|word| (word.word.as_str(), word.count)).collect();
        assert_eq!(top, [("it's", 3), ("don't", 2), ("it’s", 1)]);
        assert_eq!((counts.words, counts.lines, counts.distinct), (7, 1, 3));
    }

    #[test]
    fn nothing_is_no_line() {
        for (text, lines) in [("", 0), ("\n", 1), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n\n ", 3)] {
            assert_eq!(in_pieces(text.as_bytes(), &[], 0).unwrap().lines, lines, "{text:?}");
        }
    }

    #[test]
    fn more_different_words_than_are_kept_apart_are_still_counted() {
        let mut tally = Tally::default();
        let many = MAX_DISTINCT as u64 + 1_000;
        for n in 0..many {
            tally.feed(format!("{n} 7 ").as_bytes()).unwrap();
        }
        let counts = tally.finish(1).unwrap();
        assert_eq!((counts.words, counts.distinct, counts.capped), (2 * many, MAX_DISTINCT as u64, true));
        assert_eq!(counts.top, [WordCount { word: "7".into(), count: many + 1 }]);
    }

    #[test]
    fn one_endless_word_takes_no_memory() {
        let mut tally = Tally::default();
        for _ in 0..1_000 {
            tally.feed(&[b'x'; 1_000]).unwrap();
            assert!(tally.word.len() <= 4 * MAX_LETTERS);
        }
        let counts = tally.finish(1).unwrap();
        assert_eq!((counts.words, counts.bytes, counts.top[0].word.len()), (1, 1_000_000, MAX_LETTERS));
    }
}
