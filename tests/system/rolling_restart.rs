//! Three gateways behind a load balancer are restarted one after the other, under two thousand open streams: nobody loses or
//! repeats an event, nothing is refused, and the clients come back spread over the drain.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use model::JobId;
use serde_json::{Value, json};
use testkit::eventually;
use tokio::task::JoinSet;
use tokio::time::sleep;
use whole::{Balancer, Balances, Behind, Client, Crowd, Followed, SOON, System, Told};

const GATEWAYS: usize = 3;
/// Streams of one job, of ten jobs, and of the owner's feed.
const STREAMS: [usize; 3] = [1900, 80, 20];
const JOBS: usize = 100;
const DRAIN: Duration = Duration::from_secs(8);
/// In how many equal parts of the drain reconnects are counted.
const PARTS: u32 = 10;

const SETTINGS: &str = "[stream]\ndrain = \"8s\"\n[worker]\nconcurrency = 100\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_streams_lose_nothing_and_come_back_spread_out() {
    let mut system = System::builder().gateways(GATEWAYS).settings(SETTINGS).start().await;
    let balancer = before(&system).await;
    let client = balancer.client();

    let mut jobs = Vec::new();
    for _ in 0..JOBS {
        // An event a second, for longer than this takes: they are cancelled in the end.
        jobs.push(client.submit("narrate", json!({ "tokens": 3600, "perSecond": 1 })).await);
    }
    let crowd = crowd(client, &jobs).await;
    let began = Instant::now();
    let calls = Calls::start(client);

    let mut rolls = Vec::new();
    for gateway in 0..GATEWAYS {
        rolls.push(roll(&mut system, &balancer, gateway).await);
    }
    println!("three gateways rolled in {:?}, under {} streams", began.elapsed(), crowd.began());

    jobs.extend(calls.end().await);
    crowd.leave(jobs.len());
    for &job in &jobs {
        assert_eq!(client.post(&format!("/api/jobs/{job}/cancel"), &json!({})).await.status(), 202);
    }
    let all = crowd.wait(2 * SOON).await;
    assert_nothing_lost(&system, &all, &jobs).await;
    for (n, roll) in (1..).zip(&rolls) {
        assert_spread(n, roll, &all);
    }
    system.nothing_grows().await;
}

/// HAProxy with the shipped file, which is for two gateways, and one more; each answer says whose it is.
async fn before(system: &System) -> Balancer {
    let [a, b, c] = [0, 1, 2].map(|gateway| system.client(gateway).url("").replace("http://", ""));
    let which = Balances::haproxy();
    let edit = format!(
        "$a\\    server gateway3 {c}{}\n$a\\    http-response set-header X-Gateway %s\n",
        which.to_gateways()
    );
    Balancer::with(which, [&a, &b], &edit, "").await
}

/// How many GETs gateway `index` has answered through it.
fn served(balancer: &Balancer, index: usize) -> usize {
    let name = format!(" gateways/gateway{} ", index + 1);
    balancer.log().lines().filter(|line| line.contains(&name) && line.contains(" GET ")).count()
}

/// All followers, each with a stream on which something was told.
async fn crowd(client: &Client, jobs: &[JobId]) -> Crowd {
    let mut crowd = Crowd::new(&client.url(""));
    let [single, several, feed] = STREAMS;
    for n in 0..single {
        crowd.follow(format!("/api/jobs/{}/events", jobs[n % JOBS]));
        sleep(Duration::from_millis(1)).await;
    }
    for n in 0..several {
        let list: Vec<_> = (0..10).map(|k| format!("job={}", jobs[(10 * n + k) % JOBS])).collect();
        crowd.follow(format!("/api/events?{}", list.join("&")));
    }
    for _ in 0..feed {
        crowd.follow("/api/feed");
    }
    eventually(3 * SOON, "all follow", async || crowd.began() == STREAMS.iter().sum::<usize>()).await;
    crowd
}

/// Submissions and polls all the while, none of which may fail.
struct Calls {
    stop: tokio::sync::watch::Sender<bool>,
    calling: JoinSet<Vec<JobId>>,
}

impl Calls {
    fn start(client: &Client) -> Self {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let (client, mut calling) = (client.clone(), JoinSet::new());
        calling.spawn(async move {
            let mut jobs = Vec::new();
            while !*stopped.borrow() {
                let job = client.submit("remote", Value::Null).await;
                assert_eq!(client.job(job).await["status"], "pending");
                jobs.push(job);
                sleep(Duration::from_millis(200)).await;
            }
            jobs
        });
        Self { stop, calling }
    }

    /// The jobs that were accepted.
    async fn end(mut self) -> Vec<JobId> {
        self.stop.send_replace(true);
        self.calling.join_next().await.unwrap().expect("every call was answered as it should be")
    }
}

/// When a gateway was asked to stop, and when it was gone.
struct Roll {
    asked: Instant,
    gone: Instant,
}

/// Stops a gateway in order and starts it anew; over when the balancer sends requests to it again.
async fn roll(system: &mut System, balancer: &Balancer, gateway: usize) -> Roll {
    let asked = Instant::now();
    system.gateways[gateway].terminate();
    let status = system.gateways[gateway].wait_exit(SOON).await;
    let gone = Instant::now();
    assert_eq!(status.code(), Some(0), "{status:?}");
    system.restart_gateway(gateway);
    system.wait_gateway(gateway).await;
    let before = served(balancer, gateway);
    eventually(SOON, "the balancer sends it requests", async || {
        assert_eq!(balancer.client().get("/healthz").await.status(), 200);
        served(balancer, gateway) > before
    })
    .await;
    Roll { asked, gone }
}

/// Every follower was told every event of each of its jobs, once and in order, whatever gateways it came to.
async fn assert_nothing_lost(system: &System, all: &[Followed], jobs: &[JobId]) {
    let (mut whole, mut life) = (HashMap::new(), HashMap::new());
    for &job in jobs {
        let (mut all, mut of_life) = (Told::default(), Told::default());
        for entry in Behind::of(system, job).await.entries().await {
            let words: Vec<_> = entry.splitn(5, ' ').collect();
            all.add(words[4]);
            if ["queued", "started", "cancelled"].contains(&words[3]) {
                of_life.add(words[4]);
            }
        }
        whole.insert(job.to_string(), all);
        life.insert(job.to_string(), of_life);
    }
    assert_eq!(all.len(), STREAMS.iter().sum::<usize>());
    for followed in all {
        assert!(followed.mishaps.is_empty(), "{}: {:?}", followed.path, followed.mishaps);
        let (truth, count) = match followed.path.as_str() {
            "/api/feed" => (&life, jobs.len()),
            several if several.starts_with("/api/events") => (&whole, 10),
            _ => (&whole, 1),
        };
        assert_eq!(followed.told.len(), count, "{}", followed.path);
        for (job, told) in &followed.told {
            assert_eq!(told, &truth[job], "{job} on {}", followed.path);
        }
    }
    let events: usize = all.iter().flat_map(|followed| followed.told.values()).map(|told| told.events).sum();
    println!("told {events} events, none lost, none twice");
}

/// Prints when the streams that a gateway closed were opened anew, as a picture, and checks that they came in no flood.
fn assert_spread(number: usize, roll: &Roll, all: &[Followed]) {
    let name = format!("gateway{number}");
    let closed = |left: Instant| (roll.asked..=roll.gone).contains(&left);
    let mut back = Vec::new();
    for followed in all {
        for two in followed.visits.windows(2) {
            if two[0].gateway == name && closed(two[0].left) {
                back.push((two[1].came - roll.asked, two[1].gateway == name && two[1].came < roll.gone));
            }
        }
    }
    let part = DRAIN / PARTS;
    let parts: Vec<_> = (0..=PARTS)
        .map(|n| {
            back.iter().filter(move |(after, _)| {
                (after.as_millis() / part.as_millis()).min(PARTS.into()) == n.into()
            })
        })
        .map(Iterator::count)
        .collect();
    let again = back.iter().filter(|(_, again)| *again).count();
    println!("{name}: {} streams closed and opened anew, {again} of them there once more", back.len());
    for (n, &count) in (0..).zip(&parts) {
        let from = (part * n).as_secs_f64();
        println!("  from {from:4.1} s {count:4} {}", "█".repeat(count.div_ceil(4)));
    }
    assert!(back.len() > 200, "it had its share of the streams: {}", back.len());
    let most = parts.iter().max().unwrap();
    assert!(most * 10 <= back.len() * 4, "in no tenth of the drain more than 40 % came back: {parts:?}");
}
