//! Listens to all that Redis is asked (MONITOR): what a call looks like on the wire, and how many there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use parking_lot::Mutex;
use testkit::redis::{RedisServer, cmd};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Listens from its start on. Slows Redis down: nothing is timed meanwhile.
pub struct Monitor {
    heard: Arc<Mutex<Vec<Vec<String>>>>,
    _listening: JoinSet<()>,
}

impl Monitor {
    pub async fn start(server: &RedisServer) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(server.addr()).await?;
        socket.write_all(b"MONITOR\r\n").await?;
        let mut lines = BufReader::new(socket).lines();
        let answer = lines.next_line().await?.context("no answer to MONITOR")?;
        ensure!(answer == "+OK", "MONITOR: {answer}");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (mut listening, into) = (JoinSet::new(), Arc::clone(&heard));
        listening.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                // What scripts do inside isn't asked by anybody.
                if !line.contains(" lua] ") {
                    into.lock().push(words(&line));
                }
            }
        });
        Ok(Self { heard, _listening: listening })
    }

    /// How many of the commands heard until now are such.
    pub fn count(&self, is_such: impl Fn(&[String]) -> bool) -> usize {
        self.heard.lock().iter().filter(|words| is_such(words)).count()
    }

    /// All that clients asked until now, in order; each a command's name and its arguments.
    pub async fn stop(self, server: &RedisServer) -> anyhow::Result<Vec<Vec<String>>> {
        let mark = format!("mark-{}", rand::random::<u64>());
        cmd("ECHO").arg(&mark).exec_async(&mut server.client().await).await?;
        let is_mark = |words: &Vec<String>| words.get(1) == Some(&mark);
        testkit::eventually(whole::SOON, "the monitor has heard all", async || {
            self.heard.lock().iter().any(is_mark)
        })
        .await;
        let mut heard = std::mem::take(&mut *self.heard.lock());
        heard.truncate(heard.iter().position(is_mark).unwrap_or(heard.len()));
        // The connection that asked for the mark introduces itself.
        heard.retain(|words| !["CLIENT", "HELLO"].contains(&words.first().map_or("", String::as_str)));
        Ok(heard)
    }
}

/// How many of each command, by name.
pub fn by_name(heard: &[Vec<String>]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for words in heard {
        *counts.entry(words.first().map_or("", String::as_str)).or_default() += 1;
    }
    counts
}

/// The command's name, in capitals, and its arguments: `+<time> [<db> <client>] "evalsha" "…" …`.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut chars) = (Vec::new(), line.chars());
    while chars.by_ref().any(|c| c == '"') {
        let mut word = String::new();
        while let Some(c) = chars.next() {
            match c {
                '"' => break,
                '\\' => match chars.next() {
                    Some('n') => word.push('\n'),
                    Some('r') => word.push('\r'),
                    Some('t') => word.push('\t'),
                    // Nothing that is asked here holds other bytes than text.
                    Some('x') => word.extend(chars.by_ref().take(2).map(|_| '\u{fffd}').take(1)),
                    Some(other) => word.push(other),
                    None => {}
                },
                c => word.push(c),
            }
        }
        words.push(word);
    }
    if let Some(name) = words.first_mut() {
        name.make_ascii_uppercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_redis_says() {
        let line = r#"+1700000000.1 [0 127.0.0.1:5] "evalsha" "" "{\"a\":\"b\\\\c\"}" "x""#;
        assert_eq!(words(line), ["EVALSHA", "", r#"{"a":"b\\c"}"#, "x"]);
    }
}
