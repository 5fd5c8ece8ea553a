//! How a command for people ends, and what it says then.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use client::{BuildError, FollowError};

/// How a command ends; of several jobs, the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// All is well.
    Done,
    /// It hadn't ended in the time that `--wait` gave it.
    Late,
    /// A job failed or was cancelled, or the gateway said no.
    Failed,
    /// Nobody answers.
    Unreachable,
    /// A wrong command line; clap ends so too.
    Usage,
    /// Ctrl-C.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 3,
            Exit::Late => 4,
            Exit::Interrupted => 130,
        })
    }
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line asks for what makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The URL or the key can't be used.
    #[error("{0}")]
    Client(#[from] BuildError),
    /// The gateway said no, or nobody answers.
    #[error("{0}{hint}", hint = hint(.0))]
    Call(#[from] client::Error),
    /// Nothing more comes of a job that was followed.
    #[error("{0}")]
    Follow(#[from] FollowError),
    /// What was asked for isn't there.
    #[error("{0}")]
    Absent(String),
    /// A load that came to nothing.
    #[error("{0}{hint}", hint = load_hint(.0))]
    Load(#[from] Box<load::Error>),
    /// Whoever read the output is gone.
    #[error("nobody reads on")]
    Reader,
    /// The place in a feed can't be kept.
    #[error("the place in the feed can't be kept in {path}: {source}", path = .path.display())]
    Kept {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No thread can be started.
    #[error("the runtime can't start: {0}")]
    Runtime(io::Error),
    /// The output can't be written.
    #[error("the output can't be written: {0}")]
    Output(io::Error),
}

impl Failure {
    /// How a command ends by it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::Client(_) => Exit::Usage,
            Self::Call(error) if error.is_retryable() => Exit::Unreachable,
            Self::Follow(error) if error.is_retryable() => Exit::Unreachable,
            Self::Call(client::Error::Unreadable { .. }) => Exit::Unreachable,
            Self::Load(error) => load_exit(error),
            _ => Exit::Failed,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::Reader } else { Self::Output(error) }
    }
}

fn hint(error: &client::Error) -> &'static str {
    match error {
        client::Error::Unreachable { source, .. } if is_refused(&**source) => {
            "\nIs a gateway running there? `jobcast dev` starts one; --url or JOBCAST_URL names another."
        }
        client::Error::Refused(problem) if problem.status == 401 => "\nGive a key by JOBCAST_KEY (or --key).",
        _ => "",
    }
}

fn load_exit(error: &load::Error) -> Exit {
    match error {
        load::Error::Plan(_) | load::Error::Server { .. } | load::Error::Client(_) => Exit::Usage,
        load::Error::Call { source, .. } if source.is_retryable() => Exit::Unreachable,
        load::Error::Leader { .. } | load::Error::Call { source: client::Error::Unreadable { .. }, .. } => {
            Exit::Unreachable
        }
        _ => Exit::Failed,
    }
}

fn load_hint(error: &load::Error) -> &'static str {
    let load::Error::Call { source, .. } = error else { return "" };
    match source.problem().map(client::Problem::name) {
        Some("unknown-task") => "\nGive a task that the gateways know by --task; no worker gets its jobs.",
        Some("missing-scope") => "\nThe key needs the scopes submit, read and work.",
        _ => hint(source),
    }
}

/// Whether nobody listens there: a gateway that isn't running, or an address that is mistyped.
fn is_refused(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}
