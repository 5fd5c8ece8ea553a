//! `[log]`: what is logged, and how it looks.

use serde::{Deserialize, Deserializer, de};
use tracing_subscriber::EnvFilter;

/// What is logged, and how it looks.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How a line looks: `auto` (text on a terminal, else json), `text` or `json`. Default `auto`.
    pub format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace` or `off`, for all or by module, such as
    /// `info,jobcast_store=debug`. Default `info`.
    #[serde(deserialize_with = "level")]
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned() }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text where stderr is a terminal, else JSON.
    Auto,
    /// A line for people.
    Text,
    /// One JSON object a line.
    Json,
}

fn level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || EnvFilter::try_new(&text).is_err() {
        let allowed = "error, warn, info, debug, trace or off, for all or by module, \
            such as \"info\" or \"info,jobcast_store=debug\"";
        return Err(de::Error::invalid_value(de::Unexpected::Str(&text), &allowed));
    }
    Ok(text)
}
