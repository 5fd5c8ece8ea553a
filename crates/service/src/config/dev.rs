//! `[dev]`: everything in one process, for trying out.

use std::path::PathBuf;

use serde::Deserialize;

use super::value::number;

/// How `jobcast dev` sets itself up.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DevConfig {
    /// The folder of the private Redis server's data; from the current folder if relative. Default `.jobcast`.
    pub dir: PathBuf,
    /// The path of `redis-server` or `valkey-server`. Default none: the first one found in `PATH`.
    pub server: Option<PathBuf>,
    /// How many gateways run, on consecutive ports from `gateway.listen`. Default 1, 1 to 16.
    #[serde(deserialize_with = "number::<_, _, 1, 16>")]
    pub gateways: u16,
}

impl Default for DevConfig {
    fn default() -> Self {
        Self { dir: PathBuf::from(".jobcast"), server: None, gateways: 1 }
    }
}
