//! Several logs on one stream: jobs, or the partitions of an owner's feed.
//!
//! Each log is followed as on a stream of its own. The frames are the shared ones up to their `id:` line, which says how far the
//! stream is in all of its logs.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use model::several::{Id, ListHash, Seen};
use model::{JobId, LogId, Owner, Partition, Position};

use super::follow::{Follow, Next, WaitFor};
use super::id_lines::IdLines;
use super::wakes::{Place, Wakes};
use super::{Hub, frame};

/// One of the logs of a stream.
pub(crate) struct Member {
    log: LogId,
    seen: Seen,
    /// `None` when nothing of it will follow.
    follow: Option<Follow>,
    /// Where it waits, once it has waited.
    place: Option<Place>,
    /// What it waits for is a read.
    reads: bool,
}

impl Member {
    /// A log of which `seen` was told, and that goes on.
    pub(crate) fn open(hub: &Hub, log: LogId, seen: Seen) -> Self {
        let follow = match seen {
            Seen::Gone => None,
            Seen::UpTo(cursor) => Some(hub.follow(log.clone(), Position::from(cursor))),
        };
        Self { log, seen, follow, place: None, reads: false }
    }

    /// The same, of a job that is cancelled when nobody has followed it for `within`.
    pub(crate) fn keeping(self, within: Option<Duration>) -> Self {
        Self { follow: self.follow.map(|follow| follow.keeping(within)), ..self }
    }

    /// A log of which `seen` was told, and nothing more will be.
    pub(crate) fn over(log: LogId, seen: Seen) -> Self {
        Self { log, seen, follow: None, place: None, reads: false }
    }
}

/// What the logs of a stream are.
enum Of {
    Jobs,
    /// An owner's feed: partitions may be added, and it never ends. `seen` was told of the first ones before; there may be fewer
    /// as far as this node has heard.
    Feed {
        owner: Owner,
        seen: Vec<Seen>,
    },
}

/// What wakes a stream: the member of this index, or that partitions may have been added.
type Key = Option<usize>;

/// One follower of several logs.
pub(crate) struct Several {
    hub: Hub,
    of: Of,
    list: ListHash,
    members: Vec<Member>,
    /// The members that may have something.
    ready: VecDeque<usize>,
    wakes: Wakes<Key>,
    growth: Option<Place>,
    ids: IdLines,
}

impl Several {
    /// A follower of `members`, whose cursors are those of `list`.
    pub(crate) fn of_jobs(hub: &Hub, list: ListHash, members: Vec<Member>) -> Self {
        Self::of(hub, Of::Jobs, list, members)
    }

    /// A follower of the feed of `owner`, of whose first partitions `seen` was told; the others start at their beginning.
    pub(crate) fn of_feed(hub: &Hub, owner: Owner, seen: Vec<Seen>) -> Self {
        let list = ListHash::of_feed(seen.len());
        let mut feed = Self::of(hub, Of::Feed { owner, seen }, list, Vec::new());
        feed.add_partitions();
        feed
    }

    fn of(hub: &Hub, of: Of, list: ListHash, members: Vec<Member>) -> Self {
        let ready = (0..members.len()).collect();
        let (wakes, ids) = (Wakes::new(), IdLines::new());
        Self { hub: hub.clone(), of, list, members, ready, wakes, growth: None, ids }
    }

    /// Adds to `out` what follows next: frames of two pieces each, to write in this order; at least one. How many frames; `None` if
    /// nothing will follow.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>, out: &mut impl Extend<Bytes>) -> Poll<Option<u64>> {
        loop {
            while let Poll::Ready(woken) = self.wakes.poll_next(cx) {
                match woken {
                    Some(member) => self.ready.push_back(member),
                    None => self.add_partitions(),
                }
            }
            let Some(member) = self.ready.pop_front() else {
                let goes_on = self.members.iter().any(|member| member.follow.is_some());
                let over = matches!(self.of, Of::Jobs) && !goes_on;
                return if over { Poll::Ready(None) } else { Poll::Pending };
            };
            let frames = self.take(member, out);
            if frames > 0 {
                return Poll::Ready(Some(frames));
            }
        }
    }

    /// Whether one of the logs is being read for it.
    pub(crate) fn reads(&self) -> bool {
        self.members.iter().any(|member| member.reads)
    }

    /// Adds to `out` what member `index` has, and says how many frames that are; it is asked again when it may have more.
    fn take(&mut self, index: usize, out: &mut impl Extend<Bytes>) -> u64 {
        let Some(member) = self.members.get_mut(index) else { return 0 };
        member.reads = false;
        let Some(next) = member.follow.as_mut().map(Follow::next) else { return 0 };
        let mut count = 0;
        match next {
            Next::Frames(frames) => {
                self.ready.push_back(index);
                for told in frames {
                    self.members[index].seen = Seen::UpTo(told.after);
                    if !told.bytes.is_empty() {
                        out.extend([frame::without_id(&told.bytes, told.after), self.id_lines()]);
                        count += 1;
                    }
                }
            }
            Next::Wait(woken, wait) => {
                member.reads = wait == WaitFor::Read;
                let place = member.place.get_or_insert_with(|| self.wakes.place(Some(index)));
                if place.wait_for(woken).is_ready() {
                    self.ready.push_back(index);
                }
            }
            Next::End => member.follow = None,
            Next::Gone => {
                (member.seen, member.follow) = (Seen::Gone, None);
                if let LogId::Job(job) = member.log {
                    out.extend([gone(job), self.id_lines()]);
                    count += 1;
                }
            }
        }
        count
    }

    /// The last lines of a frame that is told now.
    fn id_lines(&mut self) -> Bytes {
        let told = self.members.iter().map(|member| member.seen);
        let unheard_of: &[Seen] = match &self.of {
            Of::Jobs => &[],
            Of::Feed { seen, .. } => seen.get(self.members.len()..).unwrap_or_default(),
        };
        self.ids.of(&Id::new(self.list, told.chain(unheard_of.iter().copied())))
    }

    /// Follows the partitions that there are and that aren't followed yet.
    fn add_partitions(&mut self) {
        let Of::Feed { owner, seen } = &self.of else { return };
        // Before the count is looked at, so that no growth is missed.
        let growth = self.growth.get_or_insert_with(|| self.wakes.place(None));
        while growth.wait_for(self.hub.partitions_may_grow()).is_ready() {}
        for partition in (0..self.hub.partitions()).skip(self.members.len()) {
            let index = self.members.len();
            let seen = seen.get(index).copied().unwrap_or(Seen::NOTHING);
            let log = LogId::Feed(Partition(partition), owner.clone());
            self.members.push(Member::open(&self.hub, log, seen));
            self.ready.push_back(index);
        }
        self.list = ListHash::of_feed(seen.len().max(self.members.len()));
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
