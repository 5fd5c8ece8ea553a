//! `jobcast watch`, and the watching that `jobcast submit` does.

mod lines;
mod screen;
mod view;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use client::{Client, ClientBuilder, Connection, Event, FollowError, JobId, Position, Start, Status};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::{StreamExt as _, StreamMap};

use self::screen::Screen;
use super::people::{Exit, Failure, Reach, complain, line};

const EXAMPLES: &str = "\
Examples:
  jobcast watch 019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000
  jobcast watch $A $B $C                                 several jobs, a bar for each
  jobcast watch $JOB --from now                          without what was before
  jobcast watch $JOB --json | jq -r 'select(.type == \"output\").text'

At a terminal it draws bars, and prints what the jobs put out above them; elsewhere it prints
the events, one JSON object a line. Leaving (Ctrl-C) cancels nothing.

Exit codes: 0: all completed; 1: one failed, was cancelled or is unknown;
2: a wrong command line; 3: nobody answers.";

/// So many changes of connections wait to be shown; more can be forgotten, since the last one tells all.
const CONNECTIONS: usize = 64;

/// Which jobs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Watch {
    /// The jobs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<JobId>,
    /// Where to begin: `now`, or after an event's id
    #[arg(long, value_name = "CURSOR", default_value = "0", hide_default_value = true)]
    from: Begin,
    /// Events as JSON, one a line, at a terminal too
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Where to begin.
#[derive(Clone, Copy, Debug)]
struct Begin(Start);

impl FromStr for Begin {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "now" => Ok(Self(Start::Now)),
            text => text.parse::<Position>().map(|at| Self(at.into())).map_err(|error| error.to_string()),
        }
    }
}

impl Watch {
    pub(super) async fn run(&self) -> Result<Exit, Failure> {
        let ids: Vec<_> = self.ids.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        if let (Begin(Start::After(at)), [_, _, ..]) = (self.from, &*ids)
            && at != Position::START
        {
            return Err(Failure::Usage("a cursor belongs to one job; watch the others apart".into()));
        }
        let show = Show::new(self.json);
        let client = show.on(self.reach.client()?).build()?;
        if let Some(&id) = ids.first() {
            // A following tries on for long; a mistyped address should be told soon. (What else is wrong, it tells itself.)
            if let Err(error @ client::Error::Unreachable { .. }) = client.get(id).await {
                return Err(error.into());
            }
        }
        all(&client, &ids, self.from.0, show).await
    }
}

/// How events are shown, and the connections' changes on their way there.
pub(super) struct Show {
    json: bool,
    sender: mpsc::Sender<(JobId, Connection)>,
    connections: mpsc::Receiver<(JobId, Connection)>,
}

impl Show {
    /// As bars at a terminal, unless `json` is asked for.
    pub(super) fn new(json: bool) -> Self {
        let (sender, connections) = mpsc::channel(CONNECTIONS);
        Self { json: json || !io::stdout().is_terminal(), sender, connections }
    }

    /// Whether events are printed as JSON.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Has the client tell of its connections here.
    pub(super) fn on(&self, builder: ClientBuilder) -> ClientBuilder {
        let sender = self.sender.clone();
        builder.on_connection(move |id, connection| drop(sender.try_send((id, connection.clone()))))
    }
}

/// Follows jobs to their ends, and shows them.
pub(super) async fn all(client: &Client, ids: &[JobId], from: Start, show: Show) -> Result<Exit, Failure> {
    let Show { json, sender: _sender, mut connections } = show;
    let mut follows: StreamMap<_, _> = ids.iter().map(|&id| (id, client.follow(id, from))).collect();
    let mut screen = (!json).then(|| Screen::new(ids));
    let mut exit = Exit::Done;
    // One for the whole time: what is typed between two waits must not be lost.
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            // What happened to a connection comes before what came over it.
            biased;
            _ = &mut interrupted => {
                if let Some(screen) = &mut screen {
                    screen.leave();
                }
                complain(&"the jobs go on; `jobcast watch` shows them again, `jobcast cancel` ends them");
                return Ok(Exit::Interrupted);
            }
            Some((id, connection)) = connections.recv() => match &mut screen {
                Some(screen) => screen.connection(id, &connection),
                None => note(id, &connection),
            },
            next = follows.next() => match next {
                None => return Ok(exit),
                Some((id, Ok(event))) => {
                    exit = exit.max(outcome(&event));
                    match &mut screen {
                        Some(screen) => screen.event(id, &event)?,
                        None => line(event.json().as_str())?,
                    }
                }
                Some((id, Err(error))) => {
                    exit = exit.max(code(&error));
                    match &mut screen {
                        Some(screen) => screen.lost(id, &error)?,
                        None => complain(&format_args!("{id}: {error}")),
                    }
                }
            },
        }
    }
}

/// Waits for a job's end, and prints its result.
pub(super) async fn end(client: &Client, id: JobId, wait: Duration, json: bool) -> Result<Exit, Failure> {
    let mut follow = client.follow(id, Start::BEGINNING);
    let ended = timeout(wait, async {
        while let Some(event) = follow.next().await {
            event?;
        }
        Ok::<_, FollowError>(())
    });
    let Ok(ended) = ended.await else {
        complain(&format_args!("it hasn't ended yet; `jobcast watch {id}` shows how it goes on"));
        return Ok(Exit::Late);
    };
    ended?;
    let job = client.get(id).await?;
    if json {
        line(&serde_json::to_string(&job).unwrap_or_default())?;
    } else if job.status == Status::Completed {
        line(job.result.as_ref().map_or("null", client::Json::as_str))?;
    } else {
        let status = job.status.as_str();
        complain(&format_args!("the job is {status}: {}", job.error.as_deref().unwrap_or("nobody says why")));
    }
    Ok(of_status(job.status))
}

fn note(id: JobId, connection: &Connection) {
    match connection {
        Connection::Waiting { why } if !why.is_empty() => complain(&format_args!("{id}: {why}; trying on")),
        Connection::Polling => complain(&format_args!("{id}: the stream can't be had; polling")),
        _ => {}
    }
}

/// What an event says of the exit code.
fn outcome(event: &Event) -> Exit {
    match event {
        Event::Failed { .. } | Event::Cancelled { .. } => Exit::Failed,
        Event::Snapshot(snapshot) => of_status(snapshot.job.status),
        Event::Polled(job) => of_status(job.status),
        Event::Other(other) if matches!(&*other.name, "failed" | "cancelled") => Exit::Failed,
        _ => Exit::Done,
    }
}

fn of_status(status: Status) -> Exit {
    match status {
        Status::Failed | Status::Cancelled => Exit::Failed,
        Status::Pending | Status::Processing | Status::Completed => Exit::Done,
    }
}

fn code(error: &FollowError) -> Exit {
    match error {
        FollowError::Unreachable { .. } => Exit::Unreachable,
        _ => Exit::Failed,
    }
}
