//! Logs, on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::config::{LogConfig, LogFormat};

/// Why logging can't begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.level` is no filter. Doesn't happen with a loaded configuration.
    #[error("`log.level`: {0}")]
    Level(#[from] ParseError),
    /// The process logs already.
    #[error("logging was begun twice: {0}")]
    Twice(#[from] TryInitError),
}

/// It calls each certificate of a stranger that it refuses an error of ours. Whoever connected is told, and says what is worth saying.
const SILENT: &str = "rustls_platform_verifier=off";

/// Begins logging to stderr, once a process. Spans and fields are kept in both forms; a JSON line has `timestamp`
/// (RFC 3339, UTC), `level`, `target`, `message` and the event's fields at its top.
pub fn init(config: &LogConfig) -> Result<(), LogError> {
    let filter = EnvFilter::try_new(format!("{SILENT},{}", config.level))?;
    let terminal = io::stderr().is_terminal();
    let json = match config.format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let layer = fmt::layer().with_writer(io::stderr).with_ansi(terminal);
    let layer = if json { layer.json().flatten_event(true).boxed() } else { layer.boxed() };
    registry().with(filter).with(layer).try_init()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_begins_to_log_once() {
        let json = LogConfig { format: LogFormat::Json, ..LogConfig::default() };
        init(&json).unwrap();
        tracing::info!(partition = 3, "a line that reads alone");
        assert!(matches!(init(&json), Err(LogError::Twice(_))));
    }
}
