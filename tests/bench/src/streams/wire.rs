//! How an event is published to each server that is measured.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::{Cursor, JobId};

/// To whom events go, and so how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wire {
    /// Redis' live channels, as `append` publishes on them.
    Redis,
    /// The floor, which wants numbers of logs.
    Floor,
    /// An nginx with Nchan, by POST.
    Nchan,
    /// Pushpin, by `ZeroMQ`.
    Pushpin,
}

/// A log, and its last event.
pub(super) type Log = (JobId, Cursor);

impl Wire {
    /// Over how many connections events go. Where each publication is answered before the next is looked at, it takes several.
    pub(super) fn connections(self) -> usize {
        match self {
            Self::Redis | Self::Floor | Self::Pushpin => 1,
            Self::Nchan => 32,
        }
    }

    /// What a connection begins with.
    pub(super) fn hello(self) -> Vec<u8> {
        match self {
            Self::Redis | Self::Nchan => Vec::new(),
            Self::Floor => b"FEED".to_vec(),
            Self::Pushpin => zmtp_hello(),
        }
    }

    /// Adds the publication of the next event of `log`, which is log `number` and is due at `due` (as [`now_us`] counts), to `batch`.
    pub(super) fn add(self, batch: &mut Vec<u8>, (job, at): &mut Log, number: usize, due: u64) {
        if self == Self::Floor {
            batch.extend(u16::try_from(number).expect("few logs").to_le_bytes());
            return;
        }
        at.seq += 1;
        let data = data(*job, at.seq, due);
        match self {
            Self::Redis => publish(batch, *job, at, &data),
            Self::Nchan => post(batch, &format!("/pub/{number}"), "X-EventSource-Event: progress\r\n", &data),
            _ => {
                let frame = format!("event: progress\ndata: {data}\nid: {}-4f2a9c\n\n", at.seq);
                let formats = serde_json::json!({ "http-stream": { "content": frame } });
                let item = serde_json::json!({ "channel": number.to_string(), "formats": formats });
                zmtp_message(batch, &format!("J{item}"));
            }
        }
    }
}

/// An event's JSON, which says when it was due.
fn data(job: JobId, seq: u64, due: u64) -> String {
    format!(
        "{{\"jobId\":\"{job}\",\"seq\":{seq},\"type\":\"progress\",\"at\":\"2026-11-23T10:00:00.123Z\",\
         \"attempt\":1,\"progress\":42.5,\"message\":\"{DUE}{due}\"}}"
    )
}

/// What stands before the time at which an event was due.
pub(super) const DUE: &str = "due ";

/// Microseconds since the Unix epoch.
pub(super) fn now_us() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock of the product counts milliseconds, and this is the measure itself"
    )]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn publish(batch: &mut Vec<u8>, job: JobId, at: &mut Cursor, data: &str) {
    let mark = at.seq & 0xff_ffff;
    let entry = format!("{} {mark:06x} {} progress {data}", at.seq, at.mark);
    let channel = format!("jc:{{0.325}}:live:{job}");
    let mut command = String::new();
    write!(command, "*3\r\n$8\r\nSPUBLISH\r\n${}\r\n{channel}\r\n", channel.len()).expect("room");
    write!(command, "${}\r\n{entry}\r\n", entry.len()).expect("room");
    batch.extend(command.into_bytes());
    at.mark = format!("{mark:06x}").parse().expect("a mark");
}

/// Who publishes to a PULL socket, and how: ZMTP 3.0, without security (rfc.zeromq.org/spec/23).
fn zmtp_hello() -> Vec<u8> {
    let mut hello = vec![0; 64];
    (hello[0], hello[9], hello[10]) = (0xff, 0x7f, 3);
    hello[12..16].copy_from_slice(b"NULL");
    hello.extend(b"\x04\x1a\x05READY\x0bSocket-Type\x00\x00\x00\x04PUSH");
    hello
}

fn zmtp_message(batch: &mut Vec<u8>, body: &str) {
    batch.push(2);
    batch.extend((body.len() as u64).to_be_bytes());
    batch.extend(body.bytes());
}

fn post(batch: &mut Vec<u8>, path: &str, header: &str, body: &str) {
    let length = body.len();
    batch.extend(
        format!("POST {path} HTTP/1.1\r\nHost: here\r\n{header}Content-Length: {length}\r\n\r\n{body}")
            .bytes(),
    );
}
