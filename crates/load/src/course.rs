//! The course of a run, once its jobs are there: open, publish, end.

use std::time::Duration;

use client::JobId;
use model::Token;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock::now_us;
use crate::crew::Crew;
use crate::error::Error;
use crate::hold::{Counts, Holding, Server, Tally};
use crate::join::Member;
use crate::plan::{Plan, Scenario};
use crate::publish::{Published, Publisher};
use crate::run::{Phase, Progress};
use crate::schedule::Schedule;
use crate::watch::{Look, Second, Watcher};

/// How often it is looked how far things are.
pub(crate) const LOOK: Duration = Duration::from_millis(25);
/// How long nothing may happen at the end; a stream that doesn't end is a finding, and no obstacle.
pub(crate) const END_PATIENCE: Duration = Duration::from_secs(15);
/// How long no stream may open before it is given up.
const PATIENCE: Duration = Duration::from_mins(1);
/// What streams get to come to rest before their memory is measured.
const REST: Duration = Duration::from_secs(2);

/// A run whose jobs are there.
pub(crate) struct Course<'a, F> {
    pub(crate) plan: &'a Plan,
    pub(crate) stop: CancellationToken,
    pub(crate) each: &'a mut F,
    pub(crate) publisher: &'a Publisher,
    pub(crate) watcher: Watcher,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// The machine before streams opened, with all open, and after the last event.
    pub(crate) looks: [Look; 3],
    /// How long it took until all streams were open.
    pub(crate) opening: Duration,
    /// When publishing began, in microseconds since the Unix epoch.
    pub(crate) began_us: u64,
    /// The time from there to the last acknowledged event.
    pub(crate) time: Duration,
    /// The counts at both.
    pub(crate) counts: [Counts; 2],
    /// From the cut until all streams were open again; `None` where there was none, or not all came back.
    pub(crate) storm: Option<Duration>,
    /// What was published.
    pub(crate) published: Published,
    /// What each process saw.
    pub(crate) tallies: Vec<Tally>,
    /// The watched processes, second by second.
    pub(crate) seconds: Vec<Second>,
}

impl<F: FnMut(Progress)> Course<'_, F> {
    /// Runs it to its end.
    pub(crate) async fn run(
        &mut self,
        servers: Vec<Server>,
        members: Vec<Member>,
        jobs: &[(JobId, Token)],
        streams_of_jobs: &[usize],
    ) -> Result<Ran, Error> {
        let plan = self.plan;
        let holding = Holding {
            servers,
            sources: plan.sources.clone(),
            key: plan.key.clone(),
            logs: Vec::new(),
            opening: plan.opening,
            every: plan.open_rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate)),
        };
        let ids: Vec<_> = jobs.iter().map(|&(id, _)| id).collect();
        let before = self.watcher.look();
        let mut crew = Crew::start(&holding, members, &plan.urls, &ids, streams_of_jobs).await?;
        let opening = self.open(&crew, Phase::Opening, plan.streams as u64, |counts| counts.opened).await?;
        let mut ran = Ran { opening, ..Ran::default() };
        sleep(REST).await;
        let open = self.watcher.look();

        let (began, first) = (Instant::now(), crew.counts()?);
        ran.began_us = now_us();
        self.publish(&mut crew, &mut ran).await?;
        ran.time = began.elapsed();
        ran.counts = [first, crew.counts()?];
        ran.looks = [before, open, self.watcher.look()];

        self.end(&crew).await?;
        ran.published = self.publisher.stop().await?;
        ran.tallies = crew.stop(&ran.published.ends).await?;
        ran.seconds = self.watcher.take();
        Ok(ran)
    }

    /// Waits until `wanted` streams are there, as `which` counts them.
    async fn open(
        &mut self,
        crew: &Crew,
        phase: Phase,
        wanted: u64,
        which: impl Fn(Counts) -> u64,
    ) -> Result<Duration, Error> {
        let began_us = now_us();
        let (mut last, mut since) = (0, Instant::now());
        loop {
            let counts = crew.counts()?;
            let open = which(counts);
            self.tell(phase, float(open), float(wanted), counts);
            if open >= wanted || self.stop.is_cancelled() {
                return Ok(Duration::from_micros(counts.last_opening_us.saturating_sub(began_us)));
            }
            if open != last {
                (last, since) = (open, Instant::now());
            }
            if since.elapsed() > PATIENCE || is_hopeless(crew, counts) {
                let why = crew.last_error().unwrap_or_else(|| "they are not answered".into());
                return Err(Error::NotOpened { open, wanted, why });
            }
            sleep(LOOK).await;
        }
    }

    /// Lets events fall due for as long as the plan says, and waits until they are acknowledged.
    async fn publish(&mut self, crew: &mut Crew, ran: &mut Ran) -> Result<(), Error> {
        let begin = Instant::now();
        let duration = self.plan.duration;
        self.publisher.run(Schedule::new(self.plan.rate(), duration));
        if self.plan.scenario == Scenario::Storm {
            self.pass(crew, begin, duration / 2).await?;
            ran.storm = self.storm(crew).await?;
        }
        self.pass(crew, begin, duration).await?;
        self.publisher.halt();
        let (mut last, mut since) = (self.publisher.sent(), Instant::now());
        while last.acknowledged < last.due && since.elapsed() < END_PATIENCE {
            sleep(LOOK).await;
            let sent = self.publisher.sent();
            if sent.acknowledged != last.acknowledged {
                since = Instant::now();
            }
            last = sent;
        }
        // What is acknowledged is on its way.
        sleep(10 * LOOK).await;
        Ok(())
    }

    /// Lets time pass until `until` after `begin`.
    async fn pass(&mut self, crew: &Crew, begin: Instant, until: Duration) -> Result<(), Error> {
        while begin.elapsed() < until && !self.stop.is_cancelled() {
            let (done, of) = (begin.elapsed().as_secs_f64(), self.plan.duration.as_secs_f64());
            self.tell(Phase::Running, done, of, crew.counts()?);
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Cuts all streams; how long it takes until they are back.
    async fn storm(&mut self, crew: &mut Crew) -> Result<Option<Duration>, Error> {
        let before = crew.counts()?;
        crew.storm().await?;
        let streams = self.plan.streams as u64;
        let back = move |counts: Counts| counts.connections - before.connections;
        let took = self.open(crew, Phase::Storming, streams, back).await?;
        Ok((!self.stop.is_cancelled()).then_some(took))
    }

    /// Ends all jobs, and waits for all streams to end.
    async fn end(&mut self, crew: &Crew) -> Result<(), Error> {
        self.publisher.halt();
        self.publisher.end_all();
        let streams = self.plan.streams as u64;
        let (mut last, mut since) = (Counts::default(), Instant::now());
        while since.elapsed() < END_PATIENCE {
            let counts = crew.counts()?;
            self.tell(Phase::Ending, float(counts.ended), float(streams), counts);
            if counts.ended >= streams {
                return Ok(());
            }
            if (counts.ended, counts.events) != (last.ended, last.events) {
                (last, since) = (counts, Instant::now());
            }
            sleep(LOOK).await;
        }
        Ok(())
    }

    fn tell(&mut self, phase: Phase, done: f64, of: f64, counts: Counts) {
        self.watcher.tick();
        let sent = self.publisher.sent();
        (self.each)(Progress { phase, done, of, counts, due: sent.due, acknowledged: sent.acknowledged });
    }
}

/// Whether all tries so far were told no, in a way that waiting doesn't change.
fn is_hopeless(crew: &Crew, counts: Counts) -> bool {
    let is_no = |error: String| ["status 401", "status 403", "status 404"].contains(&error.as_str());
    counts.connections == 0 && counts.failures > 0 && crew.last_error().is_some_and(is_no)
}

#[expect(clippy::cast_precision_loss, reason = "shown to people")]
fn float(number: u64) -> f64 {
    number as f64
}
