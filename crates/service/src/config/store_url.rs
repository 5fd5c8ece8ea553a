//! The address of the store, in any of its forms, checked before anything connects.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Where Redis is: `redis://`, `rediss://`, `unix://`, `redis-sentinel://…/master-name` or `redis-cluster://…`,
/// the last two also with `rediss-`. A secret: neither `Debug` nor `Display` nor an error shows its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl {
    text: String,
    form: StoreForm,
}

/// How the servers behind a [`StoreUrl`] belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreForm {
    /// One server, over TCP.
    Single,
    /// One server, over a Unix socket.
    Unix,
    /// Sentinels, which name the primary.
    Sentinel,
    /// A Cluster, of which some nodes are given.
    Cluster,
}

/// The forms, as the error names them.
const FORMS: &str = "redis://[user:password@]host:6379[/db], rediss:// (the same with TLS), unix:///path, \
    redis-sentinel://host:26379,host:26379/master-name, redis-cluster://host:6379,host:6379 \
    (rediss-sentinel and rediss-cluster with TLS)";

/// What is wrong with an address. Shows nothing of the address, since it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; allowed: {FORMS}")]
pub struct BadUrl(&'static str);

impl StoreUrl {
    /// Reads an address.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let form = form_of(text)?;
        Ok(Self { text: text.to_owned(), form })
    }

    /// The whole address, credentials included: for connecting, never for showing.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// How the servers belong together.
    pub fn form(&self) -> StoreForm {
        self.form
    }

    /// Is it a Cluster?
    pub fn is_cluster(&self) -> bool {
        self.form == StoreForm::Cluster
    }

    /// The address without its credentials and query.
    pub fn redacted(&self) -> String {
        let (scheme, rest) = self.text.split_once("://").unwrap_or(("redis", ""));
        let rest = rest.split('?').next().unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((_, rest)) if self.form != StoreForm::Unix => format!("{scheme}://***@{rest}"),
            _ => format!("{scheme}://{rest}"),
        }
    }
}

fn form_of(text: &str) -> Result<StoreForm, BadUrl> {
    let (scheme, rest) = text.split_once("://").ok_or(BadUrl("it has no scheme"))?;
    let rest = rest.split('?').next().unwrap_or_default();
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(BadUrl("it has a blank"));
    }
    let (hosts, path) = match rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts).split_once('/') {
        Some((hosts, path)) => (hosts, path),
        None => (rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts), ""),
    };
    let form = match scheme {
        "redis" | "rediss" => StoreForm::Single,
        "unix" | "redis+unix" => StoreForm::Unix,
        "redis-sentinel" | "rediss-sentinel" => StoreForm::Sentinel,
        "redis-cluster" | "rediss-cluster" => StoreForm::Cluster,
        _ => return Err(BadUrl("its scheme is none of ours")),
    };
    match form {
        StoreForm::Unix if rest.is_empty() => return Err(BadUrl("it has no path")),
        StoreForm::Unix => return Ok(form),
        StoreForm::Single if hosts.contains(',') => {
            return Err(BadUrl("it names several hosts, which needs redis-sentinel:// or redis-cluster://"));
        }
        StoreForm::Single if !path.is_empty() && path.parse::<u16>().is_err() => {
            return Err(BadUrl("what follows the host is no database number"));
        }
        StoreForm::Sentinel if path.is_empty() || path.contains('/') => {
            return Err(BadUrl("it doesn't end in /master-name"));
        }
        StoreForm::Cluster if !path.is_empty() => {
            return Err(BadUrl("a Cluster has no path: it has one database"));
        }
        StoreForm::Single | StoreForm::Sentinel | StoreForm::Cluster => {}
    }
    hosts.split(',').try_for_each(check_host)?;
    Ok(form)
}

/// `host`, `host:port` or `[v6]:port`.
fn check_host(host: &str) -> Result<(), BadUrl> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(BadUrl("it has a [ without a ]"))?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    if name.is_empty() {
        return Err(BadUrl("it has an empty host"));
    }
    match port.strip_prefix(':').unwrap_or(if port.is_empty() { "6379" } else { "" }).parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => Err(BadUrl("it has a port that is none from 1 to 65535")),
    }
}

impl Default for StoreUrl {
    fn default() -> Self {
        Self { text: "redis://127.0.0.1:6379".to_owned(), form: StoreForm::Single }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.redacted(), f)
    }
}

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_known() {
        for (text, form, shown) in [
            ("redis://127.0.0.1:6379", StoreForm::Single, "redis://127.0.0.1:6379"),
            ("redis://localhost", StoreForm::Single, "redis://localhost"),
            ("rediss://user:p@ss@h:1/3", StoreForm::Single, "rediss://***@h:1/3"),
            ("redis://:secret@[::1]:6379/0?x=secret", StoreForm::Single, "redis://***@[::1]:6379/0"),
            ("unix:///run/redis.sock?pass=secret", StoreForm::Unix, "unix:///run/redis.sock"),
            ("unix://relative@dir/redis.sock", StoreForm::Unix, "unix://relative@dir/redis.sock"),
            (
                "redis-sentinel://:s@a:26379,b:26379/main",
                StoreForm::Sentinel,
                "redis-sentinel://***@a:26379,b:26379/main",
            ),
            ("rediss-cluster://a:6379,b", StoreForm::Cluster, "rediss-cluster://a:6379,b"),
        ] {
            let url = StoreUrl::parse(text).unwrap();
            assert_eq!((url.form(), url.to_string().as_str(), url.expose()), (form, shown, text));
            assert_eq!(format!("{url:?}"), format!("{shown:?}"));
        }
    }

    #[test]
    fn what_is_no_address_says_why_and_shows_nothing() {
        for (text, why) in [
            ("secret", "it has no scheme"),
            ("http://secret", "its scheme is none of ours"),
            ("redis://", "it has an empty host"),
            ("redis://secret@", "it has an empty host"),
            ("redis://h:99999", "it has a port that is none from 1 to 65535"),
            ("redis://h:", "it has a port that is none from 1 to 65535"),
            ("redis://h:1/secret", "what follows the host is no database number"),
            ("redis://a,b", "it names several hosts, which needs redis-sentinel:// or redis-cluster://"),
            ("redis://[::1", "it has a [ without a ]"),
            ("redis-sentinel://a:1", "it doesn't end in /master-name"),
            ("redis-cluster://a:1/0", "a Cluster has no path: it has one database"),
            ("unix://", "it has no path"),
            ("redis://a b", "it has a blank"),
        ] {
            let error = StoreUrl::parse(text).unwrap_err();
            assert_eq!(error, BadUrl(why), "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
