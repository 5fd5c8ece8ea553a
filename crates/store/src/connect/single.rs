//! One server, which is always the primary.

use redis::{ErrorKind, RedisResult};

use super::address::Address;

/// One server. Its name is resolved anew for every connection, so a name that moves with the primary is enough.
pub(crate) struct Single(Option<Address>);

impl Single {
    pub(crate) fn new(servers: Vec<Address>) -> Self {
        Self(servers.into_iter().next())
    }

    pub(crate) fn primary(&self) -> RedisResult<Address> {
        self.0.clone().ok_or_else(|| (ErrorKind::InvalidClientConfig, "no server is configured").into())
    }
}
