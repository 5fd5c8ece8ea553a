//! All who hold streams in one run: this process, and those that have joined.

use client::JobId;

use crate::error::Error;
use crate::hold::{Counts, Holder, Holding, Log, Tally};
use crate::join::Member;
use crate::plan::share;

/// All holders of a run.
#[derive(Debug)]
pub(crate) struct Crew {
    here: Part<Holder>,
    there: Vec<Part<Member>>,
}

/// One of them, and which jobs its logs are of, by their places.
#[derive(Debug)]
struct Part<T> {
    holder: T,
    jobs: Vec<usize>,
}

impl Crew {
    /// Gives each its share of the streams, which it opens. `holding` is as it is here, but for the logs.
    pub(crate) async fn start(
        holding: &Holding,
        members: Vec<Member>,
        urls: &[String],
        jobs: &[JobId],
        streams_of_jobs: &[usize],
    ) -> Result<Self, Error> {
        let parts = members.len() + 1;
        let part = |part: usize| {
            let share = share(streams_of_jobs, part, parts);
            let places: Vec<_> = (0..jobs.len()).filter(|&at| share[at] > 0).collect();
            let log =
                |&at: &usize| Log { path: format!("/api/jobs/{}/events", jobs[at]), streams: share[at] };
            (Holding { logs: places.iter().map(log).collect(), ..holding.clone() }, places)
        };
        let mut there = Vec::with_capacity(members.len());
        for (at, mut member) in members.into_iter().enumerate() {
            let (holding, jobs) = part(at + 1);
            member.hold(urls, &holding).await?;
            there.push(Part { holder: member, jobs });
        }
        let (holding, jobs) = part(0);
        let here = Part { holder: Holder::start(holding).map_err(Error::Thread)?, jobs };
        Ok(Self { here, there })
    }

    /// The sum of all counts, each of a moment ago. The error is of a process that was lost.
    pub(crate) fn counts(&self) -> Result<Counts, Error> {
        let here = self.here.holder.counts();
        self.there.iter().try_fold(here, |sum, part| Ok(sum.plus(part.holder.counts()?)))
    }

    /// What went wrong last at an opening, anywhere.
    pub(crate) fn last_error(&self) -> Option<String> {
        let there = || self.there.iter().find_map(|part| part.holder.last_error());
        self.here.holder.last_error().or_else(there)
    }

    /// Cuts all streams, everywhere; they come back at once.
    pub(crate) async fn storm(&mut self) -> Result<(), Error> {
        for part in &mut self.there {
            part.holder.storm().await?;
        }
        self.here.holder.storm();
        Ok(())
    }

    /// Lets go of all streams. `ends` has the last event of each job, 0 where it isn't known. The tally of each process, this
    /// one's first.
    pub(crate) async fn stop(self, ends: &[u64]) -> Result<Vec<Tally>, Error> {
        let of = |jobs: &[usize]| jobs.iter().map(|&at| ends[at]).collect();
        let mut tallies = vec![self.here.holder.stop(of(&self.here.jobs)).await?];
        for part in self.there {
            tallies.push(part.holder.stop(of(&part.jobs)).await?);
        }
        Ok(tallies)
    }
}
