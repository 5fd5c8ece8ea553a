//! Partitions and the Redis slots that they live in.

use std::sync::OnceLock;

use model::Partition;
use model::id::MAX_PARTITIONS;

/// One of the 16,384 hash slots of a Redis Cluster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Slot(pub(crate) u16);

/// The slot of a hash tag: CRC-16/XMODEM modulo 16,384 (Redis Cluster specification, "Keys distribution model").
fn slot_of(tag: &str) -> Slot {
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    Slot(crc % 16_384)
}

/// A partition's hash tag and its slot.
pub(crate) struct Place {
    pub(crate) tag: String,
    pub(crate) slot: Slot,
}

/// Every partition's place. The tag of `n` is `<n>.<k>`, k the smallest whole number for which the slot lies in the 16 slots
/// from 16 × (n's ten bits reversed): so the first P partitions spread evenly over all slots, whatever P is.
/// Each is found when it is first asked for: all of them take a debug build a tenth of a second.
static PLACES: [OnceLock<Place>; MAX_PARTITIONS as usize] =
    [const { OnceLock::new() }; MAX_PARTITIONS as usize];

fn find_place(n: u16) -> Place {
    let first = 16 * (n.reverse_bits() >> 6);
    let mut k = 0_u32;
    loop {
        let tag = format!("{n}.{k}");
        let slot = slot_of(&tag);
        if (first..first + 16).contains(&slot.0) {
            return Place { tag, slot };
        }
        k += 1;
    }
}

/// The place of `partition`; `None` if there can be no such partition.
pub(crate) fn place(partition: Partition) -> Option<&'static Place> {
    Some(PLACES.get(usize::from(partition.0))?.get_or_init(|| find_place(partition.0)))
}

/// The slot of a key without a tag of ours.
pub(crate) fn slot_of_key(key: &str) -> Slot {
    slot_of(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_the_ones_of_the_contract() {
        assert_eq!(slot_of("123456789"), Slot(0x31c3), "the check value of CRC-16/XMODEM");
        for (n, tag) in [(0, "0.325"), (1, "1.38"), (2, "2.671")] {
            assert_eq!(place(Partition(n)).unwrap().tag, tag);
        }
        assert!(place(Partition(64)).is_none());
    }

    #[test]
    fn any_count_of_partitions_is_spread_evenly() {
        for count in [2_u16, 4, 16, 64] {
            let mut slots: Vec<_> =
                (0..count).map(|n| place(Partition(n)).unwrap().slot.0 / (16_384 / count)).collect();
            slots.sort_unstable();
            assert_eq!(slots, (0..count).collect::<Vec<_>>());
        }
    }
}
