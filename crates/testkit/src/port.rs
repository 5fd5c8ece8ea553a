//! Ports: finding free ones, and waiting until something answers on one.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use tokio::net::{TcpStream, ToSocketAddrs};

use crate::eventually_ok;

/// Below the range from which systems take the ports of outgoing connections, so that a server which is down for a
/// moment finds its port free when it comes back.
const PORTS: std::ops::Range<u16> = 10_000..32_000;

/// A port of 127.0.0.1 on which nothing listens, and which no other call in any process gets while this process
/// lives: each is reserved by a lock on a file in the temporary folder.
pub fn free_port() -> u16 {
    let folder = std::env::temp_dir().join("jobcast-test-ports");
    fs::create_dir_all(&folder).expect("the temporary folder can be written");
    for _ in 0..1_000 {
        let span = u64::from(PORTS.end - PORTS.start);
        let port = PORTS.start + u16::try_from(random() % span).expect("less than a u16 range");
        let lock = File::create(folder.join(port.to_string())).expect("the temporary folder can be written");
        if lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            std::mem::forget(lock); // held until this process ends
            return port;
        }
    }
    panic!("found no free port in {PORTS:?} in 1,000 tries");
}

/// A random number from the standard library's own seeds: enough to keep test processes apart.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Waits until something accepts connections at `addr`; panics at the deadline.
pub async fn wait_port(addr: impl ToSocketAddrs + std::fmt::Debug, deadline: Duration) {
    eventually_ok(deadline, &format!("something listens on {addr:?}"), async || {
        TcpStream::connect(&addr).await.map(drop)
    })
    .await;
}

/// Waits until a GET of `url` answers with a 2xx status; panics at the deadline with what it answered last.
pub async fn wait_http_ok(url: &str, deadline: Duration) {
    let client = crate::http().build().expect("a plain HTTP client");
    eventually_ok(deadline, &format!("GET {url} answers 2xx"), async || {
        let answer = client.get(url).send().await.map_err(|error| error.to_string())?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("status {}", answer.status())) }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports: HashSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
    }

    #[tokio::test]
    async fn waits_for_a_listener() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
        wait_port(listener.local_addr().unwrap(), Duration::from_secs(5)).await;
    }

    #[tokio::test]
    #[should_panic(expected = "something listens on")]
    async fn says_that_nothing_listens() {
        wait_port((Ipv4Addr::LOCALHOST, free_port()), Duration::from_millis(50)).await;
    }
}
