//! How many attempts of each task may run at once in this worker.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::TaskName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of tasks that have a limit of their own; all other tasks have as many as the worker.
pub(crate) struct Places(HashMap<TaskName, OfTask>);

struct OfTask {
    limit: usize,
    semaphore: Arc<Semaphore>,
    /// How many of the places attempts have; claims may hold the others for a moment.
    running: Arc<AtomicUsize>,
}

/// A place of one task. Whoever holds it is the only one who may offer it.
pub(crate) struct Place {
    task: TaskName,
    _permit: OwnedSemaphorePermit,
}

/// A place that an attempt has.
pub(crate) struct Taken {
    running: Arc<AtomicUsize>,
    _place: Place,
}

/// Tasks that a claim may bring a job of. Their places are held meanwhile, so that no two claims count on the same one.
pub(crate) struct Offer {
    pub(crate) tasks: Vec<TaskName>,
    held: Vec<Place>,
}

impl Places {
    pub(crate) fn new(limits: &HashMap<TaskName, usize>) -> Self {
        let of_task = |(task, &limit): (&TaskName, &usize)| {
            let semaphore = Arc::new(Semaphore::new(limit));
            (task.clone(), OfTask { limit, semaphore, running: Arc::default() })
        };
        Self(limits.iter().map(of_task).collect())
    }

    /// Those of `tasks` of which one more may run, in their order, and those of which none may. `kept` is a place that the
    /// caller has already.
    pub(crate) fn offer(&self, tasks: &[TaskName], kept: Option<Place>) -> (Offer, Vec<TaskName>) {
        let mut offer = Offer { tasks: Vec::new(), held: kept.into_iter().collect() };
        let mut full = Vec::new();
        for task in tasks {
            let is_kept = offer.held.iter().any(|place| place.task == *task);
            if let Some(OfTask { semaphore, .. }) = self.0.get(task).filter(|_| !is_kept) {
                let Ok(permit) = Arc::clone(semaphore).try_acquire_owned() else {
                    full.push(task.clone());
                    continue;
                };
                offer.held.push(Place { task: task.clone(), _permit: permit });
            }
            offer.tasks.push(task.clone());
        }
        (offer, full)
    }

    /// Waits for a place of one of `tasks`. Whoever waits longest gets it; nobody else is woken. Never ends where there are none.
    pub(crate) async fn freed(&self, tasks: &[TaskName]) -> Place {
        let semaphores = tasks.iter().filter_map(|task| Some((task, &self.0.get(task)?.semaphore)));
        let waiting = semaphores.map(async |(task, semaphore)| {
            let permit = Arc::clone(semaphore).acquire_owned().await;
            permit.ok().map(|permit| Place { task: task.clone(), _permit: permit })
        });
        let mut waiting: FuturesUnordered<_> = waiting.collect();
        while let Some(place) = waiting.next().await {
            if let Some(place) = place {
                return place;
            }
        }
        std::future::pending().await
    }

    /// Whether attempts have all places of `task`.
    pub(crate) fn are_taken(&self, task: &TaskName) -> bool {
        self.0.get(task).is_some_and(|of_task| of_task.running.load(Ordering::SeqCst) >= of_task.limit)
    }

    /// A place for what was claimed without one, if its task needs one.
    pub(crate) fn find(&self, task: &TaskName) -> Result<Option<Place>, Full> {
        let Some(OfTask { semaphore, .. }) = self.0.get(task) else { return Ok(None) };
        let permit = Arc::clone(semaphore).try_acquire_owned().map_err(|_| Full)?;
        Ok(Some(Place { task: task.clone(), _permit: permit }))
    }

    /// An attempt takes `place`.
    pub(crate) fn take(&self, place: Place) -> Option<Taken> {
        let running = Arc::clone(&self.0.get(&place.task)?.running);
        running.fetch_add(1, Ordering::SeqCst);
        Some(Taken { running, _place: place })
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Before the place is free.
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// No more of a task may run here.
#[derive(Debug)]
pub(crate) struct Full;

impl Offer {
    /// The place of `task`, if it needs one; the others are given back.
    pub(crate) fn place_of(self, task: &TaskName) -> Option<Place> {
        self.held.into_iter().find(|place| place.task == *task)
    }
}

impl From<Place> for Offer {
    fn from(place: Place) -> Self {
        Self { tasks: vec![place.task.clone()], held: vec![place] }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn task(name: &str) -> TaskName {
        name.parse().unwrap()
    }

    #[test]
    fn a_task_is_offered_as_often_as_it_has_places() {
        let places = Places::new(&HashMap::from([(task("one"), 1), (task("two"), 2)]));
        let all = ["one", "two", "any"].map(task);
        let (first, full) = places.offer(&all, None);
        assert_eq!((first.tasks.as_slice(), full), (&all[..], vec![]));
        let (second, full) = places.offer(&all, None);
        assert_eq!((second.tasks.clone(), full), (vec![task("two"), task("any")], vec![task("one")]));
        let (third, full) = places.offer(&all, None);
        assert_eq!((third.tasks, full), (vec![task("any")], vec![task("one"), task("two")]));
        assert!(places.find(&task("one")).is_err() && places.find(&task("any")).unwrap().is_none());
        // What isn't used is there again.
        let used = places.take(first.place_of(&task("two")).unwrap()).unwrap();
        assert!(!places.are_taken(&task("two")), "a claim has the other one");
        let other = places.take(second.place_of(&task("two")).unwrap()).unwrap();
        assert!(places.are_taken(&task("two")) && !places.are_taken(&task("any")));
        let kept = places.freed(&[task("one")]).now_or_never().unwrap();
        assert!(places.freed(&[task("one"), task("two"), task("any")]).now_or_never().is_none());
        let (with_kept, full) = places.offer(&all, Some(kept));
        assert_eq!((with_kept.tasks, full), (vec![task("one"), task("any")], vec![task("two")]));
        drop(used);
        assert!(!places.are_taken(&task("two")));
        assert_eq!(places.freed(&[task("two")]).now_or_never().unwrap().task, task("two"));
        drop(other);
    }
}
