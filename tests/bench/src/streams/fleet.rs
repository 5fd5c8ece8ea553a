//! Four gateways on one Redis, each with as many streams as it may hold: nothing is lost, and Redis has no more to do than with few.

use store::Lease;
use testkit::process::Jobcast;

use super::Size;
use super::crowd::Carrier;
use super::latency::{RATE, append, claim};
use super::process::CrowdProcess;
use super::scene::{Scene, gateway_on};
use crate::figure::Record;
use crate::scene::processor;

/// How many gateways there are.
const GATEWAYS: usize = 4;
/// How often each log gets an event, with few streams and with many.
const ROUNDS: usize = 3;

struct Fleet {
    scene: Scene,
    /// The other gateways.
    _others: Vec<Jobcast>,
    addresses: Vec<String>,
    crowds: Vec<CrowdProcess>,
    /// How many events each log has had since its jobs have started.
    rounds: usize,
    leases: Vec<Lease>,
}

/// First with one stream a log on each gateway, then with all.
pub(super) async fn measure(size: Size, record: &mut Record) -> anyhow::Result<()> {
    let most = size.most();
    let logs = most / 20;
    let scene = Scene::set(logs, false).await?;
    let (mut others, mut addresses) = (Vec::new(), vec![scene.address.clone()]);
    while addresses.len() < GATEWAYS {
        let (address, gateway) = gateway_on(&scene.redis, false).await;
        others.push(gateway);
        addresses.push(address);
    }
    let leases = claim(&scene.store, logs).await?;
    let mut fleet = Fleet { scene, _others: others, addresses, crowds: Vec::new(), rounds: 0, leases };
    fleet.add(logs).await?;
    let few = fleet.redis_per_event(logs).await?;
    fleet.add(most - logs).await?;
    let many = fleet.redis_per_event(logs).await?;
    let streams: usize = fleet.crowds.iter().map(|crowd| crowd.streams).sum();
    eprintln!("fleet: {streams} streams, Redis {few:.2} and {many:.2} us an event");
    record.add("fleet_streams", streams as f64);
    record.add("fleet_redis_cpu_few", few);
    record.add("fleet_redis_cpu_many", many);
    record.add("fleet_redis_many_to_few", many / few);
    Ok(())
}

impl Fleet {
    /// So many streams more on each gateway, and all that they begin with.
    async fn add(&mut self, streams: usize) -> anyhow::Result<()> {
        for address in &self.addresses {
            let paths = self.scene.paths(streams);
            let mut crowd = CrowdProcess::gather(address, &paths, Carrier::Socket).await?;
            // Each stream begins with all that its log has.
            crowd.wait_for(((2 + self.rounds) * streams) as u64).await?;
            self.crowds.push(crowd);
        }
        Ok(())
    }

    /// Redis' processor time for an event that is appended, in microseconds. Fails unless each stream of its log gets each event, once.
    async fn redis_per_event(&mut self, logs: usize) -> anyhow::Result<f64> {
        let mut redis = self.scene.redis.client().await;
        let mut wanted = Vec::new();
        for crowd in &mut self.crowds {
            wanted.push(crowd.events().await?.count);
        }
        let (mut spent, mut events) = (0.0, 0);
        // The first one finds everything cold, and isn't counted.
        for round in 0..=ROUNDS {
            let before = processor(&mut redis).await?;
            append(&self.scene.store, &self.leases, logs, RATE).await?;
            self.rounds += 1;
            for (crowd, wanted) in self.crowds.iter_mut().zip(&mut wanted) {
                *wanted += crowd.streams as u64;
                let came = crowd.wait_for(*wanted).await?;
                anyhow::ensure!(came.broken == 0, "{} streams broke", came.broken);
            }
            if round > 0 {
                spent += processor(&mut redis).await? - before;
                events += logs;
            }
        }
        Ok(spent / events as f64)
    }
}
