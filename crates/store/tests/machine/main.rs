//! The steps as a state machine: random calls of several workers, clients and sweepers on a real Redis, whose clock the test
//! moves, forth and back. After each call all of Redis is read and held to what must be true at any time, by code that shares
//! nothing with the scripts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that can't go on fails at once"
)]

mod invariants;
mod log;
mod snapshot;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRunner};
use store::{Options, Store, Target};
use testkit::redis::RedisServer;
use world::{Batch, How, Op, Say, World};

fn op() -> impl Strategy<Value = Op> {
    let says = || {
        let say = prop_oneof![
            4 => (0..6u8).prop_map(Say::Progress),
            3 => (0..4u8).prop_map(Say::Text),
            2 => (0..3u8).prop_map(Say::Output),
        ];
        (prop::collection::vec(say, 0..4), prop::bool::weighted(0.15)).prop_map(|(mut says, large)| {
            says.extend(large.then_some(Say::Large));
            says
        })
    };
    let batch = || {
        prop_oneof![
            8 => Just(Batch::Next),
            2 => Just(Batch::Uncounted),
            1 => Just(Batch::Old),
            1 => Just(Batch::Gap),
        ]
    };
    let how = prop_oneof![
        4 => Just(How::Completed),
        1 => Just(How::CompletedLarge),
        3 => Just(How::Failed),
        6 => Just(How::Retry),
    ];
    prop_oneof![
        10 => (any::<[bool; 3]>(), prop::option::weighted(0.3, 0..2u8), any::<bool>(), 1..4u8).prop_map(
            |([owner, task, small], key, other_body, attempts)| {
                Op::Submit { owner, task, small, key, other_body, attempts }
            }
        ),
        16 => (0..4u8, 1..9u8).prop_map(|(tasks, lease)| Op::Claim { tasks, lease }),
        6 => any::<u8>().prop_map(Op::Renew),
        16 => (any::<u8>(), batch(), says()).prop_map(|(pick, batch, says)| Op::Append { pick, batch, says }),
        10 => (any::<u8>(), how, batch(), says()).prop_map(|(pick, how, batch, says)| Op::End { pick, how, batch, says }),
        4 => any::<u8>().prop_map(Op::Release),
        3 => any::<u8>().prop_map(Op::Crash),
        4 => (any::<u8>(), prop::bool::weighted(0.1)).prop_map(|(pick, stranger)| Op::Cancel { pick, stranger }),
        14 => any::<bool>().prop_map(Op::Sweep),
        12 => (0..2_000u32).prop_map(Op::Pass),
        4 => (2_000..9_000u32).prop_map(Op::Pass),
        1 => (9_000..50_000u32).prop_map(Op::Pass),
        2 => (1..40_000u32).prop_map(Op::GoBack),
        8 => any::<u8>().prop_map(Op::Again),
    ]
}

#[test]
fn whatever_is_called_in_whatever_order_every_job_keeps_its_promises() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (server, store, redis) = runtime.block_on(async {
        let server = RedisServer::builder().append_only(false).start().await;
        let mut options = Options::new(Target::parse(&server.url()).unwrap());
        options.max_event = 1_000;
        let redis = server.client().await;
        (server, Store::new(options), redis)
    });
    let config = ProptestConfig {
        cases: 100,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    };
    // Each call may be sent twice.
    let ops = prop::collection::vec((op(), prop::bool::weighted(0.3)), 1..70);
    let ran = TestRunner::new(config).run(&ops, |ops| {
        runtime.block_on(async {
            let mut world = World::new(store.clone(), redis.clone()).await;
            for (op, twice) in &ops {
                world.step(op, *twice).await;
            }
            world.settle().await;
        });
        Ok(())
    });
    drop(server);
    ran.unwrap_or_else(|failure| panic!("{failure}"));
}
