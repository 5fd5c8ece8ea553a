//! All streams reconnect at once, to a gateway that knows none of their logs: what that takes, and what it asks of Redis.

use testkit::redis::{MultiplexedConnection, cmd};

use super::Size;
use super::crowd::Carrier;
use super::process::CrowdProcess;
use super::scene::{Scene, gateway_on};
use crate::figure::Record;

/// As many streams as a process can hold, on few logs; their gateway is killed, and all come to another one.
pub(super) async fn measure(size: Size, record: &mut Record) -> anyhow::Result<()> {
    let scene = Scene::set(size.logs, size.pin).await?;
    let paths = scene.paths(size.most());
    let mut crowd = CrowdProcess::gather(&scene.address, &paths, Carrier::Socket).await?;
    let (address, gateway) = gateway_on(&scene.redis, size.pin).await;
    let mut redis = scene.redis.client().await;
    scene.kill_gateway();
    let before = Asked::of(&mut redis).await?;
    let took = crowd.again(&address).await?;
    let asked = Asked::of(&mut redis).await?;
    let broken = crowd.events().await?.broken;
    anyhow::ensure!(broken == 0, "{broken} streams broke");
    drop(gateway);
    let (streams, logs) = (paths.len() as f64, size.logs as f64);
    record.add("storm_opens", streams / took.as_secs_f64());
    record.add("storm_log_reads", (asked.scripts - before.scripts) / logs);
    record.add("storm_commands", (asked.commands - before.commands) / streams);
    eprintln!("storm: {streams} streams were back after {took:?}");
    Ok(())
}

/// How often Redis was asked until now.
struct Asked {
    /// Scripts: each read of a log is one.
    scripts: f64,
    /// All that clients asked.
    commands: f64,
}

impl Asked {
    async fn of(redis: &mut MultiplexedConnection) -> anyhow::Result<Self> {
        let info: String = cmd("INFO").arg("everything").query_async(redis).await?;
        let number = |line: &str| {
            line.split([':', '=', ',']).find_map(|word| word.trim().parse::<f64>().ok()).unwrap_or_default()
        };
        let of = |name: &str| info.lines().find(|line| line.starts_with(name)).map_or(0.0, number);
        Ok(Self { scripts: of("cmdstat_evalsha:"), commands: of("total_commands_processed:") })
    }
}
