//! The publishing thread.

use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::interval;

use super::clock::Clock;
use super::lane::Lane;
use super::pool::{Pool, carry};
use super::{Command, Published, Publishing, Sent};

/// How often it is told how far it is.
const TELL: Duration = Duration::from_millis(25);

/// The runtime, made by who starts the thread, who hears if it can't be.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Publishes until it is asked to stop, or nobody can ask any more.
pub(super) fn run(
    runtime: &Runtime,
    publishing: Publishing,
    sent: Arc<Mutex<Sent>>,
    commands: UnboundedReceiver<Command>,
) {
    LocalSet::new().block_on(runtime, publish(publishing, sent, commands));
}

async fn publish(publishing: Publishing, sent: Arc<Mutex<Sent>>, mut commands: UnboundedReceiver<Command>) {
    let connections = publishing.connections;
    let pool = Rc::new(Pool::new(publishing));
    let mut carriers = JoinSet::new();
    for number in 0..connections {
        carriers.spawn_local(carry(Rc::clone(&pool), number));
    }
    let (tell, mut due) = unbounded_channel();
    let mut clock: Option<Clock> = None;
    let mut tells = interval(TELL);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None => return,
                Some(Command::Run(schedule)) => match Clock::start(schedule, tell.clone()) {
                    Ok(started) => clock = Some(started),
                    Err(error) => pool.error(error.to_string()),
                },
                Some(Command::Halt) => drop(clock.take()),
                Some(Command::End) => pool.end_all(),
                Some(Command::Stop(answer)) => {
                    let _ = answer.send(published(&pool));
                    return;
                }
            },
            Some(due) = due.recv() => {
                pool.due(due);
                continue;
            }
            _ = tells.tick() => {}
        }
        *sent.lock().unwrap_or_else(PoisonError::into_inner) = pool.state.borrow().sent;
    }
}

fn published(pool: &Pool) -> Published {
    let state = pool.state.borrow();
    Published {
        events: state.lanes.iter().map(|lane| lane.events).sum(),
        ends: state.lanes.iter().map(Lane::last).collect(),
        lost_jobs: state.lost_jobs,
        reports: state.reports,
        late: state.late.counted(),
        answered: state.answered.counted(),
        errors: state.errors.clone(),
    }
}
