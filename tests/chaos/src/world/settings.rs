//! The roles' configuration: times so short that a minute holds many cycles of everything.

use std::fmt::Write;

use crate::record::Durability;

/// Who submits and follows.
#[derive(Clone, Copy, Debug)]
pub struct Tenant {
    /// Its name.
    pub owner: &'static str,
    /// Its key.
    pub key: &'static str,
    /// `printf %s "$KEY" | sha256sum`.
    sha256: &'static str,
}

/// All of them.
pub const KEYS: [Tenant; 4] = [
    Tenant {
        owner: "ada",
        key: "chaos-key-ada",
        sha256: "efae02d619da3ab12ae0f7dcd9224f89df3cdda603d17d8bf1d23ca7d8070da4",
    },
    Tenant {
        owner: "bob",
        key: "chaos-key-bob",
        sha256: "281d963f3513dc224ea87f406cfd38905f139f880fcc25b98a39145b5b9abc56",
    },
    Tenant {
        owner: "cyd",
        key: "chaos-key-cyd",
        sha256: "0e2531896833f223b95134317c391c2f56ce311690ce4cdff5e65b738cf23870",
    },
    Tenant {
        owner: "dan",
        key: "chaos-key-dan",
        sha256: "a96f444f150314fa72d9cc047de5954ae6ace7d2e35cfaa06dc87fd5a5c4cedc",
    },
];

/// What differs between runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `stream.reconcile`.
    pub reconcile: &'static str,
    /// `stream.max_age`.
    pub max_age: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self { reconcile: "3s", max_age: "15s" }
    }
}

/// What webhooks are signed with.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// How many entries the log of a job of the task `capped` holds.
pub const CAP: u64 = 12;

impl Settings {
    /// The file for a role that reaches Redis at `url`.
    pub(super) fn config(&self, url: &str, durability: Durability) -> String {
        let Self { reconcile, max_age } = self;
        let mut toml = format!(
            r#"
[store]
url = {url:?}
response_timeout = "1s"
connect_timeout = "1s"
patience = "3s"
{durability}
[gateway]
idle_timeout = "75s"
[stream]
heartbeat = "2s"
heartbeat_jitter = "500ms"
retry = "500ms"
linger = "1s"
reconcile = "{reconcile}"
ping = "1s"
max_age = "{max_age}"
stall = "10s"
drain = "2s"
ring_log = "8 KiB"
page = "4 KiB"
[jobs]
lease = "5s"
heartbeat = "1s"
sweep = "500ms"
max_attempts = 100
[worker]
concurrency = 60
grace = "1s"
[webhooks]
timeout = "1s"
attempts = 20
retry_delay = "100ms"
max_retry_delay = "2s"
allow = ["127.0.0.1"]
[courier]
grace = "1s"
[tasks.counted]
[tasks.capped]
log_events = {CAP}
[log]
format = "text"
level = "info,worker::attempt=debug"
"#,
            durability = match durability {
                Durability::Local => "",
                Durability::Replicated => "durability = \"replicated\"\nreplicas = 1\n",
            }
        );
        for Tenant { owner, sha256, .. } in &KEYS {
            let _ = writeln!(
                toml,
                "[[auth.keys]]\nowner = {owner:?}\nsha256 = {sha256:?}\nscopes = [\"submit\", \"read\"]\n\
                 [webhooks.owners.{owner}]\nsecrets = [{SECRET:?}]"
            );
        }
        toml
    }
}
