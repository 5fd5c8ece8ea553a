//! Streams that come through haproxy, which keeps its connections to the gateway and uses them again.

use std::time::Duration;

use testkit::process::Jobcast;
use testkit::{free_port, wait_http_ok};
use tokio::task::JoinSet;
use tokio::time::Instant;
use whole::SOON;

use super::Size;
use super::crowd::Carrier;
use super::process::{CrowdProcess, find};
use super::scene::{KEY, Scene};
use crate::figure::Record;

/// How many streams a log has.
const EACH: usize = 9;
/// How many clients ask for jobs meanwhile, so that there are connections to use again.
const ASKING: usize = 32;

/// Half as many streams as elsewhere: haproxy has two connections for each.
pub(super) async fn measure(size: Size, record: &mut Record) -> anyhow::Result<()> {
    if find("haproxy").is_none() {
        eprintln!("haproxy isn't installed, and streams through it are left out: scripts/setup haproxy");
        return Ok(());
    }
    let logs = (size.logs / 2).max(1);
    let scene = Scene::set(logs, size.pin).await?;
    let (haproxy, address) = haproxy(&scene.address).await;
    let before = scene.used()?;
    let asking = ask(&address, &scene);
    let mut crowd = CrowdProcess::gather(&address, &scene.paths(logs * EACH), Carrier::Socket).await?;
    drop(asking);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let bytes = (scene.used()?.memory - before.memory) / crowd.streams as f64;
    let [connections, reuses] = connections(&address).await?;
    eprintln!(
        "through haproxy: {bytes:.0} bytes a stream; {connections} connections, used again {reuses} times"
    );
    record.add("stream_memory_proxy", bytes);

    let (mut replay, mut wanted) = (scene.replay().await?, crowd.streams);
    let rate = logs as f64 * 5.0;
    wanted += EACH * replay.round(rate, 1).await?;
    let first = crowd.wait_for(wanted as u64).await?;
    let (began, from) = (Instant::now(), scene.used()?);
    while began.elapsed() < size.time {
        wanted += EACH * replay.round(rate, 1).await?;
        crowd.wait_for(wanted as u64).await?;
    }
    let last = crowd.wait_for(wanted as u64).await?;
    anyhow::ensure!(last.broken == 0, "{} streams broke", last.broken);
    record.add(
        "stream_cpu_per_event_proxy",
        (scene.used()?.cpu - from.cpu) / (last.count - first.count) as f64,
    );
    drop(haproxy);
    Ok(())
}

/// One before `gateway`, and where.
async fn haproxy(gateway: &str) -> (Jobcast, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let config = format!(
        "global
    maxconn 9500
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    http-reuse always
frontend clients
    bind {address}
    stats enable
    stats uri /haproxy
    default_backend gateways
backend gateways
    server gateway {gateway} pool-max-conn -1
"
    );
    let process = Jobcast::builder()
        .program(find("haproxy").unwrap_or_default())
        .args(["-f", "/dev/stdin"])
        .stdin(config)
        .start();
    wait_http_ok(&format!("http://{address}/readyz"), SOON).await;
    (process, address)
}

/// Clients that ask for one job after another until they are dropped.
fn ask(address: &str, scene: &Scene) -> JoinSet<()> {
    let (mut asking, client) = (JoinSet::new(), testkit::http().build().expect("a plain HTTP client"));
    for path in scene.paths(ASKING) {
        let url = format!("http://{address}{}", path.trim_end_matches("/events"));
        let client = client.clone();
        asking.spawn(async move {
            while client.get(&url).bearer_auth(KEY).send().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    asking
}

/// How many connections haproxy has made to the gateway, and how often it used one again.
async fn connections(address: &str) -> anyhow::Result<[u64; 2]> {
    let url = format!("http://{address}/haproxy;csv");
    let table = testkit::http().build()?.get(url).send().await?.text().await?;
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let row = rows.iter().find(|row| row.starts_with(&["gateways", "gateway"]));
    let number = |name| {
        let column = rows.first()?.iter().position(|title| *title == name)?;
        row?.get(column)?.parse().ok()
    };
    Ok([number("connect").unwrap_or(0), number("reuse").unwrap_or(0)])
}
