//! What the micro-benchmarks drive (`benches/`, `make bench-micro`): a live connection's reader without its socket. Only with the
//! feature `bench`, which nothing that is shipped has.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::LiveSink;
use super::connection::{Said, next};
use super::table::{Listener, Table};
use crate::partition::Slot;

/// A live connection whose channels all stand.
#[derive(Default)]
pub struct Subscriber {
    table: Table,
    buffer: BytesMut,
}

impl Subscriber {
    /// With `sink` for each of `channels`.
    pub fn new(channels: impl IntoIterator<Item = Bytes>, sink: &Arc<dyn LiveSink>) -> Self {
        let mut this = Self::default();
        for (id, channel) in (1..).zip(channels) {
            this.table.add(Listener { slot: Slot(1), channel: channel.clone(), id, sink: Arc::clone(sink) });
            while this.table.write_changes(&mut this.buffer) {}
            let _ = this.table.subscribed(&channel);
        }
        this.buffer.clear();
        this
    }

    /// Takes what came from the server, and gives publications to their sinks; how many there were.
    pub fn hear(&mut self, bytes: &[u8]) -> usize {
        self.buffer.extend_from_slice(bytes);
        let mut messages = 0;
        while let Ok(Some(said)) = next(&mut self.buffer) {
            if let Said::Message { channel, payload } = said {
                self.table.message(&channel, &payload);
                messages += 1;
            }
        }
        messages
    }
}
