//! The sweeper: every role runs one, so that time passes even with no worker alive.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::{Partition, Token};
use tokio_util::sync::CancellationToken;

use crate::{Store, StoreError, Swept};

/// How a process sweeps.
#[derive(Clone, Copy, Debug)]
pub struct SweepOptions {
    /// How often each partition is swept.
    pub interval: Duration,
    /// The usual length of a lease: after Redis was away no lease expires for that long.
    pub lease: Duration,
}

/// Sweeps all partitions, each `interval`, until `stop`; where nothing lives, every other time. Only one process at a time
/// sweeps a partition. The others look in turn whether it still does, and are told when it is theirs ([`Plan`]). Redis being
/// away is nothing special: the sweep goes on when it is back. A partition whose server doesn't answer holds up no other.
pub async fn sweep_until(store: Store, options: SweepOptions, stop: CancellationToken) {
    let holder = Token::from_random(rand::random()).to_string();
    let mut ticks = tokio::time::interval(options.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sweeping = FuturesUnordered::new();
    let mut plan = Plan::default();
    let all = async {
        loop {
            tokio::select! {
                Some((partition, swept)) = sweeping.next() => match swept {
                    Ok((swept, pause)) => plan.swept(partition, swept, pause, &options),
                    Err(error) => {
                        tracing::debug!(%partition, %error, "the sweep will be tried again");
                        plan.failed(partition);
                    }
                },
                _ = ticks.tick() => match store.partitions().await {
                    Ok(partitions) => {
                        let now = Instant::now() + options.interval / 2;
                        let due = partitions.filter(|&partition| plan.begin(partition, now));
                        sweeping.extend(due.map(|partition| sweep_one(&store, partition, &holder, &options)));
                    }
                    Err(error) => tracing::debug!(%error, "the sweep will be tried again"),
                },
            }
        }
    };
    stop.run_until_cancelled(all).await;
}

/// When this process goes to each partition next. Those that others sweep are looked at seldom, so that a hundred idle processes
/// cost Redis little. Since they all have turns of their own, one of them comes soon after the one that swept has died; and
/// most of what that one did is found orphaned then, so all that it did is looked at.
#[derive(Default)]
struct Plan(HashMap<Partition, Next>);

#[derive(Clone, Copy)]
enum Next {
    /// Its sweep is under way; whether another process had it before.
    Sweeping { was_held: bool },
    /// Ours, or nobody's as far as we know.
    Sweep(Instant),
    /// Another process sweeps it.
    Look(Instant),
}

impl Plan {
    /// Whether `partition` is to be swept `now`; it counts as under way then.
    fn begin(&mut self, partition: Partition, now: Instant) -> bool {
        let was_held = match self.0.get(&partition) {
            None => false,
            Some(&Next::Sweep(at)) if at <= now => false,
            Some(&Next::Look(at)) if at <= now => true,
            Some(_) => return false,
        };
        self.0.insert(partition, Next::Sweeping { was_held });
        true
    }

    fn swept(&mut self, partition: Partition, swept: Swept, pause: Duration, options: &SweepOptions) {
        let now = Instant::now();
        let took_over = matches!(self.0.get(&partition), Some(Next::Sweeping { was_held: true }));
        let next = match swept {
            Swept::Held(_) => Next::Look(now + scattered(pause, options.interval)),
            Swept::Changed(_) | Swept::More(_) => Next::Sweep(now + pause),
        };
        self.0.insert(partition, next);
        if took_over && matches!(next, Next::Sweep(_)) {
            for next in self.0.values_mut() {
                if let Next::Look(at) = next {
                    *at = now;
                }
            }
        }
    }

    fn failed(&mut self, partition: Partition) {
        self.0.insert(partition, Next::Sweep(Instant::now()));
    }
}

/// Turns that are far off are scattered, so that a process doesn't come to all partitions at the same time.
fn scattered(pause: Duration, interval: Duration) -> Duration {
    let near = interval * 6;
    pause.min(near) + pause.saturating_sub(near).mul_f64(rand::random_range(0.0..2.0))
}

async fn sweep_one(
    store: &Store,
    partition: Partition,
    holder: &str,
    options: &SweepOptions,
) -> (Partition, Result<(Swept, Duration), StoreError>) {
    loop {
        // More is waiting where a sweep did as much as it may; others get their turn in Redis between the calls.
        match store.sweep_and_plan(partition, holder, options).await {
            Ok((Swept::More(_), _)) => {}
            swept => return (partition, swept),
        }
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use testkit::redis::RedisServer;

    use super::*;
    use crate::{Options, Target};

    /// Whatever their number: with one partition there is no other one at which they would find the holder gone.
    #[tokio::test]
    async fn one_of_many_looks_each_second_or_two_at_a_partition_that_is_alone() {
        let server = RedisServer::start().await;
        let store = Store::new(Options::new(Target::parse(&server.url()).unwrap()));
        let options = SweepOptions { interval: Duration::from_secs(1), lease: Duration::from_secs(30) };
        let start = 1_795_514_400_000;
        let mut turns: Vec<(u64, String)> = (0..30).map(|n| (start, n.to_string())).collect();
        let mut looks = Vec::new();
        for now in (start..start + 300_000).step_by(500) {
            let store = store.at(Timestamp::from_millis(now));
            store.sweep(Partition(0), "the holder", &options).await.unwrap();
            for (turn, name) in turns.iter_mut().filter(|(turn, _)| *turn <= now) {
                let (swept, pause) = store.sweep_and_plan(Partition(0), name, &options).await.unwrap();
                assert!(matches!(swept, Swept::Held(_)));
                *turn = now + u64::try_from(pause.as_millis()).unwrap();
                looks.push(now);
            }
        }
        looks.retain(|&at| at > start + 200_000);
        let gaps: Vec<_> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.iter().all(|&gap| gap <= 2000), "{gaps:?}");
        assert!((80..=120).contains(&looks.len()), "{}: and no more of them look than that", looks.len());
    }

    #[test]
    fn who_finds_one_partition_orphaned_looks_at_all() {
        let options = SweepOptions { interval: Duration::from_secs(1), lease: Duration::from_secs(30) };
        let (mut plan, now) = (Plan::default(), Instant::now());
        let held = Swept::Held(Timestamp::from_millis(1));
        let [a, b] = [Partition(0), Partition(1)];
        for partition in [a, b] {
            assert!(plan.begin(partition, now));
            assert!(!plan.begin(partition, now), "it is under way");
            plan.swept(partition, held, Duration::from_secs(4), &options);
            assert!(!plan.begin(partition, now + Duration::from_secs(3)));
        }
        let later = Instant::now() + Duration::from_mins(1);
        assert!(plan.begin(a, later));
        plan.swept(a, Swept::Changed(0), Duration::from_secs(2), &options);
        assert!(plan.begin(b, Instant::now()), "the one that swept is dead");
        assert!(!plan.begin(a, now) && plan.begin(a, later));
        plan.failed(a);
        assert!(plan.begin(a, Instant::now()));
    }
}
