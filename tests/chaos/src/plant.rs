//! Faults that are planted in the product, to see that the checker finds each for what it is.

use crate::checker::{Kind, Verdict};

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plant {
    /// Its name, as `JOBCAST_PLANT` and the command line have it.
    pub name: &'static str,
    /// What it does to clients or logs: a run in which none of these is found hasn't found it, whatever else it found.
    shows_as: &'static [Kind],
}

/// The planted fault that the harness makes itself.
pub const LAST_MESSAGE_DROPPED: &str = "last-message-dropped";

/// All faults that can be planted.
pub const PLANTS: [Plant; 7] = [
    Plant { name: "gap-fill-off", shows_as: &[Kind::Hole] },
    // On a stream of several logs the repeat comes with an id of its own log alone, which is no id of that stream.
    Plant { name: "dedupe-off", shows_as: &[Kind::Repeat, Kind::Malformed, Kind::Disagrees] },
    Plant { name: "rewind-off", shows_as: &[Kind::NotTold] },
    Plant { name: "fencing-off", shows_as: &[Kind::Counter, Kind::IllegalLife, Kind::AfterEnd] },
    Plant { name: "append-twice", shows_as: &[Kind::Counter] },
    Plant {
        name: "always-snapshot",
        shows_as: &[Kind::UnaskedSnapshot, Kind::UnexplainedRewind, Kind::UnexplainedTrim],
    },
    Plant { name: LAST_MESSAGE_DROPPED, shows_as: &[Kind::Unfinished] },
];

impl Plant {
    /// The fault of this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        PLANTS.into_iter().find(|plant| plant.name == name)
    }

    /// Whether `verdict` has what it does.
    pub fn is_found(self, verdict: &Verdict) -> bool {
        verdict.violations.iter().any(|violation| self.shows_as.contains(&violation.kind))
    }

    /// The names of what it does, for people.
    pub fn signs(self) -> String {
        self.shows_as.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::{Violation, check, made_up};
    use crate::record::Topology;

    fn verdict(kinds: &[Kind]) -> Verdict {
        let mut verdict = check(&made_up::empty(Topology::Single));
        let violation =
            |&kind| Violation { kind, client: None, about: None, at_ms: None, sentence: String::new() };
        verdict.violations = kinds.iter().map(violation).collect();
        verdict
    }

    #[test]
    fn a_fault_is_found_by_what_it_does_and_by_nothing_else() {
        for plant in PLANTS {
            assert_eq!(Plant::named(plant.name), Some(plant));
            assert!(!plant.is_found(&verdict(&[])));
            // What any run has that wasn't given the time to come to an end.
            assert!(!plant.is_found(&verdict(&[Kind::Untold, Kind::NoEnd, Kind::LateEnd])));
            for sign in plant.shows_as {
                assert!(plant.is_found(&verdict(&[Kind::Untold, *sign])));
            }
        }
    }
}
