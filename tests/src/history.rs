//! What clients hold.

use testkit::sse::{Event, SseStream};

use crate::SOON;

/// The next `count` events of a stream; panics if one doesn't come [`SOON`].
pub async fn take(stream: &mut SseStream, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        events.push(stream.next_within(SOON).await.expect("one more event"));
    }
    events
}

/// The frames of these events, as they came.
pub fn frames<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<String> {
    events.into_iter().map(|event| String::from_utf8(event.raw.clone()).unwrap()).collect()
}

/// The frames of the history that a client holds after these events: each snapshot makes what was before it void.
pub fn held(events: &[Event]) -> Vec<String> {
    let anew = events.iter().rposition(|event| event.event == "snapshot").map_or(0, |at| at + 1);
    frames(&events[anew..])
}
