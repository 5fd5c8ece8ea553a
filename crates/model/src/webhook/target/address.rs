//! Which addresses and names lie inside of a network, rather than on the public internet.
//!
//! The lists are the special-purpose registries of IANA (RFC 6890), and what clouds have beside them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Blocks of IPv4, each with how many leading bits name it and what it is.
const V4: [([u8; 4], u32, &str); 16] = [
    ([0, 0, 0, 0], 8, "an unspecified address"),
    ([10, 0, 0, 0], 8, "a private address"),
    ([100, 64, 0, 0], 10, "an address shared behind a carrier's NAT"),
    ([127, 0, 0, 0], 8, "a loopback address"),
    ([168, 63, 129, 16], 32, "a metadata service's address"), // Azure's, though it looks public
    ([169, 254, 0, 0], 16, "a link-local address"),           // metadata services of most clouds
    ([172, 16, 0, 0], 12, "a private address"),
    ([192, 0, 0, 0], 24, "a reserved address"),
    ([192, 0, 2, 0], 24, "an address for documentation"),
    ([192, 88, 99, 0], 24, "an address of 6to4 relays"),
    ([192, 168, 0, 0], 16, "a private address"),
    ([198, 18, 0, 0], 15, "an address for benchmarks"),
    ([198, 51, 100, 0], 24, "an address for documentation"),
    ([203, 0, 113, 0], 24, "an address for documentation"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([240, 0, 0, 0], 4, "a reserved address"),
];

/// Blocks of IPv6 that say more than that they aren't public, and those within `2000::/3` that aren't.
const V6: [(Ipv6Addr, u32, &str); 13] = [
    (Ipv6Addr::UNSPECIFIED, 128, "the unspecified address"),
    (Ipv6Addr::LOCALHOST, 128, "the loopback address"),
    (v6(0, 0), 96, "an IPv4 address in IPv6's clothes"),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96, "an IPv4 address in IPv6's clothes"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "a local NAT64 address"),
    (v6(0x2001, 0), 23, "a reserved address"), // Teredo among them
    (v6(0x2001, 0xdb8), 32, "an address for documentation"),
    (v6(0x2002, 0), 16, "a 6to4 address"),
    (v6(0x3fff, 0), 20, "an address for documentation"),
    (v6(0xfc00, 0), 7, "a private address"),
    (v6(0xfe80, 0), 10, "a link-local address"),
    (v6(0xfec0, 0), 10, "a private address"),
    (v6(0xff00, 0), 8, "a multicast address"),
];

/// All that is public in IPv6 today.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (v6(0x2000, 0), 3);

/// NAT64's well-known prefix: how a network without IPv4 reaches an IPv4 address.
const NAT64: (Ipv6Addr, u32) = (v6(0x64, 0xff9b), 96);

const fn v6(first: u16, second: u16) -> Ipv6Addr {
    Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)
}

/// What `ip` is, if it isn't an address on the public internet.
pub(super) fn inside(ip: IpAddr) -> Option<&'static str> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => inside_v4(ip),
        IpAddr::V6(ip) if within(ip, NAT64) => {
            let [.., a, b, c, d] = ip.octets();
            inside_v4(Ipv4Addr::new(a, b, c, d))
        }
        IpAddr::V6(ip) => {
            let known = V6.iter().find(|(block, bits, _)| within(ip, (*block, *bits)));
            let other = (!within(ip, GLOBAL_UNICAST)).then_some("a reserved address");
            known.map(|(_, _, what)| *what).or(other)
        }
    }
}

fn inside_v4(ip: Ipv4Addr) -> Option<&'static str> {
    let same = |block: [u8; 4], bits: u32| (ip.to_bits() ^ u32::from_be_bytes(block)) >> (32 - bits) == 0;
    V4.iter().find(|(block, bits, _)| same(*block, *bits)).map(|(_, _, what)| *what)
}

fn within(ip: Ipv6Addr, (block, bits): (Ipv6Addr, u32)) -> bool {
    (ip.to_bits() ^ block.to_bits()) >> (128 - bits) == 0
}

/// Whether `name`, lower case and without a last dot, is one that machines have for themselves (RFC 6761, and the hosts files of
/// the usual distributions).
pub(super) fn is_local_name(name: &str) -> bool {
    let names = [
        "localhost",
        "localdomain",
        "localhost4",
        "localhost6",
        "localdomain4",
        "localdomain6",
        "ip6-localhost",
        "ip6-loopback",
        "ip6-allnodes",
        "ip6-allrouters",
        "broadcasthost",
    ];
    names.contains(&name.rsplit('.').next().unwrap_or(name))
}
