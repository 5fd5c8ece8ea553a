//! Waiting on a condition with a deadline: what tests do instead of sleeping and then asserting.

use std::fmt::Display;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// The pause between two looks at a condition.
const POLL: Duration = Duration::from_millis(20);

/// Waits until `condition` is true, looking every 20 ms.
///
/// Panics at the deadline with `what`, which should complete the sentence "not within 5 s: …". A look that hangs is
/// cut off at the deadline too.
#[track_caller]
pub fn eventually<F>(deadline: Duration, what: &str, mut condition: F) -> impl Future<Output = ()>
where
    F: AsyncFnMut() -> bool,
{
    poll(deadline, what, async move || if condition().await { Ok(()) } else { Err("false") })
}

/// Waits until `look` gives a value, looking every 20 ms, and returns it. Panics at the deadline with `what`.
#[track_caller]
pub fn eventually_some<T, F>(deadline: Duration, what: &str, mut look: F) -> impl Future<Output = T>
where
    F: AsyncFnMut() -> Option<T>,
{
    poll(deadline, what, async move || look().await.ok_or("none"))
}

/// Waits until `look` gives `Ok`, looking every 20 ms, and returns what is in it.
///
/// Panics at the deadline with `what` and the last error: the way to say what was seen instead, as in
/// `if n == 3 { Ok(()) } else { Err(format!("{n} entries")) }`.
#[track_caller]
pub fn eventually_ok<T, E, F>(deadline: Duration, what: &str, look: F) -> impl Future<Output = T>
where
    E: Display,
    F: AsyncFnMut() -> Result<T, E>,
{
    poll(deadline, what, look)
}

#[track_caller]
fn poll<T, E, F>(deadline: Duration, what: &str, mut look: F) -> impl Future<Output = T>
where
    E: Display,
    F: AsyncFnMut() -> Result<T, E>,
{
    // An async fn would name this file as the place of the panic.
    let looks = Looks::new(deadline, what);
    async move {
        let mut last = String::from("nothing: the first look hung");
        loop {
            if let Ok(answer) = timeout_at(looks.end, look()).await {
                match answer {
                    Ok(value) => return value,
                    Err(seen) => last = seen.to_string(),
                }
            }
            looks.again(&last).await;
        }
    }
}

/// The same for a loop of one's own, where the whole must be `Send` (what an async closure gives isn't, as far as the
/// compiler knows).
#[derive(Debug)]
pub(crate) struct Looks<'a> {
    what: &'a str,
    deadline: Duration,
    end: Instant,
    caller: &'static Location<'static>,
}

impl<'a> Looks<'a> {
    #[track_caller]
    pub(crate) fn new(deadline: Duration, what: &'a str) -> Self {
        Self { what, deadline, end: Instant::now() + deadline, caller: Location::caller() }
    }

    /// Waits for the next look; panics at the deadline with what was `seen` by the last.
    pub(crate) async fn again(&self, seen: &str) {
        let Self { what, deadline, end, caller } = self;
        let over = Instant::now() + POLL > *end;
        assert!(!over, "not within {deadline:?}: {what} (last seen: {seen}; at {caller})");
        sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn returns_as_soon_as_the_condition_holds() {
        let mut looks = 0;
        eventually(Duration::from_secs(5), "three looks", async || {
            looks += 1;
            looks == 3
        })
        .await;
        assert_eq!(looks, 3);
        assert_eq!(eventually_some(SHORT, "a value", async || Some(7)).await, 7);
    }

    #[tokio::test]
    #[should_panic(expected = "not within 100ms: five entries (last seen: 4 entries; at ")]
    async fn names_what_was_seen_last() {
        eventually_ok(SHORT, "five entries", async || Err::<(), _>("4 entries")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "not within 100ms: an answer")]
    async fn a_look_that_hangs_is_cut_off() {
        eventually(SHORT, "an answer", async || std::future::pending().await).await;
    }
}
