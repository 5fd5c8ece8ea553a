//! The last lines of frames that have ids of their stream's own.

use bytes::{BufMut, Bytes, BytesMut};
use model::several::Id;

/// The most memory that is kept for them: about as many as are written together.
const MOST: usize = 16 * 1024;

/// Makes the lines of one stream, in memory that is used again once they are written.
pub(super) struct IdLines {
    memory: BytesMut,
    /// How much that is when nothing of it is in use.
    whole: usize,
}

impl IdLines {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { memory: BytesMut::new(), whole: 0 }
    }

    /// The last lines of a frame with that id.
    pub(super) fn of(&mut self, id: &Id) -> Bytes {
        let size = "id: \n\n".len() + id.len();
        // From its beginning again, if nothing of it is in use.
        let is_free = self.memory.try_reclaim(self.whole);
        if !is_free && self.memory.capacity() < size || self.whole < size {
            self.whole = (2 * self.whole).min(MOST).max(size);
            self.memory = BytesMut::with_capacity(self.whole);
        }
        self.memory.put_slice(b"id: ");
        id.put(&mut self.memory);
        self.memory.put_slice(b"\n\n");
        self.memory.split().freeze()
    }
}
