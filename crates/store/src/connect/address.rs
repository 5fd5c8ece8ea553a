//! One server's address.

use std::fmt;
use std::path::PathBuf;

use redis::ConnectionAddr;

/// Where one server listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Address {
    /// Over TCP, with or without TLS.
    Tcp { host: String, port: u16, tls: bool },
    /// Over a Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// The address in redis-rs' words.
    pub(crate) fn for_redis(&self) -> ConnectionAddr {
        match self.clone() {
            Self::Tcp { host, port, tls: false } => ConnectionAddr::Tcp(host, port),
            Self::Tcp { host, port, tls: true } => {
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
            }
            Self::Unix(path) => ConnectionAddr::Unix(path),
        }
    }

    /// What a server said of another (or of itself): an address beside this one, reached in the same way. A lone Cluster
    /// node doesn't know its own host and leaves it empty, or says `?`: then it is the host dialled.
    pub(crate) fn beside(&self, said_host: &str, said_port: u16) -> Option<Self> {
        let Self::Tcp { host, tls, .. } = self else { return None };
        let host = if matches!(said_host, "" | "?") { host.clone() } else { said_host.to_owned() };
        Some(Self::Tcp { host, port: said_port, tls: *tls })
    }

    /// The same for `host:port`, as MOVED and ASK say it; an IPv6 address comes without brackets.
    pub(crate) fn redirected(&self, said: &str) -> Option<Self> {
        let (host, port) = said.rsplit_once(':')?;
        self.beside(host.trim_start_matches('[').trim_end_matches(']'), port.parse().ok()?)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port, tls: true }
    }

    #[test]
    fn a_redirection_is_read_beside_the_node_that_said_it() {
        let here = tcp("10.0.0.1", 6379);
        for (said, meant) in [
            ("10.0.0.2:7000", Some(tcp("10.0.0.2", 7000))),
            (":6380", Some(tcp("10.0.0.1", 6380))),
            ("?:6380", Some(tcp("10.0.0.1", 6380))),
            ("::1:6379", Some(tcp("::1", 6379))),
            ("redis-2.example:6379", Some(tcp("redis-2.example", 6379))),
            ("nonsense", None),
            ("host:none", None),
        ] {
            assert_eq!(here.redirected(said), meant, "{said}");
        }
        assert_eq!(Address::Unix("/run/redis.sock".into()).redirected("a:1"), None);
    }
}
