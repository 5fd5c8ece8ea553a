//! The core of the hub against a model of Redis: random appends, trims, rewinds, lost, late, reordered and repeated live
//! messages, reads that are late or fail, and many streams; what each stream gets is checked by an oracle that shares no code
//! with the core.

mod doubt;
mod ending;
mod found;
mod log;
mod ops;
mod oracle;
mod several;
mod shell;
mod still;
mod world;

use log::Kind;
pub(crate) use still::begun;

use ops::{Ending, Fate, Op, Setting};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, RngAlgorithm};
use world::World;

fn op() -> impl Strategy<Value = Op> {
    let fate = prop_oneof![
        6 => Just(Fate::Heard),
        2 => Just(Fate::Late),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
    ];
    prop_oneof![
        16 => (0..3u8, prop::bool::weighted(0.15), fate).prop_map(|(more, large, fate)| Op::Append { more, large, fate }),
        5 => (any::<u8>(), any::<bool>()).prop_map(|(pick, again)| Op::Hear { pick, again }),
        2 => any::<u8>().prop_map(Op::Trim),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(to, kept)| Op::Rewind { to, kept }),
        1 => any::<u8>().prop_map(Op::Restore),
        1 => Just(Op::Finish),
        1 => Just(Op::Vanish),
        8 => (0..5u8, any::<u8>()).prop_map(|(how, pick)| Op::Open { how, pick }),
        2 => any::<u8>().prop_map(Op::Close),
        20 => (any::<u8>(), 0..200u8).prop_map(|(pick, budget)| Op::Take { pick, budget }),
        3 => any::<u8>().prop_map(Op::Twin),
        14 => Just(Op::Ask),
        6 => Just(Op::Run),
        14 => prop::bool::weighted(0.15).prop_map(Op::Answer),
        2 => any::<u8>().prop_map(Op::Shed),
        2 => Just(Op::AskTip),
        2 => any::<bool>().prop_map(Op::TellTip),
        1 => Just(Op::Unsettle),
        2 => Just(Op::Cool),
    ]
}

fn setting(kind: Kind) -> impl Strategy<Value = Setting> {
    let ring_bytes = prop_oneof![1..400usize, 400..4000usize];
    let ending = prop_oneof![Just(Ending::Reconcile), Just(Ending::Live), Just(Ending::Nothing)];
    (ring_bytes, 1..12usize, ending).prop_map(move |(ring_bytes, page, ending)| Setting {
        kind,
        ring_bytes,
        page,
        ending,
    })
}

fn check(setting: Setting, ops: &[Op]) {
    let mut world = World::new(setting);
    for &op in ops {
        world.step(op);
    }
    world.settle_down();
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 4000,
        // What it finds becomes a named test.
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        max_shrink_iters: 100_000,
        // The default one takes three quarters of the time in a debug build.
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_stream_is_the_log_from_its_cursor(setting in setting(Kind::Job), ops in prop::collection::vec(op(), 1..120)) {
        check(setting, &ops);
    }

    #[test]
    fn every_stream_is_the_feed_from_its_cursor(setting in setting(Kind::Feed), ops in prop::collection::vec(op(), 1..120)) {
        check(setting, &ops);
    }
}
