//! Several logs on one stream: jobs, or the partitions of an owner's feed.
//!
//! Each log is followed as on a stream of its own. The frames are the shared ones up to their `id:` line, which says how far the
//! stream is in all of its logs.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use model::several::{ListHash, Seen, encode};
use model::{JobId, LogId, Owner, Partition, Position};
use pin_project_lite::pin_project;
use tokio::sync::futures::OwnedNotified;

use super::follow::{Follow, Next, WaitFor};
use super::{Hub, frame};

/// One of the logs of a stream.
pub(crate) struct Member {
    log: LogId,
    seen: Seen,
    /// `None` when nothing of it will follow.
    follow: Option<Follow>,
}

impl Member {
    /// A log of which `seen` was told, and that goes on.
    pub(crate) fn open(hub: &Hub, log: LogId, seen: Seen) -> Self {
        let follow = match seen {
            Seen::Gone => None,
            Seen::UpTo(cursor) => Some(hub.follow(log.clone(), Position::from(cursor))),
        };
        Self { log, seen, follow }
    }

    /// The same, of a job that is cancelled when nobody has followed it for `within`.
    pub(crate) fn keeping(self, within: Option<Duration>) -> Self {
        Self { follow: self.follow.map(|follow| follow.keeping(within)), ..self }
    }

    /// A log of which `seen` was told, and nothing more will be.
    pub(crate) fn over(log: LogId, seen: Seen) -> Self {
        Self { log, seen, follow: None }
    }
}

/// What the logs of a stream are.
enum Of {
    Jobs(ListHash),
    /// An owner's feed: partitions may be added, and it never ends. `seen` was told of the first ones before; there may be fewer
    /// as far as this node has heard.
    Feed {
        owner: Owner,
        seen: Vec<Seen>,
    },
}

/// One follower of several logs.
pub(crate) struct Several {
    hub: Hub,
    of: Of,
    members: Vec<Member>,
    /// The members that may have something.
    ready: VecDeque<usize>,
    waiting: FuturesUnordered<Waiting>,
}

pin_project! {
    /// Completes with its member's index, or without one when partitions may have been added.
    struct Waiting {
        member: Option<usize>,
        reads: bool,
        #[pin]
        woken: OwnedNotified,
    }
}

impl Future for Waiting {
    type Output = Option<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let this = self.project();
        this.woken.poll(cx).map(|()| *this.member)
    }
}

impl Several {
    /// A follower of `members`, whose cursors are those of `list`.
    pub(crate) fn of_jobs(hub: &Hub, list: ListHash, members: Vec<Member>) -> Self {
        Self::of(hub, Of::Jobs(list), members)
    }

    /// A follower of the feed of `owner`, of whose first partitions `seen` was told; the others start at their beginning.
    pub(crate) fn of_feed(hub: &Hub, owner: Owner, seen: Vec<Seen>) -> Self {
        let mut feed = Self::of(hub, Of::Feed { owner, seen }, Vec::new());
        feed.add_partitions();
        feed
    }

    fn of(hub: &Hub, of: Of, members: Vec<Member>) -> Self {
        let ready = (0..members.len()).collect();
        Self { hub: hub.clone(), of, members, ready, waiting: FuturesUnordered::new() }
    }

    /// What follows next: frames of two pieces each, to write in this order; at least one. `None` if nothing will follow.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Bytes>>> {
        loop {
            while let Poll::Ready(Some(woken)) = self.waiting.poll_next_unpin(cx) {
                match woken {
                    Some(member) => self.ready.push_back(member),
                    None => self.add_partitions(),
                }
            }
            let Some(member) = self.ready.pop_front() else {
                let over = matches!(self.of, Of::Jobs(_)) && self.waiting.is_empty();
                return if over { Poll::Ready(None) } else { Poll::Pending };
            };
            let pieces = self.take(member);
            if !pieces.is_empty() {
                return Poll::Ready(Some(pieces));
            }
        }
    }

    /// Whether one of the logs is being read for it.
    pub(crate) fn reads(&self) -> bool {
        Pin::new(&self.waiting).iter_pin_ref().any(|waiting| waiting.reads)
    }

    /// What member `index` has; it is asked again when it may have more.
    fn take(&mut self, index: usize) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        let Some(Member { log, seen, follow }) = self.members.get_mut(index) else { return pieces };
        let Some(next) = follow.as_mut().map(Follow::next) else { return pieces };
        match next {
            Next::Frames(frames) => {
                self.ready.push_back(index);
                for told in frames {
                    self.members[index].seen = Seen::UpTo(told.after);
                    if !told.bytes.is_empty() {
                        pieces.push(frame::without_id(&told.bytes, told.after));
                        pieces.push(frame::id_lines(&self.id()));
                    }
                }
            }
            Next::Wait(woken, wait) => {
                let reads = wait == WaitFor::Read;
                self.waiting.push(Waiting { member: Some(index), reads, woken });
            }
            Next::End => *follow = None,
            Next::Gone => {
                (*seen, *follow) = (Seen::Gone, None);
                if let LogId::Job(job) = *log {
                    pieces.extend([gone(job), frame::id_lines(&self.id())]);
                }
            }
        }
        pieces
    }

    /// The id of a frame that is told now.
    fn id(&self) -> String {
        let told = self.members.iter().map(|member| member.seen);
        match &self.of {
            Of::Jobs(list) => encode(*list, told),
            Of::Feed { seen, .. } => {
                let unheard_of = seen.iter().skip(self.members.len()).copied();
                let count = seen.len().max(self.members.len());
                encode(ListHash::of_feed(count), told.chain(unheard_of))
            }
        }
    }

    /// Follows the partitions that there are and that aren't followed yet.
    fn add_partitions(&mut self) {
        let Of::Feed { owner, seen } = &self.of else { return };
        // Before the count is looked at, so that no growth is missed.
        let woken = self.hub.partitions_may_grow();
        self.waiting.push(Waiting { member: None, reads: false, woken });
        for partition in (0..self.hub.partitions()).skip(self.members.len()) {
            let index = self.members.len();
            let seen = seen.get(index).copied().unwrap_or(Seen::NOTHING);
            let log = LogId::Feed(Partition(partition), owner.clone());
            self.members.push(Member::open(&self.hub, log, seen));
            self.ready.push_back(index);
        }
    }
}

/// What says that `job` doesn't exist, or no longer; without the id.
fn gone(job: JobId) -> Bytes {
    frame::head(b"gone", format!("{{\"jobId\":\"{job}\",\"type\":\"gone\"}}").as_bytes())
}

/// The frame that says that `job` doesn't exist, or no longer.
pub(crate) fn gone_frame(job: JobId, id: &str) -> Bytes {
    [gone(job), frame::id_lines(id)].concat().into()
}
