//! How what came of deliveries is written: many together, and none held up by another one.

use std::time::Duration;

use courier::Options;
use model::JobId;
use model::wire::DeliveryStatus::{Dead, Delivered, Pending};
use testkit::proxy::Proxy;
use testkit::redis::cmd;

use crate::bench::receiver::Receiver;
use crate::bench::{Bench, Courier, LONG, Setup, options};

/// A courier whose deliveries are all answered before anything of that can be written.
struct Scene {
    bench: Bench,
    receiver: Receiver,
    proxy: Proxy,
    _courier: Courier,
}

impl Scene {
    /// With so many deliveries, each to a host of its own.
    async fn of(deliveries: u8) -> (Self, Vec<JobId>) {
        let bench = Bench::start().await;
        let proxy = Proxy::start(bench.server.addr()).await;
        let receiver = Receiver::everywhere(|n| [204, 500, 410][n % 3]).await;
        receiver.hold();
        let mut ids = Vec::new();
        for host in 1..=deliveries {
            ids.push(bench.ended(&receiver.url_at(host)).await);
        }
        let patient = Options { retry_delay: Duration::from_mins(10), ..options() };
        let courier = Courier::start(&proxy.url(), Setup { options: patient, ..Setup::default() });
        receiver.wait(ids.len()).await;
        proxy.refuse();
        receiver.let_go();
        testkit::eventually(LONG, "all are answered", async || courier.metrics.running.get() == 0).await;
        (Self { bench, receiver, proxy, _courier: courier }, ids)
    }

    /// How many steps Redis was asked for.
    async fn steps(&self) -> u64 {
        let mut redis = self.bench.server.client().await;
        let info: String = cmd("INFO").arg("commandstats").query_async(&mut redis).await.unwrap();
        let calls = info.lines().filter_map(|line| {
            let (name, rest) = line.split_once(":calls=")?;
            ["cmdstat_eval", "cmdstat_evalsha"]
                .contains(&name)
                .then(|| rest.split(',').next().unwrap().parse::<u64>().unwrap())
        });
        calls.sum()
    }

    /// The job that request number `n` told of.
    fn job(&self, n: usize) -> JobId {
        self.receiver.got()[n].id().split('.').next().unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn those_that_end_while_redis_is_asked_are_written_together() {
    let (scene, ids) = Scene::of(60).await;
    let before = scene.steps().await;
    scene.proxy.pass();
    for n in 0..ids.len() {
        let (status, attempts) = [(Delivered, 1), (Pending, 1), (Dead, 1)][n % 3];
        let id = scene.job(n);
        let delivery = scene.bench.tried(id, 1).await;
        assert_eq!((delivery.status, delivery.attempts.len()), (status, attempts), "{n}");
        assert_eq!(delivery.attempts[0].status, Some([204, 500, 410][n % 3]));
    }
    // Those that were the first, the others, and claims.
    let steps = scene.steps().await - before;
    assert!(steps < 30, "{steps}");
}

#[tokio::test]
async fn one_that_redis_refuses_keeps_no_other_from_being_written() {
    let (scene, ids) = Scene::of(9).await;
    let mut redis = scene.bench.server.client().await;
    let keys = testkit::redis::dump(&mut redis).await;
    let broken = scene.job(4);
    let key = keys.iter().find(|info| info.key.contains(&format!("delivery:{broken}"))).unwrap();
    cmd("SET").arg(&key.key).arg("no hash").exec_async(&mut redis).await.unwrap();
    scene.proxy.pass();
    for id in ids.into_iter().filter(|id| *id != broken) {
        scene.bench.tried(id, 1).await;
    }
}
