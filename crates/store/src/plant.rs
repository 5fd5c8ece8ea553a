//! Faults that tests plant, to see that their checks find them. A release build has none.

use std::sync::LazyLock;

/// A promise that is broken on purpose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    /// What live missed is passed over instead of read.
    GapFillOff,
    /// What live tells twice is told twice.
    DedupeOff,
    /// A history that changed is passed over in silence.
    RewindOff,
    /// An attempt that lost its lease goes on writing.
    FencingOff,
    /// Each batch is written twice.
    AppendTwice,
    /// Whoever comes back gets a snapshot, and what follows it.
    AlwaysSnapshot,
}

/// The variable that names the one fault to plant, as `dedupe-off`.
const VARIABLE: &str = "JOBCAST_PLANT";

static PLANTED: LazyLock<Option<Plant>> = LazyLock::new(|| {
    let name = std::env::var(VARIABLE).ok().filter(|name| cfg!(debug_assertions) && !name.is_empty())?;
    let plant = match name.as_str() {
        "gap-fill-off" => Plant::GapFillOff,
        "dedupe-off" => Plant::DedupeOff,
        "rewind-off" => Plant::RewindOff,
        "fencing-off" => Plant::FencingOff,
        "append-twice" => Plant::AppendTwice,
        "always-snapshot" => Plant::AlwaysSnapshot,
        _ => {
            tracing::error!(name, "{VARIABLE} names no fault that is known");
            return None;
        }
    };
    tracing::warn!(?plant, "a fault is planted: this process breaks its promises on purpose");
    Some(plant)
});

/// Whether this process has that fault.
pub fn planted(plant: Plant) -> bool {
    cfg!(debug_assertions) && *PLANTED == Some(plant)
}

/// A script's text, with the fault that is planted in it.
pub(crate) fn with_fault(text: String) -> String {
    let edits = PLANTED.map_or(&[][..], edits);
    edits.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

/// What a fault changes in scripts.
const fn edits(plant: Plant) -> &'static [(&'static str, &'static str)] {
    match plant {
        Plant::FencingOff => &[
            ("if not status or lease ~= ARGV[4] then", "if not status then"),
            ("if ARGV[7] ~= '' then", "if ARGV[7] ~= '' and lease == ARGV[4] then"),
            ("if values[2] ~= ARGV[2] then", "if false then"),
        ],
        Plant::AppendTwice => &[(
            "write_events(job, KEYS[2],",
            "write_events(job, KEYS[2], ARGV[6], now, make_events(job, now, ARGV[2], ARGV, 10))\nwrite_events(job, KEYS[2],",
        )],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fault_changes_is_there() {
        let scripts = [include_str!("step/append.lua"), include_str!("step/renew.lua")].concat();
        for plant in [Plant::FencingOff, Plant::AppendTwice] {
            assert!(!edits(plant).is_empty());
            for (from, _) in edits(plant) {
                assert_eq!(scripts.matches(from).count(), 1, "{plant:?}: {from}");
            }
        }
    }
}
