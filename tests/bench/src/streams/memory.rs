//! What an idle stream takes of a server's memory.

use std::time::Duration;

use super::Size;
use super::crowd::Carrier;
use super::peer::Peer;
use super::process::CrowdProcess;
use super::scene::Scene;
use crate::figure::Record;

/// What streams get to come to rest.
const REST: Duration = Duration::from_secs(4);

/// Streams of each version of HTTP.
pub(super) async fn measure(size: Size, record: &mut Record) -> anyhow::Result<()> {
    for (name, logs, each, carrier) in [
        ("stream_memory_few_logs", size.logs, EACH, Carrier::Socket),
        ("stream_memory_log_each", size.most(), 1, Carrier::Socket),
        ("stream_memory_http10", size.logs, EACH, Carrier::Http10),
        ("stream_memory_http2", size.logs, EACH, Carrier::Http2),
    ] {
        let scene = Scene::set(logs, size.pin).await?;
        let before = scene.used()?;
        let crowd = CrowdProcess::gather(&scene.address, &scene.paths(logs * each), carrier).await?;
        tokio::time::sleep(REST).await;
        let bytes = (scene.used()?.memory - before.memory) / crowd.streams as f64;
        eprintln!("{name}: {bytes:.0} bytes a stream");
        record.add(name, bytes);
    }
    Ok(())
}

/// How many streams a log has where there are few logs.
const EACH: usize = 9;

/// As many streams of the others, after [`measure`].
pub(super) async fn of_peers(size: Size, peers: &[Peer], record: &mut Record) {
    for peer in peers {
        let names = peer.figures();
        let Some(bytes) = peer.or_left_out(of_peer(*peer, size).await) else { continue };
        eprintln!("{}: {bytes:.0} bytes a stream", names.memory);
        record.add(names.memory, bytes);
        record.add(names.memory_ratio, record.last("stream_memory_few_logs") / bytes);
    }
}

async fn of_peer(peer: Peer, size: Size) -> anyhow::Result<f64> {
    let running = peer.start(size.logs, size.pin).await?;
    let before = running.used()?;
    let paths = running.paths(size.logs * EACH);
    let crowd = CrowdProcess::gather(&running.address, &paths, Carrier::Socket).await?;
    tokio::time::sleep(REST).await;
    Ok((running.used()?.memory - before.memory) / crowd.streams as f64)
}
