//! A run, from its jobs to its report.

use tokio::select;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::course::{Course, END_PATIENCE, LOOK};
use crate::error::Error;
use crate::hold::{Counts, Server, resolve};
use crate::join::muster;
use crate::limits;
use crate::plan::{Plan, share};
use crate::publish::{Publisher, Publishing};
use crate::report::Report;
use crate::submit::{clients, submit};
use crate::watch::Watcher;

/// Reports under way at once.
const CONNECTIONS: usize = 32;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Other processes join.
    Mustering,
    /// Jobs are submitted.
    Submitting,
    /// Streams open.
    Opening,
    /// Events are published; in `idle`, streams are held.
    Running,
    /// All streams come back at once.
    Storming,
    /// The jobs have ended, and the streams are to end.
    Ending,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Where it stands.
    pub phase: Phase,
    /// How much of the phase is done: processes, jobs, streams, seconds.
    pub done: f64,
    /// Of how much.
    pub of: f64,
    /// The streams' counts.
    pub counts: Counts,
    /// Events that were due.
    pub due: u64,
    /// Of these, those that are acknowledged.
    pub acknowledged: u64,
}

/// Carries out `plan`, and says how it went; `each` hears how far it is, many times a second. Once `stop` is cancelled the run
/// is cut short, and reports what there was.
pub async fn run(
    plan: Plan,
    stop: CancellationToken,
    mut each: impl FnMut(Progress),
) -> Result<Report, Error> {
    plan.check()?;
    let parts = plan.processes();
    let streams_of_jobs = plan.streams_of_jobs();
    limits::check(share(&streams_of_jobs, 0, parts).iter().sum(), CONNECTIONS)?;
    let watcher = Watcher::of(&plan).map_err(Error::NoProcess)?;
    let clients = clients(&plan)?;
    let servers = servers(&plan).await?;

    let mut tell = |phase, done: usize, of: usize| each(Progress::of(phase, done, of));
    let members = match plan.lead {
        Some((address, processes)) => select! {
            members = muster(address, processes, |there| tell(Phase::Mustering, there, processes)) => members?,
            () = stop.cancelled() => return Err(Error::Stopped),
        },
        None => Vec::new(),
    };
    let (wanted, mut jobs) = (plan.jobs(), Vec::new());
    let submitted = select! {
        submitted = submit(&plan, &clients, &mut jobs, |made| tell(Phase::Submitting, made, wanted)) => submitted,
        () = stop.cancelled() => Err(Error::Stopped),
    };
    let publisher = Publisher::start(Publishing {
        servers: servers.clone(),
        key: plan.key.clone(),
        jobs: jobs.clone(),
        pad: plan.pad(),
        batch: plan.batch,
        connections: CONNECTIONS.min(jobs.len().max(1)),
    });
    let publisher = publisher.map_err(Error::Thread)?;
    let processes = watcher.processes.clone();
    if let Err(error) = submitted {
        end_all(&publisher, jobs.len()).await;
        return Err(error);
    }
    let mut course = Course { plan: &plan, stop, each: &mut each, publisher: &publisher, watcher };
    let ran = course.run(servers, members, &jobs, &streams_of_jobs).await;
    if ran.is_err() {
        end_all(&publisher, jobs.len()).await;
    }
    Ok(Report::new(&plan, &processes, &ran?))
}

/// Ends the jobs of a run that came to nothing, as far as gateways are there to be told.
async fn end_all(publisher: &Publisher, jobs: usize) {
    publisher.halt();
    publisher.end_all();
    let begin = Instant::now();
    while publisher.sent().ended < jobs as u64 && begin.elapsed() < END_PATIENCE {
        sleep(LOOK).await;
    }
}

async fn servers(plan: &Plan) -> Result<Vec<Server>, Error> {
    let mut servers = Vec::new();
    for url in &plan.urls {
        let found = resolve(url).await;
        servers.extend(found.map_err(|source| Error::Server { url: url.clone(), source })?);
    }
    Ok(servers)
}

impl Progress {
    #[expect(clippy::cast_precision_loss, reason = "shown to people")]
    fn of(phase: Phase, done: usize, of: usize) -> Self {
        let (done, of) = (done as f64, of as f64);
        Self { phase, done, of, counts: Counts::default(), due: 0, acknowledged: 0 }
    }
}
