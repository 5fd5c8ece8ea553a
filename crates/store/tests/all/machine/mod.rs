//! The steps as a state machine: random calls of several workers, clients and sweepers on a real Redis, whose clock the test
//! moves, forth and back. After each call all of Redis is read and held to what must be true at any time, by code that shares
//! nothing with the scripts.

mod calls;
mod invariants;
mod log;
mod op;
mod snapshot;
mod world;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRunner};
use store::{Options, Store, Target};
use testkit::redis::RedisServer;
use world::World;

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
    let ops = prop::collection::vec((op::any_op(), prop::bool::weighted(0.3)), 1..70);
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
