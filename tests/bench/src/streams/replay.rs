//! Publishes events as `append` would, without its cost, at a steady rate: what a gateway hears of jobs that others work on.

use std::fmt::Write as _;
use std::time::Duration;

use model::{Cursor, JobId};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};

/// How often what is due is sent.
const TICK: Duration = Duration::from_millis(5);

/// Where a log's events come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum To {
    /// Redis' channels.
    Redis,
    /// The floor, which wants numbers of logs.
    Floor,
}

/// Logs, and where each stands.
pub(super) struct Replay {
    logs: Vec<(JobId, Cursor)>,
    next: usize,
    socket: TcpStream,
    to: To,
}

impl Replay {
    /// Events of these logs go to `address`.
    pub(super) async fn new(address: &str, to: To, logs: Vec<(JobId, Cursor)>) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        if to == To::Floor {
            socket.write_all(b"FEED").await?;
            // What follows must not come with it.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Self { logs, next: 0, socket, to })
    }

    /// Publishes `together` events at once of each log in turn, `rate` events a second in all; how many.
    pub(super) async fn round(&mut self, rate: f64, together: usize) -> anyhow::Result<usize> {
        let (mut ticks, began, mut done) = (interval(TICK), Instant::now(), 0);
        let mut answers = vec![0; 64 * 1024];
        let all = self.logs.len() * together;
        while done < all {
            ticks.tick().await;
            // The first at once: where there is only one log nothing is to be waited for.
            let due = began.elapsed().as_secs_f64() * rate + together as f64;
            let mut batch = Vec::new();
            while done < all && (done as f64) < due {
                for _ in 0..together {
                    self.add(&mut batch);
                }
                self.next = (self.next + 1) % self.logs.len();
                done += together;
            }
            self.socket.write_all(&batch).await?;
            while self.socket.try_read(&mut answers).is_ok_and(|read| read > 0) {}
        }
        Ok(done)
    }

    fn add(&mut self, batch: &mut Vec<u8>) {
        if self.to == To::Floor {
            batch.extend(u16::try_from(self.next).expect("few logs").to_le_bytes());
            return;
        }
        let (job, at) = &mut self.logs[self.next];
        let seq = at.seq + 1;
        let entry = format!(
            "{seq} {:06x} {} progress {{\"jobId\":\"{job}\",\"seq\":{seq},\"type\":\"progress\",\
             \"at\":\"2026-11-23T10:00:00.123Z\",\"attempt\":1,\"progress\":42.5,\"message\":\"encoding\"}}",
            seq & 0xff_ffff,
            at.mark
        );
        let channel = format!("jc:{{0.325}}:live:{job}");
        let mut command = String::new();
        write!(command, "*3\r\n$8\r\nSPUBLISH\r\n${}\r\n{channel}\r\n", channel.len()).expect("room");
        write!(command, "${}\r\n{entry}\r\n", entry.len()).expect("room");
        batch.extend(command.into_bytes());
        at.seq = seq;
        at.mark = format!("{:06x}", seq & 0xff_ffff).parse().expect("a mark");
    }
}
