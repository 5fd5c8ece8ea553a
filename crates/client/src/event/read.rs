//! Reading events as the wire has them.

use model::report::Percent;
use model::wire::{JobView, SnapshotReason};
use model::{Cursor, ErrorCode, EventType, JobId, Json, Position, TaskName, Timestamp};
use serde::{Deserialize, Deserializer};

use super::{Event, Head, NotAnEvent, Other, Output, Snapshot};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    job_id: JobId,
    seq: u64,
    at: Timestamp,
    attempt: u32,
    task: Option<TaskName>,
    progress: Option<Percent>,
    message: Option<String>,
    #[serde(default, deserialize_with = "present")]
    output: Option<Json>,
    text: Option<String>,
    error: Option<String>,
    #[serde(default, deserialize_with = "known")]
    error_code: Option<ErrorCode>,
    retry_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Json>,
}

#[derive(Deserialize)]
struct WireSnapshot {
    reason: SnapshotReason,
    job: Box<JobView>,
}

/// The cursor that an event's id is.
pub(crate) fn cursor(id: &str) -> Option<Cursor> {
    match id.parse() {
        Ok(Position { seq, mark: Some(mark) }) => Some(Cursor::new(seq, mark)),
        _ => None,
    }
}

/// Reads an event whose id is `cursor`.
pub(crate) fn read(
    job_id: JobId,
    name: &str,
    cursor: Option<Cursor>,
    data: &str,
) -> Result<Event, NotAnEvent> {
    match cursor {
        Some(cursor) if name == "snapshot" => snapshot(job_id, name, cursor, data),
        cursor => event(job_id, name, cursor, data),
    }
}

fn snapshot(job_id: JobId, name: &str, cursor: Cursor, data: &str) -> Result<Event, NotAnEvent> {
    let json = Json::parse(data).map_err(|_| NotAnEvent(data.to_owned()))?;
    Ok(match serde_json::from_str(data) {
        Ok(WireSnapshot { reason, job }) => Event::Snapshot(Snapshot { reason, job, cursor, json }),
        Err(_) => Event::Other(Other { name: name.to_owned(), job_id, cursor: Some(cursor), json }),
    })
}

fn event(job_id: JobId, name: &str, cursor: Option<Cursor>, data: &str) -> Result<Event, NotAnEvent> {
    let json = Json::parse(data).map_err(|_| NotAnEvent(data.to_owned()))?;
    let wire = serde_json::from_str::<Wire>(data).ok();
    if let (Some(wire), Some(cursor)) = (&wire, cursor)
        && wire.seq != cursor.seq
    {
        return Err(NotAnEvent(data.to_owned()));
    }
    let known = wire.zip(cursor).and_then(|(wire, cursor)| typed(name, wire, cursor, &json));
    Ok(known.unwrap_or_else(|| Event::Other(Other { name: name.to_owned(), job_id, cursor, json })))
}

fn typed(name: &str, wire: Wire, cursor: Cursor, json: &Json) -> Option<Event> {
    let head = Head { job_id: wire.job_id, cursor, at: wire.at, attempt: wire.attempt, json: json.clone() };
    let Wire { task, progress, message, output, text, error, error_code, retry_at, result, .. } = wire;
    Some(match name.parse().ok()? {
        EventType::Queued => Event::Queued { head, task: task? },
        EventType::Started => Event::Started { head },
        EventType::Progress => Event::Progress { head, progress, message },
        EventType::Output => {
            Event::Output { head, output: text.map(Output::Text).or(output.map(Output::Json))? }
        }
        EventType::Retrying => Event::Retrying { head, error, error_code, retry_at: retry_at? },
        EventType::Completed => Event::Completed { head, result },
        EventType::Failed => Event::Failed { head, error: error.unwrap_or_default(), error_code },
        EventType::Cancelled => Event::Cancelled { head, error: error.unwrap_or_default(), error_code },
    })
}

/// A present `null` is a value.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ErrorCode>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.and_then(|code| code.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";

    fn read(name: &str, seq: u64, fields: &str) -> Result<Event, NotAnEvent> {
        let at = "2026-11-23T10:00:00.123Z";
        let data =
            format!(r#"{{"jobId":"{ID}","seq":{seq},"type":"{name}","at":"{at}","attempt":1{fields}}}"#);
        Event::from_parts(ID.parse().unwrap(), name, Some("2-4f2a9c"), &data)
    }

    #[track_caller]
    fn check(name: &str, fields: &str, expected: impl Fn(&Event) -> bool) {
        let event = read(name, 2, fields).unwrap();
        assert!(expected(&event), "{event:?}");
        assert_eq!(event.name(), name);
        assert_eq!(event.job_id().to_string(), ID);
        assert_eq!(event.cursor().unwrap().to_string(), "2-4f2a9c");
        assert!(event.json().as_str().ends_with(&format!("{fields}}}")));
    }

    #[test]
    fn every_type_is_typed() {
        let text = |text: &str| Output::Text(text.to_owned());
        let json = |text: &str| Output::Json(Json::parse(text).unwrap());
        check(
            "queued",
            r#","task":"a""#,
            |e| matches!(e, Event::Queued { task, .. } if task.as_str() == "a"),
        );
        check("started", "", |e| matches!(e, Event::Started { head } if head.attempt == 1));
        check(
            "progress",
            r#","progress":42.5,"message":null"#,
            |e| matches!(e, Event::Progress { progress: Some(p), message: None, .. } if *p == Percent::clamped(42.5)),
        );
        check(
            "output",
            r#","text":"a""#,
            |e| matches!(e, Event::Output { output, .. } if *output == text("a")),
        );
        check(
            "output",
            r#","output":null"#,
            |e| matches!(e, Event::Output { output, .. } if *output == json("null")),
        );
        check("retrying", r#","error":null,"errorCode":null,"retryAt":"2026-11-23T10:00:00.123Z""#, |e| {
            matches!(e, Event::Retrying { error: None, error_code: None, .. })
        });
        check(
            "completed",
            r#","result":null"#,
            |e| matches!(e, Event::Completed { result: Some(json), .. } if json.is_null()),
        );
        check("completed", r#","resultOmitted":true"#, |e| {
            matches!(e, Event::Completed { result: None, .. })
        });
        check(
            "failed",
            r#","error":"a","errorCode":"lost""#,
            |e| matches!(e, Event::Failed { error, error_code: Some(ErrorCode::Lost), .. } if error == "a"),
        );
        check("cancelled", r#","error":"a","errorCode":"cancelled""#, |e| {
            matches!(e, Event::Cancelled { .. })
        });
    }

    #[test]
    fn what_is_unknown_is_passed_on() {
        check("paused", r#","by":"a""#, |e| matches!(e, Event::Other(_)));
        check("progress", r#","progress":"half""#, |e| matches!(e, Event::Other(_)));
        check("failed", r#","error":"a","errorCode":"melted","more":1"#, |e| {
            matches!(e, Event::Failed { error_code: None, .. })
        });
    }

    #[test]
    fn what_can_be_no_event_is_refused() {
        assert!(read("progress", 3, "").is_err());
        assert!(read("progress", 2, ",").is_err());
    }
}
