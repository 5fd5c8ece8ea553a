//! How single values are read: durations as people write them, whole numbers and sizes, each within a range
//! that stands at the field and comes back in the error.

use std::fmt;
use std::time::Duration;

use serde::Deserializer;
use serde::de::{self, Unexpected, Visitor};

use super::size::Size;

/// Milliseconds of a second, for the ranges of [`duration`].
pub(super) const SECOND: u64 = 1_000;
/// Milliseconds of a minute.
pub(super) const MINUTE: u64 = 60 * SECOND;
/// Milliseconds of an hour.
pub(super) const HOUR: u64 = 60 * MINUTE;
/// Milliseconds of a day.
pub(super) const DAY: u64 = 24 * HOUR;
/// Bytes of a KiB, for the ranges of [`size`].
pub(super) const KIB: u64 = 1 << 10;
/// Bytes of a MiB.
pub(super) const MIB: u64 = 1 << 20;
/// Bytes of a GiB.
pub(super) const GIB: u64 = 1 << 30;

/// A duration as people write it, in the form that [`duration`] reads: `30s`, `1h 30m`, `7d`. Whole milliseconds.
pub(super) fn show(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut words = Vec::new();
    for (unit, length) in [("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1)] {
        if rest >= length {
            words.push(format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words.join(" ") }
}

/// Reads a duration such as `"1h 30m"`, from `MIN` to `MAX` milliseconds.
pub(super) fn duration<'de, D, const MIN: u64, const MAX: u64>(deserializer: D) -> Result<Duration, D::Error>
where
    D: Deserializer<'de>,
{
    struct Within<const MIN: u64, const MAX: u64>;

    impl<const MIN: u64, const MAX: u64> Visitor<'_> for Within<MIN, MAX> {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let (min, max) = (Duration::from_millis(MIN), Duration::from_millis(MAX));
            write!(f, "a duration from {} to {}, such as \"30s\" or \"1h 30m\"", show(min), show(max))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
            let range = Duration::from_millis(MIN)..=Duration::from_millis(MAX);
            match humantime::parse_duration(text) {
                Ok(duration) if range.contains(&duration) => Ok(duration),
                _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
            }
        }
    }

    deserializer.deserialize_str(Within::<MIN, MAX>)
}

/// Reads a duration that may be left out, as [`duration`] does.
pub(super) fn duration_if_any<'de, D, const MIN: u64, const MAX: u64>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error>
where
    D: Deserializer<'de>,
{
    duration::<D, MIN, MAX>(deserializer).map(Some)
}

/// Reads a whole number from `MIN` to `MAX`. `MAX` must fit in `T`.
pub(super) fn number<'de, D, T, const MIN: u64, const MAX: u64>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    struct Within<const MIN: u64, const MAX: u64>;

    impl<const MIN: u64, const MAX: u64> Visitor<'_> for Within<MIN, MAX> {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a whole number from {MIN} to {MAX}")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
            match u64::try_from(number) {
                Ok(positive) if (MIN..=MAX).contains(&positive) => Ok(positive),
                _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
            }
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
            if (MIN..=MAX).contains(&number) {
                Ok(number)
            } else {
                Err(E::invalid_value(Unexpected::Unsigned(number), &self))
            }
        }
    }

    let number = deserializer.deserialize_u64(Within::<MIN, MAX>)?;
    T::try_from(number).map_err(|_| de::Error::custom("the number is too large"))
}

/// Reads a number that may be left out, as [`number`] does.
pub(super) fn number_if_any<'de, D, T, const MIN: u64, const MAX: u64>(
    deserializer: D,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    number::<D, T, MIN, MAX>(deserializer).map(Some)
}

/// Reads a size such as `"1 MiB"` or a plain number of bytes, from `MIN` to `MAX` bytes.
pub(super) fn size<'de, D, const MIN: u64, const MAX: u64>(deserializer: D) -> Result<Size, D::Error>
where
    D: Deserializer<'de>,
{
    struct Within<const MIN: u64, const MAX: u64>;

    impl<const MIN: u64, const MAX: u64> Visitor<'_> for Within<MIN, MAX> {
        type Value = Size;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let (min, max) = (Size::bytes(MIN), Size::bytes(MAX));
            write!(f, "a size from {min} to {max}, such as \"64 KiB\", \"1 MiB\" or a number of bytes")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
            match text.parse::<Size>() {
                Ok(size) if (MIN..=MAX).contains(&size.as_u64()) => Ok(size),
                _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
            }
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Size, E> {
            match u64::try_from(number) {
                Ok(bytes) if (MIN..=MAX).contains(&bytes) => Ok(Size::bytes(bytes)),
                _ => Err(E::invalid_value(Unexpected::Signed(number), &self)),
            }
        }
    }

    deserializer.deserialize_any(Within::<MIN, MAX>)
}

/// Reads a size that may be left out, as [`size`] does.
pub(super) fn size_if_any<'de, D, const MIN: u64, const MAX: u64>(
    deserializer: D,
) -> Result<Option<Size>, D::Error>
where
    D: Deserializer<'de>,
{
    size::<D, MIN, MAX>(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_as_they_are_read() {
        for (ms, shown) in [
            (0, "0s"),
            (50, "50ms"),
            (7_500, "7s 500ms"),
            (90 * MINUTE, "1h 30m"),
            (7 * DAY, "7d"),
            (365 * DAY, "365d"),
        ] {
            let duration = Duration::from_millis(ms);
            assert_eq!(show(duration), shown);
            assert_eq!(humantime::parse_duration(shown), Ok(duration));
        }
    }
}
