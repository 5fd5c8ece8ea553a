//! What a handler reports while it works: progress and outputs.

use serde::{Deserialize, Serialize, Serializer};

use crate::Json;

/// A percentage, 0 to 100. Written as an integer where it is one.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Deserialize)]
#[serde(try_from = "f64")]
pub struct Percent(f64);

/// A number that is no percentage.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("progress is a percentage from 0 to 100, not {0}")]
pub struct BadPercent(pub f64);

impl Percent {
    /// The number, 0 to 100.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// The nearest percentage: below 0 and what is no number is 0, above 100 is 100.
    pub fn clamped(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, 100.0) })
    }
}

impl TryFrom<f64> for Percent {
    type Error = BadPercent;
    fn try_from(value: f64) -> Result<Self, BadPercent> {
        // `+ 0.0` turns -0 into 0.
        if (0.0..=100.0).contains(&value) { Ok(Self(value + 0.0)) } else { Err(BadPercent(value)) }
    }
}

impl Serialize for Percent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and 0 to 100")]
        if self.0.fract() == 0.0 {
            serializer.serialize_u8(self.0 as u8)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// One report of a running attempt; becomes one event.
#[derive(Clone, PartialEq, Debug)]
pub enum Report {
    /// How far the work is, and in what it is engaged.
    Progress {
        /// 0 to 100, if known.
        progress: Option<Percent>,
        /// A short sentence for people.
        message: Option<String>,
    },
    /// A piece of the result, any JSON.
    Output(Json),
    /// A piece of text, such as a few words of a language model's answer.
    Text(String),
}

/// What an event's JSON holds beside a report's own fields, at most: `jobId`, `seq`, `type`, `at`, `attempt` and their names.
pub const EVENT_OVERHEAD: usize = 192;

impl Report {
    /// The report's one or two JSON values, in the order of the event's fields: `progress` and `message`, or `output`, or `text`.
    pub fn values(&self) -> (String, Option<String>) {
        match self {
            Self::Progress { progress, message } => (to_json(progress), Some(to_json(message))),
            Self::Output(json) => (json.as_str().to_owned(), None),
            Self::Text(text) => (to_json(text), None),
        }
    }

    /// The bytes that the report's event takes at most.
    pub fn event_size(&self) -> usize {
        let (first, second) = self.values();
        EVENT_OVERHEAD + first.len() + second.map_or(0, |json| json.len())
    }
}

fn to_json(value: &impl Serialize) -> String {
    // Strings, numbers and null always have a JSON form.
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_short_and_bounded() {
        for (value, text) in [(0.0, "0"), (-0.0, "0"), (42.5, "42.5"), (100.0, "100")] {
            assert_eq!(serde_json::to_string(&Percent::try_from(value).unwrap()).unwrap(), text);
        }
        for bad in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert!(Percent::try_from(bad).is_err());
        }
        assert_eq!(Percent::clamped(f64::NAN), Percent(0.0));
        assert_eq!(Percent::clamped(1e9), Percent(100.0));
    }

    #[test]
    fn values_are_the_fields_of_the_event() {
        let report = Report::Progress { progress: None, message: Some("a\n\"b\"".into()) };
        assert_eq!(report.values(), ("null".into(), Some(r#""a\n\"b\"""#.into())));
        assert_eq!(Report::Text("ä\u{1}".into()).values(), ("\"ä\\u0001\"".into(), None));
    }
}
