//! The task that keeps one primary's live connection: connects, subscribes, routes, notices silence, begins anew.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connection::{self, Reader, Said, Writer};
use super::router::{Command, Inbox, Routes};
use super::table::Table;
use crate::connect::{Address, Backoff, Outage};
use crate::partition::Slot;

/// How many bytes of subscriptions wait to be written at most: the rest stays in the table, where it coalesces.
const WRITE_AHEAD: usize = 64 * 1024;
/// A connection that lived shorter than this is followed by a longer pause than the one before.
const LIVED: Duration = Duration::from_secs(1);
/// The shortest life of a connection that [`Command::Rebuild`] ends.
const REBUILD_AGE: Duration = Duration::from_secs(1);
/// How long bytes that may have arrived meanwhile are looked for before a silent connection is given up.
const LAST_LOOK: Duration = Duration::from_millis(50);

/// One primary's live connection, over all of its sockets.
pub(super) struct Line {
    address: Address,
    inbox: Arc<Inbox>,
    routes: Arc<Routes>,
    table: Table,
    outage: Outage,
}

/// Why a session ended.
enum End {
    /// The store is being closed.
    Closed,
    /// The connection is no good.
    Broken(io::Error),
}

/// What one socket needs beside the table.
struct Session {
    reader: Reader,
    writer: Writer,
    since: Instant,
    heard: Instant,
    is_asked: bool,
    pings: VecDeque<Ping>,
    ping_number: u64,
}

struct Ping {
    payload: Bytes,
    done: Option<oneshot::Sender<()>>,
}

impl Line {
    pub(super) fn new(address: Address, inbox: Arc<Inbox>, routes: Arc<Routes>) -> Self {
        Self { address, inbox, routes, table: Table::default(), outage: Outage::default() }
    }

    /// Runs until the store is closed, or no slot is carried here any more.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(2));
        let mut is_first = true;
        let closed = self.routes.closed.clone();
        loop {
            let opened = tokio::select! {
                () = closed.cancelled() => break,
                opened = connection::open(self.routes.dialer(), &self.address) => opened,
            };
            let cause = match opened {
                Ok((reader, writer)) => {
                    if !is_first {
                        self.routes.counters.reconnects.inc();
                    }
                    is_first = false;
                    let began = Instant::now();
                    let end = self.session(Session::new(reader, writer)).await;
                    self.table.lost();
                    if began.elapsed() > LIVED {
                        backoff.reset();
                    }
                    match end {
                        End::Closed => break,
                        End::Broken(cause) => cause,
                    }
                }
                Err(cause) => cause,
            };
            self.outage.began(format_args!("the live connection to {}", self.address), &cause);
            tokio::select! {
                () = closed.cancelled() => break,
                is_idle = self.settle_anew(&cause, backoff.next()) => if is_idle { break },
            }
        }
        self.table.lost();
    }

    /// Waits for `pause`, finds out who the primaries are now, and hands over the slots that have another one. True if
    /// nothing is left to carry.
    async fn settle_anew(&mut self, cause: &io::Error, pause: Duration) -> bool {
        sleep(pause).await;
        self.offline_commands();
        let routes = Arc::clone(&self.routes);
        let topology = routes.topology();
        topology.refresh().await;
        if let Some((slot, to)) = moved(&self.address, cause) {
            topology.moved(slot, &to);
        }
        let mut leaving = Vec::new();
        for slot in routes.slots_of(&self.inbox) {
            if topology.primary_of(slot).await.is_ok_and(|primary| primary != self.address) {
                leaving.push(slot);
            }
        }
        if leaving.is_empty() {
            return false;
        }
        routes.unseat(&self.inbox, &leaving);
        self.offline_commands();
        for slot in leaving {
            routes.settle(slot, self.table.take_slot(slot));
        }
        routes.retire_if_idle(&self.address, &self.inbox)
    }

    /// Takes in what came while there is no connection.
    fn offline_commands(&mut self) {
        for command in self.inbox.take() {
            match command {
                Command::Add(listener) => self.table.add(listener),
                Command::Remove { channel, id } => self.table.remove(&channel, id),
                // A barrier's waiter hears that nobody will answer.
                Command::Barrier { .. } | Command::Rebuild | Command::Primary(_) => {}
            }
        }
    }

    async fn session(&mut self, mut session: Session) -> End {
        let ping = self.routes.ping;
        let closed = self.routes.closed.clone();
        loop {
            while session.writer.buffer.len() < WRITE_AHEAD
                && self.table.write_changes(&mut session.writer.buffer)
            {}
            let check_at = session.heard + if session.is_asked { ping * 2 } else { ping };
            let done = tokio::select! {
                () = closed.cancelled() => return End::Closed,
                read = session.reader.read() => self.take_in(&mut session, read),
                written = session.writer.write(), if session.writer.is_pending() => written,
                () = self.inbox.rung() => self.online_commands(&mut session),
                () = sleep_until(check_at) => self.check(&mut session).await,
            };
            if let Err(cause) = done {
                return End::Broken(cause);
            }
        }
    }

    /// Nothing was heard for a while: asks for a sign of life, or gives the connection up.
    async fn check(&mut self, session: &mut Session) -> io::Result<()> {
        if !session.is_asked {
            session.is_asked = true;
            session.ping(None);
            return Ok(());
        }
        // This task may have been late itself.
        match timeout(LAST_LOOK, session.reader.read()).await {
            Ok(read) => self.take_in(session, read),
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nothing was heard, not even the answer to a PING",
            )),
        }
    }

    fn take_in(&mut self, session: &mut Session, read: io::Result<bool>) -> io::Result<()> {
        if !read? {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
        }
        session.heard = Instant::now();
        session.is_asked = false;
        while let Some(said) = session.reader.next()? {
            match said {
                Said::Message { channel, payload } => {
                    self.routes.counters.live_messages.inc();
                    self.table.message(&channel, &payload);
                }
                Said::Subscribed(channel) => {
                    self.outage.over(format_args!("the live connection to {}", self.address));
                    self.table.subscribed(&channel).map_err(io::Error::other)?;
                }
                Said::Unsubscribed(channel) => self.table.unsubscribed(&channel).map_err(io::Error::other)?,
                Said::Pong(payload) => session.pong(&payload)?,
                Said::Error(sentence) => return Err(io::Error::other(sentence)),
                Said::Other => {}
            }
        }
        Ok(())
    }

    fn online_commands(&mut self, session: &mut Session) -> io::Result<()> {
        let mut end = Ok(());
        // All of them, whatever one of them ends: they are taken, and nobody says them again.
        for command in self.inbox.take() {
            match command {
                Command::Add(listener) => self.table.add(listener),
                Command::Remove { channel, id } => self.table.remove(&channel, id),
                Command::Barrier { channel, done } => {
                    if self.table.stands(&channel) {
                        session.ping(Some(done));
                    }
                }
                Command::Rebuild if session.since.elapsed() >= REBUILD_AGE => {
                    end = Err(io::Error::other("it was found to lose messages"));
                }
                Command::Primary(address) if address != self.address => {
                    end = Err(io::Error::other(format!("{address} is the primary now")));
                }
                Command::Rebuild | Command::Primary(_) => {}
            }
        }
        end
    }
}

impl Session {
    fn new(reader: Reader, writer: Writer) -> Self {
        let now = Instant::now();
        Self {
            reader,
            writer,
            since: now,
            heard: now,
            is_asked: false,
            pings: VecDeque::new(),
            ping_number: 0,
        }
    }

    fn ping(&mut self, done: Option<oneshot::Sender<()>>) {
        self.ping_number += 1;
        let payload = Bytes::from(self.ping_number.to_string());
        connection::named_command(&mut self.writer.buffer, b"PING", std::slice::from_ref(&payload));
        self.pings.push_back(Ping { payload, done });
    }

    /// Replies come in order, and PING is the only command that has one.
    fn pong(&mut self, payload: &Bytes) -> io::Result<()> {
        match self.pings.pop_front() {
            Some(ping) if ping.payload == *payload => {
                if let Some(done) = ping.done {
                    // Who asked may have stopped waiting.
                    let _ = done.send(());
                }
                Ok(())
            }
            _ => Err(io::Error::other("the answer to a PING is not the one that is due")),
        }
    }
}

/// What a MOVED says, if that is the cause.
fn moved(from: &Address, cause: &io::Error) -> Option<(Slot, Address)> {
    let sentence = cause.to_string();
    let mut words = sentence.strip_prefix("MOVED ")?.split_ascii_whitespace();
    let slot = Slot(words.next()?.parse().ok()?);
    Some((slot, from.redirected(words.next()?)?))
}
