//! A log whose end is in doubt: what a reconcile makes of it.

use std::sync::Arc;

use model::Entry;
use store::LiveSink;

use super::super::Follow;
use super::super::core::Wake;
use super::super::node::Node;
use super::super::page::ReadPage;
use super::super::read::{ReadAt, ReadOutcome};
use super::log::{Events, Kind, Log};
use super::still::{begun, hub, name, still_runtime};

/// A job's log, and one node that follows it.
struct Scene {
    node: Arc<Node>,
    log: Log,
    events: Events,
}

impl Scene {
    /// With a stream, which stands at the log's end.
    fn set() -> (Self, Follow) {
        let hub = hub(1 << 20);
        let (node, stream) = begun(&hub, name(Kind::Job, 0));
        (Self { node, log: Log::of(Kind::Job), events: Events::salted(0) }, stream)
    }

    /// Appends an event of which the node isn't told yet.
    fn append(&mut self) -> Entry {
        self.events.append(&mut self.log, false)
    }

    /// An event that is too large to be published whole.
    fn hear_large(&mut self) {
        let head = self.append().head;
        self.node.entry(format!("{} {} {}", head.seq, head.mark, head.before).into());
    }

    fn wanted(&self) -> Option<ReadAt> {
        self.node.core.lock().wanted()
    }

    /// What Redis says now.
    fn page(&self, read: ReadAt) -> ReadOutcome {
        let page = self.log.read(read.position.seq, 100);
        ReadOutcome::Page(ReadPage::follows(read.position, page, self.log.ended()).unwrap())
    }

    fn answer(&self, read: ReadAt, outcome: ReadOutcome) {
        let _: Wake = self.node.core.lock().answer(read, outcome);
    }

    /// Whether a reconcile that asks now finds a loss.
    fn differs(&self) -> bool {
        let core = self.node.core.lock();
        core.differs(core.head(), self.log.last())
    }
}

#[test]
fn what_is_being_read_is_not_lost_and_what_is_lost_is_found_after_the_read() {
    let runtime = still_runtime();
    let _here = runtime.enter();
    let (mut scene, _stream) = Scene::set();
    scene.hear_large();
    assert!(!scene.differs(), "a read is wanted");
    let read = scene.wanted().unwrap();
    assert!(!scene.differs(), "it is under way");
    let page = scene.page(read);
    // One that the read was too early for is lost, and the next one is heard of.
    scene.append();
    scene.hear_large();
    assert!(!scene.differs());
    scene.answer(read, page);
    assert!(!scene.differs(), "it is to be read again");
    let read = scene.wanted().unwrap();
    scene.append();
    // What was lost before the read runs, it brings; what is lost later, it doesn't.
    let page = scene.page(read);
    let told = scene.log.last();
    scene.append();
    assert!(!scene.differs());
    scene.answer(read, page);
    assert_eq!(scene.node.core.lock().head(), Some(told));
    assert!(scene.differs(), "no doubt is left, and one is missing");
    let wake = scene.node.core.lock().unsettle();
    assert!(wake.read && !scene.differs(), "it is counted once");
}
