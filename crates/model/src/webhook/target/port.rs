//! Which ports a web server is expected on.

use std::ops::RangeInclusive;

/// Ports from 1024 on where another protocol is known, by the Fetch standard's list of ports that browsers don't call.
const OTHERS: [RangeInclusive<u16>; 14] = [
    1719..=1720,
    1723..=1723,
    2049..=2049,
    3659..=3659,
    4045..=4045,
    4190..=4190,
    5060..=5061,
    6000..=6000,
    6566..=6566,
    6665..=6669,
    6679..=6679,
    6697..=6697,
    10080..=10080,
    // Redis itself: what a gateway surely has near it.
    6379..=6379,
];

/// Whether a web server may be expected there.
pub(super) fn is_usual(port: u16) -> bool {
    match port {
        80 | 443 => true,
        0..=1023 => false,
        _ => !OTHERS.iter().any(|ports| ports.contains(&port)),
    }
}
