//! The name of a delivery.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::JobId;

/// The most targets that one job has.
pub const MAX_TARGETS: u8 = 8;

/// `<jobId>.<number>`: the job that is told of, and which of its targets is told, from 1 to [`MAX_TARGETS`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeliveryId {
    /// The job that is told of.
    pub job: JobId,
    /// Which of its targets.
    pub number: u8,
}

/// Text that names no delivery.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a delivery's id is a job's id, a dot and a number from 1 to {MAX_TARGETS}")]
pub struct BadDeliveryId;

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.job, self.number)
    }
}

impl FromStr for DeliveryId {
    type Err = BadDeliveryId;
    fn from_str(text: &str) -> Result<Self, BadDeliveryId> {
        let (job, number) = text.rsplit_once('.').ok_or(BadDeliveryId)?;
        let job = job.parse().map_err(|_| BadDeliveryId)?;
        let &[digit @ b'1'..=b'9'] = number.as_bytes() else { return Err(BadDeliveryId) };
        let number = digit - b'0';
        if number <= MAX_TARGETS { Ok(Self { job, number }) } else { Err(BadDeliveryId) }
    }
}

impl Serialize for DeliveryId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeliveryId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Partition, Timestamp};

    #[test]
    fn is_read_as_it_is_written_and_nothing_else_is_one() {
        let job = JobId::new(Timestamp::from_millis(1_795_514_400_000), [7; 10], Partition(3));
        for number in 1..=MAX_TARGETS {
            let id = DeliveryId { job, number };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for bad in ["", ".", "x.1", &job.to_string()] {
            assert_eq!(bad.parse::<DeliveryId>(), Err(BadDeliveryId), "{bad}");
        }
        for number in ["", "0", "9", "01", "1 ", "-1", "10"] {
            assert_eq!(format!("{job}.{number}").parse::<DeliveryId>(), Err(BadDeliveryId), "{number}");
        }
    }
}
