//! The floor of streams: a bare epoll loop that writes each event with one `send`. It knows neither HTTP nor Redis beyond
//! what it takes to be driven like a gateway; no server that writes each event at once can be cheaper.
//!
//! A connection that asks for `/<n>` is a stream of log n. One that begins with `FEED` publishes: each two bytes of it are a log's
//! number.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::epoll::Epoll;

/// As many bytes as an event of the others takes on the wire, so `bytes` in all.
fn frame(bytes: usize) -> Vec<u8> {
    let head = "event: progress\ndata: ";
    let tail = "\nid: 17-4f2a9c\n\n";
    let around = "c8\r\n".len() + "\r\n".len();
    let inner = bytes.max(head.len() + tail.len() + around) - around;
    let data = "x".repeat(inner - head.len() - tail.len());
    format!("{inner:x}\r\n{head}{data}{tail}\r\n").into_bytes()
}

/// How many may wait to be accepted.
const BACKLOG: i32 = 4096;

enum Kind {
    New(Vec<u8>),
    Stream,
    Feed(Option<u8>),
}

/// Serves `listener` until it is killed; events of so many bytes.
pub fn serve(listener: &TcpListener, bytes: usize) -> anyhow::Result<()> {
    let frame = frame(bytes);
    let mut epoll = Epoll::new()?;
    listener.set_nonblocking(true)?;
    // As a gateway: with std's 128, those who come together would have to come again after a second.
    rustix::net::listen(listener, BACKLOG)?;
    epoll.add(listener, usize::MAX)?;
    let mut sockets: Vec<Option<(TcpStream, Kind)>> = Vec::new();
    let mut logs: Vec<Vec<usize>> = vec![Vec::new(); usize::from(u16::MAX) + 1];
    let mut buffer = [0; 16 * 1024];
    loop {
        for number in epoll.wait(1000)? {
            if number == usize::MAX {
                accept(listener, &epoll, &mut sockets)?;
                continue;
            }
            let Some(Some((socket, kind))) = sockets.get_mut(number) else { continue };
            let read = match socket.read(&mut buffer) {
                Ok(0) => {
                    sockets[number] = None;
                    continue;
                }
                Ok(read) => &buffer[..read],
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(_) => {
                    sockets[number] = None;
                    continue;
                }
            };
            match kind {
                Kind::Stream => {}
                Kind::Feed(half) => {
                    let bytes = half.take().into_iter().chain(read.iter().copied()).collect::<Vec<_>>();
                    let (pairs, rest) = bytes.as_chunks::<2>();
                    *half = rest.first().copied();
                    for pair in pairs {
                        for stream in &logs[usize::from(u16::from_le_bytes(*pair))] {
                            if let Some(Some((socket, _))) = sockets.get_mut(*stream) {
                                let _ = socket.write(&frame);
                            }
                        }
                    }
                }
                Kind::New(head) => {
                    head.extend_from_slice(read);
                    if head.starts_with(b"FEED") {
                        *kind = Kind::Feed(None);
                    } else if head.ends_with(b"\r\n\r\n") {
                        let log = log_of(head);
                        let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                                      transfer-encoding: chunked\r\n\r\n";
                        let _ = socket.write(&[answer.as_bytes(), &frame].concat());
                        *kind = Kind::Stream;
                        logs[log].push(number);
                    }
                }
            }
        }
    }
}

fn accept(
    listener: &TcpListener,
    epoll: &Epoll,
    sockets: &mut Vec<Option<(TcpStream, Kind)>>,
) -> anyhow::Result<()> {
    while let Ok((socket, _)) = listener.accept() {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        epoll.add(&socket, sockets.len())?;
        sockets.push(Some((socket, Kind::New(Vec::new()))));
    }
    Ok(())
}

/// The number in `GET /<n> …`.
fn log_of(head: &[u8]) -> usize {
    let digits = head.iter().skip(5).take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}
