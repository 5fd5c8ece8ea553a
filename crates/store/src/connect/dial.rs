//! Making connections: the settings that every connection has.

use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::{TcpSettings, socket2};
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo, RedisConnectionInfo, RedisResult};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::address::Address;
use super::target::Login;
use crate::Options;

/// How many commands may wait for their turn to be written to one connection; more callers wait before it.
const WRITE_QUEUE: usize = 1024;

/// The roots that redis-rs trusts too.
static TLS: LazyLock<Result<TlsConnector, String>> = LazyLock::new(|| {
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
});

/// A connected socket of any kind.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// Makes connections of one store.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) login: Login,
    pub(crate) connect_timeout: Duration,
    pub(crate) response_timeout: Duration,
    /// After how long without an acknowledgement the kernel gives a TCP connection up.
    user_timeout: Duration,
}

impl Dialer {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            login: options.target.login.clone(),
            connect_timeout: options.connect_timeout,
            // A call that gives up earlier than that would leave a dead connection to the next one.
            response_timeout: options.response_timeout.min(options.patience / 2),
            user_timeout: (options.ping * 2).max(options.response_timeout),
        }
    }

    /// A connection to `address` for commands, shared by its clones. Has no response timeout of its own: redis-rs would
    /// leave the connection open, and the late reply would be the next call's.
    pub(crate) async fn redis(&self, address: &Address) -> RedisResult<MultiplexedConnection> {
        self.client(address)?.get_multiplexed_async_connection_with_config(&self.config()).await
    }

    /// A pool of connections to `address` for blocking commands.
    pub(crate) fn manager(&self, address: &Address) -> RedisResult<deadpool_redis::Manager> {
        deadpool_redis::Manager::new_with_config(self.info(address, &self.login)?, self.config())
    }

    /// As [`Self::redis`], but as somebody else: Sentinels often have no password, or none of ours.
    pub(crate) async fn redis_as(
        &self,
        address: &Address,
        login: &Login,
    ) -> RedisResult<MultiplexedConnection> {
        Client::open(self.info(address, login)?)?
            .get_multiplexed_async_connection_with_config(&self.config())
            .await
    }

    fn client(&self, address: &Address) -> RedisResult<Client> {
        Client::open(self.info(address, &self.login)?)
    }

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_connection_timeout(Some(self.connect_timeout))
            .set_pipeline_buffer_size(WRITE_QUEUE)
    }

    fn info(&self, address: &Address, login: &Login) -> RedisResult<redis::ConnectionInfo> {
        let mut who = RedisConnectionInfo::default().set_db(login.db).set_skip_set_lib_name();
        if let Some(user) = &login.user {
            who = who.set_username(user);
        }
        if let Some(password) = &login.password {
            who = who.set_password(password);
        }
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_keepalive(keepalive())
            .set_user_timeout(self.user_timeout);
        Ok(address.for_redis().into_connection_info()?.set_redis_settings(who).set_tcp_settings(tcp))
    }

    /// A bare connection to `address`, with the same settings. Sets no time limit.
    pub(crate) async fn socket(&self, address: &Address) -> io::Result<Box<dyn Socket>> {
        match address {
            Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Address::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                let options = socket2::SockRef::from(&stream);
                options.set_tcp_keepalive(&keepalive())?;
                options.set_tcp_user_timeout(Some(self.user_timeout))?;
                if !tls {
                    return Ok(Box::new(stream));
                }
                let tls = TLS.as_ref().map_err(|error| io::Error::other(error.clone()))?;
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                Ok(Box::new(tls.connect(name, stream).await?))
            }
        }
    }
}

/// Probes of a silent TCP connection: the first after 15 s, then every 5 s, dead after three.
fn keepalive() -> socket2::TcpKeepalive {
    socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3)
}
