//! Deliveries for people.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use client::{AttemptView, DeliveryView};

use super::people::{Exit, Failure, line, plain};

/// Prints each: as text at a terminal, else as a line of JSON.
pub(super) fn print(deliveries: &[DeliveryView], json: bool) -> Result<Exit, Failure> {
    let for_people = !json && io::stdout().is_terminal();
    for delivery in deliveries {
        if for_people {
            line(&plain(&text(delivery)))?;
        } else {
            line(&serde_json::to_string(delivery).unwrap_or_default())?;
        }
    }
    Ok(Exit::Done)
}

/// What there is of it, a field a line, then its attempts.
fn text(delivery: &DeliveryView) -> String {
    let time = |time: Option<client::Timestamp>| time.map(|time| time.to_string());
    let mut text = String::new();
    for (name, value) in [
        ("id", Some(delivery.id.to_string())),
        ("webhook-id", Some(delivery.webhook_id.clone())),
        ("url", Some(delivery.url.clone())),
        ("status", Some(delivery.status.as_str().to_owned())),
        ("ended", Some(delivery.created_at.to_string())),
        ("next try", time(delivery.next_attempt_at)),
        ("settled", time(delivery.settled_at)),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{name:<11}{value}");
        }
    }
    for attempt in &delivery.attempts {
        let _ = writeln!(text, "{:<11}{}", "attempt", tried(attempt));
        for line in attempt.body.iter().flat_map(|body| body.lines()) {
            let _ = writeln!(text, "{:<11}{line}", "");
        }
    }
    text
}

fn tried(attempt: &AttemptView) -> String {
    let status = attempt.status.map(|status| format!(", {status}")).unwrap_or_default();
    let error = attempt.error.as_ref().map(|error| format!(", {error}")).unwrap_or_default();
    format!("{}, {} ms{status}{error}", attempt.at, attempt.duration_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_is_told_with_its_answer() {
        let delivery: DeliveryView = serde_json::from_value(serde_json::json!({
            "id": "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000.1", "jobId": "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000",
            "webhookId": "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000.3-4f2a9c", "url": "https://a.example/", "status": "dead",
            "createdAt": "2026-11-23T10:00:00.000Z", "nextAttemptAt": null, "settledAt": "2026-11-23T10:00:09.000Z",
            "attempts": [
                { "at": "2026-11-23T10:00:01.000Z", "durationMs": 7, "status": 500, "error": "500 from it", "body": "two\nlines" },
                { "at": "2026-11-23T10:00:09.000Z", "durationMs": 15000, "status": null, "error": "no answer", "body": null },
            ],
        }))
        .unwrap();
        let text = text(&delivery);
        for line in [
            "status     dead",
            "attempt    2026-11-23T10:00:01.000Z, 7 ms, 500, 500 from it\n           two\n           lines\n",
            "attempt    2026-11-23T10:00:09.000Z, 15000 ms, no answer\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }
}
