//! Sentinels, which say who is the primary.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use redis::{Cmd, ErrorKind, RedisResult, Value, from_redis_value};
use tokio::time::timeout;

use super::address::Address;
use super::node::Nodes;
use super::target::Login;
use super::turn::Turns;

/// How old an answer may be that a failing call is content with.
const FRESH: Duration = Duration::from_millis(100);
/// How long the rest of the Sentinels is waited for when most have answered.
const GRACE: Duration = Duration::from_millis(100);

/// Sentinels of one primary.
pub(crate) struct Sentinels {
    all: Vec<Address>,
    master: String,
    nodes: Arc<Nodes>,
    known: Mutex<Option<Word>>,
    asking: Turns,
}

/// One Sentinel's word: the address, and the number of the configuration that it is from.
struct Word {
    epoch: u64,
    primary: Address,
}

impl Sentinels {
    pub(crate) fn new(all: Vec<Address>, master: String, nodes: Arc<Nodes>) -> Self {
        Self { all, master, nodes, known: Mutex::default(), asking: Turns::default() }
    }

    pub(crate) async fn primary(&self) -> RedisResult<Address> {
        if self.known.lock().is_none() {
            self.refresh().await;
        }
        self.known_primary().ok_or_else(|| {
            let which = format!("of the {} configured", self.all.len());
            (ErrorKind::MasterNameNotFoundBySentinel, "no Sentinel answers and knows this primary", which)
                .into()
        })
    }

    pub(crate) fn known_primary(&self) -> Option<Address> {
        self.known.lock().as_ref().map(|word| word.primary.clone())
    }

    pub(crate) async fn refresh(&self) {
        self.asking.within(FRESH, self.ask_all()).await;
    }

    pub(crate) async fn confirm(&self) -> bool {
        self.asking.anew(self.ask_all()).await
    }

    /// Asks all at once, and believes the newest configuration: only a majority of Sentinels can make a newer one, while one
    /// that is cut off, with the old primary, keeps the older. True if more than half of them answered.
    async fn ask_all(&self) -> bool {
        let mut questions: FuturesUnordered<_> = self.all.iter().map(|sentinel| self.ask(sentinel)).collect();
        let mut newest: Option<Word> = None;
        let mut answers = 0;
        loop {
            let is_majority = answers * 2 > self.all.len();
            let next = timeout(if is_majority { GRACE } else { Duration::MAX }, questions.next());
            let Ok(Some(answer)) = next.await else { break };
            let Ok(word) = answer else { continue };
            answers += 1;
            if newest.as_ref().is_none_or(|newest| newest.epoch < word.epoch) {
                newest = Some(word);
            }
        }
        let is_majority = answers * 2 > self.all.len();
        if let Some(word) = newest {
            self.take(word, is_majority);
        }
        is_majority
    }

    /// Believes `word`, unless a few Sentinels say what is older than what is known.
    fn take(&self, word: Word, is_majority: bool) {
        let mut known = self.known.lock();
        if let Some(known) = &*known {
            if known.epoch > word.epoch && !is_majority {
                return;
            }
            if known.primary != word.primary {
                tracing::info!(primary = %word.primary, "the Sentinels name another primary");
            }
        }
        self.nodes.keep(std::slice::from_ref(&word.primary));
        *known = Some(word);
    }

    async fn ask(&self, sentinel: &Address) -> RedisResult<Word> {
        let dialer = self.nodes.dialer();
        let limit = dialer.connect_timeout + dialer.response_timeout;
        let question = self.ask_as(sentinel, &dialer.login);
        match timeout(limit, question).await.unwrap_or_else(|_| Err(late())) {
            // The password is the server's, and this Sentinel has none.
            Err(error) if error.kind() == ErrorKind::AuthenticationFailed => {
                timeout(limit, self.ask_as(sentinel, &Login::default())).await.unwrap_or_else(|_| Err(late()))
            }
            answer => answer,
        }
    }

    async fn ask_as(&self, sentinel: &Address, login: &Login) -> RedisResult<Word> {
        let login = Login { db: 0, ..login.clone() };
        let mut connection = self.nodes.dialer().redis_as(sentinel, &login).await?;
        // The address of the one is right even while a failover is under way, the other has the number.
        let address = connection
            .send_packed_command(&self.question("GET-MASTER-ADDR-BY-NAME"))
            .await?
            .extract_error()?;
        let state = connection.send_packed_command(&self.question("MASTER")).await?.extract_error()?;
        let unknown = || (ErrorKind::MasterNameNotFoundBySentinel, "a Sentinel doesn't know this primary");
        let (host, port) = from_redis_value::<Option<(String, u16)>>(address)?.ok_or_else(unknown)?;
        let primary = sentinel.beside(&host, port).ok_or_else(unknown)?;
        Ok(Word { epoch: epoch(state), primary })
    }

    fn question(&self, what: &str) -> Cmd {
        let mut cmd = redis::cmd("SENTINEL");
        cmd.arg(what).arg(&self.master);
        cmd
    }
}

/// `config-epoch` of a `SENTINEL MASTER` reply, a list of names and values.
fn epoch(state: Value) -> u64 {
    let fields: Vec<String> = from_redis_value(state).unwrap_or_default();
    let value = fields.chunks_exact(2).find(|pair| pair[0] == "config-epoch").map(|pair| pair[1].as_str());
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn late() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::TimedOut).into()
}
