//! Whose a connection is: Linux tells by which sockets a process has open.
//!
//! On Sentinel and Cluster all processes go through the same proxies, one before each server. To cut one process off from all
//! servers, its connections must be told from the others'.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use testkit::proxy::{Held, Proxy};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

/// A connection, as the process that made it sees it.
type Ends = (SocketAddr, SocketAddr);

/// How often new connections are looked up.
const LOOK: Duration = Duration::from_millis(100);

/// The connections of one process.
struct Sockets {
    pid: u32,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Whether a connection is this process'.
    ours: HashMap<Ends, bool>,
    /// Those that somebody asked about in vain.
    asked: HashSet<Ends>,
}

impl Sockets {
    /// Those of the process `pid`, which must not be followed by another one of that id.
    fn of(pid: u32) -> Self {
        Self { pid, known: Mutex::new(Known { ours: connections(pid), asked: HashSet::new() }) }
    }

    /// Whether the connection from `client` to `server` is this process'; `None` until the next look if it is new.
    fn have(&self, client: SocketAddr, server: SocketAddr) -> Option<bool> {
        let (mut known, ends) = (self.known.lock(), (client, server));
        let ours = known.ours.get(&ends).copied();
        if ours.is_none() {
            known.asked.insert(ends);
        }
        ours
    }

    /// Finds out about those that were asked about; says whether there were any. The system takes milliseconds for this.
    fn look(&self) -> bool {
        let asked = std::mem::take(&mut self.known.lock().asked);
        if asked.is_empty() {
            return false;
        }
        let found = connections(self.pid);
        let mut known = self.known.lock();
        known.ours.extend(found);
        for ends in asked {
            // Nobody's any more, so it was closed at once. It may have been this process'.
            known.ours.entry(ends).or_insert(true);
        }
        true
    }
}

/// A process that is cut off for as long as this lives.
pub struct Cut {
    held: Vec<Held>,
    /// `None` where it has a way of its own.
    sockets: Option<Arc<Sockets>>,
}

impl Cut {
    /// All that goes through `proxy`.
    pub(super) fn own(proxy: &Proxy) -> Self {
        Self { held: vec![proxy.hold_clients(|_| Some(true))], sockets: None }
    }

    /// What goes from the process `pid` through any of `proxies`.
    pub(super) fn shared<'a>(pid: u32, proxies: impl Iterator<Item = &'a Proxy>) -> Self {
        let sockets = Arc::new(Sockets::of(pid));
        let hold = |proxy: &Proxy| {
            let (sockets, server) = (Arc::clone(&sockets), proxy.socket_addr());
            proxy.hold_clients(move |client| sockets.have(client, server))
        };
        Self { held: proxies.map(hold).collect(), sockets: Some(sockets) }
    }

    /// Keeps it up for so long, and returns how many connections it held.
    pub async fn last(self, time: Duration) -> usize {
        let end = Instant::now() + time;
        while Instant::now() < end {
            let Some(sockets) = self.sockets.clone() else {
                sleep_until(end).await;
                continue;
            };
            sleep_until(end.min(Instant::now() + LOOK)).await;
            // Away from what passes bytes.
            if spawn_blocking(move || sockets.look()).await.is_ok_and(|any| any) {
                self.held.iter().for_each(Held::ask_again);
            }
        }
        self.held.iter().map(Held::connections).sum()
    }
}

/// All connections, and whether they are those of `pid`.
fn connections(pid: u32) -> HashMap<Ends, bool> {
    // The table first: the other way round, one that is opened in between would be taken for somebody else's.
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let own = inodes(pid);
    let rows = table.lines().skip(1).filter_map(row);
    // What its process has closed is nobody's.
    rows.filter(|(_, inode)| *inode != "0").map(|(ends, inode)| (ends, own.contains(inode))).collect()
}

/// `  0: 0100007F:A2B4 0200007F:1F90 01 … <inode> …`
fn row(line: &str) -> Option<(Ends, &str)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Some(((address(words.get(1)?)?, address(words.get(2)?)?), words.get(9)?))
}

/// The address in the machine's own order of bytes, and the port, both in hex.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
    Some(SocketAddrV4::new(ip, u16::from_str_radix(port, 16).ok()?).into())
}

/// The numbers of the sockets that a process has open.
fn inodes(pid: u32) -> HashSet<String> {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return HashSet::new() };
    let links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    let names = links.filter_map(|link| link.to_str().map(str::to_owned));
    names.filter_map(|name| Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_process_has_its_own_connections_old_and_new() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = listener.local_addr().unwrap();
        let connect = || TcpStream::connect(server).unwrap();
        let old = connect();
        let (ours, parents) =
            (Sockets::of(std::process::id()), Sockets::of(std::os::unix::process::parent_id()));
        for (process, is_ours) in [(&ours, true), (&parents, false)] {
            assert_eq!(process.have(old.local_addr().unwrap(), server), Some(is_ours));
        }
        let new = connect();
        let client = new.local_addr().unwrap();
        for (process, is_ours) in [(&ours, true), (&parents, false)] {
            assert!(!process.look(), "nobody asked");
            assert_eq!(process.have(client, server), None);
            assert!(process.look());
            assert_eq!(process.have(client, server), Some(is_ours));
            assert_eq!(process.have(client, "127.0.0.3:1".parse().unwrap()), None, "it goes elsewhere");
        }
    }
}
