//! Where a job's keys lie, by DESIGN's words and by no code of the store.

/// The partition of a job: the last ten bits of its id.
pub fn partition_of(job: &str) -> u16 {
    let tail = job.get(job.len().saturating_sub(4)..).unwrap_or_default();
    u16::from_str_radix(tail, 16).unwrap_or_default() & 0x3ff
}

/// The slot of a hash tag: CRC-16/XMODEM modulo 16,384.
fn slot_of(tag: &str) -> u16 {
    let crc = tag.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16_384
}

/// The hash tag of a partition: `<n>.<k>`, k the smallest for which the slot lies in the 16 from 16 × (n's ten bits reversed).
pub fn tag_of(partition: u16) -> String {
    let first = 16 * (partition.reverse_bits() >> 6);
    let tags = (0_u32..).map(|k| format!("{partition}.{k}"));
    let mut fitting = tags.filter(|tag| (first..first + 16).contains(&slot_of(tag)));
    fitting.next().unwrap_or_default()
}

/// The slot that a partition's keys lie in.
pub fn slot_of_partition(partition: u16) -> u16 {
    slot_of(&tag_of(partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_the_design_has_them() {
        assert_eq!(slot_of("123456789"), 0x31c3, "the check value of CRC-16/XMODEM");
        let tags: Vec<_> = (0..4).map(tag_of).collect();
        assert_eq!(tags, ["0.325", "1.38", "2.671", "3.951"]);
        assert_eq!(partition_of("01890000-0000-7000-8000-00000000fc05"), 5);
    }
}
