//! The end: what polls, logs and feeds say when all is quiet.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::Client;
use serde_json::Value;
use tokio::time::sleep;

use super::{Load, Submitted, ends};
use crate::record::{JobRecord, OwnerRecord, Polled};
use crate::world::{KEYS, Reader, World, partition_of};

/// How often a request is tried, which nothing should disturb any more.
const TRIES: u32 = 20;

/// What was submitted and what became of it, and what was wrong with the asking.
pub async fn harvest(
    world: &World,
    load: Load,
    partitions: u16,
    started_at_unix_ms: u64,
) -> (Vec<JobRecord>, Vec<OwnerRecord>, Vec<String>) {
    let mut ledger = load.finish().await;
    let http = testkit::http().build().expect("an HTTP client");
    let asker = Asker { http, base: format!("http://{}", world.address()) };
    let mut reader = Reader::new(&world.redis);

    let polls = stream::iter(&ledger.accepted).map(|job| asker.poll(job)).buffered(8);
    let polls: Vec<Polled> = polls.collect().await;
    let logs: Vec<_> =
        world.workers.iter().map(|worker| ends::acknowledged(&worker.logged(), started_at_unix_ms)).collect();
    let mut jobs = Vec::new();
    for (job, final_poll) in ledger.accepted.into_iter().zip(polls) {
        let of_workers = logs.iter().filter_map(|ends| ends.get(&job.id)).flatten().cloned();
        let acknowledged_ends = job.cancelled.into_iter().chain(of_workers).collect();
        let final_log = reader.log(partition_of(&job.id), &format!("log:{}", job.id)).await;
        jobs.push(JobRecord {
            owner: KEYS[job.tenant].owner.to_owned(),
            id: job.id,
            key: job.key,
            submitted_at_ms: job.submitted_at_ms,
            answered_at_ms: job.answered_at_ms,
            tries: job.tries,
            log_cap: job.log_cap,
            outputs: Some(job.outputs),
            webhook: job.webhook,
            deadline_ms: job.deadline_ms,
            acknowledged_ends,
            final_poll,
            final_log,
        });
    }
    let mut owners = Vec::new();
    for (number, tenant) in KEYS.iter().enumerate() {
        let mut feeds = Vec::new();
        for partition in 0..partitions {
            feeds.push(reader.log(partition, &format!("feedof:{}", tenant.owner)).await);
        }
        let unanswered = ledger.unanswered.iter().filter(|(owner, _)| *owner == number);
        let unanswered = unanswered.map(|(_, key)| key.clone()).collect();
        let listed = match asker.list(tenant.key).await {
            Ok(ids) => ids,
            Err(why) => {
                ledger.wrong.push(format!("the jobs of {} can't be listed: {why}", tenant.owner));
                None
            }
        };
        owners.push(OwnerRecord { owner: tenant.owner.to_owned(), unanswered, listed, feeds });
    }
    (jobs, owners, ledger.wrong)
}

struct Asker {
    http: Client,
    base: String,
}

impl Asker {
    async fn get(&self, path: &str, key: &str) -> Polled {
        let mut last = Polled { status: 0, body: String::new() };
        for _ in 0..TRIES {
            let asked = self.http.get(format!("{}{path}", self.base)).bearer_auth(key).send().await;
            match asked {
                Err(error) => last = Polled { status: 0, body: error.to_string() },
                Ok(response) => {
                    let status = response.status().as_u16();
                    last = Polled { status, body: response.text().await.unwrap_or_default() };
                    if status < 500 {
                        return last;
                    }
                }
            }
            sleep(Duration::from_millis(300)).await;
        }
        last
    }

    async fn poll(&self, job: &Submitted) -> Polled {
        self.get(&format!("/api/jobs/{}", job.id), KEYS[job.tenant].key).await
    }

    /// All ids of an owner; `None` where the gateway serves no list.
    async fn list(&self, key: &str) -> Result<Option<Vec<String>>, String> {
        let (mut ids, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/api/jobs?limit=1000{after}"), key).await;
            if page.status == 405 {
                return Ok(None);
            }
            let body: Value = serde_json::from_str(&page.body).map_err(|_| format!("{page:?}"))?;
            let jobs = body["jobs"].as_array().ok_or_else(|| format!("{page:?}"))?;
            ids.extend(jobs.iter().filter_map(|job| job["id"].as_str()).map(str::to_owned));
            match body["next"].as_str() {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(Some(ids)),
            }
        }
    }
}
