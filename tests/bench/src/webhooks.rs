//! Deliveries a second from one courier process to a receiver that only counts, beside a bare loop that makes the same POSTs with the
//! same HTTP client and as many at once; and what each takes of a processor. Both are processes of their own: this program, started
//! once more. Each has a core to itself, and Redis and the receiver have the other.

use std::io::Read;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use courier::{Authorities, CourierMetrics, Parts, Secrets, SystemLookup};
use model::Owner;
use model::webhook::{Allow, Secret, TargetRules};
use rustix::time::{ClockId, clock_gettime};
use service::stop::Shutdown;
use store::{NewJob, Options, Store, Submitted, Target, Webhook, WebhookSecret};
use testkit::redis::RedisServer;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::cores::{OffTheServersCore, as_server};
use crate::figure::Record;
use crate::receiver::Receiver;
use crate::scene::{new_job, processor, steps};

/// How many requests are under way at once, as many as a courier has for one host.
const AT_ONCE: u32 = 128;
/// How many callers make jobs that end.
const CALLERS: usize = 64;

/// `jobs` deliveries, on a server of its own, and as many bare POSTs. `pin` gives the courier and the bare loop a core.
pub async fn measure(jobs: usize, pin: bool, record: &mut Record) -> anyhow::Result<()> {
    let _core = pin.then(OffTheServersCore::begin).transpose()?;
    let server = RedisServer::builder().append_only(false).start().await;
    let store = Store::new(Options::new(Target::parse(&server.url())?));
    let mut redis = server.client().await;
    let receiver = Receiver::start()?;
    end_jobs(&store, jobs, &receiver.url).await?;
    let (redis_before, steps_before) = (processor(&mut redis).await?, steps(&mut redis).await?);
    let courier = start(&["courier", "--url", &server.url()], pin)?;
    let (rate, body) = receiver.take(jobs).await?;
    // What came last is written, too, before it ends.
    let cpu = finish(courier).await?;
    record.add("courier_deliveries", rate);
    record.add("courier_cpu_per_delivery", cpu / jobs as f64);
    record.add("courier_redis_cpu_per_delivery", (processor(&mut redis).await? - redis_before) / jobs as f64);
    record.add("courier_steps_per_delivery", (steps(&mut redis).await? - steps_before) / jobs as f64);

    let receiver = Receiver::start()?;
    let (count, url) = (jobs.to_string(), receiver.url.clone());
    let bare = start(&["post", "--url", &url, "--count", &count, "--body", &body], pin)?;
    let (rate, _) = receiver.take(jobs).await?;
    record.add("bare_posts", rate);
    record.add("bare_cpu_per_post", finish(bare).await? / jobs as f64);
    let ratio = record.last("bare_cpu_per_post") / record.last("courier_cpu_per_delivery");
    record.add("courier_cpu_bare_to_delivery", ratio);
    record.add("courier_deliveries_to_bare", record.last("courier_deliveries") / record.last("bare_posts"));
    Ok(())
}

/// Jobs that have ended, and are to be told to `url`.
async fn end_jobs(store: &Store, jobs: usize, url: &str) -> anyhow::Result<()> {
    let webhooks = vec![Webhook { url: url.to_owned(), secret: WebhookSecret::Owner }];
    let job = NewJob { webhooks, ..new_job() };
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (store, job) = (store.clone(), job.clone());
        callers.spawn(async move {
            for _ in (caller..jobs).step_by(CALLERS) {
                let (Submitted::Created(id) | Submitted::Replayed(id)) = store.submit(&job).await?;
                store.cancel(id, &job.owner, "enough").await?;
            }
            anyhow::Ok(())
        });
    }
    callers.join_all().await.into_iter().collect()
}

/// What the courier's process does: delivers until its standard input ends.
pub async fn deliver(url: &str) -> anyhow::Result<()> {
    let owner: Owner = new_job().owner;
    let secret: Secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
    let shutdown = Shutdown::manual();
    let parts = Parts {
        store: Store::new(Options::new(Target::parse(url)?)),
        options: courier::Options { per_host: AT_ONCE, ..courier::Options::default() },
        rules: TargetRules::new(vec!["127.0.0.0/8".parse::<Allow>()?]),
        secrets: Secrets { owners: [(owner, [secret].into())].into(), ..Secrets::default() },
        authorities: Authorities::default(),
        lookup: Arc::new(SystemLookup::default()),
        metrics: CourierMetrics::default(),
    };
    let stop = shutdown.clone();
    shutdown.tasks().spawn(async move { courier::run(parts, &stop).await });
    until_input_ends().await?;
    shutdown.stop_soft();
    shutdown.finish(Duration::from_secs(5)).await;
    tell_cpu();
    Ok(())
}

/// What the bare loop's process does: posts, and waits until its standard input ends.
pub async fn post(url: String, count: usize, body: String) -> anyhow::Result<()> {
    let client = testkit::http().build()?;
    let mut posting = JoinSet::new();
    let at_once = usize::try_from(AT_ONCE)?;
    for one in 0..at_once {
        let (client, url, body) = (client.clone(), url.clone(), body.clone());
        posting.spawn(async move {
            for n in (one..count).step_by(at_once) {
                let request = client
                    .post(&url)
                    .header("content-type", "application/json")
                    .header("webhook-id", format!("01a2220d-aa9c-7dea-8de3-d9790c18a800.{n}-aa2fa6"))
                    .header("webhook-timestamp", "1795514400")
                    .header("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
                    .header(
                        "x-webhook-signature",
                        "dfe62afd3a708ea27b217b8cabc11f103edbfb2d176e892a38a2d475a803c4c2",
                    );
                let answer = request.body(body.clone()).send().await?;
                ensure!(answer.status().is_success(), "{}", answer.status());
                answer.bytes().await?;
            }
            anyhow::Ok(())
        });
    }
    posting.join_all().await.into_iter().collect::<anyhow::Result<()>>()?;
    until_input_ends().await?;
    tell_cpu();
    Ok(())
}

async fn until_input_ends() -> anyhow::Result<()> {
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}

/// Prints the processor time that this process has taken, in microseconds.
fn tell_cpu() {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    println!("{}", time.tv_sec * 1_000_000 + time.tv_nsec / 1000);
}

/// Starts this program once more, in another role.
pub(crate) fn start(args: &[&str], pin: bool) -> anyhow::Result<Child> {
    let (program, before) = as_server(std::env::current_exe()?, pin);
    let mut command = Command::new(program);
    Ok(command
        .args(before)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?)
}

/// Ends the process; the processor time that it took, in microseconds.
async fn finish(child: Child) -> anyhow::Result<f64> {
    let output = child.wait_with_output().await?;
    ensure!(output.status.success(), "{}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
