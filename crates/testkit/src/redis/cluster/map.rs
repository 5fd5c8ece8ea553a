//! What CLUSTER NODES says.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// One node, as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "they are the flags of one line")]
pub(super) struct NodeLine {
    pub(super) id: String,
    /// The port of its own address.
    pub(super) port: u16,
    /// The host that clients are told.
    pub(super) host: String,
    pub(super) is_self: bool,
    pub(super) is_primary: bool,
    /// It is thought dead, or suspected to be.
    pub(super) is_failing: bool,
    /// It hasn't introduced itself yet.
    pub(super) is_handshake: bool,
    pub(super) is_connected: bool,
    /// Whose replica it is.
    pub(super) primary: Option<String>,
    pub(super) slots: Vec<RangeInclusive<u16>>,
}

impl NodeLine {
    /// Reads `<id> <ip>:<port>@<bus>[,<host>…] <flags> <primary> <ping> <pong> <epoch> <link> <slots>…`.
    pub(super) fn read(line: &str) -> Self {
        let words: Vec<&str> = line.split(' ').collect();
        let [id, address, flags, primary, _ping, _pong, _epoch, link, slots @ ..] = &words[..] else {
            panic!("CLUSTER NODES says {line:?}")
        };
        let mut address = address.split(',');
        let at = address.next().unwrap_or_default();
        let port = at.split('@').next().and_then(|at| at.rsplit(':').next()?.parse().ok());
        let has = |flag: &str| flags.split(',').any(|given| given == flag);
        Self {
            id: (*id).to_owned(),
            port: port.unwrap_or_default(),
            host: address.next().unwrap_or_default().to_owned(),
            is_self: has("myself"),
            is_primary: has("master"),
            is_failing: has("fail") || has("fail?") || has("noaddr"),
            is_handshake: has("handshake"),
            is_connected: *link == "connected",
            primary: (*primary != "-").then(|| (*primary).to_owned()),
            slots: slots.iter().filter_map(|slots| range(slots)).collect(),
        }
    }

    pub(super) fn owns(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }
}

/// `17` or `0-5460`; a slot on its way, `[17->-<id>]`, is its owner's still.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// Who owns what.
pub(super) fn owners(lines: &[NodeLine]) -> BTreeMap<&str, &[RangeInclusive<u16>]> {
    let owners = lines.iter().filter(|line| !line.slots.is_empty());
    owners.map(|line| (line.id.as_str(), &line.slots[..])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_servers() {
        let line = NodeLine::read(
            "d8ff 127.0.0.1:29001@29101,127.0.0.2 myself,master - 0 0 1 connected 0-8000 8002 [8003->-e683]",
        );
        assert_eq!((line.id.as_str(), line.port, line.host.as_str()), ("d8ff", 29001, "127.0.0.2"));
        assert!(line.is_self && line.is_primary && line.is_connected && !line.is_failing);
        assert_eq!((line.primary.as_deref(), &line.slots[..]), (None, &[0..=8000, 8002..=8002][..]));
        assert!(line.owns(8000) && line.owns(8002) && !line.owns(8003));
        let line = NodeLine::read(
            "e683 127.0.0.1:29002@29102,127.0.0.2,,shard-id=69b slave,fail? d8ff 0 1 1 disconnected",
        );
        assert!(!line.is_primary && line.is_failing && !line.is_connected);
        assert_eq!((line.host.as_str(), line.primary.as_deref()), ("127.0.0.2", Some("d8ff")));
        assert!(NodeLine::read("a :0@0 handshake,noaddr - 0 0 0 connected").is_handshake);
    }
}
