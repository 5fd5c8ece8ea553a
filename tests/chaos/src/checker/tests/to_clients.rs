//! Wrongs done to clients: what a broken hub, gateway or client would do.

use std::collections::HashSet;

use super::edit::{
    Place, event_at, id_at, insert, is_event, is_reset_from, is_single, job_of, other_id, place, saw,
    send_what_was_seen, sightings, snapshot, two_in_a_row,
};
use super::{Dice, Kind, Row, Run, all_are_found};
use crate::checker::event::is_terminal;
use crate::opaque::Cursor;
use crate::record::Topology::{Cluster, Sentinel, Single};
use crate::record::{ClientRecord, FaultKind, FaultRecord, Follows, LogEntry, Role, Saw, Sighting, Target};

#[test]
fn wrong_frames_are_found() {
    let rows: &[Row] = &[
        ("a frame left out (gap-fill off)", Single, left_out, &[Kind::Hole]),
        ("a frame left out, in a Cluster", Cluster, left_out, &[Kind::Hole]),
        ("a frame twice (dedupe off)", Single, twice, &[Kind::Repeat]),
        ("a frame twice, in a Cluster", Cluster, twice, &[Kind::Repeat]),
        ("two frames swapped", Single, swapped, &[Kind::Hole, Kind::Repeat]),
        ("another mark", Single, other_mark, &[Kind::NotTold, Kind::EndLost]),
        ("another text", Single, other_text, &[Kind::Forged]),
        ("another text, in a Cluster", Cluster, other_text, &[Kind::Forged]),
        ("an event that is no event", Single, unknown_event, &[Kind::Malformed]),
        ("the event's name isn't the data's", Single, other_name, &[Kind::Disagrees]),
        ("the id isn't the data's", Single, other_seq, &[Kind::Disagrees]),
        ("a frame without an id", Single, no_id, &[Kind::Malformed]),
        ("an id that moves another log", Single, moves_another, &[Kind::Disagrees]),
        ("an id of another stream", Single, other_hash, &[Kind::Disagrees]),
        ("a feed that tells of progress", Single, feed_of_progress, &[Kind::FeedExtra]),
        ("a feed's frame left out", Single, feed_hole, &[Kind::Hole, Kind::Disagrees]),
    ];
    all_are_found(rows);
}

#[test]
fn wrong_ends_are_found() {
    let rows: &[Row] = &[
        ("the end never told (last live message lost)", Single, no_end, &[Kind::Unfinished]),
        ("the end never told, in a Cluster", Cluster, no_end, &[Kind::Unfinished]),
        ("the end told twice", Single, end_twice, &[Kind::Repeat]),
        ("the end told again, with a new number", Single, end_again, &[Kind::AfterEnd]),
        ("a stream that stalls", Single, stalls, &[Kind::Unfinished, Kind::NotTold]),
        ("a feed that stalls", Sentinel, feed_stalls, &[Kind::Unfinished, Kind::NotTold]),
        ("a client that is never served", Single, never_served, &[Kind::Unfinished]),
        ("204 before the end", Single, |run, dice| answers(run, dice, 204), &[Kind::EndedEarly]),
        ("404 of a job that is there", Single, |run, dice| answers(run, dice, 404), &[Kind::FalselyGone]),
        ("400 of a good cursor", Single, |run, dice| answers(run, dice, 400), &[Kind::Denied]),
        ("503, and nothing was struck", Single, |run, dice| answers(run, dice, 503), &[Kind::Denied]),
        ("502, and nothing was struck", Single, |run, dice| answers(run, dice, 502), &[Kind::Denied]),
        ("503, and one gateway was struck", Single, refused_for_one, &[Kind::Denied]),
        ("`gone` of a job that is there", Single, falsely_gone, &[Kind::FalselyGone]),
        ("a reconnect without the cursor", Single, no_cursor, &[Kind::WrongCursor]),
        ("a reconnect with an older cursor", Cluster, older_cursor, &[Kind::WrongCursor]),
    ];
    all_are_found(rows);
}

#[test]
fn snapshots_without_a_reason_are_found() {
    let rows: &[Row] = &[
        ("`now`", Single, |run, dice| snapped(run, dice, "now"), &[Kind::UnaskedSnapshot]),
        ("`rewound`", Single, |run, dice| snapped(run, dice, "rewound"), &[Kind::UnexplainedRewind]),
        (
            "`rewound`, in a Cluster",
            Cluster,
            |run, dice| snapped(run, dice, "rewound"),
            &[Kind::UnexplainedRewind],
        ),
        ("`trimmed`", Single, |run, dice| snapped(run, dice, "trimmed"), &[Kind::UnexplainedTrim]),
        ("`trimmed`, and it leaves a piece out", Single, trimmed_ahead, &[Kind::UnexplainedTrim]),
        ("always `rewound`", Single, |run, _| always(run, "rewound"), &[Kind::UnexplainedRewind]),
        (
            "always `rewound`, in a Cluster",
            Cluster,
            |run, _| always(run, "rewound"),
            &[Kind::UnexplainedRewind],
        ),
        ("always `trimmed`", Single, |run, _| always(run, "trimmed"), &[Kind::UnexplainedTrim]),
        ("always `now`", Single, |run, _| always(run, "now"), &[Kind::UnaskedSnapshot]),
        ("a snapshot of another job", Single, of_another, &[Kind::Disagrees]),
        (
            "a rewind not told (detection off)",
            Cluster,
            rewind_not_told,
            &[Kind::Hole, Kind::Repeat, Kind::NotTold],
        ),
        ("a trim not told", Single, trim_not_told, &[Kind::Hole]),
        ("rewinds, and no failover", Cluster, no_failover, &[Kind::UnexplainedRewind]),
        ("rewinds by a failover elsewhere", Cluster, failover_elsewhere, &[Kind::UnexplainedRewind]),
    ];
    all_are_found(rows);
}

fn left_out(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = place(run, dice, two_in_a_row)?;
    sightings(run, place).remove(place.sighting);
    send_what_was_seen(&mut run.clients[place.client]);
    Some(())
}

fn twice(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = place(run, dice, is_event)?;
    let again = sightings(run, place)[place.sighting].clone();
    sightings(run, place).insert(place.sighting, again);
    Some(())
}

fn swapped(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = place(run, dice, two_in_a_row)?;
    sightings(run, place).swap(place.sighting, place.sighting + 1);
    send_what_was_seen(&mut run.clients[place.client]);
    Some(())
}

fn other_mark(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = in_the_log_still(run, dice)?;
    let Saw::Frame { id: Some(id), .. } = saw(run, place) else { return None };
    let Cursor { seq, mark } = Cursor::parse(id)?;
    *id = Cursor { seq, mark: mark ^ 1 }.to_string();
    send_what_was_seen(&mut run.clients[place.client]);
    Some(())
}

fn other_text(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let in_redis: HashSet<&str> =
        run.jobs.iter().flat_map(|job| &job.final_log).map(|entry| &*entry.json).collect();
    let fits = |client: &ClientRecord, at: usize| {
        let saw = &client.sightings[at].saw;
        matches!(saw, Saw::Frame { event, data, .. } if event == "progress" && in_redis.contains(data.as_str()))
            && !is_reset_from(client, at)
    };
    let place = place(run, dice, fits)?;
    let Saw::Frame { data, .. } = saw(run, place) else { return None };
    *data = data.replace("\"progress\":5", "\"progress\":6");
    Some(())
}

fn unknown_event(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = place(run, dice, is_event)?;
    let Saw::Frame { event, .. } = saw(run, place) else { return None };
    "error".clone_into(event);
    Some(())
}

fn other_name(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = place(run, dice, |client, at| event_at(client, at) == Some("completed"))?;
    let Saw::Frame { event, .. } = saw(run, place) else { return None };
    "failed".clone_into(event);
    Some(())
}

fn other_seq(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = place(run, dice, |client, at| is_single(client) && is_event(client, at))?;
    let Saw::Frame { data, id, .. } = saw(run, place) else { return None };
    let Cursor { seq, .. } = Cursor::parse(id.as_ref()?)?;
    *data = data.replace(&format!("\"seq\":{seq}"), &format!("\"seq\":{}", seq + 1));
    Some(())
}

fn no_id(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = place(run, dice, is_event)?;
    let Saw::Frame { id, .. } = saw(run, place) else { return None };
    *id = None;
    Some(())
}

/// A frame on a stream of several jobs that says that all of them are an event further.
fn moves_another(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let fits = |client: &_, at| several(client) && is_event(client, at);
    let place = place(run, dice, fits)?;
    let Saw::Frame { id: Some(id), .. } = saw(run, place) else { return None };
    *id = other_id(id, |id| id.places.iter_mut().flatten().for_each(|place| place.seq += 1));
    Some(())
}

fn several(client: &ClientRecord) -> bool {
    matches!(&client.follows, Follows::Jobs(jobs) if jobs.len() > 1)
}

fn other_hash(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let fits =
        |client: &_, at| !is_single(client) && is_event(client, at) && at > 1 && is_event(client, at - 1);
    let place = place(run, dice, fits)?;
    let Saw::Frame { id: Some(id), .. } = saw(run, place) else { return None };
    *id = other_id(id, |id| id.hash[0] ^= 1);
    Some(())
}

fn of_feed(client: &ClientRecord) -> bool {
    client.stayed && client.follows == Follows::Feed
}

fn feed_of_progress(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = place(run, dice, |client, at| of_feed(client) && event_at(client, at) == Some("started"))?;
    let Saw::Frame { event, data, .. } = saw(run, place) else { return None };
    "progress".clone_into(event);
    *data = data.replace("\"type\":\"started\"", "\"type\":\"progress\"");
    Some(())
}

fn feed_hole(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let fits = |client: &_, at| of_feed(client) && is_event(client, at) && is_event(client, at + 1) && at > 3;
    let place = place(run, dice, fits)?;
    sightings(run, place).remove(place.sighting);
    send_what_was_seen(&mut run.clients[place.client]);
    Some(())
}

/// The place where a client that follows one job and stays is told the end that it keeps.
fn end_of_one(run: &Run, dice: &mut Dice) -> Option<Place> {
    place(run, dice, |client, at| {
        let end = event_at(client, at).is_some_and(is_terminal);
        client.stayed && is_single(client) && end && !is_reset_from(client, at)
    })
}

fn no_end(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = end_of_one(run, dice)?;
    sightings(run, place).truncate(place.sighting);
    Some(())
}

fn end_twice(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = end_of_one(run, dice)?;
    let again = sightings(run, place)[place.sighting].clone();
    sightings(run, place).insert(place.sighting, again);
    Some(())
}

fn end_again(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let at = end_of_one(run, dice)?;
    let Saw::Frame { event, id: Some(id), data } = saw(run, at).clone() else { return None };
    let Cursor { seq, mark } = Cursor::parse(&id)?;
    let data = data.replace(&format!("\"seq\":{seq}"), &format!("\"seq\":{}", seq + 1));
    let after = Place { sighting: at.sighting + 1, ..at };
    sightings(run, after).insert(at.sighting + 1, Sighting { at_ms: 0, saw: Saw::Closed });
    insert(run, after, &event, Cursor { seq: seq + 1, mark: mark ^ 1 }.to_string(), data);
    Some(())
}

fn stalls(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = place(run, dice, two_in_a_row)?;
    sightings(run, place).truncate(place.sighting + 1);
    Some(())
}

fn feed_stalls(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let fits = |client: &_, at| of_feed(client) && is_event(client, at + 1) && !is_reset_from(client, at);
    let place = place(run, dice, fits)?;
    sightings(run, place).truncate(place.sighting + 1);
    Some(())
}

fn never_served(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = place(run, dice, |client, _| client.stayed)?;
    sightings(run, place).clear();
    Some(())
}

/// A reconnect in the middle of a job is answered with `status`, and the client gives up.
fn answers(run: &mut Run, dice: &mut Dice, wrong: u16) -> Option<()> {
    let fits = |client: &_, at| is_single(client) && opens(client, at) && is_event(client, at + 1);
    let place = place(run, dice, fits)?;
    let Saw::Opened { status, .. } = saw(run, place) else { return None };
    *status = wrong;
    sightings(run, place).truncate(place.sighting + 1);
    Some(())
}

fn refused_for_one(run: &mut Run, dice: &mut Dice) -> Option<()> {
    run.faults.push(FaultRecord {
        from_ms: 0,
        until_ms: 60_000,
        kind: FaultKind::Pause,
        target: Target { role: Role::Gateway, n: 2 },
        primary: false,
        partitions: Vec::new(),
        note: None,
    });
    answers(run, dice, 503)
}

fn opens(client: &ClientRecord, at: usize) -> bool {
    matches!(client.sightings.get(at).map(|sighting| &sighting.saw), Some(Saw::Opened { status: 200, .. }))
}

fn falsely_gone(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let fits = |client: &_, at| several(client) && is_event(client, at) && at + 4 < client.sightings.len();
    let place = place(run, dice, fits)?;
    let Saw::Frame { id: Some(id), data, .. } = saw(run, place).clone() else { return None };
    let job = serde_json::from_str::<serde_json::Value>(&data).ok()?["jobId"].as_str()?.to_owned();
    let Follows::Jobs(jobs) = &run.clients[place.client].follows else { return None };
    let index = jobs.iter().position(|id| *id == job)?;
    let id = other_id(&id, |id| id.places[index] = None);
    let after = Place { sighting: place.sighting + 1, ..place };
    insert(run, after, "gone", id, format!("{{\"jobId\":\"{job}\",\"type\":\"gone\"}}"));
    Some(())
}

/// A reconnect after something was seen.
fn reconnect(run: &Run, dice: &mut Dice) -> Option<Place> {
    place(run, dice, |client, at| {
        let sent = client.sightings.get(at).map(|sighting| &sighting.saw);
        matches!(sent, Some(Saw::Opened { sent: Some(_), .. }))
    })
}

fn no_cursor(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = reconnect(run, dice)?;
    let Saw::Opened { sent, .. } = saw(run, place) else { return None };
    *sent = None;
    Some(())
}

fn older_cursor(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = reconnect(run, dice)?;
    let client = &run.clients[place.client];
    let older = (0..place.sighting).find_map(|at| id_at(client, at))?.to_owned();
    let Saw::Opened { sent, .. } = saw(run, place) else { return None };
    let differs = sent.as_ref() != Some(&older);
    *sent = Some(older);
    differs.then_some(())
}

/// A snapshot between two frames of one job's stream, that claims to go on where the client stands.
fn snapped(run: &mut Run, dice: &mut Dice, reason: &str) -> Option<()> {
    let place = in_the_log_still(run, dice)?;
    let client = &run.clients[place.client];
    let (id, data) = (id_at(client, place.sighting)?.to_owned(), snapshot(job_of(run, client)?, reason));
    insert(run, Place { sighting: place.sighting + 1, ..place }, "snapshot", id, data);
    Some(())
}

/// A place between two frames of one job's stream, where the first one's event still is in the log.
fn in_the_log_still(run: &Run, dice: &mut Dice) -> Option<Place> {
    place(run, dice, |client, at| {
        let log = job_of(run, client).map_or(&[][..], |job| &job.final_log);
        let is_last_seen = |entry: &LogEntry| {
            id_at(client, at).is_some_and(|id| id == format!("{}-{}", entry.seq, entry.mark))
        };
        two_in_a_row(client, at) && !is_reset_from(client, at) && log.iter().any(is_last_seen)
    })
}

/// A `trimmed` that skips the next event, of a log that has it.
fn trimmed_ahead(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let at = in_the_log_still(run, dice)?;
    let next = Place { sighting: at.sighting + 1, ..at };
    let client = &run.clients[at.client];
    let (id, data) = (id_at(client, next.sighting)?.to_owned(), snapshot(job_of(run, client)?, "trimmed"));
    sightings(run, next).remove(next.sighting);
    insert(run, next, "snapshot", id, data);
    Some(())
}

/// Every stream of one job begins with a snapshot.
fn always(run: &mut Run, reason: &str) -> Option<()> {
    let mut any = false;
    for index in 0..run.clients.len() {
        let client = &run.clients[index];
        let Some(job) = job_of(run, client).filter(|job| job.final_poll.status == 200) else { continue };
        let data = snapshot(job, reason);
        let client = &mut run.clients[index];
        let mut all = Vec::new();
        let mut last = Cursor::START.to_string();
        for sighting in std::mem::take(&mut client.sightings) {
            let (at_ms, opened) = (sighting.at_ms, matches!(sighting.saw, Saw::Opened { status: 200, .. }));
            if let Saw::Frame { id: Some(id), .. } = &sighting.saw {
                last.clone_from(id);
            }
            all.push(sighting);
            if opened {
                any = true;
                let (event, id) = ("snapshot".to_owned(), Some(last.clone()));
                all.push(Sighting { at_ms, saw: Saw::Frame { event, id, data: data.clone() } });
            }
        }
        client.sightings = all;
        send_what_was_seen(client);
    }
    any.then_some(())
}

fn of_another(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let fits = |client: &_, at| is_single(client) && event_at(client, at) == Some("snapshot");
    let place = place(run, dice, fits)?;
    let Follows::Job(id) = run.clients[place.client].follows.clone() else { return None };
    let Saw::Frame { data, .. } = saw(run, place) else { return None };
    *data = data.replace(&format!("\"id\":\"{id}\""), "\"id\":\"019ab3c4-5d6e-7f80-9a1b-ffffffffffff\"");
    Some(())
}

/// A client is told of a rewind by a snapshot of `reason`: the place.
fn told(run: &Run, dice: &mut Dice, reason: &str) -> Option<Place> {
    place(run, dice, |client, at| {
        let Some(Saw::Frame { event, data, .. }) = client.sightings.get(at).map(|sighting| &sighting.saw)
        else {
            return false;
        };
        let next = is_event(client, at + 1);
        event == "snapshot" && data.contains(&format!("\"reason\":\"{reason}\"")) && is_single(client) && next
    })
}

fn rewind_not_told(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = told(run, dice, "rewound")?;
    sightings(run, place).remove(place.sighting);
    send_what_was_seen(&mut run.clients[place.client]);
    Some(())
}

fn trim_not_told(run: &mut Run, dice: &mut Dice) -> Option<()> {
    let place = told(run, dice, "trimmed")?;
    sightings(run, place).remove(place.sighting);
    send_what_was_seen(&mut run.clients[place.client]);
    Some(())
}

fn has_rewinds(run: &Run) -> bool {
    run.clients.iter().flat_map(|client| &client.sightings).any(|sighting| {
        matches!(&sighting.saw, Saw::Frame { data, .. } if data.contains("\"reason\":\"rewound\""))
    })
}

fn no_failover(run: &mut Run, _: &mut Dice) -> Option<()> {
    run.faults.clear();
    has_rewinds(run).then_some(())
}

fn failover_elsewhere(run: &mut Run, _: &mut Dice) -> Option<()> {
    for fault in &mut run.faults {
        fault.partitions = vec![63];
    }
    has_rewinds(run).then_some(())
}
