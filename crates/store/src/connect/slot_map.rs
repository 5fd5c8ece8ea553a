//! The map of slots of a Cluster, and the vote on it. No I/O.

use std::collections::{BTreeSet, HashMap};

use redis::Value;

use super::address::Address;

/// The primaries of ranges of slots: each range by its first slot, in order.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct SlotMap(Vec<Range>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Range {
    first: u16,
    last: u16,
    primary: Address,
}

/// Whole maps alike from more than half of the primaries that they name: no need to wait for the rest.
pub(super) fn agreed(maps: &HashMap<Address, SlotMap>) -> Option<SlotMap> {
    maps.values()
        .find(|map| {
            let primaries = map.primaries();
            let alike =
                maps.iter().filter(|(address, other)| other == map && primaries.contains(address)).count();
            alike * 2 > primaries.len()
        })
        .cloned()
}

/// For each slot the primary that most of the voters name, and whether that were more than half of them everywhere. Voters
/// are those whom some map calls a primary; a seed by another name only helps to find them.
pub(super) fn vote(maps: &HashMap<Address, SlotMap>) -> Option<(SlotMap, bool)> {
    let primaries: Vec<Address> = maps.values().flat_map(SlotMap::primaries).collect();
    let mut voters: Vec<&SlotMap> =
        maps.iter().filter(|(address, _)| primaries.contains(address)).map(|(_, map)| map).collect();
    if voters.is_empty() {
        voters = maps.values().collect();
    }
    let electors = maps.values().map(|map| map.primaries().len()).max()?;
    let mut firsts: BTreeSet<u16> = BTreeSet::new();
    for range in voters.iter().flat_map(|map| &map.0) {
        firsts.insert(range.first);
        firsts.insert(range.last.saturating_add(1));
    }
    let firsts: Vec<u16> = firsts.into_iter().filter(|first| *first < 16_384).collect();
    let mut result = Vec::new();
    let mut is_majority = true;
    for (n, first) in firsts.iter().enumerate() {
        let last = firsts.get(n + 1).map_or(16_383, |next| next - 1);
        let named: Vec<&Address> = voters.iter().filter_map(|map| map.primary_of(*first)).collect();
        let count = |address: &Address| named.iter().filter(|named| **named == address).count();
        if let Some(winner) = named.iter().max_by_key(|address| count(address)) {
            is_majority &= count(winner) * 2 > electors;
            result.push(Range { first: *first, last, primary: (*winner).clone() });
        }
    }
    (!result.is_empty()).then(|| (SlotMap::joined(result), is_majority))
}

impl SlotMap {
    /// Reads a reply of CLUSTER SLOTS, `[[first, last, [host, port, …], replicas…], …]`, that the node at `from` gave.
    pub(super) fn read(from: &Address, value: &Value) -> Self {
        let Value::Array(ranges) = value else { return Self::default() };
        let mut ranges: Vec<Range> = ranges.iter().filter_map(|range| read_range(from, range)).collect();
        ranges.sort_by_key(|range| range.first);
        Self::joined(ranges)
    }

    /// The map of `ranges`, which are in order: neighbours of one primary become one, so that equal maps are equal.
    fn joined(ranges: Vec<Range>) -> Self {
        let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match joined.last_mut() {
                Some(last)
                    if last.last.checked_add(1) == Some(range.first) && last.primary == range.primary =>
                {
                    last.last = range.last;
                }
                _ => joined.push(range),
            }
        }
        Self(joined)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The primary of `slot`, if this map has it.
    pub(super) fn primary_of(&self, slot: u16) -> Option<&Address> {
        let after = self.0.partition_point(|range| range.first <= slot);
        let range = self.0.get(after.checked_sub(1)?)?;
        (slot <= range.last).then_some(&range.primary)
    }

    /// Every primary once.
    pub(super) fn primaries(&self) -> Vec<Address> {
        let mut all: Vec<Address> = Vec::new();
        for range in &self.0 {
            if !all.contains(&range.primary) {
                all.push(range.primary.clone());
            }
        }
        all
    }

    /// Gives one slot to `primary`.
    pub(super) fn set(&mut self, slot: u16, primary: Address) {
        if self.primary_of(slot) == Some(&primary) {
            return;
        }
        let mut ranges = Vec::with_capacity(self.0.len() + 2);
        for range in self.0.drain(..) {
            if (range.first..=range.last).contains(&slot) {
                if range.first < slot {
                    ranges.push(Range { last: slot - 1, ..range.clone() });
                }
                if range.last > slot {
                    ranges.push(Range { first: slot + 1, ..range });
                }
            } else {
                ranges.push(range);
            }
        }
        ranges.push(Range { first: slot, last: slot, primary });
        ranges.sort_by_key(|range| range.first);
        *self = Self::joined(ranges);
    }
}

fn read_range(from: &Address, value: &Value) -> Option<Range> {
    let Value::Array(fields) = value else { return None };
    let (first, last, primary) = (fields.first()?, fields.get(1)?, fields.get(2)?);
    let Value::Array(primary) = primary else { return None };
    let host = match primary.first()? {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        Value::Nil => "",
        _ => return None,
    };
    let primary = from.beside(host, number(primary.get(1)?)?)?;
    Some(Range { first: number(first)?, last: number(last)?, primary })
}

fn number(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: char) -> Address {
        Address::Tcp { host: name.to_string(), port: 6379, tls: false }
    }

    /// A map written as `first-last:primary …`.
    fn map(text: &str) -> SlotMap {
        let range = |text: &str| {
            let (slots, primary) = text.split_once(':').unwrap();
            let (first, last) = slots.split_once('-').unwrap();
            let primary = node(primary.chars().next().unwrap());
            Range { first: first.parse().unwrap(), last: last.parse().unwrap(), primary }
        };
        SlotMap(text.split(' ').map(range).collect())
    }

    fn said(words: &[(char, &str)]) -> HashMap<Address, SlotMap> {
        words.iter().map(|(who, text)| (node(*who), map(text))).collect()
    }

    const OLD: &str = "0-99:a 100-199:b 200-16383:c";
    const NEW: &str = "0-99:d 100-199:b 200-16383:c";

    #[test]
    fn a_primary_that_is_cut_off_is_outvoted() {
        let maps = said(&[('a', OLD), ('b', NEW), ('c', NEW)]);
        assert_eq!(agreed(&maps), Some(map(NEW)));
        let (voted, is_majority) = vote(&maps).unwrap();
        assert_eq!(voted.primary_of(50), Some(&node('d')));
        assert!(is_majority);
    }

    #[test]
    fn one_word_alone_is_no_majority() {
        let maps = said(&[('a', OLD)]);
        assert_eq!(agreed(&maps), None);
        let (voted, is_majority) = vote(&maps).unwrap();
        assert_eq!(voted.primary_of(0), Some(&node('a')), "better than nothing");
        assert!(!is_majority);
        assert!(vote(&HashMap::new()).is_none());
    }

    #[test]
    fn each_slot_is_voted_on_alone() {
        let maps = said(&[
            ('a', "0-49:a 50-99:b 100-199:b 200-16383:c"),
            ('b', OLD),
            ('c', "0-99:a 100-149:b 150-16383:c"),
        ]);
        let (voted, is_majority) = vote(&maps).unwrap();
        for (slot, primary) in [(0, 'a'), (60, 'a'), (100, 'b'), (160, 'b'), (16_383, 'c')] {
            assert_eq!(voted.primary_of(slot), Some(&node(primary)), "slot {slot}");
        }
        assert!(is_majority);
    }

    #[test]
    fn a_seed_by_another_name_has_no_second_vote() {
        // x is a's other name, and as stale as a.
        let maps = said(&[('x', OLD), ('a', OLD), ('b', NEW), ('c', NEW)]);
        assert_eq!(vote(&maps).unwrap().0.primary_of(0), Some(&node('d')));
    }

    #[test]
    fn one_slot_is_given_to_another_node() {
        let mut given = map("0-99:a 100-16383:b");
        for (slot, primary) in [(0, 'b'), (50, 'c'), (99, 'b'), (100, 'a'), (16_383, 'a')] {
            given.set(slot, node(primary));
            assert_eq!(given.primary_of(slot), Some(&node(primary)));
        }
        for (slot, primary) in [(1, 'a'), (49, 'a'), (51, 'a'), (101, 'b'), (16_382, 'b')] {
            assert_eq!(given.primary_of(slot), Some(&node(primary)), "slot {slot}");
        }
        for slot in [0, 50, 99] {
            given.set(slot, node('a'));
        }
        for slot in [100, 16_383] {
            given.set(slot, node('b'));
        }
        assert_eq!(given, map("0-99:a 100-16383:b"));
        let mut nothing = SlotMap::default();
        nothing.set(7, node('a'));
        assert_eq!((nothing.primary_of(7), nothing.primary_of(8)), (Some(&node('a')), None));
    }

    #[test]
    fn cluster_slots_is_read_beside_the_node_that_said_it() {
        let entry = |host: Value| {
            let primary = Value::Array(vec![host, Value::Int(7000), Value::BulkString(b"id".to_vec())]);
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(16_383), primary])])
        };
        for (host, read) in [
            (Value::BulkString(b"b".to_vec()), "b"),
            (Value::BulkString(Vec::new()), "a"),
            (Value::Nil, "a"),
            (Value::BulkString(b"?".to_vec()), "a"),
        ] {
            let map = SlotMap::read(&node('a'), &entry(host));
            let expected = Address::Tcp { host: read.into(), port: 7000, tls: false };
            assert_eq!(map.primary_of(5), Some(&expected));
        }
        assert_eq!(SlotMap::read(&node('a'), &Value::Nil), SlotMap::default());
    }
}
