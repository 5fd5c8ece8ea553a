//! The leader's side.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::message::{Order, VERSION, Word, receive, send};
use crate::error::Error;
use crate::hold::{Counts, Holding, Tally};

/// How long a newcomer may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that has joined.
#[derive(Debug)]
pub(crate) struct Member {
    /// Its number; the leader is 1.
    number: usize,
    possible: Option<u64>,
    to: OwnedWriteHalf,
    heard: Arc<Mutex<Heard>>,
    tally: oneshot::Receiver<Tally>,
    _listening: JoinSet<()>,
}

/// What a member has said last.
#[derive(Debug, Default)]
struct Heard {
    counts: Counts,
    last_error: Option<String>,
    lost: Option<String>,
}

/// Listens at `address` until `processes` are there, this one included; `each` hears of how many there are.
pub(crate) async fn muster(
    address: SocketAddr,
    processes: usize,
    mut each: impl FnMut(usize),
) -> Result<Vec<Member>, Error> {
    let lead = |source| Error::Lead { address, source };
    let listener = TcpListener::bind(address).await.map_err(lead)?;
    let mut members = Vec::new();
    each(1);
    while members.len() + 1 < processes {
        let (stream, _) = listener.accept().await.map_err(lead)?;
        // One that isn't of ours is left alone.
        let welcomed = timeout(PATIENCE, Member::welcome(stream, members.len() + 2)).await;
        if let Ok(Ok(member)) = welcomed {
            members.push(member);
            each(members.len() + 1);
        }
    }
    Ok(members)
}

impl Member {
    async fn welcome(stream: TcpStream, number: usize) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let (from, to) = stream.into_split();
        let mut from = BufReader::new(from);
        let Word::Hello { version: VERSION, possible } = receive(&mut from).await? else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (answer, tally) = oneshot::channel();
        let mut listening = JoinSet::new();
        listening.spawn(listen(from, Arc::clone(&heard), answer));
        Ok(Self { number, possible, to, heard, tally, _listening: listening })
    }

    /// Has it open the streams of `holding`.
    pub(crate) async fn hold(&mut self, urls: &[String], holding: &Holding) -> Result<(), Error> {
        let streams: usize = holding.logs.iter().map(|log| log.streams).sum();
        if let Some(possible) = self.possible.filter(|&possible| streams as u64 > possible) {
            let why = format!(
                "it can hold {possible} streams of the {streams} that are its share; raise its limit of open files, \
                 or let more processes join"
            );
            return Err(Error::Member { number: self.number, why });
        }
        let order = Order::Hold {
            urls: urls.to_vec(),
            logs: holding.logs.iter().map(|log| (log.path.clone(), log.streams)).collect(),
            opening: holding.opening,
            every_us: u64::try_from(holding.every.as_micros()).unwrap_or(u64::MAX),
        };
        self.order(&order).await
    }

    /// Has it cut its streams, and open them again.
    pub(crate) async fn storm(&mut self) -> Result<(), Error> {
        self.order(&Order::Storm).await
    }

    /// Has it let go, and say what it saw.
    pub(crate) async fn stop(mut self, ends: Vec<u64>) -> Result<Tally, Error> {
        self.order(&Order::Stop { ends }).await?;
        match self.tally.await {
            Ok(tally) => Ok(tally),
            Err(_) => Err(lost(self.number, &self.heard)),
        }
    }

    /// What it said last of its counts.
    pub(crate) fn counts(&self) -> Result<Counts, Error> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match &heard.lost {
            None => Ok(heard.counts),
            Some(why) => Err(Error::Member { number: self.number, why: why.clone() }),
        }
    }

    /// What went wrong last at an opening.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).last_error.clone()
    }

    async fn order(&mut self, order: &Order) -> Result<(), Error> {
        let sent = send(&mut self.to, order).await;
        sent.map_err(|error| Error::Member { number: self.number, why: error.to_string() })
    }
}

fn lost(number: usize, heard: &Mutex<Heard>) -> Error {
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
    let why = heard.lost.clone().unwrap_or_else(|| "it went away".to_owned());
    Error::Member { number, why }
}

/// Hears a member out.
async fn listen(
    mut from: BufReader<OwnedReadHalf>,
    heard: Arc<Mutex<Heard>>,
    answer: oneshot::Sender<Tally>,
) {
    let why = loop {
        let word = receive(&mut from).await;
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        match word {
            Ok(Word::Counts { counts, last_error }) => {
                heard.counts = counts;
                heard.last_error = last_error;
            }
            Ok(Word::Tally(tally)) => {
                let _ = answer.send(*tally);
                return;
            }
            Ok(Word::Failed { why }) => break why,
            Ok(Word::Hello { .. }) => {}
            Err(error) => break error.to_string(),
        }
    };
    heard.lock().unwrap_or_else(PoisonError::into_inner).lost = Some(why);
}
