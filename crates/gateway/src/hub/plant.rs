//! The planted faults of the core: what tests break on purpose, apart from what they break ([`store::Plant`]). A build
//! without debug assertions does nothing of it.

use bytes::Bytes;
use model::{EntryBody, EntryHead};
use store::{Plant, planted};

use super::chain::Chain;
use super::core::LogCore;
use super::frame::Frame;
use super::read::Reading;

impl LogCore {
    /// With [`Plant::DedupeOff`]: a repeat is kept, to be told before what follows.
    pub(super) fn repeated(&mut self, head: EntryHead, body: Option<&EntryBody>) {
        if planted(Plant::DedupeOff) {
            self.echo = body.map(|body| Box::new(self.frame_of(head, body).bytes));
        }
    }

    /// `frame`, after the repeat that was kept, if there is one.
    pub(super) fn after_echo(&mut self, frame: Frame) -> Frame {
        match self.echo.take() {
            Some(echo) => Frame { bytes: [*echo, frame.bytes.clone()].concat().into(), ..frame },
            None => frame,
        }
    }
}

/// With [`Plant::GapFillOff`]: of what fills a hole nothing is told but the newest event.
pub(super) fn unless_hushed(chain: Chain, reading: &Reading) -> Chain {
    let fills_hole = reading.settles && reading.head.is_some();
    if !(planted(Plant::GapFillOff) && fills_hole) {
        return chain;
    }
    let mut hushed = Chain::empty(chain.start());
    let newest = chain.end();
    for cursor in chain.cursors().skip(1) {
        if let Some(frame) = chain.ending_at(cursor).cloned() {
            let bytes = if cursor == newest { frame.bytes } else { Bytes::new() };
            hushed.push(Frame { bytes, ..frame });
        }
    }
    hushed
}
