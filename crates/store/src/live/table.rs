//! What a live connection carries: channels, who listens, and what the server has still to confirm. No I/O.
//!
//! A server confirms in the order of the commands, so counting is enough: a channel stands when it is subscribed by the
//! last command sent, and nothing sent for it is unconfirmed. Changes are coalesced until they are written.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::LiveSink;
use super::connection::named_command;
use crate::partition::Slot;

/// The most channels of one command.
const BATCH: usize = 512;

/// One who listens to a channel.
pub(super) struct Listener {
    pub(super) slot: Slot,
    pub(super) channel: Bytes,
    pub(super) id: u64,
    pub(super) sink: Arc<dyn LiveSink>,
}

/// All channels of one connection.
#[derive(Default)]
pub(super) struct Table {
    channels: HashMap<Bytes, Channel>,
    /// Channels whose wanted state may differ from what was sent, by slot: a command's channels must lie in one.
    changed: HashMap<Slot, Vec<Bytes>>,
}

struct Channel {
    slot: Slot,
    sinks: Vec<(u64, Arc<dyn LiveSink>)>,
    /// The last command sent for it subscribes.
    is_subscribed: bool,
    /// Confirmed, and nothing sent since.
    stands: bool,
    subscribes_unconfirmed: u32,
    unsubscribes_unconfirmed: u32,
    is_in_changed: bool,
}

/// The server said what it had no reason to say.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the server ended the subscription of {0}")]
pub(super) struct Unsolicited(String);

impl Table {
    pub(super) fn add(&mut self, listener: Listener) {
        let Listener { slot, channel: name, id, sink } = listener;
        let channel = self.channels.entry(name.clone()).or_insert_with(|| Channel::new(slot));
        if channel.stands {
            sink.subscribed();
        }
        channel.sinks.push((id, sink));
        self.mark(&name);
    }

    /// The listener's sink is dropped here, so not under any lock of ours.
    pub(super) fn remove(&mut self, name: &Bytes, id: u64) {
        let Some(channel) = self.channels.get_mut(name) else { return };
        channel.sinks.retain(|(other, _)| *other != id);
        self.mark(name);
    }

    fn mark(&mut self, name: &Bytes) {
        if let Some(channel) = self.channels.get_mut(name)
            && channel.is_subscribed == channel.sinks.is_empty()
            && !channel.is_in_changed
        {
            channel.is_in_changed = true;
            self.changed.entry(channel.slot).or_default().push(name.clone());
        }
    }

    /// Does the channel stand, so that what is published is heard?
    pub(super) fn stands(&self, name: &[u8]) -> bool {
        self.channels.get(name).is_some_and(|channel| channel.stands)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Writes the next changes, up to [`BATCH`] channels of one slot; false if there are none.
    pub(super) fn write_changes(&mut self, out: &mut BytesMut) -> bool {
        let Some(slot) = self.changed.keys().next().copied() else { return false };
        let Some(names) = self.changed.get_mut(&slot) else { return false };
        let batch = names.split_off(names.len().saturating_sub(BATCH));
        if names.is_empty() {
            self.changed.remove(&slot);
        }
        let (mut subscribe, mut unsubscribe) = (Vec::new(), Vec::new());
        for name in batch {
            let Some(channel) = self.channels.get_mut(&name) else { continue };
            channel.is_in_changed = false;
            match (channel.sinks.is_empty(), channel.is_subscribed) {
                (false, false) => {
                    channel.is_subscribed = true;
                    channel.subscribes_unconfirmed += 1;
                    subscribe.push(name);
                }
                (true, true) => {
                    channel.is_subscribed = false;
                    channel.stands = false;
                    channel.unsubscribes_unconfirmed += 1;
                    unsubscribe.push(name);
                }
                _ => self.forget_if_done(&name),
            }
        }
        for (command, names) in [(&b"SSUBSCRIBE"[..], subscribe), (&b"SUNSUBSCRIBE"[..], unsubscribe)] {
            if !names.is_empty() {
                named_command(out, command, &names);
            }
        }
        true
    }

    fn forget_if_done(&mut self, name: &[u8]) {
        if self.channels.get(name).is_some_and(Channel::is_done) {
            self.channels.remove(name);
        }
    }

    /// `ssubscribe` was read.
    pub(super) fn subscribed(&mut self, name: &[u8]) -> Result<(), Unsolicited> {
        let channel = self.channels.get_mut(name).filter(|channel| channel.subscribes_unconfirmed > 0);
        let channel = channel.ok_or_else(|| unsolicited(name))?;
        channel.subscribes_unconfirmed -= 1;
        if channel.is_settled() && channel.is_subscribed {
            channel.stands = true;
            for (_, sink) in &channel.sinks {
                sink.subscribed();
            }
        }
        Ok(())
    }

    /// `sunsubscribe` was read. It also comes unasked, when a slot moves away.
    pub(super) fn unsubscribed(&mut self, name: &[u8]) -> Result<(), Unsolicited> {
        let channel = self.channels.get_mut(name).filter(|channel| channel.unsubscribes_unconfirmed > 0);
        let channel = channel.ok_or_else(|| unsolicited(name))?;
        channel.unsubscribes_unconfirmed -= 1;
        self.forget_if_done(name);
        Ok(())
    }

    /// `smessage` was read.
    pub(super) fn message(&self, name: &[u8], payload: &Bytes) {
        if let Some(channel) = self.channels.get(name).filter(|channel| channel.stands) {
            for (_, sink) in &channel.sinks {
                sink.entry(payload.clone());
            }
        }
    }

    /// The connection is gone: nothing stands, and everything wanted is to be subscribed anew.
    pub(super) fn lost(&mut self) {
        self.changed.clear();
        self.channels.retain(|_, channel| !channel.sinks.is_empty());
        for (name, channel) in &mut self.channels {
            if channel.stands {
                for (_, sink) in &channel.sinks {
                    sink.lost();
                }
            }
            let sinks = std::mem::take(&mut channel.sinks);
            *channel = Channel { sinks, is_in_changed: true, ..Channel::new(channel.slot) };
            self.changed.entry(channel.slot).or_default().push(name.clone());
        }
    }

    /// Takes out all that listens to `slot`, after [`Self::lost`].
    pub(super) fn take_slot(&mut self, slot: Slot) -> Vec<Listener> {
        self.changed.remove(&slot);
        let taken = self.channels.extract_if(|_, channel| channel.slot == slot);
        taken
            .flat_map(|(name, channel)| {
                channel.sinks.into_iter().map(move |(id, sink)| Listener {
                    slot,
                    channel: name.clone(),
                    id,
                    sink,
                })
            })
            .collect()
    }
}

impl Channel {
    fn new(slot: Slot) -> Self {
        Self {
            slot,
            sinks: Vec::new(),
            is_subscribed: false,
            stands: false,
            subscribes_unconfirmed: 0,
            unsubscribes_unconfirmed: 0,
            is_in_changed: false,
        }
    }

    fn is_settled(&self) -> bool {
        self.subscribes_unconfirmed == 0 && self.unsubscribes_unconfirmed == 0
    }

    /// Nobody listens, and the server has nothing to say of it.
    fn is_done(&self) -> bool {
        self.is_settled() && self.sinks.is_empty() && !self.is_subscribed && !self.is_in_changed
    }
}

fn unsolicited(name: &[u8]) -> Unsolicited {
    Unsolicited(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl LiveSink for Heard {
        fn subscribed(&self) {
            self.0.lock().push("subscribed".into());
        }
        fn entry(&self, entry: Bytes) {
            self.0.lock().push(String::from_utf8(entry.to_vec()).unwrap());
        }
        fn lost(&self) {
            self.0.lock().push("lost".into());
        }
    }

    struct Bench {
        table: Table,
        next: u64,
    }

    const NAME: Bytes = Bytes::from_static(b"live:a");

    impl Bench {
        fn new() -> Self {
            Self { table: Table::default(), next: 0 }
        }

        fn add(&mut self) -> (u64, Arc<Heard>) {
            let sink = Arc::new(Heard::default());
            self.next += 1;
            self.table.add(Listener {
                slot: Slot(1),
                channel: NAME,
                id: self.next,
                sink: Arc::clone(&sink) as _,
            });
            (self.next, sink)
        }

        /// The names of the commands written.
        fn written(&mut self) -> String {
            let mut out = BytesMut::new();
            while self.table.write_changes(&mut out) {}
            let text = String::from_utf8(out.to_vec()).unwrap();
            text.split("\r\n").filter(|word| word.ends_with("SCRIBE")).collect::<Vec<_>>().join(" ")
        }
    }

    #[track_caller]
    fn check(sink: &Heard, expected: &[&str]) {
        assert_eq!(*sink.0.lock(), expected);
    }

    #[test]
    fn a_sink_hears_what_comes_after_the_confirmation() {
        let mut bench = Bench::new();
        let (_, sink) = bench.add();
        assert_eq!(bench.written(), "SSUBSCRIBE");
        bench.table.message(b"live:a", &Bytes::from_static(b"early"));
        bench.table.subscribed(b"live:a").unwrap();
        bench.table.message(b"live:a", &Bytes::from_static(b"1"));
        let (second_id, second) = bench.add();
        assert_eq!(bench.written(), "", "the channel stands already");
        bench.table.message(b"live:a", &Bytes::from_static(b"2"));
        bench.table.remove(&NAME, second_id);
        bench.table.message(b"live:a", &Bytes::from_static(b"3"));
        check(&sink, &["subscribed", "1", "2", "3"]);
        check(&second, &["subscribed", "2"]);
    }

    #[test]
    fn leaving_and_coming_back_before_the_confirmations_stands_after_the_last_one() {
        let mut bench = Bench::new();
        let (first, _) = bench.add();
        assert_eq!(bench.written(), "SSUBSCRIBE");
        bench.table.remove(&NAME, first);
        assert_eq!(bench.written(), "SUNSUBSCRIBE");
        let (_, sink) = bench.add();
        assert_eq!(bench.written(), "SSUBSCRIBE");
        bench.table.subscribed(b"live:a").unwrap();
        bench.table.message(b"live:a", &Bytes::from_static(b"before the unsubscription"));
        bench.table.unsubscribed(b"live:a").unwrap();
        check(&sink, &[]);
        bench.table.subscribed(b"live:a").unwrap();
        check(&sink, &["subscribed"]);
        assert!(bench.table.stands(b"live:a"));
    }

    #[test]
    fn changes_that_cancel_out_are_not_written() {
        let mut bench = Bench::new();
        let (first, _) = bench.add();
        bench.table.remove(&NAME, first);
        assert_eq!(bench.written(), "");
        assert!(bench.table.is_empty());

        let (second, _) = bench.add();
        assert_eq!(bench.written(), "SSUBSCRIBE");
        bench.table.subscribed(b"live:a").unwrap();
        bench.table.remove(&NAME, second);
        let (_, sink) = bench.add();
        assert_eq!(bench.written(), "");
        check(&sink, &["subscribed"]);
    }

    #[test]
    fn a_channel_that_nobody_wants_is_forgotten_when_the_server_has_confirmed() {
        let mut bench = Bench::new();
        let (id, _) = bench.add();
        bench.written();
        bench.table.subscribed(b"live:a").unwrap();
        bench.table.remove(&NAME, id);
        assert_eq!(bench.written(), "SUNSUBSCRIBE");
        assert!(!bench.table.is_empty());
        bench.table.unsubscribed(b"live:a").unwrap();
        assert!(bench.table.is_empty());
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_noticed() {
        let mut bench = Bench::new();
        bench.add();
        bench.written();
        bench.table.subscribed(b"live:a").unwrap();
        assert_eq!(bench.table.unsubscribed(b"live:a"), Err(Unsolicited("live:a".into())));
        assert!(bench.table.unsubscribed(b"live:other").is_err());
        assert!(bench.table.subscribed(b"live:a").is_err());
    }

    #[test]
    fn after_a_loss_everything_wanted_is_subscribed_anew() {
        let mut bench = Bench::new();
        let (_, standing) = bench.add();
        bench.written();
        bench.table.subscribed(b"live:a").unwrap();
        bench.table.lost();
        bench.table.lost();
        assert_eq!(bench.written(), "SSUBSCRIBE");
        bench.table.subscribed(b"live:a").unwrap();
        check(&standing, &["subscribed", "lost", "subscribed"]);

        bench.table.lost();
        let moved = bench.table.take_slot(Slot(1));
        assert_eq!(moved.len(), 1);
        assert!(bench.table.is_empty());
        assert_eq!(bench.written(), "");
    }

    #[test]
    fn a_command_has_channels_of_one_slot_and_not_too_many() {
        let mut table = Table::default();
        let sink: Arc<dyn LiveSink> = Arc::new(Heard::default());
        for n in 0..2000_u16 {
            let channel = Bytes::from(format!("live:{n}"));
            table.add(Listener { slot: Slot(n % 2), channel, id: u64::from(n), sink: Arc::clone(&sink) });
        }
        let mut commands = 0;
        loop {
            let mut out = BytesMut::new();
            if !table.write_changes(&mut out) {
                break;
            }
            commands += 1;
            let text = String::from_utf8(out.to_vec()).unwrap();
            let numbers: Vec<u16> = text
                .split("live:")
                .skip(1)
                .map(|rest| rest.split('\r').next().unwrap().parse().unwrap())
                .collect();
            assert!(numbers.len() <= BATCH);
            assert!(numbers.iter().all(|n| n % 2 == numbers[0] % 2));
        }
        assert_eq!(commands, 4);
    }
}
