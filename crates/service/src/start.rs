//! How a process begins: logs first, so that whatever goes wrong next is heard, then the signals.

use std::io;

use crate::config::LogConfig;
use crate::logging::{self, LogError};
use crate::stop::Shutdown;

/// Why a process can't begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Logging can't begin.
    #[error(transparent)]
    Log(#[from] LogError),
    /// SIGTERM and SIGINT can't be listened to.
    #[error("the signals SIGTERM and SIGINT can't be listened to: {0}")]
    Signals(#[source] io::Error),
}

/// Begins logging and listens to signals; once a process, within a Tokio runtime. What comes next is the roles',
/// with the stop that this gives.
pub fn start(log: &LogConfig) -> Result<Shutdown, StartError> {
    logging::init(log)?;
    Shutdown::install().map_err(StartError::Signals)
}
