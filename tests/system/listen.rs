//! `jobcast listen`: what ends is posted to the receiver on this machine, each once, in order, whatever dies in between.

use std::time::Duration;

use model::JobId;
use model::webhook::{Secret, sign};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::process::{Jobcast, JobcastBuilder};
use testkit::redis::cmd;
use whole::{Client, Got, Hook, SOON, System, repository};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Starts `jobcast listen` with the same place in the feed each time.
struct Listener {
    state: TempDir,
    url: String,
}

impl Listener {
    fn of(system: &System) -> Self {
        Self { state: tempfile::tempdir().unwrap(), url: system.client(0).url("") }
    }

    fn command(&self, args: &[&str]) -> JobcastBuilder {
        let builder = Jobcast::builder().arg("listen").args(args).env("JOBCAST_URL", &self.url);
        builder.env("JOBCAST_KEY", "").env("HOOK_SECRET", SECRET).env("XDG_STATE_HOME", self.state.path())
    }

    /// One that forwards to `hook`; back when it listens, or goes on.
    async fn forward(&self, hook: &Hook, args: &[&str]) -> Jobcast {
        let url = hook.url();
        let args = [&["--forward-to", &url, "--secret-env", "HOOK_SECRET"][..], args].concat();
        ready(self.command(&args).start()).await
    }
}

async fn ready(listen: Jobcast) -> Jobcast {
    testkit::eventually(SOON, "it says where it begins", async || {
        let said = listen.stderr();
        ["listening\n", "going on where", "from the oldest"].iter().any(|word| said.contains(word))
    })
    .await;
    listen
}

async fn says(listen: &Jobcast, what: &str) {
    testkit::eventually(SOON, &format!("it says {what:?}"), async || listen.stderr().contains(what)).await;
}

async fn stopped(listen: Jobcast) {
    listen.interrupt();
    assert_eq!(listen.wait_exit(SOON).await.code(), Some(0), "{}", listen.stderr());
    says(&listen, "the same command goes on").await;
}

/// A job that has ended: as completed, as failed, or as cancelled, by turns.
async fn job(client: &Client, n: usize) -> JobId {
    let id = match n % 3 {
        0 => client.submit("count", json!({ "n": 1 })).await,
        1 => client.submit("count", json!({})).await,
        _ => {
            let id = client.submit("remote", Value::Null).await;
            assert_eq!(client.post(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status(), 202);
            id
        }
    };
    client.ended(id).await;
    id
}

async fn jobs(client: &Client, count: usize) -> Vec<JobId> {
    let mut ids = Vec::new();
    for n in 0..count {
        ids.push(job(client, n).await);
    }
    ids
}

/// The `webhook-id` of each of these jobs.
async fn names(client: &Client, jobs: &[JobId]) -> Vec<String> {
    let mut names = Vec::new();
    for &id in jobs {
        names.push(format!("{id}.{}", client.job(id).await["lastEventId"].as_str().unwrap()));
    }
    names
}

/// A webhook as the courier sends it: its headers, and the body of `job` as polled.
#[track_caller]
fn assert_signed(got: &Got, secrets: &[&str]) {
    let secrets: Vec<Secret> = secrets.iter().map(|secret| secret.parse().unwrap()).collect();
    let at: u64 = got.header("webhook-timestamp").parse().unwrap();
    let signed = sign(got.id(), at, &got.body, &secrets);
    assert_eq!(got.header("webhook-signature"), signed.signature.unwrap());
    assert_eq!(got.header("x-webhook-signature"), signed.plain);
    assert_eq!(got.header("content-type"), "application/json");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(at) < 2 * SOON.as_secs(), "{at} is this attempt's time");
}

#[tokio::test]
async fn each_end_is_posted_once_in_order_and_as_the_courier_does() {
    let system = System::builder().start().await;
    let (client, hook) = (system.client(0), Hook::start().await);
    job(client, 0).await;
    let listener = Listener::of(&system);
    let listen = listener.forward(&hook, &[]).await;
    assert!(listen.stderr().contains("from now on (--from-start sends what ended before)"));

    let ids = jobs(client, 6).await;
    let got = hook.wait(6).await;
    assert_eq!(hook.ids(), names(client, &ids).await, "in the order of their ends, and nothing from before");
    for (n, (&id, got)) in ids.iter().zip(&got).enumerate() {
        let (job, body) = (client.job(id).await, got.json());
        let kind = ["job.completed", "job.failed", "job.cancelled"][n % 3];
        let whole = json!({
            "type": kind, "timestamp": job["finishedAt"], "data": job,
            "jobId": id, "status": job["status"], "result": job["result"], "error": job["error"],
        });
        assert_eq!(body, whole);
        assert_signed(got, &[SECRET]);
    }
    testkit::eventually(SOON, "each is shown", async || listen.stdout().lines().count() == 6).await;
    for (line, id) in listen.stdout().lines().zip(&ids) {
        assert!(
            line.contains(&id.to_string()) && line.contains(": 204 in ") && line.ends_with(" ms"),
            "{line}"
        );
    }
    assert!(!format!("{}{}", listen.stdout(), listen.stderr()).contains(SECRET));
    stopped(listen).await;

    // Started again: what ended meanwhile, and nothing twice.
    let late = job(client, 1).await;
    let listen = listener.forward(&hook, &[]).await;
    let last = hook.wait(7).await.pop().unwrap();
    assert_eq!(last.id(), names(client, &[late]).await[0]);
    listen.terminate();
    assert_eq!(listen.wait_exit(SOON).await.code(), Some(0));

    // From the start: all that the feed holds.
    let listen = listener.forward(&hook, &["--from-start"]).await;
    let all = hook.wait(7 + 8).await;
    assert!(all[7].id() != all[0].id() && all[8].id() == all[0].id(), "the one before the first start too");
    stopped(listen).await;
    let listen = listener.forward(&hook, &["--from-now"]).await;
    job(client, 0).await;
    hook.wait(16).await;
    stopped(listen).await;
    assert_eq!(hook.got().len(), 16);
}

#[tokio::test]
async fn a_gateway_that_is_killed_loses_and_repeats_nothing() {
    let mut system = System::builder().gateways(2).workers(2).store("partitions = 4").start().await;
    let hook = Hook::start().await;
    let listener = Listener::of(&system);
    let listen = listener.forward(&hook, &[]).await;
    let mut ids = jobs(system.client(1), 6).await;
    hook.wait(6).await;
    for round in 1..=2 {
        system.gateways[0].kill();
        says(&listen, "the feed is lost: ").await;
        ids.extend(jobs(system.client(1), 6).await);
        system.restart_gateway(0);
        testkit::eventually(SOON, "it says that it is back", async || {
            listen.stderr().matches("the feed is back, and goes on where it was").count() == round
        })
        .await;
        ids.extend(jobs(system.client(1), 3).await);
        hook.wait(ids.len()).await;
    }
    // In one partition in order; of several, each in its own.
    let (mut told, mut ended) = (hook.ids(), names(system.client(1), &ids).await);
    told.sort();
    ended.sort();
    assert_eq!(told, ended, "each once");
    assert_eq!(listen.exited(), None);
}

#[tokio::test]
async fn killed_itself_it_goes_on_where_it_was() {
    let system = System::builder().start().await;
    let client = system.client(0);
    // What is posted when it dies was never answered; it comes again, by the same id.
    let hook = Hook::answering(|n, _| (if n == 2 { 500 } else { 200 }, String::new())).await;
    let listener = Listener::of(&system);
    let listen = listener.forward(&hook, &["--tries", "100"]).await;
    let mut ids = jobs(client, 3).await;
    hook.wait(3).await;
    listen.kill();
    ids.extend(jobs(client, 3).await);
    let listen = listener.forward(&hook, &[]).await;
    says(&listen, "going on where it stopped").await;
    hook.wait(7).await;
    let names = names(client, &ids).await;
    let expected: Vec<_> = names[..3].iter().chain(&names[2..]).cloned().collect();
    assert_eq!(hook.ids(), expected, "the one that wasn't answered twice, the others once");
    assert_eq!(listen.exited(), None);

    // Two of the same would send everything twice.
    let twin = listener.command(&["--forward-to", &hook.url(), "--secret-env", "HOOK_SECRET"]).start();
    assert_eq!(twin.wait_exit(SOON).await.code(), Some(2));
    assert!(twin.stderr().contains("another `jobcast listen` keeps its place in"), "{}", twin.stderr());
}

#[tokio::test]
async fn a_receiver_that_is_away_is_waited_for() {
    let system = System::builder().start().await;
    let (client, mut hook) = (system.client(0), Hook::start().await);
    let listener = Listener::of(&system);
    let listen = listener.forward(&hook, &["--tries", "1"]).await;
    let mut ids = vec![job(client, 0).await];
    hook.wait(1).await;
    hook.stop();
    ids.extend(jobs(client, 4).await);
    testkit::eventually(SOON, "it says so", async || listen.stdout().contains("can't be reached")).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(listen.stdout().matches("can't be reached").count(), 1, "{}", listen.stdout());
    hook.restart().await;
    ids.extend(jobs(client, 2).await);
    hook.wait(ids.len()).await;
    assert_eq!(hook.ids(), names(client, &ids).await);
}

#[tokio::test]
async fn other_answers_are_tried_again_and_then_passed_over() {
    let system = System::builder().start().await;
    let client = system.client(0);
    let hook = Hook::answering(|_, got| match got.json()["status"].as_str().unwrap() {
        "completed" => (302, "elsewhere\nmore".into()),
        "failed" => (410, String::new()),
        _ => (200, String::new()),
    });
    let hook = hook.await;
    let listener = Listener::of(&system);
    let listen = listener.forward(&hook, &["--tries", "2"]).await;
    let ids = jobs(client, 3).await;
    hook.wait(4).await;
    let names = names(client, &ids).await;
    assert_eq!(hook.ids(), [&names[0], &names[0], &names[1], &names[2]].map(Clone::clone));
    testkit::eventually(SOON, "all is shown", async || listen.stdout().lines().count() == 4).await;
    let shown = listen.stdout();
    let shown: Vec<_> = shown.lines().collect();
    assert!(
        shown[0].contains(": 302 in ") && shown[0].ends_with("ms: elsewhere; again in 1 s"),
        "{shown:#?}"
    );
    assert!(shown[1].contains(": 302 in ") && shown[1].ends_with("given up at try 2"), "{shown:#?}");
    assert!(shown[2].contains(": 410 in ") && shown[2].ends_with("given up at try 1"), "{shown:#?}");
    assert!(shown[3].contains(": 200 in "), "{shown:#?}");
}

#[tokio::test]
async fn bodies_are_printed_and_chosen_by_task_and_status() {
    let system = System::builder().start().await;
    let client = system.client(0);
    let listener = Listener::of(&system);
    let all = ready(listener.command(&["--print"]).start()).await;
    let some =
        ["--print", "--task", "count", "--task", "narrate", "--status", "failed", "--status", "cancelled"];
    let some = ready(listener.command(&some).start()).await;
    let hook = Hook::start().await;
    let both = listener.forward(&hook, &["--print", "--task", "remote"]).await;

    let ids = jobs(client, 3).await;
    let bodies = async |listen: &Jobcast, count: usize| {
        testkit::eventually(SOON, "they are printed", async || listen.stdout().lines().count() >= count)
            .await;
        let lines = listen.stdout();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|body| body["jobId"].as_str().unwrap().parse().unwrap()).collect::<Vec<JobId>>()
    };
    assert_eq!(bodies(&all, 3).await, ids);
    assert_eq!(bodies(&both, 1).await, ids[2..]);
    // A second one, so that what must not be printed has had its time.
    let last = job(client, 1).await;
    assert_eq!(bodies(&some, 2).await, [ids[1], last]);
    let got = hook.wait(1).await;
    assert_eq!(
        (got.len(), got[0].body.as_ref()),
        (1, both.stdout().trim_end().as_bytes()),
        "as it was posted"
    );
    says(&both, ": 204 in ").await;
    assert!(!all.stderr().contains("whsec_"), "what isn't signed needs no secret");
}

#[tokio::test]
async fn secrets_are_made_or_given_and_two_rotate() {
    let system = System::builder().start().await;
    let (client, hook) = (system.client(0), Hook::start().await);
    let listener = Listener::of(&system);
    let made = ready(listener.command(&["--forward-to", &hook.url()]).start()).await;
    job(client, 0).await;
    let said = made.stderr();
    let secret = said.split([' ', ',']).find(|word| word.starts_with("whsec_")).unwrap();
    assert_signed(&hook.wait(1).await[0], &[secret]);
    stopped(made).await;

    let file = listener.state.path().join("old");
    std::fs::write(&file, "hush\n").unwrap();
    let rotated = listener.forward(&hook, &["--secret-file", file.to_str().unwrap()]).await;
    job(client, 0).await;
    assert_signed(&hook.wait(2).await[1], &[SECRET, "hush"]);
    assert!(!rotated.stderr().contains("whsec_"));
}

#[tokio::test]
async fn a_feed_that_was_trimmed_or_rewound_is_said_and_it_goes_on() {
    let system = System::builder().settings("[stream]\nreconcile = \"300ms\"").start().await;
    let (client, hook) = (system.client(0), Hook::start().await);
    let listener = Listener::of(&system);
    let key = "jc:{0.325}:feedof:anonymous";
    let mut redis = system.redis.client().await;
    let listen = listener.forward(&hook, &[]).await;
    let first = job(client, 0).await;
    hook.wait(1).await;
    let saved: Vec<u8> = cmd("DUMP").arg(key).query_async(&mut redis).await.unwrap();
    let second = job(client, 1).await;
    hook.wait(2).await;

    // Rewound to after the first: it comes again in the feed, was sent in this run, and so isn't sent again.
    let restore = cmd("RESTORE").arg(key).arg(1_000_000).arg(&saved).arg("REPLACE").to_owned();
    let _: () = restore.query_async(&mut redis).await.unwrap();
    says(&listen, "Redis lost events").await;
    let third = job(client, 2).await;
    hook.wait(3).await;
    assert_eq!(hook.ids(), names(client, &[first, second, third]).await);
    stopped(listen).await;

    // While it is stopped the feed loses what it has not sent.
    let gone = job(client, 0).await;
    let _: i64 = cmd("DEL").arg(key).query_async(&mut redis).await.unwrap();
    let fourth = job(client, 1).await;
    let listen = listener.forward(&hook, &[]).await;
    says(&listen, "no longer reaches back").await;
    hook.wait(4).await;
    assert_eq!(hook.ids()[3..], names(client, &[fourth]).await);
    assert!(!hook.ids().iter().any(|id| id.starts_with(&gone.to_string())));

    // A job that is no longer kept can't be sent, and holds up nobody.
    listen.pause();
    let deleted = job(client, 0).await;
    assert_eq!(
        client
            .request(reqwest::Method::DELETE, &format!("/api/jobs/{deleted}"))
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    let fifth = job(client, 1).await;
    listen.resume();
    hook.wait(5).await;
    assert_eq!(hook.ids()[4..], names(client, &[fifth]).await);
    says(&listen, "no longer kept, so there is nothing to send").await;
}

#[tokio::test]
async fn it_needs_a_key_where_one_is_asked_for_and_tells_of_its_owners_jobs_alone() {
    let key = |owner: &str, key: &str, scopes: &str| {
        let hash = model::fingerprint::sha256(key.as_bytes());
        format!("[[auth.keys]]\nowner = \"{owner}\"\nsha256 = \"{hash}\"\nscopes = [{scopes}]\n")
    };
    let both = "\"submit\", \"read\"";
    let keys = key("one", "key-1", both) + &key("two", "key-2", both) + &key("two", "key-3", "\"submit\"");
    let system = System::builder().keys(&keys).start().await;
    let [one, two] = ["key-1", "key-2"].map(|key| system.client(0).with_key(key));
    let hook = Hook::start().await;
    let listener = Listener::of(&system);
    let url = hook.url();
    let args = ["--forward-to", &url, "--secret-env", "HOOK_SECRET"];
    let mine = ready(listener.command(&args).env("JOBCAST_KEY", "key-1").start()).await;
    let theirs = ready(listener.command(&["--print"]).env("JOBCAST_KEY", "key-2").start()).await;
    let (of_one, of_two) = (job(&one, 0).await, job(&two, 0).await);
    hook.wait(1).await;
    testkit::eventually(SOON, "the other's", async || theirs.stdout().contains(&of_two.to_string())).await;
    assert_eq!(hook.ids(), names(&one, &[of_one]).await);
    assert!(!theirs.stdout().contains(&of_one.to_string()));
    drop(mine);
    for (key, says) in [("", "401"), ("key-4", "401"), ("key-3", "403")] {
        let refused = listener.command(&args).env("JOBCAST_KEY", key).start();
        assert_eq!(refused.wait_exit(SOON).await.code(), Some(1), "{key}: {}", refused.stderr());
        assert!(refused.stderr().contains(says), "{key}: {}", refused.stderr());
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let system = System::builder().start().await;
    let listener = Listener::of(&system);
    let place = listener.state.path().join("place");
    let place = place.to_str().unwrap();
    std::fs::write(place, "AAAA\n").unwrap();
    let nowhere = format!("http://127.0.0.1:{}", testkit::free_port());
    for (args, code, says) in [
        (&[][..], 2, "--forward-to"),
        (&["--forward-to", "localhost:3000"], 2, "it begins with http"),
        (&["--forward-to", "x"], 2, "it is a URL"),
        (&["--print", "--status", "pending"], 2, "completed, failed or cancelled"),
        (&["--print", "--from-now", "--from-start"], 2, "--from-start"),
        (&["--forward-to", "http://h", "--secret-env", "NO_SUCH_VARIABLE"], 2, "there is no such variable"),
        (&["--print", "--cursor-file", place], 2, "is no place in this feed"),
        (&["--print", "--cursor-file", "/proc/nowhere/place"], 1, "can't be kept in /proc/nowhere/place"),
        (&["--print", "--url", &nowhere, "--patience", "0"], 3, "Is a gateway running there?"),
        (&["--print", "--config", "x.toml"], 2, "leave them out"),
    ] {
        let ended = listener.command(args).start();
        assert_eq!(ended.wait_exit(SOON).await.code(), Some(code), "{args:?}: {}", ended.stderr());
        assert!(ended.stderr().contains(says), "{args:?}: {}", ended.stderr());
    }
}

/// The block `name` of the receiver's guide.
fn block(name: &str) -> String {
    let guide = std::fs::read_to_string(repository().join("docs/WEBHOOKS.md")).unwrap();
    let (_, rest) = guide.split_once(&format!("```python\n# {name}\n")).unwrap();
    rest.split_once("\n```\n").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_guides_receiver_takes_what_is_sent() {
    let system = System::builder().start().await;
    let (client, listener) = (system.client(0), Listener::of(&system));
    let folder = tempfile::tempdir().unwrap();
    for name in ["verify.py", "receiver.py"] {
        std::fs::write(folder.path().join(name), block(name)).unwrap();
    }
    let port = testkit::free_port();
    let receiver = Jobcast::builder().program("python3").args(["-B", "-u", "receiver.py"]).cwd(folder.path());
    let secrets = format!("whsec_{} {SECRET}", "A".repeat(32));
    let receiver = receiver.env("PORT", port.to_string()).env("WEBHOOK_SECRET", secrets).start();
    // It is waited for, should it be slow to start.
    let url = format!("http://127.0.0.1:{port}/hook");
    let args = ["--forward-to", &url, "--secret-env", "HOOK_SECRET"];
    let listen = ready(listener.command(&args).start()).await;
    let ids = jobs(client, 3).await;
    testkit::eventually(SOON, "it works", async || receiver.stdout().lines().count() >= 3).await;
    let tasks = ["count", "count", "remote"];
    let statuses = ["completed", "failed", "cancelled"];
    let expected = (0..3).map(|n| format!("{} {} {}\n", tasks[n], ids[n], statuses[n])).collect::<String>();
    assert_eq!(receiver.stdout(), expected);
    stopped(listen).await;
}

#[tokio::test]
async fn what_is_relayed_is_what_the_courier_sends() {
    let webhooks = format!(
        "[gateway]\npublic_url = \"https://jobs.example.com\"\n[webhooks]\nallow = [\"127.0.0.1\"]\n\
         [webhooks.owners.anonymous]\nsecrets = [\"{SECRET}\"]\n"
    );
    let system = System::builder().couriers(1).settings(&webhooks).start().await;
    let (client, listener) = (system.client(0), Listener::of(&system));
    let (direct, relayed) = (Hook::start().await, Hook::start().await);
    let _listen = listener.forward(&relayed, &[]).await;
    for payload in [json!({ "n": 2 }), json!({ "n": "ä€👩\u{2028}" })] {
        client
            .submit_with(&json!({ "task": "count", "payload": payload, "webhook": { "url": direct.url() } }))
            .await;
        // One after the other, for the courier keeps no order.
        relayed.wait(direct.got().len() + 1).await;
        direct.wait(relayed.got().len()).await;
    }
    for (direct, relayed) in direct.got().iter().zip(relayed.got()) {
        assert_eq!((direct.id(), &direct.body), (relayed.id(), &relayed.body));
        // But for the time, and the host that they came to.
        let own = |got: &Got| {
            let mut headers = got.headers.clone();
            for name in ["webhook-timestamp", "webhook-signature", "host", "accept"] {
                headers.remove(name);
            }
            headers
        };
        assert_eq!(own(direct), own(&relayed));
        assert_signed(direct, &[SECRET]);
        assert_signed(&relayed, &[SECRET]);
    }
}
