//! What goes between the processes of a run: a line of JSON each.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::hold::{Counts, Tally};

/// The version of these messages; both sides must have the same.
pub(super) const VERSION: u32 = 1;

/// From the leader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Order {
    /// Open these streams.
    Hold {
        /// The gateways.
        urls: Vec<String>,
        /// Each log's path, and its streams.
        logs: Vec<(String, usize)>,
        /// How many are opened at once.
        opening: usize,
        /// The time from one opening to the next, in microseconds.
        every_us: u64,
    },
    /// Cut all, and open them again.
    Storm,
    /// Let go, and send the tally, of logs that end so.
    Stop {
        /// The last event of each log.
        ends: Vec<u64>,
    },
}

/// To the leader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Word {
    /// The first word.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// How many streams can be held; `None` for no limit.
        possible: Option<u64>,
    },
    /// How it goes.
    Counts {
        /// So far.
        counts: Counts,
        /// What went wrong last.
        last_error: Option<String>,
    },
    /// It can't go on.
    Failed {
        /// Why.
        why: String,
    },
    /// All that was seen; the last word.
    Tally(Box<Tally>),
}

/// Sends one message.
pub(super) async fn send(to: &mut OwnedWriteHalf, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// Reads one message; the connection's end is an error.
pub(super) async fn receive<T: DeserializeOwned>(from: &mut BufReader<OwnedReadHalf>) -> io::Result<T> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}
