//! What [`Narrate`](crate::Narrate) says: an endless text in which any token can be told from its number alone.

use std::sync::LazyLock;

/// The text's frame, over and over: a paragraph each. Words in capitals stand for one of a kind, drawn anew each time.
const FRAME: [&str; 4] = [
    "in the first light NAME VERBED the ADJECTIVE NOUN , and the NOUN was ADJECTIVE . nobody in the PLACE had seen the NOUN \
     since the storm ; NAME alone VERBED it ADVERB , as one does with a thing that is ADJECTIVE and nearly lost .",
    "“the NOUN ” — said NAME — “belongs to the PLACE ” . was it so ? the ADJECTIVE NOUN said nothing . then NAME VERBED the \
     door , VERBED the ADJECTIVE NOUN , and went to the PLACE .",
    "on the next day the PLACE was ADJECTIVE . NAME and NAME VERBED every NOUN ADVERB , from the ADJECTIVE NOUN to the last \
     ADJECTIVE NOUN , and what they VERBED in the morning they VERBED again at night .",
    "so it is told in the PLACE : the NOUN was VERBED , the NOUN was VERBED , and between the ADJECTIVE NOUN and the \
     ADJECTIVE NOUN somebody VERBED a NOUN ADVERB . NAME would know . NAME would never say .",
];

const KINDS: [(&str, &[&str]); 6] = [
    (
        "NAME",
        &["Zoë", "Hektor", "Maud", "Irenäus", "Łucja", "Anselm", "Sunniva", "Petra", "Ødger", "Barnaby"],
    ),
    (
        "NOUN",
        &[
            "lantern",
            "ledger",
            "kettle",
            "compass",
            "violin",
            "letter",
            "barometer",
            "ladder",
            "key",
            "map",
            "clock",
            "telegram",
        ],
    ),
    (
        "PLACE",
        &[
            "harbour",
            "café",
            "observatory",
            "tram depot",
            "lighthouse",
            "salt works",
            "cistern",
            "night market",
        ],
    ),
    (
        "ADJECTIVE",
        &[
            "quiet",
            "brittle",
            "patient",
            "crooked",
            "pale",
            "forgotten",
            "narrow",
            "silver",
            "damp",
            "stubborn",
            "hollow",
        ],
    ),
    (
        "VERBED",
        &[
            "carried",
            "mended",
            "hauled",
            "counted",
            "polished",
            "weighed",
            "remembered",
            "lost",
            "found",
            "wrapped",
        ],
    ),
    (
        "ADVERB",
        &[
            "slowly",
            "twice",
            "by candlelight",
            "without a word",
            "with great care",
            "before breakfast",
            "as before",
        ],
    ),
];

/// One place of the frame.
struct Slot {
    /// What stands before the word.
    before: &'static str,
    /// Whether the word begins a sentence.
    capital: bool,
    /// The word, or what it is drawn from.
    word: Word,
}

enum Word {
    Fixed(&'static str),
    OneOf(&'static [&'static str]),
}

static SLOTS: LazyLock<Vec<Slot>> =
    LazyLock::new(|| FRAME.iter().flat_map(|paragraph| slots(paragraph)).collect());

fn slots(paragraph: &'static str) -> impl Iterator<Item = Slot> {
    let mut previous = None;
    paragraph.split_ascii_whitespace().map(move |word| {
        let slot = Slot {
            before: match (previous, word) {
                (None, _) => "\n\n",
                (_, "," | "." | ";" | ":" | "?" | "”") => "",
                _ => " ",
            },
            capital: matches!(previous, None | Some("." | "?")),
            word: KINDS
                .iter()
                .find_map(|(kind, words)| (*kind == word).then_some(Word::OneOf(words)))
                .unwrap_or(Word::Fixed(word)),
        };
        previous = Some(word);
        slot
    })
}

/// Token number `n`, from 0, with the space or line breaks before it: the text is the tokens, one after the other. The same
/// on every call and every machine.
///
/// ```
/// let text: String = (0..6).map(jobcast_example_tasks::token).collect();
/// assert_eq!(text, "In the first light Petra carried");
/// ```
pub fn token(n: u64) -> String {
    let slots = &*SLOTS;
    // The remainder is below the length, so it fits.
    let Some(slot) = usize::try_from(n % slots.len() as u64).ok().and_then(|at| slots.get(at)) else {
        return String::new();
    };
    let word = match slot.word {
        Word::Fixed(word) => word,
        Word::OneOf(words) => drawn(n, words),
    };
    // Nothing stands before the first word of all.
    let mut token = String::from(if n == 0 { "" } else { slot.before });
    if slot.capital {
        push_capitalised(&mut token, word);
    } else {
        token.push_str(word);
    }
    token
}

fn drawn(n: u64, words: &'static [&'static str]) -> &'static str {
    usize::try_from(scattered(n) % words.len().max(1) as u64)
        .ok()
        .and_then(|at| words.get(at))
        .copied()
        .unwrap_or_default()
}

/// A number without visible relation to `n` (the finish of `SplitMix64`).
fn scattered(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Adds `word` with its first letter large, be there a quotation mark before it or not.
fn push_capitalised(text: &mut String, word: &str) {
    let mut first = true;
    for letter in word.chars() {
        if first && letter.is_alphabetic() {
            text.extend(letter.to_uppercase());
            first = false;
        } else {
            text.push(letter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(tokens: u64) -> String {
        (0..tokens).map(token).collect()
    }

    #[test]
    fn the_text_is_the_same_every_time() {
        assert_eq!(text(5_000), text(5_000));
        // A change of this text breaks whoever predicts it: mean it.
        assert_eq!(
            text(28),
            "In the first light Petra carried the forgotten telegram, and the compass was hollow. Nobody in the lighthouse had seen \
             the violin since the storm;"
        );
    }

    #[test]
    fn it_reads_as_paragraphs() {
        let text = text(2_000);
        for paragraph in text.split("\n\n").filter(|paragraph| paragraph.ends_with('.')) {
            let first = paragraph.chars().find(|c| c.is_alphabetic()).unwrap();
            assert!(first.is_uppercase(), "{paragraph}");
        }
        for wrong in ["  ", " ,", " .", "NOUN", "VERBED", "NAME", "PLACE", "AD"] {
            assert!(!text.contains(wrong), "{wrong:?}");
        }
        assert!(text.split("\n\n").count() > 10, "no paragraphs");
    }

    #[test]
    fn every_token_has_something_and_no_word_is_stuck() {
        assert!((0..5_000).all(|n| !token(n).trim().is_empty()));
        let last = SLOTS.len() as u64;
        assert_ne!(token(4), token(4 + last), "the frame comes back with other words");
        assert!(!token(u64::MAX).is_empty());
    }
}
