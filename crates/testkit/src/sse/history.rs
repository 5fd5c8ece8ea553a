//! Whether the events that a client saw are a job's history: every event once, in order, to one end.

use serde_json::Value;

use super::Event;

/// The types after which nothing follows.
const TERMINAL: [&str; 3] = ["completed", "failed", "cancelled"];

/// Checks the events of one job, as a client saw them over any number of connections.
///
/// The `seq` in the data grows by one from event to event, from 1 or, after a `snapshot`, from anywhere; the `event:`
/// name is the data's `type`; the id begins with the `seq`; all are of one job; and the last one, and only that, is
/// terminal. Where a snapshot of an ended job is the last event and nothing can follow it (its `lastEventId` is its own
/// id), that is an end too; after a snapshot with the reason `rewound` the history begins anew, even after an end. The
/// error says what is wrong with which event.
pub fn check_history(events: &[Event]) -> Result<(), String> {
    let mut history = History::default();
    for (index, event) in events.iter().enumerate() {
        history
            .take(event)
            .map_err(|error| format!("event {index}: {error}: {}: {}", event.event, event.data))?;
    }
    match (history.ended || history.snapshot_of_end, events.last()) {
        (true, _) => Ok(()),
        (false, Some(last)) => {
            Err(format!("no end: the last of {} is {}: {}", events.len(), last.event, last.data))
        }
        (false, None) => Err("no events at all".into()),
    }
}

#[derive(Default)]
struct History {
    job: Option<String>,
    /// The seq that must come next; any, right after a snapshot.
    next: Next,
    ended: bool,
    /// The event before was a snapshot of the job's end, with nothing between.
    snapshot_of_end: bool,
}

#[derive(Default)]
enum Next {
    #[default]
    First,
    Any,
    Seq(u64),
}

impl History {
    fn take(&mut self, event: &Event) -> Result<(), String> {
        let data: Value = serde_json::from_str(&event.data).map_err(|error| format!("no JSON ({error})"))?;
        let text = |name: &str| data[name].as_str().unwrap_or_default();
        if text("type") != event.event {
            return Err(format!("the type in the data is {}", data["type"]));
        }
        let job = self.job.get_or_insert_with(|| text("jobId").to_owned());
        if job != text("jobId") {
            return Err(format!("of another job than {job}"));
        }
        if event.event == "snapshot" {
            return self.take_snapshot(event, &data);
        }
        self.snapshot_of_end = false;
        if self.ended {
            return Err("after the end".into());
        }
        let seq = data["seq"].as_u64().ok_or("no seq")?;
        match self.next {
            Next::First if seq != 1 => return Err(format!("seq {seq} where 1 must come")),
            Next::Seq(next) if seq != next => return Err(format!("seq {seq} where {next} must come")),
            _ => self.next = Next::Seq(seq + 1),
        }
        if let Some(id) = event.id.as_deref()
            && id.split('-').next() != Some(seq.to_string().as_str())
        {
            return Err(format!("seq {seq} with the id {id}"));
        }
        self.ended = TERMINAL.contains(&event.event.as_str());
        Ok(())
    }

    fn take_snapshot(&mut self, event: &Event, data: &Value) -> Result<(), String> {
        if self.ended && data["reason"] != "rewound" {
            return Err("after the end".into());
        }
        self.next = Next::Any;
        self.ended = false;
        let job = &data["job"];
        let is_terminal = job["status"].as_str().is_some_and(|status| TERMINAL.contains(&status));
        let is_last = job["lastEventId"].as_str().is_none_or(|last| Some(last) == event.id.as_deref());
        self.snapshot_of_end = is_terminal && is_last;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `seq:type` is an event, `reason/status` a snapshot before seq 5.
    fn events(script: &str) -> Vec<Event> {
        let event = |word: &str| {
            let (name, id, data) = if let Some((seq, name)) = word.split_once(':') {
                let data = format!(r#"{{"jobId":"j","seq":{seq},"type":"{name}"}}"#);
                (name, format!("{seq}-4f2a9c"), data)
            } else {
                let (reason, status) = word.split_once('/').unwrap();
                let job = format!(r#"{{"status":"{status}"}}"#);
                let data = format!(r#"{{"jobId":"j","type":"snapshot","reason":"{reason}","job":{job}}}"#);
                ("snapshot", "4-4f2a9c".into(), data)
            };
            Event { id: Some(id.clone()), last_event_id: id, event: name.into(), data, raw: Vec::new() }
        };
        script.split_whitespace().map(event).collect()
    }

    #[test]
    fn good_histories() {
        for script in [
            "1:queued 2:started 3:completed",
            "1:queued 2:cancelled",
            "1:queued 2:started 3:retrying 4:started 5:progress 6:failed",
            "now/processing 7:progress 8:completed",
            "trimmed/completed 5:output 6:completed",
            "now/completed",
            "1:queued 2:started rewound/pending 1:queued 2:started 3:completed",
            "1:queued 2:completed rewound/processing 2:started 3:failed",
        ] {
            assert_eq!(check_history(&events(script)), Ok(()), "{script}");
        }
    }

    #[test]
    fn bad_histories() {
        for (script, error) in [
            ("", "no events at all"),
            ("1:queued 2:started", "no end: the last of 2 is started"),
            ("2:started 3:completed", "event 0: seq 2 where 1 must come"),
            ("1:queued 3:completed", "event 1: seq 3 where 2 must come"),
            ("1:queued 1:queued 2:completed", "event 1: seq 1 where 2 must come"),
            ("1:queued 3:progress 2:started", "event 1: seq 3 where 2 must come"),
            ("1:queued 2:completed 3:completed", "event 2: after the end"),
            ("1:queued 2:completed 2:completed", "event 2: after the end"),
            ("1:queued 2:completed now/completed", "event 2: after the end"),
            ("now/processing 7:progress 9:completed", "event 2: seq 9 where 8 must come"),
            ("trimmed/completed 5:output", "no end: the last of 2 is output"),
            ("1:queued now/processing", "no end: the last of 2 is snapshot"),
        ] {
            let seen = check_history(&events(script)).unwrap_err();
            assert!(seen.starts_with(error), "{script}: {seen}");
        }
    }

    #[test]
    fn a_snapshot_of_the_end_is_no_end_where_more_must_follow() {
        let mut events = events("trimmed/completed");
        events[0].data = events[0].data.replace("\"status\"", r#""lastEventId":"4-4f2a9c","status""#);
        assert_eq!(check_history(&events), Ok(()));
        events[0].data = events[0].data.replace("4-4f2a9c", "6-4f2a9c");
        assert!(check_history(&events).unwrap_err().starts_with("no end"));
    }

    #[test]
    fn bad_events() {
        let good = events("1:queued 2:completed");
        let with = |change: fn(&mut Event)| {
            let mut events = good.clone();
            change(&mut events[1]);
            check_history(&events).unwrap_err()
        };
        assert!(with(|e| e.data = "{".into()).contains("no JSON"));
        assert!(with(|e| e.event = "failed".into()).contains("the type in the data is \"completed\""));
        assert!(with(|e| e.id = Some("3-4f2a9c".into())).contains("seq 2 with the id 3-4f2a9c"));
        assert!(with(|e| e.data = e.data.replace("\"j\"", "\"k\"")).contains("of another job than j"));
        assert!(with(|e| e.data = r#"{"jobId":"j","type":"completed"}"#.into()).contains("no seq"));
    }
}
