//! Pieces of text, cut into lines that fit a terminal.

/// Text that comes in pieces. What isn't a whole line yet is its rest.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: String,
}

impl Lines {
    /// Takes a piece, and gives the lines that it completes: those that a newline ends, and those that are as long as `width`
    /// allows, cut at a space if there is one.
    pub(super) fn push(&mut self, piece: &str, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        for (index, part) in piece.split('\n').enumerate() {
            if index > 0 {
                lines.push(std::mem::take(&mut self.rest));
            }
            self.rest.push_str(part);
            while let Some(line) = self.cut(width.max(1)) {
                lines.push(line);
            }
        }
        lines
    }

    /// What isn't a whole line yet.
    pub(super) fn rest(&self) -> &str {
        &self.rest
    }

    /// The same, as the last line; `None` where there is none.
    pub(super) fn end(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then_some(rest)
    }

    fn cut(&mut self, width: usize) -> Option<String> {
        let (end, next) = self.rest.char_indices().nth(width)?;
        let head = self.rest.get(..end)?;
        let space = if next == ' ' { Some(end) } else { head.rfind(' ').filter(|&at| at > 0) };
        let tail = self.rest.split_off(space.unwrap_or(end));
        let line = std::mem::replace(&mut self.rest, tail);
        if space.is_some() {
            self.rest.remove(0);
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_at_newlines_and_at_the_width() {
        for (pieces, width, lines, rest) in [
            (&["a", "b\nc"][..], 10, &["ab"][..], "c"),
            (&["a\n\nb\n"], 10, &["a", "", "b"], ""),
            (&["one two three"], 8, &["one two"], "three"),
            (&["one", " two", " three", " four"], 9, &["one two", "three"], "four"),
            (&["abcdefgh"], 3, &["abc", "def"], "gh"),
            (&["äöüß ab"], 4, &["äöüß"], "ab"),
            (&[" abc"], 2, &[" a"], "bc"),
            (&["ab"], 0, &["a"], "b"),
        ] {
            let mut text = Lines::default();
            let whole: Vec<_> = pieces.iter().flat_map(|piece| text.push(piece, width)).collect();
            assert_eq!(
                (whole, text.rest()),
                (lines.iter().map(ToString::to_string).collect(), rest),
                "{pieces:?}"
            );
        }
    }
}
