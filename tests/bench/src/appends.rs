//! What an event costs Redis: the append step, beside the same list operation and publication as bare pipelined commands.

use anyhow::Context;
use model::{LogId, Report, Token};
use store::{Lease, Options, Store, Submitted, Target};
use testkit::redis::{Cmd, MultiplexedConnection, RedisServer, Value, cmd, pipe};

use crate::figure::Record;
use crate::monitor::Monitor;
use crate::scene::{LEASE, new_job, processor, reports};

/// How many events go together in one call; and what its figures are called.
const SIZES: [(usize, [&str; 3]); 2] = [
    (1, ["bare_append_one", "append_one", "append_to_bare_one"]),
    (20, ["bare_append_twenty", "append_twenty", "append_to_bare_twenty"]),
];

/// Appends so many events of each kind, in turn with the bare commands, on a server of its own.
pub async fn measure(events: usize, record: &mut Record) -> anyhow::Result<()> {
    let server = RedisServer::builder().append_only(false).start().await;
    let store = Store::new(Options::new(Target::parse(&server.url())?));
    let mut redis = server.client().await;
    // Below a log's cap, so that nothing is trimmed.
    let events = events.min(8000);
    for (size, [name_of_bare, name_of_step, ratio]) in SIZES {
        let lease = claimed(&store).await?;
        let entry = one_entry(&store, &lease, &mut redis).await?;
        let (bare, step) = (bare_calls(&entry, size), [step_call(&server, &store, &lease, size).await?]);
        let (mut of_step, mut of_bare) = (0.0, 0.0);
        let turns = 10;
        let calls = (events / size / turns).max(1);
        for _ in 0..turns {
            of_bare += spent(&mut redis, &bare, calls).await?;
            of_step += spent(&mut redis, &step, calls).await?;
            let _: () = cmd("DEL").arg("jc:{0.325}:bare").query_async(&mut redis).await?;
        }
        let all = (turns * calls * size) as f64;
        record.add(name_of_bare, of_bare / all);
        record.add(name_of_step, of_step / all);
        record.add(ratio, of_step / of_bare);
    }
    Ok(())
}

async fn claimed(store: &Store) -> anyhow::Result<Lease> {
    let job = new_job();
    let (Submitted::Created(id) | Submitted::Replayed(id)) = store.submit(&job).await?;
    let token = Token::from_random(rand::random());
    let claimed = store.claim(id.partition(), &[job.task.into()], token, LEASE).await?;
    Ok(claimed.context("the job is ready")?.lease)
}

/// The bytes of an event as they are in the log and go out.
async fn one_entry(
    store: &Store,
    lease: &Lease,
    redis: &mut MultiplexedConnection,
) -> anyhow::Result<Vec<u8>> {
    store.append(lease, None, &reports()[..1]).await?;
    let log = format!("jc:{{0.325}}:log:{}", LogId::from(lease.job));
    Ok(cmd("LINDEX").arg(log).arg(-1).query_async(redis).await?)
}

/// The call that appends so many events, as it goes over the wire. It has no batch number, so it writes each time that it is made.
async fn step_call(server: &RedisServer, store: &Store, lease: &Lease, size: usize) -> anyhow::Result<Cmd> {
    let reports: Vec<Report> = reports().into_iter().cycle().take(size).collect();
    let monitor = Monitor::start(server).await?;
    store.append(lease, None, &reports).await?;
    let heard = monitor.stop(server).await?;
    let words = heard.into_iter().find(|words| words[0] == "EVALSHA").context("the step's call")?;
    let mut call = Cmd::new();
    call.arg(words);
    Ok(call)
}

/// An event's list operation and publication, or those of several events, without a script.
fn bare_calls(entry: &[u8], size: usize) -> Vec<Cmd> {
    let (log, channel) = ("jc:{0.325}:bare", "jc:{0.325}:bare:live");
    let mut push = cmd("RPUSH");
    push.arg(log);
    (0..size).for_each(|_| _ = push.arg(entry));
    let mut publish = cmd("SPUBLISH");
    publish.arg(channel).arg(entry);
    std::iter::once(push).chain(std::iter::repeat_n(publish, size)).collect()
}

/// Redis' processor time for `calls`, that many times, pipelined; in microseconds.
async fn spent(redis: &mut MultiplexedConnection, calls: &[Cmd], times: usize) -> anyhow::Result<f64> {
    let before = processor(redis).await?;
    for together in (0..times).collect::<Vec<_>>().chunks(50) {
        let mut batch = pipe();
        for call in together.iter().flat_map(|_| calls) {
            batch.add_command(call.clone());
        }
        let _: Vec<Value> = batch.query_async(redis).await?;
    }
    Ok(processor(redis).await? - before)
}
