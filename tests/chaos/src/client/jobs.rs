//! What is known of jobs while the run goes on: which were accepted, who follows them, which have ended.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::dice::Dice;

/// One accepted job.
#[derive(Clone, Debug)]
pub struct Known {
    /// Its id.
    pub id: String,
    /// Its owner's number in [`crate::world::KEYS`].
    pub tenant: usize,
    followers: u32,
    ended: bool,
}

/// All accepted jobs, shared by who submits and who follows.
#[derive(Debug, Default)]
pub struct Work(Mutex<Jobs>);

#[derive(Debug, Default)]
struct Jobs {
    all: Vec<Known>,
    places: HashMap<String, usize>,
    /// Those that haven't ended, as far as is known; oldest first.
    open: Vec<usize>,
}

impl Work {
    /// A job was accepted.
    pub fn accepted(&self, id: &str, tenant: usize) {
        let mut jobs = self.0.lock();
        if jobs.places.contains_key(id) {
            return;
        }
        let place = jobs.all.len();
        jobs.all.push(Known { id: id.to_owned(), tenant, followers: 0, ended: false });
        jobs.places.insert(id.to_owned(), place);
        jobs.open.push(place);
    }

    /// Somebody saw its end, or that it is gone.
    pub fn ended(&self, id: &str) {
        let mut jobs = self.0.lock();
        let Some(&place) = jobs.places.get(id) else { return };
        if !std::mem::replace(&mut jobs.all[place].ended, true) {
            jobs.open.retain(|&open| open != place);
        }
    }

    /// It hasn't ended after all: Redis lost the end.
    pub fn reopened(&self, id: &str) {
        let mut jobs = self.0.lock();
        let Some(&place) = jobs.places.get(id) else { return };
        if std::mem::replace(&mut jobs.all[place].ended, false) {
            jobs.open.push(place);
        }
    }

    /// All that were accepted.
    pub fn all(&self) -> Vec<Known> {
        self.0.lock().all.clone()
    }

    /// The jobs that nobody has seen end.
    pub fn open(&self) -> Vec<Known> {
        let jobs = self.0.lock();
        jobs.open.iter().map(|&place| jobs.all[place].clone()).collect()
    }

    /// How many were accepted, and how many of them are known to have ended.
    pub fn counts(&self) -> (usize, usize) {
        let jobs = self.0.lock();
        (jobs.all.len(), jobs.all.len() - jobs.open.len())
    }

    /// Any job, ended or not.
    pub fn any(&self, dice: &mut Dice) -> Option<Known> {
        let jobs = self.0.lock();
        if jobs.all.is_empty() { None } else { Some(jobs.all[dice.index(jobs.all.len())].clone()) }
    }

    /// Up to `count` different open jobs of one owner, rather those that few follow; fewer or none where there are no more.
    pub fn choose(&self, dice: &mut Dice, count: usize) -> Vec<Known> {
        let mut jobs = self.0.lock();
        if jobs.open.is_empty() {
            return Vec::new();
        }
        let mut first = jobs.open[dice.index(jobs.open.len())];
        for _ in 0..2 {
            let other = jobs.open[dice.index(jobs.open.len())];
            if jobs.all[other].followers < jobs.all[first].followers {
                first = other;
            }
        }
        let tenant = jobs.all[first].tenant;
        let mut chosen = vec![first];
        let mut others: Vec<_> = jobs
            .open
            .iter()
            .copied()
            .filter(|&place| place != first && jobs.all[place].tenant == tenant)
            .collect();
        while chosen.len() < count && !others.is_empty() {
            chosen.push(others.swap_remove(dice.index(others.len())));
        }
        let mut known = Vec::new();
        for place in chosen {
            jobs.all[place].followers += 1;
            known.push(jobs.all[place].clone());
        }
        known
    }
}
