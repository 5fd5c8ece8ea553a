//! A receiver of webhooks that only counts, and says 204 to each: a bare epoll loop on a thread of its own, so that it takes little of
//! what is measured beside it.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memchr::memmem;
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::epoll::Epoll;

/// How long the loop waits for requests before it looks whether it is to stop.
const LOOK: i64 = 100;

/// See the module.
pub(crate) struct Receiver {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    serving: Option<JoinHandle<anyhow::Result<()>>>,
}

#[derive(Default)]
struct Seen {
    count: usize,
    first: Option<Instant>,
    last: Option<Instant>,
    /// A body that came.
    body: String,
}

impl Receiver {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let (into, until) = (Arc::clone(&seen), Arc::clone(&stop));
        let serving = std::thread::spawn(move || serve(&listener, &into, &until));
        Ok(Self { url, seen, stop, serving: Some(serving) })
    }

    /// Waits for `count` requests: how many a second came, from the first on, and the body of one.
    pub(crate) async fn take(&self, count: usize) -> anyhow::Result<(f64, String)> {
        loop {
            {
                let seen = self.seen.lock();
                if let (true, Some(first), Some(last)) = (seen.count >= count, seen.first, seen.last) {
                    let rate = (seen.count - 1) as f64 / last.duration_since(first).as_secs_f64();
                    return Ok((rate, seen.body.clone()));
                }
            }
            anyhow::ensure!(
                self.serving.as_ref().is_some_and(|serving| !serving.is_finished()),
                "it has failed"
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(Err(_) | Ok(Err(_))) = self.serving.take().map(JoinHandle::join) {
            eprintln!("the receiver failed");
        }
    }
}

/// A connection, and what has come of its next request.
type Connection = (TcpStream, Vec<u8>);

fn serve(listener: &TcpListener, seen: &Mutex<Seen>, stop: &AtomicBool) -> anyhow::Result<()> {
    let mut epoll = Epoll::new()?;
    listener.set_nonblocking(true)?;
    epoll.add(listener, usize::MAX)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for number in epoll.wait(LOOK)? {
            if number == usize::MAX {
                while let Ok((socket, _)) = listener.accept() {
                    socket.set_nonblocking(true)?;
                    socket.set_nodelay(true)?;
                    epoll.add(&socket, connections.len())?;
                    connections.push(Some((socket, Vec::new())));
                }
            } else if let Some(connection) = connections.get_mut(number)
                && !connection.as_mut().is_some_and(|connection| goes_on(connection, seen))
            {
                *connection = None;
            }
        }
    }
    Ok(())
}

/// Takes what has come. The requests of a connection come whole, one after the other, with `content-length`. False at its end.
fn goes_on((socket, bytes): &mut Connection, seen: &Mutex<Seen>) -> bool {
    let mut buffer = [0; 16 * 1024];
    match socket.read(&mut buffer) {
        Ok(0) => return false,
        Ok(read) => bytes.extend_from_slice(&buffer[..read]),
        Err(error) => return error.kind() == ErrorKind::WouldBlock,
    }
    let Some((head, length)) = whole_request(bytes) else { return true };
    {
        let (mut seen, now) = (seen.lock(), Instant::now());
        seen.count += 1;
        seen.first.get_or_insert(now);
        seen.last = Some(now);
        if seen.count == 1 {
            seen.body = String::from_utf8_lossy(&bytes[head..head + length]).into_owned();
        }
    }
    bytes.drain(..head + length);
    socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_ok()
}

/// The lengths of the head and the body, once both are there.
fn whole_request(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = memmem::find(bytes, b"\r\n\r\n")? + 4;
    let name = b"content-length: ";
    // As hyper writes it.
    let value = &bytes[memmem::find(&bytes[..head], name)? + name.len()..head];
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    (bytes.len() >= head + length).then_some((head, length))
}
