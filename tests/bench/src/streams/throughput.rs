//! How many events a second one gateway takes through with one core: as many as it can, but never two of one log at a time, which
//! would go together. So each log's next event waits until its last one has come. That fewer are under way than there are logs isn't
//! enough, since a gateway with much to do doesn't write to its streams in the order in which their events came.

use tokio::time::Instant;

use super::Size;
use super::crowd::Carrier;
use super::process::CrowdProcess;
use super::scene::Scene;
use crate::figure::Record;

/// In how many pieces all logs get an event.
const PIECES: usize = 16;
/// As fast as they can be written.
const AT_ONCE: f64 = 1e9;

/// A job for each stream.
pub(super) async fn measure(size: Size, record: &mut Record) -> anyhow::Result<()> {
    let streams = size.streams;
    let scene = Scene::set(streams, size.pin).await?;
    let mut crowd = CrowdProcess::gather(&scene.address, &scene.paths(streams), Carrier::Socket).await?;
    let mut replay = scene.replay().await?;
    let (piece, mut wanted, mut each) = (streams.div_ceil(PIECES), streams, 2);
    wanted += replay.round(streams as f64, 1).await?;
    let first = crowd.wait_for(wanted as u64).await?;
    let (began, from) = (Instant::now(), scene.used()?);
    while began.elapsed() < size.time {
        for start in (0..streams).step_by(piece) {
            let logs = start..streams.min(start + piece);
            crowd.wait_for_each(logs.clone(), each).await?;
            wanted += replay.publish(logs.len(), AT_ONCE, 1).await?;
        }
        each += 1;
    }
    let now = crowd.events().await?;
    let came = now.count - first.count;
    let (time, busy) = (began.elapsed().as_secs_f64(), (scene.used()?.cpu - from.cpu) / 1e6);
    let last = crowd.wait_for(wanted as u64).await?;
    anyhow::ensure!(last.broken == 0, "{} streams broke", last.broken);
    let together = last.together - first.together;
    anyhow::ensure!(together == 0, "{together} events were written together with one before them");
    let rate = came as f64 / time;
    eprintln!("throughput: {rate:.0} events a second, with {:.2} of a core", busy / time);
    record.add("throughput_jobs", rate);
    record.add("throughput_cores", busy / time);
    Ok(())
}
