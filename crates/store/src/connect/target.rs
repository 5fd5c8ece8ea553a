//! Where Redis is, read from a URL.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use super::address::Address;

/// The forms, as the error names them.
const FORMS: &str = "redis://[user:password@]host[:6379][/db], rediss:// (the same with TLS), unix:///path[?db=0&user=…&pass=…], \
    redis-sentinel://[user:password@]host[:26379],host/master-name, redis-cluster://[user:password@]host[:6379],host \
    (rediss-sentinel and rediss-cluster with TLS)";

/// What is wrong with a URL. Shows nothing of the URL, since it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address of Redis can't be used: {0}; allowed: {FORMS}")]
pub struct TargetError(String);

/// Where Redis is, and who we are to it. Shown without its credentials.
#[derive(Clone)]
pub struct Target {
    pub(crate) kind: Kind,
    /// The server; the Sentinels; some nodes of the Cluster. Never empty.
    pub(crate) servers: Vec<Address>,
    pub(crate) login: Login,
}

/// How the servers belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// One server.
    Single,
    /// Sentinels, which name the primary of this name.
    Sentinel { master: String },
    /// A Cluster.
    Cluster,
}

/// Who we are to a server, and which of its databases we use.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Login {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) db: i64,
}

impl Target {
    /// Reads a URL of one of the forms that [`TargetError`] lists. Does no I/O.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        match scheme {
            "redis" | "rediss" | "unix" | "redis+unix" => Self::single(url, rest),
            "redis-sentinel" | "rediss-sentinel" => Self::sentinel(scheme, rest),
            "redis-cluster" | "rediss-cluster" => Self::cluster(scheme, rest),
            _ => Err(wrong("its scheme is none of ours")),
        }
    }

    /// Is it a Cluster?
    pub fn is_cluster(&self) -> bool {
        self.kind == Kind::Cluster
    }

    fn single(url: &str, rest: &str) -> Result<Self, TargetError> {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if authority.rsplit('@').next().is_some_and(|hosts| hosts.contains(',')) {
            return Err(wrong("it names several hosts, which needs redis-sentinel:// or redis-cluster://"));
        }
        let info = read(url)?;
        Ok(Self { kind: Kind::Single, servers: vec![address(&info)?], login: login(&info) })
    }

    fn sentinel(scheme: &str, rest: &str) -> Result<Self, TargetError> {
        let (hosts, master) = rest.rsplit_once('/').ok_or_else(|| wrong("it doesn't end in /master-name"))?;
        if master.is_empty() || master.contains(['?', '#', '@']) {
            return Err(wrong("it doesn't end in /master-name"));
        }
        let (servers, login) = several(scheme, hosts, 26_379)?;
        Ok(Self { kind: Kind::Sentinel { master: master.to_owned() }, servers, login })
    }

    fn cluster(scheme: &str, rest: &str) -> Result<Self, TargetError> {
        let hosts = rest.strip_suffix('/').unwrap_or(rest);
        if hosts.rsplit('@').next().is_some_and(|hosts| hosts.contains(['/', '?', '#'])) {
            return Err(wrong("a Cluster has no path and no options: it has one database"));
        }
        let (servers, login) = several(scheme, hosts, 6379)?;
        Ok(Self { kind: Kind::Cluster, servers, login })
    }
}

fn wrong(why: impl Into<String>) -> TargetError {
    TargetError(why.into())
}

/// Reads one server's URL as redis-rs does.
fn read(url: &str) -> Result<ConnectionInfo, TargetError> {
    // redis-rs' sentences name the part that is wrong, and show at most a database number or a protocol's name.
    url.into_connection_info().map_err(|error| wrong(error.to_string()))
}

fn address(info: &ConnectionInfo) -> Result<Address, TargetError> {
    match info.addr().clone() {
        ConnectionAddr::Tcp(host, port) => Ok(Address::Tcp { host, port, tls: false }),
        ConnectionAddr::TcpTls { insecure: true, .. } => Err(wrong("#insecure would accept any certificate")),
        ConnectionAddr::TcpTls { host, port, .. } => Ok(Address::Tcp { host, port, tls: true }),
        ConnectionAddr::Unix(path) => Ok(Address::Unix(path)),
        _ => Err(wrong("its kind of address is not known here")),
    }
}

fn login(info: &ConnectionInfo) -> Login {
    let info = info.redis_settings();
    Login {
        user: info.username().map(str::to_owned),
        password: info.password().map(str::to_owned),
        db: info.db(),
    }
}

/// The servers of `[user:password@]host[:port],host[:port]`, each read as a URL of its own.
fn several(scheme: &str, hosts: &str, port: u16) -> Result<(Vec<Address>, Login), TargetError> {
    let scheme = if scheme.starts_with("rediss") { "rediss" } else { "redis" };
    let (user, hosts) =
        hosts.rsplit_once('@').map_or(("", hosts), |(_, rest)| (&hosts[..hosts.len() - rest.len()], rest));
    let mut servers = Vec::new();
    let mut who = Login::default();
    for host in hosts.split(',') {
        if host.is_empty() {
            return Err(wrong("it has an empty host"));
        }
        let port = if has_port(host) { String::new() } else { format!(":{port}") };
        let info = read(&format!("{scheme}://{user}{host}{port}"))?;
        servers.push(address(&info)?);
        who = login(&info);
    }
    Ok((servers, who))
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(']').map_or(host, |(_, after)| after).contains(':')
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (&self.kind, self.servers.first()) {
            (_, Some(Address::Unix(_))) => "unix",
            (Kind::Single, Some(Address::Tcp { tls: true, .. })) => "rediss",
            (Kind::Single, _) => "redis",
            (Kind::Sentinel { .. }, _) => "redis-sentinel",
            (Kind::Cluster, _) => "redis-cluster",
        };
        write!(f, "{scheme}://")?;
        if self.login != (Login { db: self.login.db, ..Login::default() }) {
            f.write_str("***@")?;
        }
        for (n, server) in self.servers.iter().enumerate() {
            write!(f, "{}{server}", if n == 0 { "" } else { "," })?;
        }
        match &self.kind {
            Kind::Sentinel { master } => write!(f, "/{master}"),
            Kind::Single if self.login.db != 0 => write!(f, "/{}", self.login.db),
            Kind::Single | Kind::Cluster => Ok(()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_without_credentials() {
        for (url, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://localhost", "redis://localhost:6379"),
            ("rediss://user:secret@h:1/3", "rediss://***@h:1/3"),
            ("redis://:secret@[::1]/0", "redis://***@[::1]:6379"),
            ("unix:///run/redis.sock?pass=secret", "unix://***@/run/redis.sock"),
            ("redis+unix:///run/redis.sock?db=2", "unix:///run/redis.sock/2"),
            ("redis-sentinel://:secret@a,b:1/main", "redis-sentinel://***@a:26379,b:1/main"),
            ("redis-sentinel://[::1],a/main", "redis-sentinel://[::1]:26379,a:26379/main"),
            ("redis-cluster://u:secret@a:7000,b", "redis-cluster://***@a:7000,b:6379"),
            ("redis-cluster://a:7000/", "redis-cluster://a:7000"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!(target.to_string(), shown, "{url}");
            assert!(!format!("{target:?}").contains("secret"));
        }
    }

    #[test]
    fn credentials_and_tls_reach_every_server() {
        let target = Target::parse("rediss-cluster://me:p%40ss@a,b").unwrap();
        assert!(target.is_cluster());
        assert_eq!(target.login.user.as_deref(), Some("me"));
        assert_eq!(target.login.password.as_deref(), Some("p@ss"));
        assert!(target.servers.iter().all(|server| matches!(server, Address::Tcp { tls: true, .. })));
    }

    #[test]
    fn what_is_no_address_says_why_and_shows_nothing() {
        for (url, why) in [
            ("secret", "no scheme"),
            ("http://secret", "none of ours"),
            ("redis://:secret@a,b", "several hosts"),
            ("redis://h/secret", "Invalid database number"),
            ("redis://:secret@", "did not parse"),
            ("redis-sentinel://:secret@a:1", "/master-name"),
            ("redis-sentinel://:secret@a:1/", "/master-name"),
            ("redis-cluster://:secret@a/1", "one database"),
            ("redis-cluster://:secret@a,,b", "empty host"),
            ("rediss://:secret@h/#insecure", "#insecure"),
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
            assert!(error.contains("redis-cluster://["), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
