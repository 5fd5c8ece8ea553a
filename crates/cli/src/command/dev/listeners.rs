//! The gateways' listeners, on consecutive ports.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::command::{ListenError, listen};

/// Why the gateways can't listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PortsError {
    /// A port is taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The ports end before the gateways do.
    #[error(
        "{count} gateways don't fit on ports from {first}, since 65535 is the last; choose a lower --port"
    )]
    TooHigh {
        /// How many gateways.
        count: u16,
        /// The first port.
        first: u16,
    },
}

/// Listens on `count` ports from `first` on; port 0 takes free ones.
pub(crate) async fn bind(first: SocketAddr, count: u16) -> Result<Vec<TcpListener>, PortsError> {
    let mut listeners = Vec::new();
    for n in 0..count {
        let mut address = first;
        if first.port() != 0 {
            let port = first.port().checked_add(n);
            address.set_port(port.ok_or(PortsError::TooHigh { count, first: first.port() })?);
        }
        listeners.push(listen(address, "--port").await?);
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[tokio::test]
    async fn port_0_takes_free_ones() {
        let listeners = bind(local(0), 3).await.unwrap();
        assert_eq!(listeners.len(), 3);
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_the_flag() {
        let taken = TcpListener::bind(local(0)).await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(address, 1).await.unwrap_err().to_string();
        assert_eq!(
            error,
            format!("can't listen on {address}: another program has this port; choose another with --port")
        );
    }

    #[tokio::test]
    async fn ports_that_end_too_early_are_told() {
        let error = bind(local(65535), 2).await.unwrap_err().to_string();
        let end = "don't fit on ports from 65535, since 65535 is the last; choose a lower --port";
        // The last port itself may be in use on this machine, which is told first.
        assert!(error.ends_with(end) || error.contains("another program"), "{error}");
    }
}
