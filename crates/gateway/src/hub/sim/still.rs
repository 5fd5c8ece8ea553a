//! A hub that never reaches a Redis, and what it does each second with logs of which nothing new is heard.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use model::replay::LogPage;
use model::{Cursor, JobId, LogId, Partition, Position, Timestamp};
use store::{LiveSink, Options, Store, Target};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::core::Wake;
use super::super::node::Node;
use super::super::page::ReadPage;
use super::super::read::ReadOutcome;
use super::super::{Follow, Hub, HubOptions, NoPage};
use super::log::{Events, Kind, Log, line};

/// The name of the log `index` of a list.
pub(super) fn name(kind: Kind, index: u8) -> LogId {
    match kind {
        Kind::Job => LogId::Job(JobId::new(Timestamp::from_millis(1), [index; 10], Partition(0))),
        Kind::Feed => LogId::Feed(Partition(index.into()), "owner".parse().unwrap()),
    }
}

/// A hub that never reaches a Redis, with that cap on all rings.
pub(super) fn hub(rings: usize) -> Hub {
    let options = HubOptions {
        ring_log: 1000,
        rings,
        page: 4,
        reads: 1,
        linger: Duration::from_secs(1),
        reconcile: Duration::from_secs(1),
        coalesce: Duration::ZERO,
        base_url: String::new(),
    };
    let store = Store::new(Options::new(Target::parse("redis://127.0.0.1:1").unwrap()));
    Hub::new(store, options, TaskTracker::new(), CancellationToken::new())
}

/// The hub's tasks need a runtime to be on; none of them runs.
pub(super) fn still_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// A log without an event, of which that is known, and a stream that stands at its end.
pub(crate) fn begun(hub: &Hub, log: LogId) -> (Arc<Node>, Follow) {
    let mut stream = hub.follow(log.clone(), Position::START);
    let node = hub.0.logs.lock().get(&log).map(Arc::clone).unwrap();
    // It asks for a read, which finds nothing.
    stream.next();
    let read = node.core.lock().wanted().unwrap();
    let page = LogPage { first: None, last: Cursor::START, anchor: None, entries: Vec::new() };
    let page = ReadPage::follows(read.position, page, false).unwrap();
    let _: Wake = node.core.lock().answer(read, ReadOutcome::Page(page));
    stream.next();
    (node, stream)
}

/// A hub with a stream on each of three logs, which have 1, 2 and 3 events that nobody has taken.
struct Three {
    hub: Hub,
    nodes: Vec<Arc<Node>>,
    _streams: Vec<Follow>,
}

impl Three {
    fn new(rings: usize) -> Self {
        let (hub, mut nodes, mut streams) = (hub(rings), Vec::new(), Vec::new());
        for index in 0..3 {
            let (node, stream) = begun(&hub, name(Kind::Job, index));
            let (mut events, mut log) = (Events::salted(index), Log::of(Kind::Job));
            (0..=index).for_each(|_| node.entry(line(&events.append(&mut log, false))));
            nodes.push(node);
            streams.push(stream);
        }
        Self { hub, nodes, _streams: streams }
    }

    /// What each log holds.
    fn sizes(&self) -> Vec<usize> {
        self.nodes.iter().map(|node| node.core.lock().bytes()).collect()
    }
}

#[test]
fn a_second_without_anything_to_do_looks_at_no_log() {
    let runtime = still_runtime();
    let _here = runtime.enter();
    let Three { hub, nodes, _streams } = &Three::new(1 << 20);
    let locked: Vec<_> = nodes.iter().map(|node| (node.core.lock(), node.kept.lock())).collect();
    let (done, told) = channel();
    let second = std::thread::spawn({
        let hub = hub.clone();
        move || {
            hub.tick();
            done.send(())
        }
    });
    let looked = told.recv_timeout(Duration::from_secs(20)).is_err();
    drop(locked);
    let _ = second.join();
    assert!(!looked, "it waits for one of them");
}

#[test]
fn where_all_hold_too_much_the_largest_gives_and_else_none() {
    let runtime = still_runtime();
    let _here = runtime.enter();
    let sizes = Three::new(1 << 20).sizes();
    let all = sizes.iter().sum::<usize>();
    assert!(sizes.is_sorted_by(|one, next| 0 < *one && one < next), "{sizes:?}");

    let three = Three::new(all);
    three.hub.tick();
    assert_eq!(three.sizes(), sizes);

    let three = Three::new(all - 1);
    three.hub.tick();
    let now = three.sizes();
    assert_eq!(now[..2], sizes[..2]);
    assert!(now[2] < sizes[2] && now[2] > 0, "{now:?} of {sizes:?}");
    assert_eq!(three.hub.0.held.bytes(), now.iter().sum::<usize>());

    let three = Three::new(0);
    three.hub.tick();
    assert_eq!(three.sizes(), [0; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_page_waits_for_other_reads_no_longer_than_for_redis() {
    let (hub, log) = (hub(1 << 20), name(Kind::Job, 1));
    let held = hub.0.permit(&log).await;
    let began = tokio::time::Instant::now();
    let refused = hub.page(&log, Position::START).await;
    assert!(matches!(refused, Err(NoPage::Busy)), "{refused:?}");
    assert!(began.elapsed() < 2 * hub.0.store.patience(), "{:?}", began.elapsed());
    drop(held);
    let unreached = hub.page(&log, Position::START).await;
    assert!(matches!(unreached, Err(NoPage::Store(_))), "the next one may ask: {unreached:?}");
}
