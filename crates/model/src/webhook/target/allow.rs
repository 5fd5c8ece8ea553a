//! What configuration lets webhooks point at beyond the public internet.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};
use url::Host;

use super::{Target, bare_name};

/// Something that webhooks may point at: `10.0.0.0/8`, `127.0.0.1`, `10.0.0.7:8443`, `hooks.internal`, `hooks.internal:8443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Addresses, whatever name they were found by.
    Net {
        /// Which.
        net: IpNet,
        /// At this port alone; `None` at every usual one.
        port: Option<u16>,
    },
    /// A name, at whatever address.
    Host {
        /// In lower case, without a last dot.
        name: String,
        /// At this port alone; `None` at every usual one.
        port: Option<u16>,
    },
}

/// Text that lists nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "what webhooks may point at is a network (10.0.0.0/8), an address, or a name; the latter two maybe with a port"
)]
pub struct BadAllow;

impl Allow {
    /// The one port, if it is for one.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Net { port, .. } | Self::Host { port, .. } => *port,
        }
    }

    /// Whether it lists the target by its name.
    pub(super) fn names(&self, target: &Target) -> bool {
        match self {
            Self::Net { .. } => false,
            Self::Host { name, port } => *name == target.host && port.is_none_or(|port| port == target.port),
        }
    }

    /// Whether it lists the address at that port.
    pub(super) fn holds(&self, ip: IpAddr, at: u16) -> bool {
        match self {
            Self::Net { net, port } => {
                (net.contains(&ip) || net.contains(&ip.to_canonical())) && port.is_none_or(|port| port == at)
            }
            Self::Host { .. } => false,
        }
    }
}

impl FromStr for Allow {
    type Err = BadAllow;
    fn from_str(text: &str) -> Result<Self, BadAllow> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net { net, port: None });
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Net { net: ip.into(), port: None });
        }
        if let Ok(at) = text.parse::<SocketAddr>() {
            return Ok(Self::Net { net: at.ip().into(), port: Some(at.port()) });
        }
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().map_err(|_| BadAllow)?)),
            None => (text, None),
        };
        // An address in any other form than its usual one is likely a slip.
        let Ok(Host::Domain(name)) = Host::parse(name) else { return Err(BadAllow) };
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let name = bare_name(&name).filter(|name| name.bytes().all(legal)).ok_or(BadAllow)?;
        Ok(Self::Host { name, port })
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net { net, port: None } if net.prefix_len() == net.max_prefix_len() => net.addr().fmt(f),
            Self::Net { net, port: None } => net.fmt(f),
            Self::Net { net, port: Some(port) } => SocketAddr::new(net.addr(), *port).fmt(f),
            Self::Host { name, port: None } => name.fmt(f),
            Self::Host { name, port: Some(port) } => write!(f, "{name}:{port}"),
        }
    }
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            let allowed = "a network (10.0.0.0/8), an address, or a name; the latter two maybe with a port";
            de::Error::invalid_value(de::Unexpected::Str(&text), &allowed)
        })
    }
}
