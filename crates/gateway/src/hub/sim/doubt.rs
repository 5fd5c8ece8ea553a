//! A log whose end is in doubt: what a reconcile makes of it, and what is read of it for whom.

use std::sync::Arc;

use model::{Entry, Position};
use store::LiveSink;

use super::super::core::Wake;
use super::super::node::Node;
use super::super::page::ReadPage;
use super::super::read::{ReadAt, ReadOutcome};
use super::super::{Follow, Hub, Next, WaitFor};
use super::log::{Events, Kind, Log, line};
use super::still::{begun, hub, name, still_runtime};

/// A job's log, and one node that follows it.
struct Scene {
    hub: Hub,
    node: Arc<Node>,
    log: Log,
    events: Events,
}

impl Scene {
    /// With a stream, which stands at the log's end.
    fn set() -> (Self, Follow) {
        let hub = hub(1 << 20);
        let (node, stream) = begun(&hub, name(Kind::Job, 0));
        (Self { hub, node, log: Log::of(Kind::Job), events: Events::salted(0) }, stream)
    }

    /// Appends an event of which the node isn't told yet.
    fn append(&mut self, terminal: bool) -> Entry {
        self.events.append(&mut self.log, terminal)
    }

    /// An event that is too large to be published whole.
    fn hear_large(&mut self) {
        let head = self.append(false).head;
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
    scene.append(false);
    scene.hear_large();
    assert!(!scene.differs());
    scene.answer(read, page);
    assert!(!scene.differs(), "it is to be read again");
    let read = scene.wanted().unwrap();
    scene.append(false);
    // What was lost before the read runs, it brings; what is lost later, it doesn't.
    let page = scene.page(read);
    let told = scene.log.last();
    scene.append(false);
    assert!(!scene.differs());
    scene.answer(read, page);
    assert_eq!(scene.node.core.lock().head(), Some(told));
    assert!(scene.differs(), "no doubt is left, and one is missing");
    let wake = scene.node.core.lock().unsettle();
    assert!(wake.read && !scene.differs(), "it is counted once");
}

/// Else it would be read for nobody, without end while Redis is away, and take the place of a read that somebody waits for.
#[test]
fn a_log_in_doubt_is_read_only_while_somebody_stands_there() {
    let runtime = still_runtime();
    let _here = runtime.enter();
    let (mut scene, stream) = Scene::set();
    scene.hear_large();
    let read = scene.wanted().unwrap();
    drop(stream);
    let wake = scene.node.core.lock().answer(read, ReadOutcome::Failed);
    assert!(!wake.read, "nobody needs it");
    assert_eq!(scene.wanted(), None);
    assert!(!scene.node.core.lock().unsettle().read);
    // Who comes gets it, and the doubt is settled.
    let mut stream = scene.hub.follow(scene.node.log.clone(), Position::START);
    assert!(matches!(stream.next(), Next::Wait(_, WaitFor::Read)));
    let read = scene.wanted().unwrap();
    scene.answer(read, scene.page(read));
    assert!(matches!(stream.next(), Next::Frames(frames) if frames.len() == 1));
    assert_eq!(scene.wanted(), None);
    assert!(scene.node.core.lock().goes_on());
}

/// Frames are kept for a moment for who comes next. Those of a history that Redis may have lost meanwhile are told to nobody.
#[test]
fn who_comes_to_a_log_in_doubt_gets_nothing_that_was_kept() {
    let runtime = still_runtime();
    let _here = runtime.enter();
    let (mut scene, first) = Scene::set();
    let second = scene.hub.follow(scene.node.log.clone(), Position::START);
    let old = scene.append(true);
    scene.node.entry(line(&old));
    drop((first, second));
    assert!(scene.node.core.lock().bytes() > 0, "it is kept");
    let _: Wake = scene.node.core.lock().unsettle();
    // The end is lost, and the job goes on otherwise.
    scene.log = Log::of(Kind::Job);
    let new = scene.append(false);
    let mut third = scene.hub.follow(scene.node.log.clone(), Position::START);
    assert!(matches!(third.next(), Next::Wait(_, WaitFor::Read)));
    let read = scene.wanted().unwrap();
    scene.answer(read, scene.page(read));
    assert!(matches!(third.next(), Next::Frames(frames) if frames[0].after == new.head.cursor()));
    assert!(matches!(third.next(), Next::Wait(_, WaitFor::Head)), "it goes on");
}
