//! Frames: what goes to clients, rendered once and shared.

use std::fmt::Display;

use bytes::{BufMut, Bytes, BytesMut};
use model::{Cursor, EntryBody, EntryHead};

/// An event as it goes to clients: an edge from one cursor to the next, and the bytes that say so.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Where a stream must stand to take it.
    pub(crate) before: Cursor,
    /// Where the stream stands then; the frame's `id`.
    pub(crate) after: Cursor,
    /// The whole frame, ready to write. Clones share them.
    pub(crate) bytes: Bytes,
    /// Nothing follows it.
    pub(crate) terminal: bool,
}

impl Frame {
    /// Renders an entry of a log.
    pub(crate) fn render(head: EntryHead, body: &EntryBody) -> Self {
        Self {
            before: head.cursor_before(),
            after: head.cursor(),
            bytes: render(&body.name, &body.json, head.cursor()),
            terminal: body.is_terminal(),
        }
    }

    /// What it takes in memory, in bytes.
    pub(crate) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
}

/// A server-sent event. `id` comes last: some clients take it before the frame is whole, and would lose an event that is
/// cut in the middle. `name` and `json` are one line each.
pub(crate) fn render(name: &[u8], json: &[u8], id: impl Display) -> Bytes {
    const LONGEST_ID: usize = 20 + 1 + 6;
    const AROUND: usize = "event: \ndata: \nid: \n\n".len();
    let mut out = BytesMut::with_capacity(name.len() + json.len() + AROUND + LONGEST_ID);
    for part in [b"event: ", name, b"\ndata: ", json, b"\nid: "] {
        out.put_slice(part);
    }
    out.put_slice(id.to_string().as_bytes());
    out.put_slice(b"\n\n");
    out.freeze()
}

/// The lines of a frame before its id.
pub(crate) fn head(name: &[u8], json: &[u8]) -> Bytes {
    [b"event: ", name, b"\ndata: ", json, b"\n"].concat().into()
}

/// A frame of [`render`] without its last lines, which are made anew for a stream that has ids of its own. `id` is the frame's.
pub(crate) fn without_id(frame: &Bytes, id: Cursor) -> Bytes {
    const MARK: usize = "-4f2a9c".len();
    let digits = id.seq.checked_ilog10().map_or(1, |log| log as usize + 1);
    let end = "id: ".len() + digits + MARK + "\n\n".len();
    frame.slice(..frame.len().saturating_sub(end))
}

/// The last lines of a frame.
pub(crate) fn id_lines(id: &str) -> Bytes {
    format!("id: {id}\n\n").into()
}

#[cfg(test)]
mod tests {
    use model::Entry;

    use super::*;

    #[test]
    fn an_entry_becomes_a_frame_whose_id_comes_last() {
        for (line, terminal, want) in [
            (
                "17 4f2a9c 00ff00 progress {\"a\": 1}",
                false,
                "event: progress\ndata: {\"a\": 1}\nid: 17-4f2a9c\n\n",
            ),
            ("1 4f2a9c 000000 failed {}", true, "event: failed\ndata: {}\nid: 1-4f2a9c\n\n"),
            ("2 4f2a9c 000001 newer {}", false, "event: newer\ndata: {}\nid: 2-4f2a9c\n\n"),
        ] {
            let entry = Entry::parse(&Bytes::from(line)).unwrap();
            let frame = Frame::render(entry.head, &entry.body.unwrap());
            assert_eq!((&*frame.bytes, frame.terminal), (want.as_bytes(), terminal));
            assert_eq!((frame.before, frame.after), (entry.head.cursor_before(), entry.head.cursor()));
            let again = [without_id(&frame.bytes, frame.after), id_lines(&frame.after.to_string())].concat();
            assert_eq!(again, frame.bytes);
        }
    }
}
