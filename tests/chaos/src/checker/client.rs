//! One client, walked through all that it saw.

use std::collections::HashSet;

use super::across::Across;
use super::event::{Event, TYPES};
use super::finding::{Findings, Kind};
use super::holds::{Presence, judge};
use super::loss::Losses;
use super::track::{Held, Problem, Track};
use super::truth::{Log, LogKey, Truth};
use super::verdict::Counts;
use super::why;
use crate::opaque::{Cursor, SeveralId, partition_of};
use crate::record::{ClientRecord, Follows, Role, Saw};

/// How long after a fault of gateways, balancer or network a client may be refused still.
const REFUSED_AFTER_MS: u64 = 15_000;

/// Judges `client`.
pub(super) fn check<'r>(
    client: &'r ClientRecord,
    truth: &Truth<'r>,
    losses: &Losses,
    across: &mut Across<'r>,
    findings: &mut Findings,
    counts: &mut Counts,
) {
    let mut walk = Walk {
        client,
        truth,
        losses,
        across,
        findings,
        counts,
        tracks: Vec::new(),
        hash: None,
        last_id: None,
        open_since: None,
        opens: 0,
        last_asked_ms: 0,
        snapshots: 0,
    };
    if let Err(sentence) = walk.begin() {
        walk.found(None, 0, (Kind::Malformed, sentence));
        return;
    }
    for sighting in &client.sightings {
        walk.step(sighting.at_ms, &sighting.saw);
    }
    walk.part();
}

struct Walk<'r, 'c> {
    client: &'r ClientRecord,
    truth: &'c Truth<'r>,
    losses: &'c Losses,
    across: &'c mut Across<'r>,
    findings: &'c mut Findings,
    counts: &'c mut Counts,
    tracks: Vec<Track<'r>>,
    /// Of the ids of a stream of several logs.
    hash: Option<[u8; 4]>,
    last_id: Option<&'r str>,
    open_since: Option<u64>,
    opens: u64,
    /// When it was last answered a request for a stream.
    last_asked_ms: u64,
    snapshots: u64,
}

impl<'r> Walk<'r, '_> {
    fn begin(&mut self) -> Result<(), String> {
        let jobs: &[String] = match &self.client.follows {
            Follows::Job(id) => std::slice::from_ref(id),
            Follows::Jobs(ids) => ids,
            Follows::Feed => return self.owner().map(|_| ()),
        };
        for id in jobs {
            let index =
                self.truth.job(id).ok_or_else(|| format!("it follows {id}, of which there is no record"))?;
            let job = &self.truth.run.jobs[index];
            self.tracks.push(Track::of_job(index, id, Log::of_job(job), job.outputs));
        }
        Ok(())
    }

    fn owner(&self) -> Result<usize, String> {
        let owner = &self.client.owner;
        self.truth.owner(owner).ok_or_else(|| format!("its owner {owner} has no record"))
    }

    fn step(&mut self, at_ms: u64, saw: &'r Saw) {
        match saw {
            Saw::Opened { status, sent } => self.opened(at_ms, *status, sent.as_deref()),
            Saw::Unreached { .. } => self.counts.unreached += 1,
            Saw::Closed => {
                self.counts.closed += 1;
                self.open_since = None;
            }
            Saw::Broken { .. } => {
                self.counts.broken += 1;
                self.open_since = None;
            }
            Saw::Frame { event, id, data } => {
                if let Err(problem) = self.frame(at_ms, event, id.as_deref(), data) {
                    self.found(None, at_ms, problem);
                }
            }
        }
    }

    fn opened(&mut self, at_ms: u64, status: u16, sent: Option<&str>) {
        self.opens += 1;
        self.last_asked_ms = at_ms;
        if sent != self.last_id {
            let sentence = format!("it sent {sent:?}, and the last id that it saw is {:?}", self.last_id);
            self.found(None, at_ms, (Kind::WrongCursor, sentence));
        }
        match status {
            200 => {
                self.counts.reconnects += u64::from(self.opens > 1);
                self.open_since = Some(at_ms);
            }
            204 => self.said_to_be_over(at_ms),
            404 => self.refused_as_gone(at_ms),
            500.. => {
                self.counts.refused += 1;
                if !self.may_be_refused(at_ms, status) {
                    let sentence = format!("{status}, and not enough was struck to explain it");
                    self.found(None, at_ms, (Kind::Denied, sentence));
                }
            }
            _ => self.found(None, at_ms, (Kind::Denied, format!("{status} in place of a stream"))),
        }
    }

    fn said_to_be_over(&mut self, at_ms: u64) {
        let open = self.tracks.iter().position(|track| !track.is_over());
        // A feed is never over.
        if open.is_some() || self.client.follows == Follows::Feed {
            self.found(open, at_ms, (Kind::EndedEarly, "204 before its end was told".to_owned()));
        }
    }

    /// A gateway that dies with a request in its hands makes a balancer say 502 or 504. 503 says that none is left; but a
    /// balancer takes a while to see who is back, and tries no more than two or three.
    fn may_be_refused(&self, at_ms: u64, status: u16) -> bool {
        let near = self.truth.run.faults.iter().filter(|fault| {
            (fault.from_ms..=fault.until_ms.saturating_add(REFUSED_AFTER_MS)).contains(&at_ms)
        });
        let mut gateways = HashSet::new();
        for fault in near {
            match fault.target.role {
                Role::Balancer | Role::Clients => return true,
                // 0 is all of them.
                Role::Gateway if fault.target.n == 0 => return true,
                Role::Gateway => _ = gateways.insert(fault.target.n),
                Role::Worker | Role::Courier | Role::Sentinel | Role::Redis => {}
            }
        }
        gateways.len() >= if status == 503 { 2 } else { 1 }
    }

    fn refused_as_gone(&mut self, at_ms: u64) {
        if self.client.follows == Follows::Feed {
            self.found(None, at_ms, (Kind::Denied, "404 in place of a feed".to_owned()));
        }
        for index in 0..self.tracks.len() {
            if !self.tracks[index].is_over() {
                self.gone(index, at_ms, "404");
            }
        }
    }

    fn gone(&mut self, index: usize, at_ms: u64, said: &str) {
        let track = &mut self.tracks[index];
        if track.gone_at_ms.replace(at_ms).is_some() {
            self.found(Some(index), at_ms, (Kind::Repeat, format!("{said} again")));
            return;
        }
        self.counts.gone += 1;
        let LogKey::Job(job) = self.tracks[index].key else { return };
        let status = self.truth.run.jobs[job].final_poll.status;
        if status != 404 {
            let sentence = format!("{said}, and in the end a poll of it is answered {status}");
            self.found(Some(index), at_ms, (Kind::FalselyGone, sentence));
        }
    }

    fn frame(
        &mut self,
        at_ms: u64,
        name: &'r str,
        id: Option<&'r str>,
        data: &'r str,
    ) -> Result<(), Problem> {
        let wrong = |sentence: String| (Kind::Malformed, sentence);
        if self.open_since.is_none() {
            return Err(wrong(format!("`{name}` without an open stream")));
        }
        let event =
            Event::parse(data).ok_or_else(|| wrong(format!("`{name}` with unreadable data: {data}")))?;
        let text = id.ok_or_else(|| wrong(format!("`{name}` without an id")))?;
        let places = self.places(text)?;
        self.last_id = Some(text);
        if event.kind != name {
            let kind = &event.kind;
            self.found(None, at_ms, (Kind::Disagrees, format!("`event: {name}`, and its data say `{kind}`")));
        }
        if event.job_id.is_none() && name == "snapshot" && self.is_of_an_unknown_beginning(at_ms, &places) {
            return Ok(());
        }
        let index = self.index_of(&event, &places)?;
        for (other, place) in places.iter().enumerate().filter(|(other, _)| *other != index) {
            self.unmoved(other, *place, at_ms, text);
        }
        let place = places[index];
        match (name, place) {
            ("gone", None) => self.gone(index, at_ms, "`gone`"),
            ("gone", Some(_)) | (_, None) => {
                return Err((
                    Kind::Disagrees,
                    format!("`{name}`, and its id {text} says {place:?} of that log"),
                ));
            }
            ("snapshot", Some(cursor)) => self.snapshot(index, at_ms, cursor, &event),
            (_, Some(cursor)) if TYPES.contains(&name) => {
                let at = event.at_unix_ms();
                let at =
                    at.ok_or_else(|| (Kind::Malformed, format!("`{name}` {cursor} has no time: {data}")))?;
                let written_ms = at.saturating_sub(self.truth.run.started_at_unix_ms);
                self.event(index, at_ms, &event, Held { cursor, kind: name, data, written_ms });
            }
            _ => return Err((Kind::Malformed, format!("an event `{name}`: {data}"))),
        }
        Ok(())
    }

    /// What a frame's id says of each log.
    fn places(&mut self, id: &str) -> Result<Vec<Option<Cursor>>, Problem> {
        let wrong = || (Kind::Malformed, format!("the id {id} can't be read"));
        if matches!(self.client.follows, Follows::Job(_)) {
            return Ok(vec![Some(Cursor::parse(id).ok_or_else(wrong)?)]);
        }
        let SeveralId { hash, places } = SeveralId::parse(id).ok_or_else(wrong)?;
        if self.client.follows == Follows::Feed {
            let owner = self.owner().map_err(|sentence| (Kind::Malformed, sentence))?;
            while self.tracks.len() < places.len() {
                let partition = u16::try_from(self.tracks.len()).map_err(|_| wrong())?;
                let key = LogKey::Feed(owner, partition);
                self.tracks.push(Track::of_feed(key, self.truth.name_of(key), self.truth.log(key)));
            }
        }
        if places.len() != self.tracks.len() || *self.hash.get_or_insert(hash) != hash {
            let (told, due) = (places.len(), self.tracks.len());
            return Err((
                Kind::Disagrees,
                format!("the id {id} is of {told} logs or another stream, not of {due}"),
            ));
        }
        Ok(places)
    }

    /// Which of the logs a frame is of.
    fn index_of(&self, event: &Event, places: &[Option<Cursor>]) -> Result<usize, Problem> {
        let named = match (&event.job_id, &self.client.follows) {
            (Some(job), Follows::Job(id)) => (job == id).then_some(0),
            (Some(job), Follows::Jobs(ids)) => ids.iter().position(|id| id == job),
            (Some(job), Follows::Feed) => partition_of(job).map(usize::from),
            // A feed's snapshot names no job: it is of the one log whose place has changed.
            (None, _) => self.tracks.iter().zip(places).position(|(track, place)| {
                place.is_some_and(|place| place != track.at && !track.may_begin_at(place))
            }),
        };
        let of_some = named.filter(|index| *index < places.len());
        of_some.ok_or_else(|| {
            let job = &event.job_id;
            (Kind::Disagrees, format!("a `{}` of {job:?}, which this stream isn't of", event.kind))
        })
    }

    /// Whether a feed's snapshot, which names no partition, is of one of which no frame had told anything, and whose beginning
    /// Redis lost: its place as the client knows it is the start, before and after.
    fn is_of_an_unknown_beginning(&mut self, at_ms: u64, places: &[Option<Cursor>]) -> bool {
        let mut tracks = self.tracks.iter().zip(places);
        let none_moved = tracks
            .all(|(track, place)| place.is_some_and(|place| place == track.at || track.may_begin_at(place)));
        let lost = |track: &Track<'_>| {
            track.at == Cursor::START && self.losses.of_writes(track.log.partition, 0, at_ms)
        };
        if !none_moved || !self.tracks.iter().any(lost) {
            return false;
        }
        self.snapshots += 1;
        self.counts.trims += 1;
        for (track, place) in self.tracks.iter_mut().zip(places) {
            track.at = place.unwrap_or(track.at);
        }
        true
    }

    /// The place in a log that a frame isn't of.
    fn unmoved(&mut self, index: usize, place: Option<Cursor>, at_ms: u64, id: &str) {
        let track = &mut self.tracks[index];
        let fine = match place {
            Some(place) if track.may_begin_at(place) => {
                track.at = place;
                true
            }
            Some(place) => place == track.at && track.gone_at_ms.is_none(),
            None => {
                // Ids may say what the next frame, a `gone` of this one, will say.
                track.gone_at_ms.is_some() || matches!(self.client.follows, Follows::Jobs(_))
            }
        };
        if !fine {
            let at = self.tracks[index].at;
            let sentence = format!("a frame of another log moved this one from {at} to {place:?} (id {id})");
            self.found(Some(index), at_ms, (Kind::Disagrees, sentence));
            if let Some(place) = place {
                self.tracks[index].at = place;
            }
        }
    }

    fn event(&mut self, index: usize, at_ms: u64, event: &Event, held: Held<'r>) {
        self.counts.events += 1;
        let opened = self.open_since.unwrap_or_default();
        let track = &mut self.tracks[index];
        let due_ms = held.written_ms.max(opened).max(track.anew_at_ms);
        self.counts.delays.push(at_ms.saturating_sub(due_ms));
        let (key, problems) = (track.key, track.take(event, at_ms, held));
        for problem in problems {
            self.found(Some(index), at_ms, problem);
        }
        let n = self.client.n;
        if let Some(sentence) = self.across.saw(key, held.cursor, held.kind, held.data, n) {
            self.found(Some(index), at_ms, (Kind::Forged, sentence));
        }
    }

    fn snapshot(&mut self, index: usize, at_ms: u64, cursor: Cursor, event: &Event) {
        self.snapshots += 1;
        let reason = event.reason.as_deref().unwrap_or_default();
        let track = &self.tracks[index];
        let problem = match reason {
            "rewound" => {
                self.counts.rewinds += 1;
                why::rewind_unexplained(track, at_ms, self.losses, self.truth)
            }
            "trimmed" => {
                self.counts.trims += 1;
                why::trim_unexplained(track, at_ms, cursor, self.losses, self.across)
            }
            _ => Some((
                Kind::UnaskedSnapshot,
                format!("a snapshot with reason {reason:?}, which wasn't asked for"),
            )),
        };
        let shown = self.shown(index, cursor, event);
        let begun_anew = self.tracks[index].begin_anew(cursor);
        self.tracks[index].anew_at_ms = at_ms;
        self.counts.voided += begun_anew.len() as u64;
        for problem in [problem, shown].into_iter().flatten() {
            self.found(Some(index), at_ms, problem);
        }
    }

    /// What is wrong with the job that a snapshot shows.
    fn shown(&self, index: usize, cursor: Cursor, event: &Event) -> Option<Problem> {
        let track = &self.tracks[index];
        if track.is_feed() {
            return None;
        }
        let text = |name| event.job.as_ref().and_then(|job| job.get(name)).and_then(|value| value.as_str());
        let last = text("lastEventId").and_then(Cursor::parse);
        let fine =
            text("id") == Some(track.about.as_str()) && last.is_some_and(|last| last.seq >= cursor.seq);
        let sentence = format!("a snapshot at {cursor} shows {:?} at {:?}", text("id"), text("lastEventId"));
        (!fine).then_some((Kind::Disagrees, sentence))
    }

    /// The end of its way.
    fn part(mut self) {
        let last = self.client.sightings.last().map_or(0, |sighting| sighting.at_ms);
        let mut had_left = false;
        if self.client.stayed && self.opens == 0 {
            self.found(None, last, (Kind::Unfinished, "it never was answered".to_owned()));
        }
        if self.client.follows == Follows::Feed && self.client.stayed {
            self.missing_partitions(last);
        }
        for index in 0..self.tracks.len() {
            let track = &self.tracks[index];
            let presence = match track.ended_at_ms {
                Some(ended) => Presence::LeftAt(ended.max(self.last_asked_ms)),
                None if self.client.stayed => Presence::Stayed,
                None => Presence::LeftAt(last),
            };
            let parting = judge(track, presence, self.losses);
            had_left |= parting.had_left;
            for problem in parting.problems {
                self.found(Some(index), last, problem);
            }
        }
        self.counts.had_left += u64::from(had_left);
        self.counts.snapshots_of_clients.push(self.snapshots);
    }

    /// Feeds that no id ever told of, and that aren't empty.
    fn missing_partitions(&mut self, at_ms: u64) {
        let Ok(owner) = self.owner() else { return };
        let feeds = &self.truth.run.owners[owner].feeds;
        for (partition, feed) in feeds.iter().enumerate().skip(self.tracks.len()) {
            if !feed.is_empty() {
                let sentence =
                    format!("it was told nothing of partition {partition}, which has {} events", feed.len());
                self.found(None, at_ms, (Kind::Unfinished, sentence));
            }
        }
    }

    fn found(&mut self, track: Option<usize>, at_ms: u64, (kind, sentence): Problem) {
        let about = track.map(|index| self.tracks[index].about.clone());
        self.findings.seen(kind, self.client.n, about, at_ms, sentence);
    }
}
