//! One server of several that belong together, behind a proxy of its own.

use std::net::{Ipv4Addr, SocketAddr};

use redis::aio::MultiplexedConnection;
use redis::cmd;

use super::{RedisServer, RedisServerBuilder};
use crate::proxy::Proxy;

/// Where clients find the servers: beside their own address 127.0.0.1, on the same ports. (Of Linux' loopback network every
/// address is the machine's own; other systems must be told so.)
pub(super) const CLIENTS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A server of a [`RedisCluster`](super::RedisCluster) or a [`SentinelSet`](super::SentinelSet).
///
/// It listens on 127.0.0.1, as [`Self::server`] says, and its proxy on the same port of 127.0.0.2, which is the address that
/// clients are told.
#[derive(Debug)]
pub struct Node {
    server: RedisServer,
    proxy: Proxy,
}

impl Node {
    pub(super) async fn start(options: RedisServerBuilder) -> Self {
        let server = options.start().await;
        let at = SocketAddr::from((CLIENTS, server.port()));
        let proxy = Proxy::start_at(at, server.addr()).await;
        Self { server, proxy }
    }

    /// The server itself, behind the proxy.
    pub fn server(&self) -> &RedisServer {
        &self.server
    }

    /// What stands before it, for rules beyond [`Self::cut`].
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// The address that clients are told, `127.0.0.2:PORT`.
    pub fn addr(&self) -> String {
        self.proxy.addr()
    }

    /// Whether it was started and not killed since; a paused one runs.
    pub fn runs(&self) -> bool {
        self.server.runs()
    }

    /// A new connection for the test's own questions, past the proxy; each may take 5 s.
    pub async fn client(&self) -> MultiplexedConnection {
        self.server.client().await
    }

    /// Kills it, as [`RedisServer::kill`].
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Starts it anew with its data and the part that it had last, as [`RedisServer::restart`].
    pub async fn restart(&self) {
        self.server.restart().await;
    }

    /// Stops it in the middle of whatever it does, as [`RedisServer::pause`].
    pub fn pause(&self) {
        self.server.pause();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.server.resume();
    }

    /// Closes the links to its replicas. Where these are paused, they get nothing of what it takes from now on: if it dies
    /// before they go on, that is lost, though it was acknowledged.
    pub async fn drop_replicas(&self) {
        let mut order = cmd("CLIENT");
        order.arg("KILL").arg("TYPE").arg("replica");
        order.exec_async(&mut self.client().await).await.expect("a server that runs takes orders");
    }

    /// Nothing passes the proxy any more, in either direction, as in a network that loses every packet.
    pub fn cut(&self) {
        self.proxy.blackhole();
    }

    /// Ends [`Self::cut`]: all passes again, and what was held back arrives. Rules of the proxy end too.
    pub fn heal(&self) {
        self.proxy.pass();
    }
}
