//! Deliveries that nobody took: listed, looked into, chosen, and delivered after all.

use model::JobId;
use serde_json::{Value, json};
use whole::command::{in_terminal, run};
use whole::{ANSWER, Answer, Client, Hook, SOON, System};

const UNKNOWN: &str = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6000";

/// Deliveries have one attempt, and the owners have secrets.
fn settings(more: &str) -> String {
    let secret = "secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]";
    format!(
        "[webhooks]\nallow = [\"127.0.0.1\"]\nattempts = 1\n{more}\n[webhooks.owners.anonymous]\n{secret}\n\
         [webhooks.owners.acme]\n{secret}\n"
    )
}

/// A job that is cancelled, which `url` is to be told.
async fn ended(client: &Client, url: &str) -> JobId {
    let id = client.submit_with(&json!({ "task": "remote", "webhook": { "url": url } })).await;
    assert_eq!(client.tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await.status, 202);
    id
}

/// The dead letters of a page.
async fn letters(client: &Client, query: &str) -> Vec<Value> {
    let answer = client.ask(&format!("/api/dead-letters{query}")).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{answer:?}");
    answer.body["deadLetters"].as_array().unwrap().clone()
}

/// All of them, once there are so many.
async fn dead(client: &Client, count: usize) -> Vec<Value> {
    testkit::eventually_some(SOON, &format!("there are {count} dead letters"), async || {
        Some(letters(client, "").await).filter(|letters| letters.len() == count)
    })
    .await
}

fn names(letters: &[Value]) -> Vec<&str> {
    letters.iter().map(|letter| letter["id"].as_str().unwrap()).collect()
}

async fn replay(client: &Client, id: &str) -> Answer {
    client.tell(&format!("/api/dead-letters/{id}/replay"), &Value::Null).await
}

#[tokio::test]
async fn a_dead_letter_tells_each_attempt_and_is_delivered_after_all() {
    let system = System::builder().gateways(2).workers(0).couriers(1).settings(&settings("")).start().await;
    let (client, receiver) = (system.client(0), Hook::start().await);
    receiver.answer(500);
    let id = ended(client, &receiver.at("/hook")).await;
    let letter = dead(client, 1).await.remove(0);
    assert_eq!((&letter["id"], &letter["jobId"]), (&json!(format!("{id}.1")), &json!(id)));
    assert_eq!((&letter["url"], &letter["status"]), (&json!(receiver.at("/hook")), &json!("dead")));
    assert_eq!((&letter["nextAttemptAt"], letter["settledAt"].is_string()), (&Value::Null, true));
    let attempt = &letter["attempts"][0];
    assert_eq!((&attempt["status"], &attempt["body"]), (&json!(500), &json!(ANSWER)));
    assert!(attempt["at"].is_string() && attempt["durationMs"].is_u64(), "{attempt}");
    let of_job = system.client(1).ask(&format!("/api/jobs/{id}/deliveries")).await.body;
    assert_eq!(of_job["deliveries"], json!([letter]));

    receiver.answer(204);
    let replayed = replay(system.client(1), letter["id"].as_str().unwrap()).await;
    assert_eq!((replayed.status, &replayed.body["status"]), (202, &json!("pending")));
    let arrivals = receiver.wait(2).await;
    assert_eq!(arrivals[0].header("webhook-id"), letter["webhookId"]);
    assert_eq!(arrivals[0].header("webhook-id"), arrivals[1].header("webhook-id"));
    assert_eq!(arrivals[0].body, arrivals[1].body);
    dead(client, 0).await;
    let of_job = testkit::eventually_some(SOON, "it is delivered", async || {
        let delivery = client.ask(&format!("/api/jobs/{id}/deliveries")).await.body["deliveries"][0].clone();
        (delivery["status"] == "delivered").then_some(delivery)
    })
    .await;
    let statuses: Vec<_> =
        of_job["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["status"]).collect();
    assert_eq!(statuses, [500, 204]);
    assert_eq!(replay(client, letter["id"].as_str().unwrap()).await.problem(), (409, "delivered"));
}

#[tokio::test]
async fn they_are_listed_by_pages_and_chosen_by_url_and_time() {
    let store = "partitions = 4";
    let system = System::builder().workers(0).couriers(1).store(store).settings(&settings("")).start().await;
    let (client, receiver) = (system.client(0), Hook::start().await);
    receiver.answer(410);
    for number in 0..6 {
        ended(client, &receiver.at(if number % 2 == 0 { "/even" } else { "/odd" })).await;
        dead(client, number + 1).await;
    }
    let all = dead(client, 6).await;
    let settled: Vec<_> = all.iter().map(|letter| letter["settledAt"].as_str().unwrap()).collect();
    assert!(settled.is_sorted_by(|a, b| a >= b), "the newest first: {settled:?}");
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let answer = client.ask(&format!("/api/dead-letters?limit=4&after={after}")).await;
        found.extend(answer.body["deadLetters"].as_array().unwrap().clone());
        match answer.body["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(names(&found), names(&all));
    let even = letters(client, &format!("?url={}", receiver.at("/even"))).await;
    assert_eq!(names(&even), [1, 3, 5].map(|at| names(&all)[at]));
    let since = letters(client, &format!("?since={}", settled[1])).await;
    assert!(since.len() >= 2 && since.len() < 6, "{since:?}");
    let until = letters(client, &format!("?until={}", settled[1])).await;
    assert_eq!(since.len() + until.len(), 6, "each is in one of the two");

    for (query, problem) in [
        ("?limit=0", (422, "out-of-range")),
        ("?limit=1001", (422, "out-of-range")),
        ("?limit=x", (400, "malformed")),
        ("?since=yesterday", (400, "malformed")),
        ("?after=x", (400, "bad-cursor")),
        ("?colour=red", (400, "malformed")),
    ] {
        assert_eq!(client.ask(&format!("/api/dead-letters{query}")).await.problem(), problem, "{query}");
    }

    receiver.answer(200);
    let chosen = client.tell("/api/dead-letters/replay", &json!({ "url": receiver.at("/odd") })).await;
    assert_eq!((chosen.status, &chosen.body), (202, &json!({ "replayed": 3 })));
    let arrivals = receiver.wait(9).await;
    assert!(arrivals[6..].iter().all(|arrival| arrival.path == "/odd"));
    assert_eq!(dead(client, 3).await, even);
    let rest = client.tell("/api/dead-letters/replay", &json!({})).await;
    assert_eq!((rest.status, &rest.body), (202, &json!({ "replayed": 3 })));
    receiver.wait(12).await;
    dead(client, 0).await;
    let none = client.tell("/api/dead-letters/replay", &json!({})).await;
    assert_eq!(none.body, json!({ "replayed": 0 }));
    let bad = client.tell("/api/dead-letters/replay", &json!({ "urls": [] })).await;
    assert_eq!(bad.problem(), (400, "malformed"));
}

#[tokio::test]
async fn the_command_lists_shows_and_replays_them() {
    let system = System::builder().workers(0).couriers(1).settings(&settings("")).start().await;
    let (client, receiver) = (system.client(0), Hook::start().await);
    let url = client.url("");
    receiver.answer(410);
    let mut ids = Vec::new();
    for path in ["/one", "/two", "/three"] {
        let submitted = run(&url, &["submit", "remote", "--webhook", &receiver.at(path)]).await;
        let job: JobId = submitted.stdout.trim_end().parse().unwrap();
        assert_eq!(run(&url, &["cancel", &job.to_string()]).await.code, Some(0));
        ids.push(format!("{job}.1"));
        dead(client, ids.len()).await;
    }
    // A line of JSON for each, as the API tells it.
    let all = dead(client, 3).await;
    let listed = run(&url, &["dead-letters"]).await;
    assert_eq!((listed.code, &*listed.stderr, listed.json_lines()), (Some(0), "", all.clone()));
    let chosen = run(&url, &["dead-letters", "--target", &receiver.at("/t"), "--since", "1h"]).await;
    assert_eq!(names(&chosen.json_lines()), [&*ids[2], &*ids[1]]);
    assert_eq!(names(&run(&url, &["dead-letters", "--limit", "1"]).await.json_lines()), [&*ids[2]]);
    let shown = run(&url, &["dead-letters", "show", &ids[0]]).await;
    assert_eq!((shown.code, shown.json_lines()), (Some(0), vec![all[2].clone()]));
    let job = ids[0].strip_suffix(".1").unwrap();
    assert_eq!(run(&url, &["jobs", "deliveries", job]).await.json_lines(), shown.json_lines());

    let (code, screen, _) = in_terminal(&url, None, &["dead-letters"]).await;
    assert_eq!((code, screen.len()), (Some(0), 4), "{screen:#?}");
    assert!(screen[0].starts_with("ID ") && screen[1].starts_with(&ids[2]), "{screen:#?}");
    assert!(screen[1].contains("http://127.0.0.1"), "{screen:#?}");
    let (_, screen, _) = in_terminal(&url, None, &["dead-letters", "show", &ids[0]]).await;
    assert!(screen.contains(&"status     dead".to_owned()), "{screen:#?}");
    assert!(screen.iter().any(|line| line.trim() == ANSWER), "{screen:#?}");

    receiver.answer(200);
    let replayed = run(&url, &["dead-letters", "replay", &ids[0]]).await;
    assert_eq!((replayed.code, replayed.stdout), (Some(0), format!("{} replayed\n", ids[0])));
    let chosen = run(&url, &["dead-letters", "replay", "--target", &receiver.at("/two")]).await;
    assert_eq!((chosen.code, &*chosen.stdout), (Some(0), "1 replayed\n"));
    let rest = run(&url, &["dead-letters", "replay", "--all"]).await;
    assert_eq!((rest.code, &*rest.stdout), (Some(0), "1 replayed\n"));
    receiver.wait(6).await;
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many_and_all_go_in_time() {
    let more = "dead_letters = 2\ndead_letter_retention = \"3s\"";
    let system = System::builder().workers(0).couriers(1).settings(&settings(more)).start().await;
    let (client, receiver) = (system.client(0), Hook::start().await);
    receiver.answer(410);
    let mut ids = Vec::new();
    for number in 1..=3 {
        ids.push(ended(client, &receiver.at("/")).await);
        receiver.wait(number).await;
        let what = format!("number {number} is dead");
        testkit::eventually(SOON, &what, async || {
            let id = ids[number - 1];
            let answer = client.ask(&format!("/api/jobs/{id}/deliveries")).await;
            answer.body["deliveries"][0]["status"] != "pending"
        })
        .await;
        assert!(letters(client, "").await.len() <= 2);
    }
    dead(client, 0).await;
    assert_eq!(replay(client, &format!("{}.1", ids[2])).await.problem(), (404, "not-found"));
    system.nothing_grows().await;
}

fn keys() -> String {
    let key = |owner: &str, key: &str, scopes: &str| {
        let hash = model::fingerprint::sha256(key.as_bytes());
        format!("[[auth.keys]]\nowner = {owner:?}\nsha256 = {hash:?}\nscopes = [{scopes}]\n")
    };
    key("acme", "acme", r#""submit", "read""#)
        + &key("acme", "reader", r#""read""#)
        + &key("acme", "submitter", r#""submit""#)
        + &key("other", "other", r#""submit", "read""#)
}

#[tokio::test]
async fn anothers_dead_letters_are_as_unknown_as_none() {
    let system = System::builder().workers(0).couriers(1).keys(&keys()).settings(&settings("")).start().await;
    let receiver = Hook::start().await;
    receiver.answer(410);
    let as_key = |key: &str| system.client(0).with_key(key);
    let (acme, other) = (as_key("acme"), as_key("other"));
    let id = ended(&acme, &receiver.at("/")).await;
    let letter = dead(&acme, 1).await.remove(0);
    let name = letter["id"].as_str().unwrap();
    let deliveries = format!("/api/jobs/{id}/deliveries");

    assert_eq!(letters(&other, "").await, Vec::<Value>::new());
    assert_eq!(other.ask(&deliveries).await.problem(), (404, "not-found"));
    assert_eq!(replay(&other, name).await.problem(), (404, "not-found"));
    let all = other.tell("/api/dead-letters/replay", &json!({})).await;
    assert_eq!(all.body, json!({ "replayed": 0 }));
    for unknown in [format!("{UNKNOWN}.1"), "x".into(), format!("{id}.2"), format!("{id}.9"), id.to_string()]
    {
        assert_eq!(replay(&acme, &unknown).await.problem(), (404, "not-found"), "{unknown}");
    }
    assert_eq!(acme.ask(&format!("/api/jobs/{UNKNOWN}/deliveries")).await.problem(), (404, "not-found"));

    assert_eq!(dead(&as_key("reader"), 1).await, std::slice::from_ref(&letter));
    assert_eq!(as_key("reader").ask(&deliveries).await.body["deliveries"][0], letter);
    assert_eq!(replay(&as_key("reader"), name).await.problem(), (403, "missing-scope"));
    let all = as_key("reader").tell("/api/dead-letters/replay", &json!({})).await;
    assert_eq!(all.problem(), (403, "missing-scope"));
    assert_eq!(as_key("submitter").ask("/api/dead-letters").await.problem(), (403, "missing-scope"));
    assert_eq!(as_key("submitter").ask(&deliveries).await.problem(), (403, "missing-scope"));
    assert_eq!(receiver.got().len(), 1, "nothing was replayed");
    assert_eq!(replay(&as_key("submitter"), name).await.status, 202);
    receiver.wait(2).await;
}

#[tokio::test]
async fn a_deliverys_story_outlives_its_job() {
    let system = System::builder().workers(0).couriers(1).settings(&settings("")).start().await;
    let (client, receiver) = (system.client(0), Hook::start().await);
    receiver.answer(410);
    let id = ended(client, &receiver.at("/")).await;
    let letter = dead(client, 1).await.remove(0);
    let gone = client.request(reqwest::Method::DELETE, &format!("/api/jobs/{id}")).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    let of_job = client.ask(&format!("/api/jobs/{id}/deliveries")).await;
    assert_eq!((of_job.status, &of_job.body["deliveries"][0]), (200, &letter));
    receiver.answer(200);
    assert_eq!(replay(client, letter["id"].as_str().unwrap()).await.status, 202);
    let arrivals = receiver.wait(2).await;
    assert_eq!(arrivals[0].body, arrivals[1].body);
    system.nothing_grows().await;
}
