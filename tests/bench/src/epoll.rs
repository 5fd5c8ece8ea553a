//! What the floor, the crowd and the receiver have in common: sockets by number, and who of them is ready.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// The system's list of sockets that are watched.
pub(crate) struct Epoll {
    fd: OwnedFd,
    ready: Vec<Event>,
}

impl Epoll {
    /// An empty one.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { fd: epoll::create(CreateFlags::CLOEXEC)?, ready: Vec::with_capacity(256) })
    }

    /// Watches `socket` for what can be read from it, by that number.
    pub(crate) fn add(&self, socket: impl AsFd, number: usize) -> anyhow::Result<()> {
        Ok(epoll::add(&self.fd, socket, EventData::new_u64(number as u64), EventFlags::IN)?)
    }

    /// Waits up to `millis` for sockets that are ready; their numbers.
    pub(crate) fn wait(&mut self, millis: i64) -> anyhow::Result<Vec<usize>> {
        self.ready.clear();
        let limit = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
        match epoll::wait(&self.fd, spare_capacity(&mut self.ready), Some(&limit)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
        let number = |event: &Event| usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
        Ok(self.ready.iter().map(number).collect())
    }
}
