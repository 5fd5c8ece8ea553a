//! What commands for people write.

use std::fmt;
use std::io::{self, Write as _};
use std::time::Duration;

use rustix::termios::tcgetwinsize;

use super::Failure;

/// Says on stderr what is wrong.
pub(crate) fn complain(what: &impl fmt::Display) {
    // Nobody may be reading, which is no error.
    let _ = writeln!(io::stderr(), "jobcast: {}", plain(&what.to_string()));
}

/// Prints a line on stdout.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::from)
}

/// The width where the terminal doesn't say its own.
const WIDTH: usize = 80;

/// The columns of the terminal.
pub(crate) fn width() -> usize {
    // A terminal that nobody gave a size says 0.
    let columns = tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { WIDTH } else { columns.max(20) }
}

/// Text of strangers for a terminal: without what would steer it.
pub(crate) fn plain(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => Some('\n'),
        '\t' => Some(' '),
        c if c.is_control() => None,
        c => Some(c),
    };
    text.chars().filter_map(shown).collect()
}

/// A time in its largest unit.
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A row of a table as one line, which ends where the terminal does.
pub(crate) fn fit(row: &str, width: usize) -> String {
    let row = plain(row).replace('\n', " ");
    let cut: String = row.chars().take(width).collect();
    cut.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_one_unit() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (60, "1m"), (7199, "1h"), (86_400, "1d")] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn text_of_strangers_steers_no_terminal() {
        assert_eq!(plain("a\x1b[2Jb\u{9b}1mc\td\r\ne\x07"), "a[2Jb1mc d\ne");
    }
}
