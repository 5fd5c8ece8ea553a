//! One way to Redis, with a proxy in it.

use testkit::proxy::Proxy;

use super::Redis;
use crate::record::Target;

/// A way that can be broken.
pub struct Link {
    /// Whose it is: a process' way to the server, or all ways to one server.
    pub target: Target,
    place: Place,
}

enum Place {
    Own(Proxy),
    /// Before the server with this number.
    Server(usize),
}

impl Link {
    /// The way of `target`, through `proxy`.
    pub(super) fn own(target: Target, proxy: Proxy) -> Self {
        Self { target, place: Place::Own(proxy) }
    }

    /// All ways to server `n`.
    pub(super) fn of_server(target: Target, n: usize) -> Self {
        Self { target, place: Place::Server(n) }
    }

    /// What stands in it.
    pub fn proxy<'a>(&'a self, redis: &'a Redis) -> &'a Proxy {
        match &self.place {
            Place::Own(proxy) => proxy,
            Place::Server(n) => redis.nodes()[*n].proxy(),
        }
    }
}
