//! The holding thread: its runtime, its tasks, and what it is asked to do.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{MissedTickBehavior, interval};

use super::follow::{Held, follow};
use super::judge::Stage;
use super::tally::{Shared, Tally};
use super::{Command, Holding};
use crate::clock::{now_us, thread_cpu_us};

/// How often the counts are told.
const TELL: Duration = Duration::from_millis(25);
/// How many of these make a second.
const TELLS: u32 = 40;

/// The runtime, made by who starts the thread, who hears if it can't be.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Holds the streams until it is asked to stop, or nobody can ask any more.
pub(super) fn run(
    runtime: &Runtime,
    holding: Holding,
    shared: Arc<Shared>,
    commands: UnboundedReceiver<Command>,
) {
    LocalSet::new().block_on(runtime, hold(holding, shared, commands));
}

async fn hold(holding: Holding, shared: Arc<Shared>, mut commands: UnboundedReceiver<Command>) {
    let every = holding.every;
    let held = Rc::new(Held::new(holding, Arc::clone(&shared)));
    let mut tasks = JoinSet::new();
    for index in 0..held.streams.len() {
        let wait = every.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
        tasks.spawn_local(follow(Rc::clone(&held), index, wait));
    }
    let mut tells = interval(TELL);
    tells.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut told = 0;
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Storm) => storm(&held, &mut tasks).await,
                Some(Command::Stop(ends, answer)) => {
                    tasks.shutdown().await;
                    let _ = answer.send(tally(&held, &ends));
                    return;
                }
            },
            _ = tells.tick() => {
                told += 1;
                let mut tally = held.tally.borrow_mut();
                tally.counts.cpu_us = thread_cpu_us();
                shared.tell(tally.counts);
                if told % TELLS == 0 {
                    tally.tick(now_us() / 1_000_000);
                }
            }
        }
    }
}

/// Cuts all streams that haven't ended, and opens them again.
async fn storm(held: &Rc<Held>, tasks: &mut JoinSet<()>) {
    tasks.shutdown().await;
    held.open_all_at_once();
    for (index, stream) in held.streams.iter().enumerate() {
        if stream.borrow().stage < Stage::Ended {
            tasks.spawn_local(follow(Rc::clone(held), index, Duration::ZERO));
        }
    }
}

fn tally(held: &Held, ends: &[u64]) -> Tally {
    let mut growing = held.tally.borrow_mut();
    growing.counts.cpu_us = thread_cpu_us();
    let mut tally = growing.tally(now_us() / 1_000_000);
    let missing = held.streams.iter().map(|stream| {
        let stream = stream.borrow();
        stream.missing(ends.get(stream.log).copied().unwrap_or(0))
    });
    let (mut lost, mut with_loss) = (0, 0);
    for missing in missing {
        lost += missing;
        with_loss += u64::from(missing > 0);
    }
    tally.counts.lost = lost;
    tally.streams_with_loss = with_loss;
    tally
}
