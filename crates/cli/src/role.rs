//! What every role does beside its work: it sweeps, watches whether the store answers, and ends when it is asked to.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use service::config::Config;
use service::health::Health;
use service::metrics::Metrics;
use service::stop::{Finished, Shutdown};
use store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::parts;

/// The pause between two looks whether the store answers: about a second, jittered.
const WATCH: Range<Duration> = Duration::from_millis(800)..Duration::from_millis(1200);

/// The longest pause before it is asked again who the primaries are, though nothing has failed.
const CONFIRM: Duration = Duration::from_secs(10);

/// How often the store is asked for a sign of life, as long as everything else that was asked was answered.
#[derive(Clone, Copy)]
pub(crate) enum Watch {
    /// At each look: who answers requests wants to know at once, and there are few of them.
    Close,
    /// About every ten seconds, for roles of which there are hundreds, and which ask when they have something to do.
    Loose,
}

impl Watch {
    fn looks(self) -> u32 {
        match self {
            Self::Close => 1,
            Self::Loose => 10,
        }
    }
}

/// What the roles of this process have in common: their stop, and how they ended.
pub(crate) struct Roles {
    shutdown: Shutdown,
    running: Vec<JoinHandle<io::Result<()>>>,
    /// All roles of a process have one Redis: what is wrong with it is said once.
    has_asked: AtomicBool,
}

/// What each role has for itself, so that several in one process count and are ready apart.
#[derive(Clone)]
pub(crate) struct Own {
    /// Its way to Redis.
    pub(crate) store: Store,
    /// Whether it is ready.
    pub(crate) health: Health,
    /// What it counts.
    pub(crate) metrics: Metrics,
}

/// Why the process ends with a failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoleError {
    /// A role ended with an error.
    #[error("{0}")]
    Ended(#[source] io::Error),
    /// A role panicked.
    #[error("a part of Jobcast panicked; see the log")]
    Panicked,
    /// The stop took longer than it may, or was cut short.
    #[error("{0}")]
    Cut(Finished),
}

impl Roles {
    pub(crate) fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, running: Vec::new(), has_asked: AtomicBool::new(false) }
    }

    /// Makes what a role has for itself, and begins to sweep and to watch the store for it. Within a Tokio runtime.
    pub(crate) fn prepare(&self, options: store::Options, config: &Config, how: Watch) -> Own {
        let store = Store::new(options);
        let health = Health::following(&self.shutdown);
        let (tasks, stop) = (self.shutdown.tasks(), self.shutdown.soft());
        tasks.spawn(store::sweep_until(store.clone(), parts::sweep_options(config), stop.clone()));
        tasks.spawn(store::confirm_until(store.clone(), CONFIRM, stop.clone()));
        tasks.spawn(watch(store.clone(), how, health.clone(), stop.clone()));
        if !self.has_asked.swap(true, Ordering::Relaxed) {
            tasks.spawn(warn_of_losses(store.clone(), stop.clone()));
        }
        let metrics = Metrics::new();
        metrics.extend(|registry| store.counters().register(registry));
        Own { store, health, metrics }
    }

    /// Runs a role. When it ends, for whatever reason, all others are asked to.
    pub(crate) fn run(
        &mut self,
        name: &'static str,
        store: Store,
        role: impl Future<Output = io::Result<()>> + Send + 'static,
    ) {
        let soft = self.shutdown.soft().clone();
        let ends_all = soft.clone().drop_guard();
        self.running.push(self.shutdown.tasks().spawn(async move {
            let ended = role.await;
            if !soft.is_cancelled() {
                tracing::error!(role = name, "a role ended by itself; stopping");
            }
            store.close().await;
            drop(ends_all);
            ended
        }));
    }

    /// Waits until a stop is asked for, then up to `limit` for all roles to end.
    pub(crate) async fn finish(self, limit: Duration) -> Result<(), RoleError> {
        self.shutdown.soft().cancelled().await;
        let finished = self.shutdown.finish(limit).await;
        for role in self.running {
            if role.is_finished() {
                role.await.map_err(|_| RoleError::Panicked)?.map_err(RoleError::Ended)?;
            }
        }
        if finished != Finished::Drained {
            return Err(RoleError::Cut(finished));
        }
        tracing::info!("{finished}");
        Ok(())
    }
}

/// Keeps `health` true to `store`, until `stop`, with a line in the log when Redis is lost and when it is back.
async fn watch(store: Store, how: Watch, health: Health, stop: CancellationToken) {
    let mut was_up = None;
    let watching = async {
        loop {
            let reached = store.reach().await;
            let up = reached.is_ok();
            match &reached {
                Ok(()) => health.mark_reached(),
                Err(_) => health.store_up(false),
            }
            match (reached, was_up) {
                (Ok(()), Some(false)) => tracing::info!("Redis is back"),
                (Err(error), None) => tracing::warn!(%error, "Redis can't be reached yet; trying on"),
                (Err(error), Some(true)) => tracing::warn!(%error, "Redis is lost; trying on"),
                (Ok(()), _) | (Err(_), Some(false)) => {}
            }
            was_up = Some(up);
            for _ in 0..how.looks() {
                tokio::time::sleep(rand::random_range(WATCH)).await;
                if !store.is_up() {
                    break;
                }
            }
        }
    };
    stop.run_until_cancelled(watching).await;
}

/// Says loudly what Redis is set to lose, once it can be asked; and again when there are more partitions, which may live on
/// servers that had none.
async fn warn_of_losses(store: Store, stop: CancellationToken) {
    let mut said = HashSet::new();
    let mut partitions = store.partitions_changed();
    let asking = async {
        loop {
            partitions.mark_unchanged();
            match store.check_policy().await {
                Ok(sentences) => {
                    for sentence in sentences.into_iter().filter(|sentence| said.insert(sentence.clone())) {
                        tracing::warn!("{sentence}");
                    }
                    if partitions.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "Redis' settings can't be read yet");
                    tokio::time::sleep(rand::random_range(WATCH)).await;
                }
            }
        }
    };
    stop.run_until_cancelled(asking).await;
}
