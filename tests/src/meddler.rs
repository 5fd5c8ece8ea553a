//! A proxy between clients and one gateway that breaks what a stream promises: for whoever is to notice.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::RawStream;
use crate::middleman::request;

/// What it does to the event with this seq, on every stream that tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Leaves it out.
    Drop(u64),
    /// Tells it twice.
    Repeat(u64),
    /// Tells it after the next one.
    Swap(u64),
    /// Gives it another mark.
    Mark(u64),
    /// Breaks the connection in the middle of it; a client that comes back gets it whole.
    Cut(u64),
}

/// The proxy. Dropping it breaks all connections.
#[derive(Debug)]
pub struct Meddler {
    url: String,
    _accepting: JoinSet<()>,
}

impl Meddler {
    /// Starts one before the gateway at `upstream`, a URL without a path.
    pub async fn start(upstream: &str, faults: &'static [Fault]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let upstream = upstream.to_owned();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let upstream = upstream.clone();
                connections.spawn(async move { drop(serve(client, &upstream, faults).await) });
            }
        });
        Self { url, _accepting: accepting }
    }

    /// Its own URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Serves one request; the answer ends the connection.
async fn serve(mut client: TcpStream, upstream: &str, faults: &[Fault]) -> std::io::Result<()> {
    let Some((head, body)) = request(&mut client).await? else { return Ok(()) };
    let path = head.split(' ').nth(1).unwrap_or_default();
    if !path.ends_with("/events") {
        let mut gateway = TcpStream::connect(upstream.strip_prefix("http://").unwrap()).await?;
        gateway.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        gateway.write_all(&body).await?;
        let mut answer = Vec::new();
        gateway.read_to_end(&mut answer).await?;
        return client.write_all(&answer).await;
    }
    let fields: Vec<_> = head.split("\r\n").skip(1).collect();
    let resumes = fields.iter().any(|field| field.starts_with("Last-Event-ID"));
    let mut stream = RawStream::open(&format!("{upstream}{path}"), &fields).await;
    client.write_all(format!("{}\r\n\r\n", stream.head()).as_bytes()).await?;
    if !stream.head().starts_with("HTTP/1.1 200") {
        return Ok(());
    }
    let (mut told, mut held) = (0, String::new());
    loop {
        let goes_on = stream.more().await;
        while let Some(length) = stream.body()[told..].find("\n\n") {
            let frame = &stream.body()[told..told + length + 2];
            told += length + 2;
            let mut text = meddle(frame, faults);
            let cuts = !resumes
                && faults.iter().any(|fault| matches!(fault, Fault::Cut(seq) if *seq == seq_of(frame)));
            if cuts {
                text.truncate(text.len() / 2);
            }
            if faults.iter().any(|fault| matches!(fault, Fault::Swap(seq) if *seq == seq_of(frame))) {
                held = text;
                continue;
            }
            text += &std::mem::take(&mut held);
            if !text.is_empty() {
                client.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await?;
            }
            if cuts {
                return Ok(());
            }
        }
        if stream.ended() {
            return client.write_all(b"0\r\n\r\n").await;
        }
        if !goes_on {
            return Ok(());
        }
    }
}

/// What becomes of a frame, but for what becomes of its place.
fn meddle(frame: &str, faults: &[Fault]) -> String {
    let seq = seq_of(frame);
    let mut text = frame.to_owned();
    for &fault in faults {
        match fault {
            Fault::Drop(at) if at == seq => text.clear(),
            Fault::Repeat(at) if at == seq => text += frame,
            Fault::Mark(at) if at == seq => {
                let mark = text.find(&format!("id: {seq}-")).unwrap() + format!("id: {seq}-").len();
                let other = if &text[mark..=mark] == "0" { "1" } else { "0" };
                // Told as it was, then with another mark.
                text.replace_range(mark..=mark, other);
                text = format!("{frame}{text}");
            }
            _ => {}
        }
    }
    text
}

/// The number of a frame's id; 0 without one.
fn seq_of(frame: &str) -> u64 {
    let id = frame.lines().find_map(|line| line.strip_prefix("id: "));
    id.and_then(|id| id.split('-').next()?.parse().ok()).unwrap_or(0)
}
