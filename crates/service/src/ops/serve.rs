//! A small server for roles that serve nothing else: a worker's or a courier's health and metrics.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many connections are served at once; more wait. Probes and scrapes are few.
const CONNECTIONS: usize = 64;
/// How long a request's head may take, and a connection may be idle.
const HEAD: Duration = Duration::from_secs(10);
/// How long to wait after an accept that failed, which mostly means that there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// A running server. It ends, with all its connections, when it is dropped: keep it until
/// [`Shutdown::finish`](crate::stop::Shutdown::finish) has returned, so that `/readyz` tells of the stop meanwhile.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Server {
    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves `router` (see [`router`](super::router)) on `listener` over HTTP/1.1, within a Tokio runtime.
pub fn serve(listener: TcpListener, router: Router) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(listener, router));
    Ok(Server { address, _accepting: accepting })
}

async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        while connections.try_join_next().is_some() {}
        let socket = match listener.accept().await {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection for health or metrics could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        connections.spawn(async move {
            let _place = place;
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(socket), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection for health or metrics broke");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::health::Health;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn it_serves_until_it_is_dropped() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = serve(listener, super::super::router(Health::new(), Metrics::new())).unwrap();
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
        socket.write_all(request).await.unwrap();
        let mut answer = [0; 15];
        socket.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        drop(server);
        let mut rest = Vec::new();
        // The end of the connection, whether it comes as an end or as a reset.
        let ended = tokio::time::timeout(Duration::from_secs(30), socket.read_to_end(&mut rest)).await;
        assert!(ended.is_ok());
    }
}
