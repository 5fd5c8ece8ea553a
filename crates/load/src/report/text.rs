//! Figures as people read them.

/// A whole number in groups of three.
pub(super) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of three digits or more.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "shown to people; saturates")]
pub(super) fn number(number: f64) -> String {
    match number.abs() {
        _ if number < 0.0 => format!("-{}", self::number(-number)),
        0.0 => "0".to_owned(),
        size if size < 10.0 => trimmed(format!("{number:.2}")),
        size if size < 100.0 => trimmed(format!("{number:.1}")),
        _ => whole(number.round() as u64),
    }
}

fn trimmed(text: String) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Milliseconds, in the unit that fits.
pub(super) fn millis(ms: f64) -> String {
    match ms {
        _ if ms < 1.0 => format!("{} µs", number((ms * 1000.0).round())),
        _ if ms < 1000.0 => format!("{} ms", number(ms)),
        _ => format!("{} s", number(ms / 1000.0)),
    }
}

/// Bytes, in the unit that fits.
pub(super) fn bytes(bytes: f64) -> String {
    match bytes.abs() {
        size if size < 10_000.0 => format!("{} B", number(bytes.round())),
        size if size < 10_000.0 * 1024.0 => format!("{} KiB", number(bytes / 1024.0)),
        size if size < 10_000.0 * 1024.0 * 1024.0 => format!("{} MiB", number(bytes / 1024.0 / 1024.0)),
        _ => format!("{} GiB", number(bytes / 1024.0 / 1024.0 / 1024.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_units() {
        assert_eq!([0, 7, 1234, 1_234_567].map(whole), ["0", "7", "1,234", "1,234,567"]);
        assert_eq!(
            [0.0, 1.234, 12.34, 1234.5, 5.0, -2.5].map(number),
            ["0", "1.23", "12.3", "1,235", "5", "-2.5"]
        );
        assert_eq!([0.25, 1.5, 250.0, 2500.0].map(millis), ["250 µs", "1.5 ms", "250 ms", "2.5 s"]);
        assert_eq!([1670.0, 20480.0, 5e7].map(bytes), ["1,670 B", "20 KiB", "47.7 MiB"]);
    }
}
