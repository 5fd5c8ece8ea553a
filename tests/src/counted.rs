//! What the task `count` must have shown: its own counter says what is missing, and what is there twice.

use serde_json::Value;
use testkit::sse::{Event, FollowLog, check_history};

/// The data of an event.
pub fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data).unwrap()
}

/// The names of these events, `output` and `progress` left out.
pub fn turns(events: &[Event]) -> Vec<&str> {
    let names = events.iter().map(|event| event.event.as_str());
    names.filter(|name| !["output", "progress"].contains(name)).collect()
}

/// What a browser has seen, in a line, for messages.
pub fn brief(log: &FollowLog) -> String {
    let FollowLog { events, connects, failures, breaks, ended, .. } = log;
    let last = events.last().map(|event| &event.data);
    format!(
        "{} events, the last {last:?}; {connects} connects, {failures} failures, {breaks} breaks; ended {ended:?}",
        events.len()
    )
}

/// Checks the whole history of a job of `count` that completed with `n`: every event once and in order; each attempt counted
/// from 1, up by one, under its own number; the last attempt to the end.
#[track_caller]
pub fn assert_counted(events: &[Event], n: u64) {
    check_history(events).unwrap();
    let (mut attempt, mut count) = (0, 0);
    for event in events {
        let data = data(event);
        match event.event.as_str() {
            "started" => {
                attempt += 1;
                count = 0;
                assert_eq!(data["attempt"], attempt, "{data}");
            }
            "output" => {
                count += 1;
                let seen = [&data["attempt"], &data["output"]["attempt"], &data["output"]["count"]];
                assert_eq!(seen, [attempt, attempt, count], "{data}");
            }
            _ => {}
        }
    }
    assert_eq!(events.last().unwrap().event, "completed");
    assert_eq!(count, n, "all of attempt {attempt} arrived");
}

/// The same, of a job that needed one attempt.
#[track_caller]
pub fn assert_counted_at_once(events: &[Event], n: u64) {
    assert_counted(events, n);
    assert_eq!(turns(events), ["queued", "started", "completed"]);
}
