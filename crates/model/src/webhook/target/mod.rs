//! Where webhooks may point: nowhere that only the inside of a network could reach.
//!
//! A submitted URL makes a server of ours send a request, so it is a way in (SSRF). Two checks keep it shut. [`TargetRules::target`]
//! reads the URL, at submission and before each attempt; there is one reader, the `url` standard's, so nothing reads it otherwise
//! later. [`TargetRules::address`] judges the address that is really connected to, since a name may resolve to another one each time.

mod address;
mod allow;
mod port;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use url::{Host, Url};

pub use allow::{Allow, BadAllow};

/// The longest URL of a target, in bytes, as the `url` standard writes it.
const LONGEST: usize = 2048;

/// What decides where webhooks may point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetRules {
    allow: Vec<Allow>,
}

/// A URL of a form that webhooks may have. [`TargetRules::target`] makes those that may be tried, at each address that
/// [`TargetRules::address`] takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    url: String,
    host: String,
    port: u16,
    ip: Option<IpAddr>,
}

/// Why nothing is sent to a URL. Says what to do, to whoever chose the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No URL.
    #[error("it isn't a URL ({0}); write a whole one, such as https://example.com/hooks")]
    NotAUrl(String),
    /// Longer than what is kept.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// Neither http nor https.
    #[error("its scheme is `{0}`; a webhook goes to http:// or https://")]
    Scheme(String),
    /// `https://user:password@…`.
    #[error(
        "it has a user name or a password before its host; check the signature instead, or put a token in the path"
    )]
    UserInfo,
    /// `…#part`.
    #[error("it has a fragment (`#…`), which is never sent")]
    Fragment,
    /// No name that DNS could know.
    #[error("its host is no name that DNS could know")]
    Host,
    /// A port where no web server is expected.
    #[error(
        "its port is {0}; a webhook goes to 80, 443, or a port from 1024 on that no other protocol is known for, unless \
             webhooks.allow lists its host with that port"
    )]
    Port(u16),
    /// A name of this machine.
    #[error("its host is a name of the machine that sends; webhooks.allow doesn't list it")]
    Local,
    /// An address that isn't on the public internet.
    #[error("{0} is {1}; webhooks.allow doesn't list it")]
    Address(IpAddr, &'static str),
}

impl TargetRules {
    /// The rules of a configuration: the public internet, and what `allow` lists.
    pub fn new(allow: Vec<Allow>) -> Self {
        Self { allow }
    }

    /// Reads a URL and judges all that can be judged without asking DNS.
    pub fn target(&self, text: &str) -> Result<Target, TargetError> {
        let target: Target = text.parse()?;
        if !port::is_usual(target.port) && !self.lists_port(&target) {
            return Err(TargetError::Port(target.port));
        }
        match target.ip {
            Some(ip) => self.address(&target, ip)?,
            None if address::is_local_name(&target.host) && !self.allows_local(&target) => {
                return Err(TargetError::Local);
            }
            None => {}
        }
        Ok(target)
    }

    /// Judges an address of `target`'s host: the one that a connection is really made to.
    pub fn address(&self, target: &Target, ip: IpAddr) -> Result<(), TargetError> {
        if self.allow.iter().any(|allow| allow.names(target) || allow.holds(ip, target.port)) {
            return Ok(());
        }
        match address::inside(ip) {
            // A port that is listed for some address is called there alone.
            None if !port::is_usual(target.port) => Err(TargetError::Port(target.port)),
            None => Ok(()),
            Some(what) => Err(TargetError::Address(ip, what)),
        }
    }

    /// Whether the target's very port is listed: for its host, or for an address that its name may turn out to have.
    fn lists_port(&self, target: &Target) -> bool {
        let at_its_port = self.allow.iter().filter(|allow| allow.port() == Some(target.port));
        at_its_port.into_iter().any(|allow| match target.ip {
            Some(ip) => allow.names(target) || allow.holds(ip, target.port),
            None => allow.names(target) || matches!(allow, Allow::Net { .. }),
        })
    }

    fn allows_local(&self, target: &Target) -> bool {
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        loopback.into_iter().any(|ip| self.address(target, ip).is_ok())
    }
}

impl Target {
    /// The URL as the `url` standard writes it: ASCII, without spaces.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The host: a name in lower case without a last dot, or an IP address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, the scheme's own where the URL has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host's address, where it is one and no name.
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }
}

impl FromStr for Target {
    type Err = TargetError;
    /// Reads the URL, whether it may be tried or not.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        // The standard's reader drops some of these and takes a backslash for a slash: what people see would not be what is called.
        if text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\') {
            return Err(TargetError::NotAUrl("it holds a space, a line end or a backslash".into()));
        }
        if text.len() > 4 * LONGEST {
            return Err(TargetError::TooLong);
        }
        let mut url = Url::parse(text).map_err(|error| TargetError::NotAUrl(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(TargetError::Scheme(url.scheme().to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetError::UserInfo);
        }
        if url.fragment().is_some() {
            return Err(TargetError::Fragment);
        }
        let (host, ip) = match url.host().ok_or(TargetError::Host)? {
            Host::Ipv4(ip) => (ip.to_string(), Some(IpAddr::V4(ip))),
            Host::Ipv6(ip) => (ip.to_string(), Some(IpAddr::V6(ip))),
            Host::Domain(name) => (bare_name(name).ok_or(TargetError::Host)?, None),
        };
        if ip.is_none() {
            url.set_host(Some(&host)).map_err(|_| TargetError::Host)?;
        }
        let port = url.port_or_known_default().ok_or(TargetError::Host)?;
        let url = String::from(url);
        if url.len() > LONGEST {
            return Err(TargetError::TooLong);
        }
        Ok(Self { url, host, port, ip })
    }
}

/// A host's name in the one form that is compared: lower case (as the `url` standard has it) and without a last dot. `None` where
/// DNS could know no such name.
fn bare_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let legal = |label: &str| (1..=63).contains(&label.len());
    (name.len() <= 253 && name.split('.').all(legal)).then(|| name.to_owned())
}

#[cfg(test)]
mod tests;
