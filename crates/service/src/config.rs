//! Configuration: one file, overridden by environment variables and flags, checked as a whole before anything
//! starts. A struct per concern; every field says its meaning, unit, default and range; unknown keys are refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::TaskName;
use serde::Deserialize;

mod auth;
mod check;
mod dev;
mod error;
mod gateway;
mod jobs;
mod key;
mod load;
mod log;
mod overrides;
mod refusal;
mod size;
mod source;
mod store;
mod store_url;
mod stream;
mod tasks;
mod value;
mod webhooks;
mod worker;

pub use auth::{AuthConfig, AuthKey, KeyHash, Scope, TokenKey};
pub use dev::DevConfig;
pub use error::{ConfigError, Place};
pub use gateway::GatewayConfig;
pub use jobs::JobsConfig;
pub use key::Key;
pub use log::{LogConfig, LogFormat};
pub use overrides::{Override, env_overrides};
pub use size::{BadSize, Size};
pub use store::{DurabilityConfig, KeyPrefix, StoreConfig};
pub use store_url::{BadUrl, StoreForm, StoreUrl};
pub use stream::StreamConfig;
pub use tasks::{Command, Runs, TaskConfig};
pub use webhooks::{CourierConfig, OwnerWebhooks, WebhooksConfig};
pub use worker::WorkerConfig;

/// The whole configuration. Its default is what runs without any file: no keys, no tasks.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where Redis is, and how long to wait for it.
    pub store: StoreConfig,
    /// Who may call.
    pub auth: AuthConfig,
    /// Where the gateway listens.
    pub gateway: GatewayConfig,
    /// How events reach clients.
    pub stream: StreamConfig,
    /// Times, limits and sizes of jobs.
    pub jobs: JobsConfig,
    /// How a worker runs attempts.
    pub worker: WorkerConfig,
    /// How the ends of jobs are told.
    pub webhooks: WebhooksConfig,
    /// How a courier tells them.
    pub courier: CourierConfig,
    /// The tasks, by name.
    pub tasks: BTreeMap<TaskName, TaskConfig>,
    /// How `jobcast dev` sets itself up.
    pub dev: DevConfig,
    /// What is logged.
    pub log: LogConfig,
}

/// A configuration with where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, checked; the commands of its tasks, `worker.input_dir` and `webhooks.ca_file` are absolute.
    pub config: Config,
    /// The file it came from; none where there was none and the built-in defaults hold.
    pub file: Option<PathBuf>,
    /// What relative paths in it start from, absolute: the file's folder, else the current one. Programs of tasks
    /// are best started with this as their current folder.
    pub dir: PathBuf,
}

impl Config {
    /// Where the file is looked for when none is named.
    pub const DEFAULT_FILE: &str = "config/jobcast.toml";

    /// Reads the file at `path` (without one, `./config/jobcast.toml` if there is one, else the built-in
    /// defaults), then lays `overrides` over it, a later one over an earlier one, then checks the whole.
    ///
    /// The first thing that is wrong is the error, with the place it was set in and what is allowed there.
    pub fn load(path: Option<&Path>, overrides: &[Override]) -> Result<Loaded, ConfigError> {
        load::load(path, overrides)
    }
}

#[cfg(test)]
mod file_test;
#[cfg(test)]
mod tests;
