//! What no single value can get wrong: settings that must fit together. Each rule names both keys, both values
//! and what is allowed.

use std::collections::BTreeMap;

use super::Config;
use super::error::{ConfigError, Place};
use super::key::Key;
use super::source::Sources;
use super::value::show;

/// Two settings that don't fit together.
#[derive(Debug)]
pub(super) struct Clash {
    key: Key,
    other: Key,
    /// What follows the key and its place.
    message: String,
}

impl Clash {
    /// The error, at the place of the one to blame: what was laid over the file rather than what stands in it, and
    /// what stands in it rather than a default.
    pub(super) fn located(self, sources: &Sources) -> ConfigError {
        let rank = |place: &Place| match place {
            Place::Override(_) => 2,
            Place::File { .. } => 1,
            Place::Default => 0,
        };
        let (at, other) = (sources.place(&self.key), sources.place(&self.other));
        let at = if rank(&other) > rank(&at) { other } else { at };
        ConfigError::Clash { at, message: self.message }
    }
}

/// Checks all rules; the first broken one is the error.
pub(super) fn check(config: &Config) -> Result<(), Clash> {
    times(config)?;
    sizes(config)?;
    keys(config)?;
    endpoints(config)
}

fn times(config: &Config) -> Result<(), Clash> {
    let (jobs, stream) = (&config.jobs, &config.stream);
    let key = Key::dotted;
    for (name, value, limit_name, limit) in [
        ("jobs.sweep", jobs.sweep, "jobs.lease", jobs.lease),
        ("jobs.deadline", jobs.deadline, "jobs.max_deadline", jobs.max_deadline),
        ("jobs.retention", jobs.retention, "jobs.max_retention", jobs.max_retention),
        ("jobs.retry_delay", jobs.retry_delay, "jobs.max_retry_delay", jobs.max_retry_delay),
        (
            "webhooks.retry_delay",
            config.webhooks.retry_delay,
            "webhooks.max_retry_delay",
            config.webhooks.max_retry_delay,
        ),
        ("jobs.poll_min", jobs.poll_min, "jobs.poll_max", jobs.poll_max),
        ("stream.heartbeat_jitter", stream.heartbeat_jitter, "stream.heartbeat", stream.heartbeat),
    ] {
        at_most((key(name), value), (key(limit_name), limit), |value| show(*value))?;
    }
    if jobs.heartbeat * 2 > jobs.lease {
        let (heartbeat, lease) = (show(jobs.heartbeat), show(jobs.lease));
        return Err(Clash {
            key: key("jobs.heartbeat"),
            other: key("jobs.lease"),
            message: format!(
                "`jobs.heartbeat` ({heartbeat}) must be at most half of `jobs.lease` ({lease}); \
                 allowed: up to {}",
                show(jobs.lease / 2)
            ),
        });
    }
    let most = (key("jobs.max_deadline"), jobs.max_deadline);
    if let Some(wait) = jobs.queue_timeout {
        at_most((key("jobs.queue_timeout"), wait), most.clone(), |value| show(*value))?;
    }
    for (name, task) in &config.tasks {
        if let Some(wait) = task.retry_delay {
            let key = key("tasks").child(name.as_str()).child("retry_delay");
            let most = (Key::dotted("jobs.max_retry_delay"), jobs.max_retry_delay);
            at_most((key, wait), most, |value| show(*value))?;
        }
        if let Some(wait) = task.queue_timeout {
            let key = key("tasks").child(name.as_str()).child("queue_timeout");
            at_most((key, wait), most.clone(), |value| show(*value))?;
        }
    }
    Ok(())
}

fn sizes(config: &Config) -> Result<(), Clash> {
    let key = Key::dotted;
    let event = (key("jobs.max_event"), config.jobs.max_event);
    at_most(event.clone(), (key("jobs.log_bytes"), config.jobs.log_bytes), ToString::to_string)?;
    at_most(event.clone(), (key("worker.buffer"), config.worker.buffer), ToString::to_string)?;
    for (name, task) in &config.tasks {
        if let Some(bytes) = task.log_bytes {
            let key = key("tasks").child(name.as_str()).child("log_bytes");
            at_most(event.clone(), (key, bytes), ToString::to_string)?;
        }
    }
    let (ring, rings) = (config.stream.ring_log, config.stream.rings);
    at_most((key("stream.ring_log"), ring), (key("stream.rings"), rings), ToString::to_string)
}

fn at_most<T: PartialOrd>(
    (key, value): (Key, T),
    (limit_key, limit): (Key, T),
    show: impl Fn(&T) -> String,
) -> Result<(), Clash> {
    if value <= limit {
        return Ok(());
    }
    let (value, limit) = (show(&value), show(&limit));
    let message = format!("`{key}` ({value}) must be at most `{limit_key}`; allowed: up to {limit}");
    Err(Clash { key, other: limit_key, message })
}

/// One key twice would belong to two owners, or have two sets of scopes.
fn keys(config: &Config) -> Result<(), Clash> {
    let mut seen = BTreeMap::new();
    for (at, one) in config.auth.keys.iter().enumerate() {
        if let Some(first) = seen.insert(one.sha256.as_bytes(), at) {
            let key = |at: usize| Key::dotted("auth").element("keys", at).child("sha256");
            let (key, other) = (key(at), key(first));
            let message = format!("`{key}` is the same as `{other}`; allowed: each key once");
            return Err(Clash { key, other, message });
        }
    }
    Ok(())
}

/// What can't be signed is never sent.
fn endpoints(config: &Config) -> Result<(), Clash> {
    for (owner, has) in &config.webhooks.owners {
        if !has.endpoints.is_empty() && has.secrets.is_empty() {
            let key = |name: &str| Key::dotted("webhooks.owners").child(owner.as_str()).child(name);
            let (key, other) = (key("endpoints"), key("secrets"));
            let message = format!("`{key}` needs `{other}` to sign with; allowed: one or two secrets");
            return Err(Clash { key, other, message });
        }
    }
    Ok(())
}
