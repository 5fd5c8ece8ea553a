//! Why a run came to nothing.

use std::io;
use std::net::SocketAddr;

use crate::hold::{Died, ServerError};

/// A plan that can't be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No gateway.
    #[error("there is no gateway: give a --url")]
    NoUrl,
    /// No streams.
    #[error("--streams is at least 1")]
    NoStreams,
    /// No jobs.
    #[error("--jobs is at least 1")]
    NoJobs,
    /// More jobs than streams.
    #[error("there are more jobs than streams; a job that nobody follows shows nothing")]
    MoreJobs,
    /// More processes than streams.
    #[error("there are more processes than streams")]
    MoreProcesses,
    /// A batch out of range.
    #[error("--batch is 1 to 1000")]
    Batch,
    /// Too short.
    #[error("--duration is at least 1s")]
    Duration,
    /// No rate.
    #[error("--rate is a number of events a second, and 0 for none")]
    Rate,
    /// Jobs would lose their leases.
    #[error(
        "each job needs an event every half hour, or its lease ends: take a higher --rate or fewer --jobs"
    )]
    Silence,
}

/// Why a run came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The plan can't be carried out.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// Fewer files may be open than there are to be streams.
    #[error(
        "{streams} streams need as many open files, and this process may have {limit} in all: that is {possible} streams. \
         Raise the limit (ulimit -n), or share the run among processes: --lead and --processes here, --join in the others"
    )]
    OpenFiles {
        /// The streams of this process.
        streams: usize,
        /// The limit.
        limit: u64,
        /// How many streams are possible.
        possible: u64,
    },
    /// A URL is none, or its name isn't known.
    #[error("{url}: {source}")]
    Server {
        /// The URL.
        url: String,
        /// What is wrong with it.
        source: ServerError,
    },
    /// The URL or the key can't be used.
    #[error("{0}")]
    Client(#[from] client::BuildError),
    /// A gateway said no, or nobody answers.
    #[error("{}", said(.url, .source))]
    Call {
        /// The gateway.
        url: String,
        /// What it said.
        source: client::Error,
    },
    /// The jobs' payload has no JSON form, which is a defect.
    #[error("{source}")]
    Payload {
        /// Why.
        source: serde_json::Error,
    },
    /// It was cut short before streams were opened.
    #[error("cut short before any stream was opened")]
    Stopped,
    /// A gateway accepted an external job, and gave no token to report with.
    #[error("a gateway gave no lease token for an external job: is it an older version?")]
    NoToken,
    /// The streams didn't open.
    #[error("{open} of {wanted} streams opened, and for a minute none more: {why}")]
    NotOpened {
        /// How many opened.
        open: u64,
        /// How many there should be.
        wanted: u64,
        /// What went wrong last.
        why: String,
    },
    /// A process to be watched isn't there.
    #[error("there is no process {0} on this machine, or it isn't ours to watch")]
    NoProcess(u32),
    /// Others can't join.
    #[error("can't listen on {address} for others to join: {source}")]
    Lead {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The leader isn't reached, or was lost.
    #[error("the leader at {address}: {source}")]
    Leader {
        /// Its address.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// A process that had joined was lost.
    #[error("process {number} of the run was lost: {why}")]
    Member {
        /// Its number, from 2.
        number: usize,
        /// What went wrong.
        why: String,
    },
    /// A thread can't be started.
    #[error("a thread can't be started: {0}")]
    Thread(io::Error),
    /// A thread died, which is a defect.
    #[error("{0}")]
    Died(#[from] Died),
    /// The same of the publisher.
    #[error("{0}")]
    PublisherDied(#[from] crate::publish::Died),
}

/// A refusal doesn't say whose it is; the other errors do.
fn said(url: &str, error: &client::Error) -> String {
    match error {
        client::Error::Refused(problem) => format!("{url}: {problem}"),
        other => other.to_string(),
    }
}
