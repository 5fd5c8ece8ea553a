//! Workers that wait over HTTP: one connection at each bell for all of them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use model::{Partition, TaskName};
use parking_lot::Mutex;
use store::{Store, StoreError};
use tokio::sync::oneshot;
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

/// One worker that waits, at the bells of several tasks; the first ring takes it.
type Waiter = Arc<Mutex<Option<oneshot::Sender<Partition>>>>;

/// A place in the line, from before the first look at the queue.
pub(crate) struct Waiting(oneshot::Receiver<Partition>);

impl Waiting {
    /// The partition where a job became ready; `None` if the node stops.
    pub(crate) async fn rung(self) -> Option<Partition> {
        self.0.await.ok()
    }
}

impl Bells {
    pub(crate) fn new(store: Store, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self(Arc::new(Shared { store, tasks, stop, state: Mutex::default() }))
    }

    /// Waits in line at the bells of `tasks` in all partitions.
    pub(crate) async fn wait(&self, tasks: &[TaskName]) -> Result<Waiting, StoreError> {
        let partitions: Vec<_> = self.0.store.partitions().await?.collect();
        let (sender, receiver) = oneshot::channel();
        let waiter: Waiter = Arc::new(Mutex::new(Some(sender)));
        let mut state = self.0.state.lock();
        for task in tasks {
            let line = state.waiting.entry(task.clone()).or_default();
            line.retain(waits);
            line.push_back(Arc::clone(&waiter));
            for &partition in &partitions {
                if state.listening.insert((task.clone(), partition)) {
                    let listen = self.clone().listen(task.clone(), partition);
                    let stop = self.0.stop.clone();
                    self.0.tasks.spawn(async move { stop.run_until_cancelled(listen).await });
                }
            }
        }
        Ok(Waiting(receiver))
    }

    /// Listens at one bell as long as somebody waits there.
    async fn listen(self, task: TaskName, partition: Partition) {
        while self.somebody_waits(&task, partition) {
            match self.0.store.wait_for_bell(partition, std::slice::from_ref(&task), WAIT).await {
                Ok(None) => {}
                Ok(Some(_)) => {
                    if !self.hand_over(&task, partition) {
                        // For a worker elsewhere; if this fails the next sweep rings.
                        drop(self.0.store.ring(partition, &task).await);
                    }
                }
                Err(_) => tokio::time::sleep(AFTER_FAILURE).await,
            }
        }
    }

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

    /// Gives the ring to the first in line.
    fn hand_over(&self, task: &TaskName, partition: Partition) -> bool {
        let mut state = self.0.state.lock();
        let Some(line) = state.waiting.get_mut(task) else { return false };
        while let Some(waiter) = line.pop_front() {
            if waiter.lock().take().is_some_and(|sender| sender.send(partition).is_ok()) {
                return true;
            }
        }
        false
    }
}

fn waits(waiter: &Waiter) -> bool {
    waiter.lock().as_ref().is_some_and(|sender| !sender.is_closed())
}
