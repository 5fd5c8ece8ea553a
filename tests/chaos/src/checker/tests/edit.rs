//! Finding a place in a run, and changing it.

use crate::checker::made_up::Dice;
use crate::opaque::SeveralId;
use crate::record::{ClientRecord, Follows, JobRecord, Run, Saw, Sighting};

/// A place in what a client saw.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) client: usize,
    pub(super) sighting: usize,
}

/// A random place of those that `fits`.
pub(super) fn place(
    run: &Run,
    dice: &mut Dice,
    fits: impl Fn(&ClientRecord, usize) -> bool,
) -> Option<Place> {
    let mut places = Vec::new();
    for (client, record) in run.clients.iter().enumerate() {
        let all = 0..record.sightings.len();
        places.extend(all.filter(|at| fits(record, *at)).map(|sighting| Place { client, sighting }));
    }
    places.get(dice.index(places.len())).copied()
}

pub(super) fn sightings(run: &mut Run, place: Place) -> &mut Vec<Sighting> {
    &mut run.clients[place.client].sightings
}

pub(super) fn saw(run: &mut Run, place: Place) -> &mut Saw {
    &mut sightings(run, place)[place.sighting].saw
}

/// The event's type of a frame; nothing for other sightings.
pub(super) fn event_at(client: &ClientRecord, at: usize) -> Option<&str> {
    match client.sightings.get(at).map(|sighting| &sighting.saw) {
        Some(Saw::Frame { event, .. }) => Some(event),
        _ => None,
    }
}

pub(super) fn id_at(client: &ClientRecord, at: usize) -> Option<&str> {
    match client.sightings.get(at).map(|sighting| &sighting.saw) {
        Some(Saw::Frame { id, .. }) => id.as_deref(),
        _ => None,
    }
}

/// A frame of a log's event, not a snapshot or `gone`.
pub(super) fn is_event(client: &ClientRecord, at: usize) -> bool {
    event_at(client, at).is_some_and(|event| !matches!(event, "snapshot" | "gone"))
}

pub(super) fn is_single(client: &ClientRecord) -> bool {
    matches!(client.follows, Follows::Job(_))
}

/// Whether the client is told that its history is void at `at` or later.
pub(super) fn is_reset_from(client: &ClientRecord, at: usize) -> bool {
    (at..client.sightings.len()).any(|at| matches!(event_at(client, at), Some("snapshot")))
}

/// A client that stayed, follows one job, and sees events at `at` and right after, on one stream.
pub(super) fn two_in_a_row(client: &ClientRecord, at: usize) -> bool {
    client.stayed && is_single(client) && is_event(client, at) && is_event(client, at + 1)
}

/// Lets every reconnect send the last id seen, as a client would after a change.
pub(super) fn send_what_was_seen(client: &mut ClientRecord) {
    let mut last = None;
    for sighting in &mut client.sightings {
        match &mut sighting.saw {
            Saw::Opened { sent, .. } => sent.clone_from(&last),
            Saw::Frame { id, .. } => last.clone_from(id),
            _ => {}
        }
    }
}

/// Puts a frame before `place`.
pub(super) fn insert(run: &mut Run, place: Place, event: &str, id: String, data: String) {
    let all = sightings(run, place);
    let at_ms = all[place.sighting].at_ms;
    let saw = Saw::Frame { event: event.to_owned(), id: Some(id), data };
    all.insert(place.sighting, Sighting { at_ms, saw });
    send_what_was_seen(&mut run.clients[place.client]);
}

/// A snapshot for a client that follows one job.
pub(super) fn snapshot(job: &JobRecord, reason: &str) -> String {
    let polled: serde_json::Value = serde_json::from_str(&job.final_poll.body).unwrap();
    serde_json::json!({"jobId": job.id, "type": "snapshot", "reason": reason, "job": polled}).to_string()
}

/// The record of the job that a client follows singly.
pub(super) fn job_of<'r>(run: &'r Run, client: &ClientRecord) -> Option<&'r JobRecord> {
    let Follows::Job(id) = &client.follows else { return None };
    run.jobs.iter().find(|job| job.id == *id)
}

/// Replaces a text in a job's log, its feed and all that clients saw of it.
pub(super) fn everywhere(run: &mut Run, job: usize, from: &str, to: &str) {
    for entry in &mut run.jobs[job].final_log {
        entry.json = entry.json.replace(from, to);
    }
    for client in &mut run.clients {
        for sighting in &mut client.sightings {
            if let Saw::Frame { data, .. } = &mut sighting.saw {
                *data = data.replace(from, to);
            }
        }
    }
}

/// Changes what an id of several logs says.
pub(super) fn other_id(id: &str, change: impl FnOnce(&mut SeveralId)) -> String {
    let mut id = SeveralId::parse(id).unwrap();
    change(&mut id);
    id.write()
}

/// A job that is there, by the wishes of `fits`.
pub(super) fn job(run: &Run, dice: &mut Dice, fits: impl Fn(&JobRecord) -> bool) -> Option<usize> {
    let there = |index: &usize| run.jobs[*index].final_poll.status == 200 && fits(&run.jobs[*index]);
    let jobs: Vec<usize> = (0..run.jobs.len()).filter(there).collect();
    jobs.get(dice.index(jobs.len())).copied()
}

/// A job's entry of some type, counted from 0.
pub(super) fn entry(job: &JobRecord, kind: &str) -> Option<usize> {
    job.final_log.iter().position(|entry| entry.kind == kind)
}
