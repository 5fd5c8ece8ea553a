//! Workers that wait over HTTP: they share connections at the bells.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{Partition, TaskName};
use parking_lot::Mutex;
use store::{Store, StoreError};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long one wait at a bell lasts. When nobody waits any more its connection is kept at most so long.
const WAIT: Duration = Duration::from_secs(5);
/// How long to wait after Redis had no answer.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// The waiting workers of this node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Bells(Arc<Shared>);

struct Shared {
    store: Store,
    tasks: TaskTracker,
    stop: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<TaskName, VecDeque<Waiter>>,
    listening: HashSet<(TaskName, Partition)>,
}

/// A job of this task became ready in this partition.
#[derive(Clone, Debug)]
struct Ring {
    task: TaskName,
    partition: Partition,
}

/// One worker that waits, at the bells of several tasks; the first ring takes it.
type Waiter = Arc<Mutex<Option<oneshot::Sender<Ring>>>>;

/// A place in the line, from before the first look at the queue. A ring that it got and didn't use goes to the next.
pub(crate) struct Waiting {
    bells: Bells,
    tasks: Vec<TaskName>,
    ring: oneshot::Receiver<Ring>,
    /// Hears of more partitions.
    more: watch::Receiver<u16>,
}

impl Waiting {
    /// The partition where a job became ready; `None` if the node stops. If this is dropped the place in the line is kept.
    pub(crate) async fn rung(&mut self) -> Option<Partition> {
        loop {
            tokio::select! {
                biased;
                ring = &mut self.ring => return ring.ok().map(|ring| ring.partition),
                Ok(()) = self.more.changed() => {
                    // A job that came there before this has left its ring in the bell.
                    let all = *self.more.borrow_and_update();
                    self.bells.listen_in((0..all).map(Partition), &self.tasks);
                }
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.ring.close();
        if let Ok(ring) = self.ring.try_recv() {
            self.bells.pass_on(ring);
        }
    }
}

impl Bells {
    pub(crate) fn new(store: Store, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self(Arc::new(Shared { store, tasks, stop, state: Mutex::default() }))
    }

    /// Waits in line at the bells of `tasks` in all partitions, also those that are added meanwhile.
    pub(crate) async fn wait(&self, tasks: &[TaskName]) -> Result<Waiting, StoreError> {
        let more = self.0.store.partitions_changed();
        let partitions = self.0.store.partitions().await?;
        let (sender, ring) = oneshot::channel();
        let waiter: Waiter = Arc::new(Mutex::new(Some(sender)));
        {
            let mut state = self.0.state.lock();
            for task in tasks {
                let line = state.waiting.entry(task.clone()).or_default();
                line.retain(waits);
                line.push_back(Arc::clone(&waiter));
            }
        }
        self.listen_in(partitions, tasks);
        Ok(Waiting { bells: self.clone(), tasks: tasks.to_vec(), ring, more })
    }

    /// Listens at the bells of `tasks` in `partitions`, where nobody does yet.
    fn listen_in(&self, partitions: impl Iterator<Item = Partition>, tasks: &[TaskName]) {
        let mut state = self.0.state.lock();
        for partition in partitions {
            let unheard = |task: &&TaskName| state.listening.insert(((*task).clone(), partition));
            let unheard: Vec<_> = tasks.iter().filter(unheard).cloned().collect();
            if !unheard.is_empty() {
                let (bells, stop) = (self.clone(), self.0.stop.clone());
                self.0.tasks.spawn(async move {
                    stop.run_until_cancelled(bells.listen(unheard, partition)).await;
                });
            }
        }
    }

    /// Listens at these bells, on one connection, as long as somebody waits there.
    async fn listen(&self, mut tasks: Vec<TaskName>, partition: Partition) {
        loop {
            tasks.retain(|task| self.somebody_waits(task, partition));
            if tasks.is_empty() {
                return;
            }
            match self.0.store.wait_for_bell(partition, &tasks, WAIT).await {
                Ok(None) => {}
                Ok(Some(task)) => self.hand_over(Ring { task, partition }).await,
                Err(_) => tokio::time::sleep(AFTER_FAILURE).await,
            }
        }
    }

    /// If nobody waits for `task`, its bell in `partition` is listened to no longer.
    fn somebody_waits(&self, task: &TaskName, partition: Partition) -> bool {
        let mut state = self.0.state.lock();
        if let Some(line) = state.waiting.get_mut(task) {
            line.retain(waits);
            if !line.is_empty() {
                return true;
            }
            state.waiting.remove(task);
        }
        state.listening.remove(&(task.clone(), partition));
        false
    }

    /// Gives the ring to the first in line here, or back to Redis, for a worker elsewhere.
    async fn hand_over(&self, mut ring: Ring) {
        while let Some(waiter) = self.first_in_line(&ring.task) {
            let Some(sender) = waiter.lock().take() else { continue };
            match sender.send(ring) {
                Ok(()) => return,
                Err(unheard) => ring = unheard,
            }
        }
        // If this fails the next sweep rings.
        drop(self.0.store.ring(ring.partition, &ring.task).await);
    }

    fn first_in_line(&self, task: &TaskName) -> Option<Waiter> {
        self.0.state.lock().waiting.get_mut(task)?.pop_front()
    }

    fn pass_on(&self, ring: Ring) {
        let bells = self.clone();
        self.0.tasks.spawn(async move { bells.hand_over(ring).await });
    }
}

fn waits(waiter: &Waiter) -> bool {
    waiter.lock().as_ref().is_some_and(|sender| !sender.is_closed())
}
