//! Publishes events by a schedule, in a thread of its own: as reports of external jobs, over HTTP.
//!
//! Each job has one report under way at a time; what falls due meanwhile goes with the next one. Every event says in its
//! output when it was due, so that whoever gets it knows how long it took in all, waits of the publisher included.

mod clock;
mod connection;
mod lane;
mod pool;
mod thread;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use model::{JobId, Token};
use tokio::sync::{mpsc, oneshot};

use crate::hold::Server;
use crate::schedule::Schedule;
use crate::times::Counted;

/// What to publish, and where.
#[derive(Clone, Debug)]
pub(crate) struct Publishing {
    /// Where reports go, in turn.
    pub(crate) servers: Vec<Server>,
    /// The API key.
    pub(crate) key: Option<String>,
    /// The jobs, which take events in turn.
    pub(crate) jobs: Vec<(JobId, Token)>,
    /// The bytes beside the due time in an output.
    pub(crate) pad: usize,
    /// The most events in one report.
    pub(crate) batch: usize,
    /// How many reports may be under way at once.
    pub(crate) connections: usize,
}

/// What was published.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published {
    /// Events that the gateways have acknowledged.
    pub(crate) events: u64,
    /// The last event's number of each job; 0 where it isn't known.
    pub(crate) ends: Vec<u64>,
    /// Jobs that took no more reports: lost, or ended by somebody else.
    pub(crate) lost_jobs: u64,
    /// Reports that were acknowledged.
    pub(crate) reports: u64,
    /// From when an event was due until its report was sent.
    pub(crate) late: Counted,
    /// From sending a report until its answer.
    pub(crate) answered: Counted,
    /// Answers other than yes, and lost ones, in words; each report was sent again.
    pub(crate) errors: BTreeMap<String, u64>,
}

/// What others may see meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    /// Events that were due so far.
    pub(crate) due: u64,
    /// Of these, those that are acknowledged.
    pub(crate) acknowledged: u64,
    /// Jobs whose end is acknowledged, or that are lost.
    pub(crate) ended: u64,
}

/// The thread that publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    commands: mpsc::UnboundedSender<Command>,
    sent: Arc<Mutex<Sent>>,
}

#[derive(Debug)]
enum Command {
    /// Publish by this schedule, from now on.
    Run(Schedule),
    /// No more events fall due.
    Halt,
    /// End all jobs.
    End,
    /// Say what was published, and end.
    Stop(oneshot::Sender<Published>),
}

/// The thread has died, which is a defect.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the thread that publishes has died")]
pub struct Died;

impl Publisher {
    /// Starts the thread.
    pub(crate) fn start(publishing: Publishing) -> io::Result<Self> {
        let (commands, asked) = mpsc::unbounded_channel();
        let sent = Arc::new(Mutex::new(Sent::default()));
        let told = Arc::clone(&sent);
        let runtime = thread::runtime()?;
        std::thread::Builder::new()
            .name("load-publisher".into())
            .spawn(move || thread::run(&runtime, publishing, told, asked))?;
        Ok(Self { commands, sent })
    }

    /// How far it is.
    pub(crate) fn sent(&self) -> Sent {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes by `schedule`, from now on.
    pub(crate) fn run(&self, schedule: Schedule) {
        let _ = self.commands.send(Command::Run(schedule));
    }

    /// Lets no more events fall due.
    pub(crate) fn halt(&self) {
        let _ = self.commands.send(Command::Halt);
    }

    /// Ends all jobs as completed, each after its last event.
    pub(crate) fn end_all(&self) {
        let _ = self.commands.send(Command::End);
    }

    /// Ends the thread, and says what was published.
    pub(crate) async fn stop(&self) -> Result<Published, Died> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Stop(answer)).map_err(|_| Died)?;
        answered.await.map_err(|_| Died)
    }
}
