//! How a courier delivers.

use std::time::Duration;

use store::DeadLetterLimits;

/// Times and limits of a courier; the defaults are those of `config/jobcast.toml`, `[webhooks]` and `[courier]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many deliveries are in hand at once, from 1: requests under way (half of them at most to hosts that haven't shown
    /// that they take anything), and up to a quarter that wait a moment for their host.
    /// `courier.concurrency`, default 2,000.
    pub concurrency: usize,
    /// How many requests to one host and port at once, from 1. `courier.per_host`, default 32.
    pub per_host: u32,
    /// How much memory bodies longer than 16 KiB take at once, in bytes: receivers that haven't shown that they take anything have at
    /// most a half of it, and each host an eighth. `courier.bodies`, default 128 MiB.
    pub bodies: usize,
    /// How long requests may go on after a soft stop. `courier.grace`, default 15 s.
    pub grace: Duration,
    /// How long an attempt may take. `webhooks.timeout`, default 15 s.
    pub timeout: Duration,
    /// How many attempts a delivery has, from 1. `webhooks.attempts`, default 5.
    pub attempts: u32,
    /// How long the second attempt waits. `webhooks.retry_delay`, default 5 s.
    pub retry_delay: Duration,
    /// The longest wait between attempts, and the longest that one is put off. `webhooks.max_retry_delay`, default 1 h.
    pub max_retry_delay: Duration,
    /// How old a delivery may get that is not even tried. `webhooks.give_up`, default 1 d.
    pub give_up: Duration,
    /// How many dead letters are kept for each owner. `webhooks.dead_letters`, default 10,000.
    pub dead_letters: u32,
    /// How long a dead letter is kept. `webhooks.dead_letter_retention`, default 7 d.
    pub dead_letter_retention: Duration,
    /// What URLs in bodies begin with: the gateways' public URL, or nothing for paths. `gateway.public_url`, default none.
    pub base_url: String,
}

impl Options {
    /// How dead letters are kept.
    pub(crate) fn dead_letter_limits(&self) -> DeadLetterLimits {
        DeadLetterLimits { most: self.dead_letters, retention: self.dead_letter_retention }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            concurrency: 2000,
            per_host: 32,
            bodies: 128 << 20,
            grace: Duration::from_secs(15),
            timeout: Duration::from_secs(15),
            attempts: 5,
            retry_delay: Duration::from_secs(5),
            max_retry_delay: Duration::from_hours(1),
            give_up: Duration::from_hours(24),
            dead_letters: 10_000,
            dead_letter_retention: Duration::from_hours(7 * 24),
            base_url: String::new(),
        }
    }
}
