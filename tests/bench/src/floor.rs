//! The floor: the same scripts, bare, on one connection, as fast as Redis takes them. Also the way to many jobs in little time.
//!
//! Their calls are learned from the wire, once, from one job's life, so that they are always today's.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use model::{Clock, JobId, Json, Partition, Report, SystemClock, Token};
use store::{End, NewJob, Store, Submitted};
use testkit::redis::{Cmd, MultiplexedConnection, RedisServer, Value, from_redis_value, pipe};
use tokio::task::JoinSet;

use crate::monitor::Monitor;

/// How many calls go together.
const BATCH: usize = 50;
/// How many batches are under way at once: while one is answered, others are being read.
const LANES: usize = 4;

/// The calls of a job's life, and a connection for them.
#[derive(Clone)]
pub struct Floor {
    calls: Arc<Calls>,
    redis: MultiplexedConnection,
}

struct Calls {
    submit: Call,
    claim: Call,
    append: Call,
    end: Call,
    partition: Partition,
}

/// A call as it was heard, with the places of what is another job's next time.
struct Call(Vec<Word>);

enum Word {
    Same(String),
    /// With a job's id between these.
    Id(String, String),
    Token,
}

impl Call {
    fn learn(words: Vec<String>, id: &str, token: &str) -> Self {
        let place = |word: String| match word.split_once(id) {
            Some((before, after)) => Word::Id(before.into(), after.into()),
            None if word == token => Word::Token,
            None => Word::Same(word),
        };
        Self(words.into_iter().map(place).collect())
    }

    fn of(&self, id: &str, token: &str) -> Cmd {
        let mut call = Cmd::new();
        for word in &self.0 {
            match word {
                Word::Same(word) => call.arg(word),
                Word::Id(before, after) => call.arg(format!("{before}{id}{after}")),
                Word::Token => call.arg(token),
            };
        }
        call
    }
}

impl Floor {
    /// Watches the life of a job like `job`, of which `lease` and `reports` are parts; the server does nothing else meanwhile.
    pub async fn learn(
        server: &RedisServer,
        store: &Store,
        job: &NewJob,
        lease: Duration,
        reports: &[Report],
    ) -> anyhow::Result<Self> {
        // An earlier one lets Redis know the scripts.
        live_once(store, job, lease, reports).await?;
        let monitor = Monitor::start(server).await?;
        let (id, token) = live_once(store, job, lease, reports).await?;
        let heard = monitor.stop(server).await?;
        let (partition, id, token) = (id.partition(), id.to_string(), token.to_string());
        let is_ours = |words: &Vec<String>| {
            words[0] == "EVALSHA" && words.iter().any(|word| *word == id || *word == token)
        };
        let mut calls: Vec<_> = heard.into_iter().filter(is_ours).collect();
        ensure!(calls.len() == 4, "a job's life has four calls, not {}", calls.len());
        let mut next = || Call::learn(calls.remove(0), &id, &token);
        let calls = Calls { submit: next(), claim: next(), append: next(), end: next(), partition };
        Ok(Self { calls: Arc::new(calls), redis: server.client().await })
    }

    /// Takes so many jobs, or a few more, through a part of their life; how many.
    pub async fn take(&self, jobs: usize, part: Part) -> anyhow::Result<usize> {
        let each = jobs.div_ceil(LANES * BATCH);
        let mut lanes = JoinSet::new();
        for _ in 0..LANES {
            let mut floor = self.clone();
            lanes.spawn(async move {
                for _ in 0..each {
                    floor.batch(part).await?;
                }
                anyhow::Ok(())
            });
        }
        for lane in lanes.join_all().await {
            lane?;
        }
        Ok(each * LANES * BATCH)
    }

    async fn batch(&mut self, part: Part) -> anyhow::Result<()> {
        if part != Part::ClaimAndEnd {
            self.submit().await?;
        }
        match part {
            Part::Submission => Ok(()),
            Part::ClaimAndEnd => self.work(false).await,
            Part::All => self.work(true).await,
        }
    }

    async fn submit(&mut self) -> anyhow::Result<()> {
        let mut batch = pipe();
        for _ in 0..BATCH {
            let id = JobId::new(SystemClock.now(), rand::random(), self.calls.partition);
            batch.add_command(self.calls.submit.of(&id.to_string(), ""));
        }
        let answers: Vec<(String, String)> = batch.query_async(&mut self.redis).await?;
        ensure!(answers.iter().all(|(word, _)| word == "created"), "{answers:?}");
        Ok(())
    }

    async fn work(&mut self, reports: bool) -> anyhow::Result<()> {
        let calls = Arc::clone(&self.calls);
        let tokens: Vec<_> = (0..BATCH).map(|_| token().to_string()).collect();
        let mut claims = pipe();
        for token in &tokens {
            claims.add_command(calls.claim.of("", token));
        }
        let claimed: Vec<Vec<Value>> = claims.query_async(&mut self.redis).await?;
        let mut rest = pipe();
        for (token, claimed) in tokens.iter().zip(claimed) {
            let id = claimed.into_iter().nth(1).context("a job is ready")?;
            let id: String = from_redis_value(id)?;
            if reports {
                rest.add_command(calls.append.of(&id, token));
            }
            rest.add_command(calls.end.of(&id, token));
        }
        let answers: Vec<Vec<Value>> = rest.query_async(&mut self.redis).await?;
        let is_ok =
            |answer: &Vec<Value>| matches!(&answer[..], [Value::BulkString(word), ..] if word == b"ok");
        ensure!(answers.iter().all(is_ok), "{answers:?}");
        Ok(())
    }
}

/// A part of a job's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It is submitted.
    Submission,
    /// One that is ready is claimed, and ends without a report.
    ClaimAndEnd,
    /// It is submitted, claimed, reported of, and ends.
    All,
}

/// One job's life through the store; its id and its attempt's token.
async fn live_once(
    store: &Store,
    job: &NewJob,
    lease: Duration,
    reports: &[Report],
) -> anyhow::Result<(JobId, Token)> {
    let (Submitted::Created(id) | Submitted::Replayed(id)) = store.submit(job).await?;
    let claimed = store.claim(id.partition(), &[job.task.clone().into()], token(), lease).await?;
    let lease = claimed.context("the job is ready")?.lease;
    store.append(&lease, None, reports).await?;
    // A check of the reports' number is a part of each end that a worker makes; '' is one that any number of them fits.
    store.end(&lease, &End::Completed(Json::null()), None, &[]).await?;
    Ok((id, lease.token))
}

fn token() -> Token {
    Token::from_random(rand::random())
}
