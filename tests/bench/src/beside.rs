//! How soon good receivers hear of an end while a thousand bad ones hang, drip, flood and break off: the whole wait, from the end of
//! the job to the request at the receiver, over one courier process.

use std::time::Duration;

use store::{NewJob, Options, Store, Submitted, Target, Webhook, WebhookSecret};
use testkit::redis::RedisServer;
use testkit::{Bad, BadReceiver};
use tokio::task::JoinSet;
use whole::Hook;

use crate::figure::Record;
use crate::scene::new_job;
use crate::webhooks::start;

/// How many receivers there are.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Bad ones, each of which gets two deliveries.
    pub bad: u16,
    /// Deliveries to the ten good ones, in all.
    pub good: usize,
}

const GOOD: usize = 10;
/// How many callers make jobs that end.
const CALLERS: usize = 16;

/// The wait of the slowest hundredth, the good ones' alone.
pub async fn measure(size: Size, record: &mut Record) -> anyhow::Result<()> {
    let server = RedisServer::builder().append_only(false).start().await;
    let store = Store::new(Options::new(Target::parse(&server.url())?));
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    for kind in Bad::ALL {
        bad.push(BadReceiver::start(kind).await);
    }
    for _ in 0..GOOD {
        good.push(Hook::start().await);
    }
    // Dropped at the end, whatever still hangs.
    let _courier = start(&["courier", "--url", &server.url()], false)?;
    let to_bad = |host: u16| bad[usize::from(host) % bad.len()].url_at(1 + host / 250 * 256 + host % 250);
    let mut urls: Vec<_> = (0..size.bad).map(to_bad).collect();
    end_jobs(&store, &urls).await?;
    // From now on the good ones, among as many again that go nowhere.
    for number in 0..size.good {
        urls.insert(number * urls.len() / size.good, good[number % GOOD].url());
    }
    end_jobs(&store, &urls).await?;
    let mut waits = Vec::new();
    for receiver in &good {
        waits.extend(receiver.wait(size.good / GOOD).await.iter().map(whole::Got::since_end));
    }
    waits.sort_unstable();
    let p99: Duration = waits[(waits.len() - 1) * 99 / 100];
    record.add("good_delivery_p99_beside_bad", p99.as_secs_f64() * 1e3);
    Ok(())
}

/// Jobs that have ended, one after the other in each of several lines, and are to be told to `urls`.
async fn end_jobs(store: &Store, urls: &[String]) -> anyhow::Result<()> {
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let store = store.clone();
        let urls: Vec<_> = urls.iter().skip(caller).step_by(CALLERS).cloned().collect();
        callers.spawn(async move {
            for url in urls {
                let webhooks = vec![Webhook { url, secret: WebhookSecret::Owner }];
                let job = NewJob { webhooks, ..new_job() };
                let (Submitted::Created(id) | Submitted::Replayed(id)) = store.submit(&job).await?;
                store.cancel(id, &job.owner, "enough").await?;
            }
            anyhow::Ok(())
        });
    }
    callers.join_all().await.into_iter().collect()
}
