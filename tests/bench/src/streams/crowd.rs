//! Very many clients in one process: each is a socket and a few bytes. They count the events that come.
//!
//! It reads its requests from a file, one path a line, and says on its standard output how many are open, when all are; then
//! for each line `events` of its standard input, how many events and bytes came so far, how many streams broke, and how many events
//! were written together with one before them; for `slowest FROM TO`, how many came to that one of these streams that got fewest; for
//! `latency`, how long those took that came since the last such line and say when they were due: median and 99th percentile in
//! microseconds. After `again ADDRESS` it drops all and opens them there at once, and says the same as at first.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::http2;
use super::scene::KEY;
use super::wire::{DUE, now_us};
use crate::epoll::Epoll;

/// Every event has one such line.
const ID: &[u8] = b"\nid: ";
/// How many may be opening at once.
const OPENING: usize = 200;
/// How long opening may take in all.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a stream is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Carrier {
    /// HTTP/1.1, one connection a stream.
    Socket,
    /// HTTP/1.0, one connection a stream. Its bodies have no chunks, so what is written together isn't counted.
    Http10,
    /// HTTP/2, so many streams a connection: 100.
    Http2,
}

struct Client {
    socket: TcpStream,
    /// How much of [`ID`] was seen last.
    seen: usize,
    /// The chunk that is being read has an event already. Only what is around a chunk has a carriage return.
    has_event: bool,
    /// How many events came.
    events: u64,
    /// How many more first events it waits for.
    opening: usize,
}

struct Crowd {
    epoll: Epoll,
    clients: Vec<Client>,
    opening: usize,
    events: u64,
    bytes: u64,
    broken: u64,
    /// Events that weren't the first of their chunk: a server that writes chunks writes each with one call.
    together: u64,
    /// Microseconds from when events were due.
    took: Histogram<u64>,
}

/// Opens a stream for each line of `paths` at `address`, and answers until its input ends.
#[allow(clippy::print_stdout, reason = "its answers")]
pub fn gather(address: &str, paths: &Path, carrier: Carrier) -> anyhow::Result<()> {
    let paths = std::fs::read_to_string(paths)?;
    let paths: Vec<_> = paths.lines().collect();
    let mut crowd = Crowd {
        epoll: Epoll::new()?,
        clients: Vec::new(),
        opening: 0,
        events: 0,
        bytes: 0,
        broken: 0,
        together: 0,
        took: Histogram::new(3)?,
    };
    println!("open {} {}", paths.len(), crowd.open_all(address, &paths, carrier, OPENING)?.as_nanos());
    let (tell, asked) = mpsc::channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
    });
    loop {
        crowd.read(5)?;
        let line = match asked.try_recv() {
            Ok(line) => line,
            Err(mpsc::TryRecvError::Empty) => continue,
            Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
        };
        if let Some(address) = line.strip_prefix("again ") {
            (crowd.epoll, crowd.opening, crowd.broken) = (Epoll::new()?, 0, 0);
            crowd.clients.clear();
            let took = crowd.open_all(address, &paths, carrier, usize::MAX)?;
            println!("open {} {}", paths.len(), took.as_nanos());
        } else if line == "latency" {
            let [median, p99] = [0.5, 0.99].map(|part| crowd.took.value_at_quantile(part));
            println!("latency {median} {p99} {}", crowd.took.len());
            crowd.took.reset();
        } else if let Some(range) = line.strip_prefix("slowest ") {
            println!("slowest {}", crowd.slowest(range));
        } else {
            println!("events {} {} {} {}", crowd.events, crowd.bytes, crowd.broken, crowd.together);
        }
    }
}

impl Crowd {
    /// Opens a stream for each of `paths`, so many at a time; how long it took.
    fn open_all(
        &mut self,
        address: &str,
        paths: &[&str],
        carrier: Carrier,
        at_a_time: usize,
    ) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let each = if carrier == Carrier::Http2 { http2::STREAMS } else { 1 };
        for together in paths.chunks(each) {
            self.open(address, together, carrier)?;
            while self.opening > at_a_time {
                self.read(100)?;
                anyhow::ensure!(began.elapsed() < PATIENCE, "{} streams do not open", self.opening);
            }
        }
        while self.opening > 0 {
            self.read(100)?;
            anyhow::ensure!(began.elapsed() < PATIENCE, "{} streams do not open", self.opening);
        }
        Ok(began.elapsed())
    }

    fn open(&mut self, address: &str, paths: &[&str], carrier: Carrier) -> anyhow::Result<()> {
        let mut socket = TcpStream::connect(address)?;
        let fields = format!("Host: here\r\nAuthorization: Bearer {KEY}\r\n");
        let request = match carrier {
            Carrier::Socket => {
                format!("GET {} HTTP/1.1\r\n{fields}Accept: text/event-stream\r\n\r\n", paths[0]).into_bytes()
            }
            Carrier::Http10 => format!("GET {} HTTP/1.0\r\n{fields}\r\n", paths[0]).into_bytes(),
            Carrier::Http2 => http2::requests(paths),
        };
        socket.write_all(&request)?;
        socket.set_nonblocking(true)?;
        self.epoll.add(&socket, self.clients.len())?;
        self.clients.push(Client { socket, seen: 0, has_event: false, events: 0, opening: paths.len() });
        self.opening += paths.len();
        Ok(())
    }

    /// How many events came to that one of the streams `FROM TO` that got fewest.
    fn slowest(&self, range: &str) -> u64 {
        let mut numbers = range.split(' ').map(|word| word.parse().unwrap_or(0));
        let (from, to) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let streams = self.clients.get(from..to).unwrap_or_default();
        streams.iter().map(|client| client.events).min().unwrap_or(0)
    }

    fn read(&mut self, millis: i64) -> anyhow::Result<()> {
        let mut buffer = vec![0; 32 * 1024];
        for number in self.epoll.wait(millis)? {
            let client = &mut self.clients[number];
            match client.socket.read(&mut buffer) {
                Ok(0) => self.broken += 1,
                Ok(read) => {
                    self.bytes += read as u64;
                    let (events, together) = client.count(&buffer[..read]);
                    self.together += together;
                    for at in due(&buffer[..read]) {
                        self.took.record(now_us().saturating_sub(at))?;
                    }
                    client.events += events as u64;
                    self.events += events as u64;
                    let opened = client.opening.min(events);
                    client.opening -= opened;
                    self.opening -= opened;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.broken += 1,
            }
        }
        Ok(())
    }
}

/// When the events in `bytes` were due that say so. One that is cut there says nothing.
fn due(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let found = bytes.windows(DUE.len()).enumerate().filter(|(_, window)| *window == DUE.as_bytes());
    found.filter_map(|(at, _)| {
        let digits = bytes[at + DUE.len()..].split(|byte| !byte.is_ascii_digit()).next()?;
        (digits.len() == 16).then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
    })
}

impl Client {
    /// How many events `bytes` end, and how many of those aren't the first of their chunk.
    fn count(&mut self, bytes: &[u8]) -> (usize, u64) {
        let (mut count, mut together) = (0, 0);
        for &byte in bytes {
            self.seen = match byte {
                byte if byte == ID[self.seen] => self.seen + 1,
                b'\n' => 1,
                b'\r' => {
                    self.has_event = false;
                    0
                }
                _ => 0,
            };
            if self.seen == ID.len() {
                together += u64::from(self.has_event);
                (self.seen, self.has_event, count) = (0, true, count + 1);
            }
        }
        (count, together)
    }
}
