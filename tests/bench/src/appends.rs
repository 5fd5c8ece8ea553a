//! What an event costs Redis, and Valkey: the append step, beside the same list operation and publication as bare pipelined
//! commands. What of it any script costs is shown by two others: one that does nothing with the same arguments, and one that does
//! the bare commands alone.

use std::path::Path;

use anyhow::Context;
use model::{LogId, Report, Token};
use store::{Lease, Options, Store, Submitted, Target};
use testkit::redis::{Cmd, MultiplexedConnection, RedisServer, Value, cmd, pipe};

use crate::figure::Record;
use crate::monitor::Monitor;
use crate::scene::{LEASE, new_job, processor, reports};

/// How many events go together in one call, and what its figures are called.
struct Size {
    events: usize,
    bare: &'static str,
    empty: &'static str,
    in_script: &'static str,
    step: &'static str,
    ratio: &'static str,
}

const REDIS: [Size; 2] = [
    Size {
        events: 1,
        bare: "bare_append_one",
        empty: "empty_script_one",
        in_script: "bare_in_script_one",
        step: "append_one",
        ratio: "append_to_bare_one",
    },
    Size {
        events: 20,
        bare: "bare_append_twenty",
        empty: "empty_script_twenty",
        in_script: "bare_in_script_twenty",
        step: "append_twenty",
        ratio: "append_to_bare_twenty",
    },
];

const VALKEY: [Size; 2] = [
    Size {
        events: 1,
        bare: "bare_append_one_valkey",
        empty: "empty_script_one_valkey",
        in_script: "bare_in_script_one_valkey",
        step: "append_one_valkey",
        ratio: "append_to_bare_one_valkey",
    },
    Size {
        events: 20,
        bare: "bare_append_twenty_valkey",
        empty: "empty_script_twenty_valkey",
        in_script: "bare_in_script_twenty_valkey",
        step: "append_twenty_valkey",
        ratio: "append_to_bare_twenty_valkey",
    },
];

/// How often each kind has its turn.
const TURNS: usize = 10;
/// A log of its own for what isn't the step.
const LOG: &str = "jc:{0.325}:bare";
const CHANNEL: &str = "jc:{0.325}:bare:live";

/// Appends so many events of each kind, in turn, on a server of its own, and the same on the Valkey at `valkey`.
pub async fn measure(events: usize, valkey: Option<&Path>, record: &mut Record) -> anyhow::Result<()> {
    // Below a log's cap, so that nothing is trimmed.
    let events = events.min(8000);
    let server = RedisServer::builder().append_only(false);
    if let Some(program) = valkey {
        on(&server.clone().program(program).start().await, &VALKEY, events, record).await?;
    }
    on(&server.start().await, &REDIS, events, record).await
}

async fn on(server: &RedisServer, sizes: &[Size], events: usize, record: &mut Record) -> anyhow::Result<()> {
    let store = Store::new(Options::new(Target::parse(&server.url())?));
    let mut redis = server.client().await;
    for size in sizes {
        let lease = claimed(&store).await?;
        let entry = one_entry(&store, &lease, &mut redis).await?;
        let step = step_call(server, &store, &lease, size.events).await?;
        let kinds = [
            (size.bare, bare_calls(&entry, size.events)),
            (size.empty, vec![empty_call(&mut redis, &step).await?]),
            (size.in_script, vec![call_in_script(&mut redis, &entry, size.events).await?]),
            (size.step, vec![call_of(&step)]),
        ];
        let calls = (events / size.events / TURNS).max(1);
        let mut sums = [0.0; 4];
        for _ in 0..TURNS {
            for ((_, kind), sum) in kinds.iter().zip(&mut sums) {
                *sum += spent(&mut redis, kind, calls).await?;
                let _: () = cmd("DEL").arg(LOG).query_async(&mut redis).await?;
            }
        }
        let all = (TURNS * calls * size.events) as f64;
        for ((name, _), sum) in kinds.iter().zip(sums) {
            record.add(name, sum / all);
        }
        record.add(size.ratio, sums[3] / sums[0]);
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
async fn step_call(
    server: &RedisServer,
    store: &Store,
    lease: &Lease,
    events: usize,
) -> anyhow::Result<Vec<String>> {
    let reports: Vec<Report> = reports().into_iter().cycle().take(events).collect();
    let monitor = Monitor::start(server).await?;
    store.append(lease, None, &reports).await?;
    let heard = monitor.stop(server).await?;
    heard.into_iter().find(|words| words[0] == "EVALSHA").context("the step's call")
}

fn call_of(words: &[String]) -> Cmd {
    let mut call = Cmd::new();
    call.arg(words);
    call
}

/// A call with the step's arguments of a script that does nothing.
async fn empty_call(redis: &mut MultiplexedConnection, step: &[String]) -> anyhow::Result<Cmd> {
    let mut words = step.to_vec();
    words[1] = load(redis, "#!lua\nreturn { 'ok', 0 }").await?;
    Ok(call_of(&words))
}

/// A call of a script that does the bare commands and nothing else.
async fn call_in_script(
    redis: &mut MultiplexedConnection,
    entry: &[u8],
    events: usize,
) -> anyhow::Result<Cmd> {
    let text = "#!lua
redis.call('RPUSH', KEYS[1], unpack(ARGV, 2))
for i = 2, #ARGV do redis.call('SPUBLISH', ARGV[1], ARGV[i]) end
return { 'ok', 0 }";
    let mut call = cmd("EVALSHA");
    call.arg(load(redis, text).await?).arg(1).arg(LOG).arg(CHANNEL);
    (0..events).for_each(|_| _ = call.arg(entry));
    Ok(call)
}

async fn load(redis: &mut MultiplexedConnection, text: &str) -> anyhow::Result<String> {
    Ok(cmd("SCRIPT").arg("LOAD").arg(text).query_async(redis).await?)
}

/// An event's list operation and publication, or those of several events, without a script.
fn bare_calls(entry: &[u8], events: usize) -> Vec<Cmd> {
    let mut push = cmd("RPUSH");
    push.arg(LOG);
    (0..events).for_each(|_| _ = push.arg(entry));
    let mut publish = cmd("SPUBLISH");
    publish.arg(CHANNEL).arg(entry);
    std::iter::once(push).chain(std::iter::repeat_n(publish, events)).collect()
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
