//! What is true of Redis at any time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{Entry, JobId, Mark, Timestamp, Token};
use serde_json::Value;

use super::log::History;
use super::snapshot::Snapshot;

/// A job that the test has submitted.
pub(crate) struct Known {
    pub(crate) id: JobId,
    pub(crate) owner: &'static str,
    pub(crate) task: &'static str,
    pub(crate) retention_ms: i64,
    pub(crate) delay_ms: u64,
    pub(crate) is_patient: bool,
    /// An external one's token and its lease in ms.
    pub(crate) external: Option<(Token, u64)>,
    /// It is cancelled when nobody has followed it for so many ms.
    pub(crate) disconnect_ms: Option<u64>,
    pub(crate) is_deleted: bool,
    pub(crate) history: History,
}

/// Keys that may have no end: they hold no job for longer than it is kept.
const LASTING: [&str; 15] = [
    "deadlines",
    "expiry",
    "failedof",
    "full",
    "jc:partitions",
    "jobsof",
    "later",
    "paused",
    "ready",
    "readyof",
    "running",
    "runningof",
    "sweeper",
    "tasks",
    "unfollowed",
];

const LIVING_MS: i64 = 7 * 24 * 3600 * 1000;

pub(crate) fn check(now: &Snapshot, jobs: &mut [Known]) {
    for job in jobs.iter_mut() {
        if job.is_deleted {
            check_deleted(now, job);
            continue;
        }
        job.history.grow(job.id, now.list(&format!("log:{}", job.id)));
        check_job(now, job);
        check_external(now, job);
        check_followed(now, job);
    }
    check_queue(now, jobs);
    for owner in jobs.iter().map(|job| job.owner).collect::<BTreeSet<_>>() {
        check_feed(now, owner, jobs);
    }
    for (name, key) in &now.0 {
        let kind = name.split(':').next().unwrap_or_default();
        let may_last = LASTING.contains(&kind) || name == "jc:partitions";
        assert_eq!(key.ttl < 0, may_last, "{name} has {} ms to live", key.ttl);
    }
}

fn check_job(now: &Snapshot, job: &Known) {
    let Known { id, owner, task, history, .. } = job;
    let (hash, log) = (now.job(*id), now.list(&format!("log:{id}")));
    let last = history.0.last().unwrap();
    assert_eq!(hash.number("seq"), history.0.len() as u64);
    assert_eq!(hash.text("mark").parse(), Ok(last.mark));
    let at = Timestamp::from_millis(hash.number("at")).to_string();
    assert_eq!(Value::String(at), last.json["at"], "the hash's time is the newest event's");
    let fold = history.fold();
    assert_eq!(hash.text("status"), fold["status"], "the status is the fold of the log");
    assert_eq!(last.is_terminal(), !hash.is_living());

    // The cap.
    let bytes = log.iter().map(String::len).sum::<usize>() as u64;
    assert_eq!(hash.number("logBytes"), bytes);
    assert!(log.len() as u64 <= hash.number("logMax"));
    assert!(bytes <= hash.number("logMaxBytes") || log.len() == 1);

    // Attempts.
    let given_back = history.count(|seen| seen.kind() == "retrying" && seen.json["errorCode"].is_null());
    assert_eq!(hash.number("givenBack"), given_back);
    assert_eq!(hash.number("attempt"), history.count(|seen| seen.kind() == "started"));
    assert!(hash.number("attempt") <= hash.number("maxAttempts") + given_back, "too many attempts");

    check_retries(job);

    // Where it stands: in exactly one of ready, later and running while it lives.
    let status = hash.text("status");
    let member = id.to_string();
    let score = |key: &str| now.score(key, &member);
    let (ready, later) = (score(&format!("readyof:{task}:{owner}")), score("later"));
    assert_eq!(u8::from(ready.is_some()) + u8::from(later.is_some()), u8::from(status == "pending"));
    let rank = hash.number("priority") * 8_796_093_022_208 + hash.number("createdAt");
    let starts = match &last.json["retryAt"] {
        Value::Null => hash.number("createdAt") + job.delay_ms,
        at => time(at),
    };
    #[expect(clippy::cast_precision_loss, reason = "they have fewer digits than a double holds")]
    let (rank, starts) = (rank as f64, starts as f64);
    assert_eq!(ready, ready.map(|_| rank));
    if job.external.is_none() {
        assert_eq!(later, later.map(|_| starts));
    }
    let is_running = score(&format!("running:{task}")).is_some();
    match status {
        "processing" => assert!(is_running),
        "cancelled" => assert!(!is_running || !hash.text("lease").is_empty()),
        _ => assert!(!is_running),
    }
    let has_lease = match status {
        "processing" => true,
        "cancelled" => was_leased(job),
        _ => job.external.is_some() && status == "pending",
    };
    assert_eq!(!hash.text("lease").is_empty(), has_lease);
    #[expect(clippy::cast_precision_loss, reason = "times have fewer digits than a double holds")]
    let exactly = |number: u64| Some(number as f64);
    assert_eq!(score("deadlines"), exactly(hash.next_limit()).filter(|_| hash.is_living()));
    assert_eq!(now.score("expiry", &format!("{owner}:{id}")), exactly(hash.number("expiresAt")));
    assert!(score(&format!("jobsof:{owner}")).is_some());
    assert_eq!(score(&format!("failedof:{owner}")).is_some(), status == "failed");

    // Lives.
    for key in [format!("job:{id}"), format!("log:{id}")] {
        let ttl = now.ttl(&key).unwrap();
        if hash.is_living() {
            assert!(ttl > LIVING_MS, "{key} lives {ttl} ms");
        } else {
            assert!((job.retention_ms - 60_000..=job.retention_ms).contains(&ttl), "{key} lives {ttl} ms");
        }
    }
}

/// What is left of a deleted job names it nowhere: what its owner's feed told stays, and what answers repeated calls.
fn check_deleted(now: &Snapshot, job: &Known) {
    let id = job.id.to_string();
    for (name, key) in &now.0 {
        let kind = name.split(':').next().unwrap_or_default();
        if ["feedof", "claim", "idem", "deleted"].contains(&kind) {
            continue;
        }
        assert!(!name.contains(&id) && !key.content.iter().any(|text| text.contains(&id)), "{name} has {id}");
    }
}

/// An external job has one attempt. Until that starts it is nobody's to claim, and waits with the token that it was born with.
fn check_external(now: &Snapshot, job: &Known) {
    let hash = now.job(job.id);
    let Some((token, lease_ms)) = job.external else {
        assert!(hash.text("external").is_empty() && hash.text("token").is_empty());
        return;
    };
    assert_eq!((hash.text("token"), hash.number("external")), (token.to_string().as_str(), lease_ms));
    assert!(job.history.count(|seen| seen.kind() == "started") <= 1 && hash.number("maxAttempts") == 1);
    assert_eq!(job.history.count(|seen| seen.kind() == "retrying"), 0, "nobody could try it again");
    let lease = hash.text("lease");
    assert!(lease.is_empty() || lease == token.to_string(), "nobody else has it");
    match hash.text("status") {
        "pending" => {
            let later = now.score("later", &job.id.to_string()).expect("it is in no queue");
            #[expect(clippy::cast_precision_loss, reason = "times have fewer digits than a double holds")]
            let limit = hash.number("queueLimit") as f64;
            assert!(later >= limit, "no sweep needs to look at it before its limit");
        }
        "processing" => assert_eq!(hash.number("leaseMs"), lease_ms, "it has its own lease"),
        _ => {}
    }
}

/// A living job that needs followers is watched, no other.
fn check_followed(now: &Snapshot, job: &Known) {
    let hash = now.job(job.id);
    let watched = now.score("unfollowed", &job.id.to_string());
    assert_eq!(watched.is_some(), job.disconnect_ms.is_some() && hash.is_living());
    assert_eq!(hash.number("disconnectMs"), job.disconnect_ms.unwrap_or(0));
    if let Some(within) = job.disconnect_ms {
        assert!(hash.number("followedUntil") >= hash.number("createdAt") + within);
    }
}

fn time(json: &Value) -> u64 {
    serde_json::from_value::<Timestamp>(json.clone()).unwrap().as_millis()
}

/// Each attempt after a failure waits twice as long, within bounds; one after an attempt that was given back doesn't.
fn check_retries(job: &Known) {
    let (mut whole, longest) = if job.is_patient { (2_000, 5_000) } else { (0, 0) };
    for seen in job.history.0.iter().filter(|seen| seen.kind() == "retrying") {
        let wait = time(&seen.json["retryAt"]) - time(&seen.json["at"]);
        if seen.json["errorCode"].is_null() {
            assert_eq!(wait, 0, "given back");
        } else {
            assert!((whole / 2..=whole).contains(&wait), "{wait} of {whole} ms");
            whole = longest.min(2 * whole);
        }
    }
}

/// Whether somebody had a lease of the cancelled job, so that its token is kept.
fn was_leased(job: &Known) -> bool {
    let before = job.history.0.iter().rev().find(|seen| seen.is_life_cycle() && seen.kind() != "cancelled");
    before.is_some_and(|seen| seen.kind() == "started" || job.external.is_some())
}

fn check_queue(now: &Snapshot, jobs: &[Known]) {
    let mut ready = BTreeMap::<_, BTreeSet<_>>::new();
    for name in now.0.keys() {
        if let Some((task, owner)) = name.strip_prefix("readyof:").and_then(|rest| rest.split_once(':')) {
            ready.entry(task.to_owned()).or_default().insert(owner.to_owned());
        }
    }
    for task in ["a", "b"] {
        let owners = now.zset(&format!("ready:{task}"));
        let named: BTreeSet<_> = owners.iter().map(|(owner, _)| (*owner).to_owned()).collect();
        // An owner with ready jobs has a turn; or it has lost it until one of its jobs has ended.
        let waiting = ready.remove(task).unwrap_or_default();
        assert!(named.is_subset(&waiting), "{named:?} have turns at {task}, {waiting:?} jobs");
        let counted = now.hash(&format!("runningof:{task}"));
        assert!(waiting.difference(&named).all(|owner| counted.contains_key(owner.as_str())));
        let mut running = BTreeMap::<&str, u64>::new();
        for (id, _) in now.zset(&format!("running:{task}")) {
            let job = jobs.iter().find(|job| job.task == task && job.id.to_string() == id);
            *running.entry(job.expect("a job of this task").owner).or_default() += 1;
        }
        let counted: BTreeMap<_, u64> =
            counted.into_iter().map(|(owner, count)| (owner, count.parse().unwrap())).collect();
        assert_eq!(counted, running, "who has the running places of {task}");
        let turns: BTreeSet<_> = owners.iter().map(|(_, turn)| turn.to_bits()).collect();
        assert_eq!(turns.len(), owners.len(), "each owner has its own turn");
        assert!(now.list(&format!("bell:{task}")).len() <= 1);
    }
}

fn check_feed(now: &Snapshot, owner: &str, jobs: &[Known]) {
    let (mut last, mut told) = (None::<(u64, Mark)>, BTreeMap::<String, Vec<u64>>::new());
    for text in now.list(&format!("feedof:{owner}")) {
        let entry = Entry::parse(&Bytes::from(text.clone())).unwrap();
        let before = last.map_or(Mark::START, |(_, mark)| mark);
        assert!(
            last.is_none_or(|(seq, _)| entry.head.seq == seq + 1) && entry.head.before == before,
            "{text}"
        );
        last = Some((entry.head.seq, entry.head.mark));
        let json: Value = serde_json::from_slice(&entry.body.unwrap().json).unwrap();
        let secret = ["payload", "result", "output", "text", "resultOmitted"];
        assert!(secret.iter().all(|field| json.get(field).is_none()), "{text}");
        told.entry(json["jobId"].as_str().unwrap().to_owned())
            .or_default()
            .push(json["seq"].as_u64().unwrap());
    }
    for job in jobs.iter().filter(|job| job.owner == owner) {
        let events = job.history.0.iter().filter(|seen| seen.is_life_cycle());
        let seqs: Vec<_> = events.map(|seen| seen.json["seq"].as_u64().unwrap()).collect();
        assert_eq!(told.remove(&job.id.to_string()), Some(seqs), "the feed tells each job's life");
    }
    assert!(told.is_empty(), "the feed tells of others: {told:?}");
}
