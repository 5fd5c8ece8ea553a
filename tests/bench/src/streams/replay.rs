//! Publishes events as `append` would, without its cost, at a steady rate: what a gateway hears of jobs that others work on.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinSet;

use super::schedule::Schedule;
use super::wire::{Log, Wire};

/// How often what is due is sent, unless said otherwise.
const TICK: Duration = Duration::from_millis(5);

/// Logs, and where each stands.
pub(super) struct Replay {
    logs: Vec<Log>,
    next: usize,
    lines: Vec<OwnedWriteHalf>,
    wire: Wire,
    tick: Duration,
    /// Answers, which nobody reads.
    _answers: JoinSet<()>,
}

impl Replay {
    /// Events of these logs go to `address`.
    pub(super) async fn new(address: &str, wire: Wire, logs: Vec<Log>) -> anyhow::Result<Self> {
        let (mut lines, mut answers) = (Vec::new(), JoinSet::new());
        for _ in 0..wire.connections() {
            let mut socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            socket.write_all(&wire.hello()).await?;
            let (mut from, to) = socket.into_split();
            answers.spawn(async move { _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await });
            lines.push(to);
        }
        // What follows must not come with a connection's beginning.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Ok(Self { logs, next: 0, lines, wire, tick: TICK, _answers: answers })
    }

    /// The same, with what is due sent each `tick`.
    pub(super) fn every(self, tick: Duration) -> Self {
        Self { tick, ..self }
    }

    /// Publishes `together` events at once of each log in turn, `rate` events a second in all; how many.
    pub(super) async fn round(&mut self, rate: f64, together: usize) -> anyhow::Result<usize> {
        self.publish(self.logs.len() * together, rate, together).await
    }

    /// The same of so many events.
    pub(super) async fn publish(&mut self, all: usize, rate: f64, together: usize) -> anyhow::Result<usize> {
        let (mut schedule, mut done) = (Schedule::new(rate, self.tick), 0);
        while done < all {
            let due = schedule.next().await;
            // The first at once: where there is only one log nothing is to be waited for.
            let count = due.count + together as f64;
            let mut batches = vec![Vec::new(); self.lines.len()];
            while done < all && (done as f64) < count {
                let number = self.next;
                let batch = &mut batches[number % self.lines.len()];
                for _ in 0..together {
                    self.wire.add(batch, &mut self.logs[number], number, due.at);
                }
                self.next = (number + 1) % self.logs.len();
                done += together;
            }
            for (line, batch) in self.lines.iter_mut().zip(batches) {
                line.write_all(&batch).await?;
            }
        }
        Ok(done)
    }
}
