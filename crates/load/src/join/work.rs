//! The side of who joins.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::message::{Order, VERSION, Word, receive, send};
use crate::error::Error;
use crate::hold::{Counts, Holder, Holding, Log, resolve};
use crate::limits;

/// How often the leader hears how it goes.
const TELL: Duration = Duration::from_millis(250);
/// How long the leader is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Joins the run that is led at `address`, and holds its share of the streams until the leader has all that was seen. `key` is
/// the API key, `sources` the addresses to connect from; `each` hears how it goes.
pub async fn join(
    address: SocketAddr,
    key: Option<String>,
    sources: Vec<IpAddr>,
    stop: CancellationToken,
    mut each: impl FnMut(Counts),
) -> Result<(), Error> {
    let leader = |source| Error::Leader { address, source };
    let (from, mut to) = connect(address).await.map_err(leader)?.into_split();
    let hello = Word::Hello { version: VERSION, possible: limits::possible(0) };
    send(&mut to, &hello).await.map_err(leader)?;
    // Orders come by a channel, so that waiting for one may be given up at any time.
    let (tell, mut orders) = mpsc::channel(4);
    let mut listening = JoinSet::new();
    listening.spawn(async move {
        let mut from: BufReader<OwnedReadHalf> = BufReader::new(from);
        loop {
            let order: io::Result<Order> = receive(&mut from).await;
            let is_last = order.is_err();
            if tell.send(order).await.is_err() || is_last {
                return;
            }
        }
    });
    let mut holder: Option<Holder> = None;
    let mut tells = interval(TELL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            order = orders.recv() => {
                let order = order.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())).map_err(leader)?;
                match (order, &holder) {
                    (Order::Hold { urls, logs, opening, every_us }, None) => {
                        let every = Duration::from_micros(every_us);
                        let began = begin(&urls, key.as_ref(), &sources, logs, opening, every).await;
                        if let Err(error) = &began {
                            send(&mut to, &Word::Failed { why: error.to_string() }).await.map_err(leader)?;
                        }
                        holder = Some(began?);
                    }
                    (Order::Storm, Some(holder)) => holder.storm(),
                    (Order::Stop { ends }, Some(_)) => {
                        let Some(holder) = holder.take() else { continue };
                        let tally = holder.stop(ends).await?;
                        send(&mut to, &Word::Tally(Box::new(tally))).await.map_err(leader)?;
                        return Ok(());
                    }
                    (Order::Hold { .. }, Some(_)) | (Order::Storm | Order::Stop { .. }, None) => {
                        return Err(leader(io::ErrorKind::InvalidData.into()));
                    }
                }
            }
            _ = tells.tick(), if holder.is_some() => {
                let Some(holder) = &holder else { continue };
                let counts = holder.counts();
                each(counts);
                let word = Word::Counts { counts, last_error: holder.last_error() };
                send(&mut to, &word).await.map_err(leader)?;
            }
        }
    }
}

/// Connects as soon as the leader listens: processes of one run may be started in any order.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let begin = Instant::now();
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if begin.elapsed() > PATIENCE => return Err(error),
            Err(_) => sleep(TELL).await,
        }
    }
}

async fn begin(
    urls: &[String],
    key: Option<&String>,
    sources: &[IpAddr],
    logs: Vec<(String, usize)>,
    opening: usize,
    every: Duration,
) -> Result<Holder, Error> {
    let mut servers = Vec::new();
    for url in urls {
        let found = resolve(url).await;
        servers.extend(found.map_err(|source| Error::Server { url: url.clone(), source })?);
    }
    let logs: Vec<_> = logs.into_iter().map(|(path, streams)| Log { path, streams }).collect();
    limits::check(logs.iter().map(|log| log.streams).sum(), 0)?;
    let holding = Holding { servers, sources: sources.to_vec(), key: key.cloned(), logs, opening, every };
    Holder::start(holding).map_err(Error::Thread)
}
