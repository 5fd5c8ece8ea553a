//! A reverse proxy between clients and one gateway, of the kinds that break streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What it does with requests. Those for streams are the ones whose path ends with `/events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Passes everything at once.
    Pass,
    /// Passes a stream only when it has ended, as a proxy that buffers does. Other answers pass.
    Hold,
    /// Answers for streams itself, with this head and an empty body. Other answers pass.
    Refuse(&'static str),
    /// The same for all requests.
    RefuseAll(&'static str),
    /// Passes every request, and no answer: the connection breaks.
    LoseAnswers,
}

/// The proxy. Dropping it breaks all connections.
#[derive(Debug)]
pub struct Middleman {
    url: String,
    manner: watch::Sender<Manner>,
    requests: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Middleman {
    /// Starts one before the gateway at `upstream`, a URL without a path.
    pub async fn start(upstream: &str, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (manner, seen) = watch::channel(manner);
        let requests = Arc::new(AtomicUsize::new(0));
        let upstream = upstream.strip_prefix("http://").unwrap().to_owned();
        let mut accepting = JoinSet::new();
        let counted = Arc::clone(&requests);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let (upstream, manner) = (upstream.clone(), seen.clone());
                connections.spawn(async move { drop(serve(client, &upstream, manner).await) });
            }
        });
        Self { url, manner, requests, _accepting: accepting }
    }

    /// Its own URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Changes what it does; a stream that is held passes, with all that was held back, when nothing is held any more.
    pub fn set(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// How many requests it has got.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Serves one request; the answer ends the connection.
async fn serve(
    mut client: TcpStream,
    upstream: &str,
    mut manner: watch::Receiver<Manner>,
) -> std::io::Result<()> {
    let Some((head, body)) = request(&mut client).await? else { return Ok(()) };
    let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default();
    let is_stream = path.ends_with("/events");
    let now = *manner.borrow_and_update();
    let refused = match now {
        Manner::Refuse(answer) => is_stream.then_some(answer),
        Manner::RefuseAll(answer) => Some(answer),
        Manner::Pass | Manner::Hold | Manner::LoseAnswers => None,
    };
    if let Some(answer) = refused {
        let answer = format!("HTTP/1.1 {answer}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        return client.write_all(answer.as_bytes()).await;
    }
    let mut gateway = TcpStream::connect(upstream).await?;
    gateway.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    gateway.write_all(&body).await?;

    let (mut held, mut chunk, mut lost) = (Vec::new(), vec![0; 64 * 1024], [0; 1]);
    loop {
        let holds = match *manner.borrow() {
            Manner::Hold => is_stream,
            Manner::LoseAnswers => true,
            Manner::Pass | Manner::Refuse(_) | Manner::RefuseAll(_) => false,
        };
        if !holds && !held.is_empty() {
            client.write_all(&held).await?;
            held.clear();
        }
        tokio::select! {
            got = gateway.read(&mut chunk) => match got? {
                0 if *manner.borrow() == Manner::LoseAnswers => return Ok(()),
                0 => return client.write_all(&held).await,
                n => held.extend_from_slice(&chunk[..n]),
            },
            _changed = manner.changed() => {}
            // The client is gone, and so is the stream.
            _ = client.read(&mut lost) => return Ok(()),
        }
    }
}

/// Reads a request: its head without `Connection` and without the empty line, and its body.
pub(crate) async fn request(client: &mut TcpStream) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return Ok(None),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let is = |line: &&str, name: &str| line.to_ascii_lowercase().starts_with(name);
    let length =
        head.lines().find(|line| is(line, "content-length:")).and_then(|line| line.split(':').nth(1));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    client.read_exact(&mut body).await?;
    let lines = head.lines().filter(|line| !line.is_empty() && !is(line, "connection:"));
    Ok(Some((lines.collect::<Vec<_>>().join("\r\n"), body)))
}
