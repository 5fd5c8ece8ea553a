//! A job's id, which says the job's partition.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// The number of a partition: a share of all jobs that lives in one Redis slot. 0 to 63.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Partition(pub u16);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The most partitions that there can be.
pub const MAX_PARTITIONS: u16 = 64;

/// A job's id: a UUIDv7 (RFC 9562) whose last 10 bits are the number of the job's partition, so that any node finds
/// the job without a look-up. Ids sort by creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

/// Text that is no UUID in its hyphenated form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job id is a UUID such as 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000")]
pub struct BadId;

const PARTITION_BITS: u128 = 0x3ff;

impl JobId {
    /// A new id for a job made at `at` in `partition`, with the caller's randomness.
    pub fn new(at: Timestamp, random: [u8; 10], partition: Partition) -> Self {
        let uuid = uuid::Builder::from_unix_timestamp_millis(at.as_millis(), &random).into_uuid();
        Self(Uuid::from_u128(uuid.as_u128() & !PARTITION_BITS | u128::from(partition.0) & PARTITION_BITS))
    }

    /// The partition that the job lives in. Any UUID has one; it may be one that doesn't exist.
    pub fn partition(self) -> Partition {
        Partition((self.0.as_u128() & PARTITION_BITS) as u16)
    }

    /// Its 16 bytes, where text would take too much room.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The id of these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl FromStr for JobId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        // `Uuid` also reads braced, URN and undashed forms: one job must not have five names in caches and logs.
        let hyphenated = text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase());
        if !hyphenated {
            return Err(BadId);
        }
        Uuid::try_parse(text).map(Self).map_err(|_| BadId)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_says_its_partition_and_sorts_by_time() {
        for n in [0, 1, 15, 63] {
            let id = JobId::new(Timestamp::from_millis(1_795_514_400_123), [0xff; 10], Partition(n));
            assert_eq!(id.partition(), Partition(n));
            assert_eq!(id.0.get_version_num(), 7);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(JobId::from_bytes(id.to_bytes()), id);
            let later = JobId::new(Timestamp::from_millis(1_795_514_400_124), [0; 10], Partition(0));
            assert!(later > id);
        }
    }

    #[test]
    fn only_the_hyphenated_lower_case_form_is_an_id() {
        for bad in [
            "",
            "1",
            "019ab3c45d6e7f809a1b2c3d4e5f6000",
            "{019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000}",
            "019AB3C4-5D6E-7F80-9A1B-2C3D4E5F6000",
            "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f600g",
        ] {
            assert_eq!(bad.parse::<JobId>(), Err(BadId), "{bad}");
        }
    }
}
