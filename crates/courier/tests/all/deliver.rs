//! A courier on a real Redis: what becomes of deliveries, whatever their receivers do.

use std::time::Duration;

use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::response::IntoResponse;
use courier::{Failure, FailureLabels, Options, Secrets};
use model::Json;
use model::webhook::{Secret, sign};
use model::wire::DeliveryStatus::{Dead, Delivered};
use service::stop::Finished;
use store::{Webhook, WebhookSecret};
use testkit::{Bad, BadReceiver};

use crate::bench::receiver::{Receiver, status};
use crate::bench::{Bench, Courier, LONG, SECRET, Setup, keys, options, owner, secrets};

fn failures(courier: &Courier, reason: Failure) -> u64 {
    courier.metrics.failed.get_or_create(&FailureLabels { reason }).get()
}

#[tokio::test]
async fn an_end_is_told_once_signed_and_as_polled() {
    let bench = Bench::start().await;
    let receiver = Receiver::start().await;
    let courier = bench.courier(Options { base_url: "https://jobs.example".into(), ..options() });
    let id = bench.completed(&receiver.url(), Json::parse(r#"{"n":[1e400,"ü"]}"#).unwrap()).await;
    let got = receiver.wait(1).await.remove(0);
    assert_eq!(got.path, "/hook?a=b");
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("user-agent"), concat!("Jobcast/", env!("CARGO_PKG_VERSION")));
    let job = bench.store.job(id).await.unwrap().unwrap();
    assert_eq!(got.id(), format!("{id}.{}", job.last_event));
    let timestamp = got.header("webhook-timestamp").parse().unwrap();
    let signed = sign(got.id(), timestamp, &got.body, &[SECRET.parse::<Secret>().unwrap()]);
    assert_eq!(got.header("webhook-signature"), signed.signature.unwrap());
    assert_eq!(got.header("x-webhook-signature"), signed.plain);
    let polled = model::wire::JobView::new(job, "https://jobs.example");
    assert_eq!(got.body, model::webhook::body(&polled));
    let delivery = bench.reaches(id, Delivered).await;
    assert_eq!(delivery.attempts.len(), 1);
    assert_eq!((delivery.attempts[0].status, &delivery.attempts[0].error), (Some(204), &None));
    assert_eq!(courier.stop().await, Finished::Drained);
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn a_long_result_arrives_whole() {
    let bench = Bench::start().await;
    let receiver = Receiver::start().await;
    let _courier = bench.courier(options());
    let result = Json::of(&"x".repeat(1 << 20)).unwrap();
    bench.completed(&receiver.url(), result.clone()).await;
    let got = receiver.wait(1).await.remove(0);
    assert_eq!(got.json()["result"].as_str().unwrap().len(), 1 << 20);
}

#[tokio::test]
async fn one_that_fails_three_times_and_then_works_gets_it_under_one_id() {
    let bench = Bench::start().await;
    let receiver = Receiver::answering(|n, _| if n < 3 { 500 } else { 200 }).await;
    let courier = bench.courier(options());
    let id = bench.ended(&receiver.url()).await;
    let delivery = bench.reaches(id, Delivered).await;
    let statuses: Vec<_> = delivery.attempts.iter().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(500), Some(500), Some(500), Some(200)]);
    assert_eq!(delivery.attempts[0].error.as_deref(), Some("the receiver answered 500"));
    let got = receiver.got();
    assert!(got.iter().all(|one| one.id() == got[0].id() && one.body == got[0].body));
    assert_eq!(failures(&courier, Failure::Status), 3);
}

#[tokio::test]
async fn attempts_that_are_used_up_make_a_dead_letter_with_each_of_them() {
    let bench = Bench::start().await;
    let receiver = Receiver::scripted(|n, _| {
        let body = format!("{n}{}", "é".repeat(4000));
        (Duration::ZERO, (status(422), body).into_response())
    })
    .await;
    let _courier = bench.courier(Options { attempts: 3, ..options() });
    let id = bench.ended(&receiver.url()).await;
    let delivery = bench.reaches(id, Dead).await;
    assert_eq!((delivery.attempts.len(), receiver.count()), (3, 3));
    for (n, attempt) in delivery.attempts.iter().enumerate() {
        let body = attempt.body.as_ref().unwrap();
        assert!(body.starts_with(&n.to_string()) && (1000..=1030).contains(&body.len()), "{}", body.len());
    }
    // A replay begins anew, under the same name.
    bench.store.replay(delivery.id, &owner()).await.unwrap();
    assert_eq!(receiver.wait(6).await[5].id(), delivery.webhook_id);
}

#[tokio::test]
async fn a_receiver_that_says_410_is_never_asked_again() {
    let bench = Bench::start().await;
    let receiver = Receiver::answering(|_, _| 410).await;
    let courier = bench.courier(options());
    let id = bench.ended(&receiver.url()).await;
    let delivery = bench.reaches(id, Dead).await;
    assert_eq!(delivery.attempts[0].error.as_deref(), Some("the receiver wants no more (410)"));
    assert_eq!(courier.stop().await, Finished::Drained);
    assert_eq!(receiver.count(), 1);
}

#[tokio::test]
async fn retry_after_is_honoured() {
    for code in [429, 503] {
        let bench = Bench::start().await;
        let receiver = Receiver::scripted(move |n, _| {
            let answer = if n == 0 {
                (status(code), [(RETRY_AFTER, "2")]).into_response()
            } else {
                ().into_response()
            };
            (Duration::ZERO, answer)
        })
        .await;
        let _courier = bench.courier(options());
        bench.ended(&receiver.url()).await;
        let got = receiver.wait(2).await;
        assert!(got[1].at - got[0].at >= Duration::from_secs(2), "{:?}", got[1].at - got[0].at);
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let bench = Bench::start().await;
    let elsewhere = Receiver::start().await;
    let to = elsewhere.url();
    let receiver = Receiver::scripted(move |n, _| {
        let code = [301, 302, 303, 307, 308][n % 5];
        (Duration::ZERO, (status(code), [(LOCATION, to.clone())]).into_response())
    })
    .await;
    let _courier = bench.courier(options());
    let id = bench.ended(&receiver.url()).await;
    let delivery = bench.reaches(id, Dead).await;
    assert_eq!((delivery.attempts.len(), elsewhere.count()), (5, 0));
    let said = delivery.attempts[0].error.as_deref().unwrap();
    assert_eq!(said, format!("redirects are not followed (301 to {})", elsewhere.url()));
}

#[tokio::test]
async fn what_bad_receivers_do_ends_in_time_and_is_told() {
    let bench = Bench::start().await;
    let once = Options { attempts: 1, timeout: LONG, ..options() };
    for (bad, status, said) in [
        (Bad::Silent, Dead, "no answer within 2 s"),
        (Bad::DripsHead, Dead, "no answer within 2 s"),
        (Bad::Resets, Dead, "the connection broke: "),
        (Bad::Breaks, Dead, "the connection broke: "),
        // The head says that it was taken.
        (Bad::DripsBody, Delivered, ""),
        (Bad::Floods, Delivered, ""),
    ] {
        let receiver = BadReceiver::start(bad).await;
        // Those that come to an end by themselves have time for it, and so has a head that is to come.
        let timeout = match bad {
            Bad::Silent | Bad::DripsHead => Duration::from_secs(2),
            Bad::DripsBody => Duration::from_secs(5),
            _ => once.timeout,
        };
        let courier = bench.courier(Options { timeout, ..once.clone() });
        let id = bench.ended(&receiver.url()).await;
        let delivery = bench.reaches(id, status).await;
        courier.stop().await;
        let attempt = &delivery.attempts[0];
        let error = attempt.error.as_deref().unwrap_or_default();
        assert!(error.starts_with(said) && error.is_empty() == said.is_empty(), "{bad:?}: {error}");
        if bad == Bad::Floods {
            assert_eq!(attempt.body.as_ref().unwrap().len(), 1024);
        }
    }
    let _courier = bench.courier(once);
    let nobody = testkit::free_port();
    let id = bench.ended(&format!("http://127.0.0.1:{nobody}/")).await;
    let error = bench.reaches(id, Dead).await.attempts[0].error.clone().unwrap();
    assert!(error.starts_with("no connection: Connection refused"), "{error}");
}

#[tokio::test]
async fn both_secrets_of_a_rotation_sign() {
    let bench = Bench::start().await;
    let receiver = Receiver::start().await;
    let new = "a plain new secret";
    let _courier =
        Courier::start(&bench.server.url(), Setup { secrets: secrets(&[new, SECRET]), ..Setup::default() });
    bench.ended(&receiver.url()).await;
    let got = receiver.wait(1).await.remove(0);
    let timestamp = got.header("webhook-timestamp").parse().unwrap();
    let by = |secret: &str| sign(got.id(), timestamp, &got.body, &[secret.parse::<Secret>().unwrap()]);
    let both = format!("{} {}", by(new).signature.unwrap(), by(SECRET).signature.unwrap());
    assert_eq!(got.header("webhook-signature"), both);
    assert_eq!(got.header("x-webhook-signature"), by(new).plain);
}

#[tokio::test]
async fn a_secret_of_its_own_is_opened_and_what_has_none_has_the_plain_signature_alone() {
    let bench = Bench::start().await;
    let receiver = Receiver::start().await;
    let _courier = bench.courier(options());
    let (url, secret) = (receiver.url(), "its own".parse::<Secret>().unwrap());
    let sealed = keys().seal(&secret, &owner(), &url, rand::random()).unwrap();
    bench.ended_by(Webhook { url: url.clone(), secret: WebhookSecret::Own(sealed) }).await;
    let got = receiver.wait(1).await.remove(0);
    let timestamp = got.header("webhook-timestamp").parse().unwrap();
    let signed = sign(got.id(), timestamp, &got.body, &[secret]);
    assert_eq!(got.header("webhook-signature"), signed.signature.unwrap());
    bench.ended_by(Webhook { url, secret: WebhookSecret::None }).await;
    let got = receiver.wait(2).await.remove(1);
    assert!(!got.headers.contains_key("webhook-signature"));
    assert_eq!(got.header("x-webhook-signature"), sign("", 0, &got.body, &[Secret::none()]).plain);
}

#[tokio::test]
async fn what_cannot_be_signed_waits_for_better_configuration() {
    let bench = Bench::start().await;
    let receiver = Receiver::start().await;
    let url = receiver.url();
    let sealed = keys().seal(&"its own".parse().unwrap(), &owner(), &url, rand::random()).unwrap();
    let patient = Options { retry_delay: Duration::from_millis(500), ..options() };
    let setup = Setup { options: patient, secrets: Secrets::default(), ..Setup::default() };
    let courier = Courier::start(&bench.server.url(), setup);
    let own = bench.ended_by(Webhook { url: url.clone(), secret: WebhookSecret::Own(sealed) }).await;
    let owners = bench.ended(&url).await;
    for (id, said) in [
        (own, "not tried: none of webhooks.encryption_keys opens the stored secret"),
        (owners, "not tried: there are no webhooks.owners.acme.secrets to sign with"),
    ] {
        assert_eq!(bench.tried(id, 1).await.attempts[0].error.as_deref(), Some(said));
    }
    courier.stop().await;
    assert_eq!(receiver.count(), 0, "nothing unsigned is sent");
    let _courier = bench.courier(options());
    for id in [own, owners] {
        bench.reaches(id, Delivered).await;
    }
}

#[tokio::test]
async fn a_stop_lets_requests_end_and_gives_back_what_was_not_sent() {
    let bench = Bench::start().await;
    let slow = Receiver::start().await;
    slow.hold();
    let courier = bench.courier(options());
    let ids = [bench.ended(&slow.url()).await, bench.ended(&slow.url()).await];
    slow.wait(1).await;
    testkit::eventually(LONG, "both are claimed", async || {
        bench.store.due_depth(ids[0].partition()).await.unwrap().1.is_some_and(|due| due > bench_now())
    })
    .await;
    courier.shutdown.stop_soft();
    testkit::eventually(LONG, "one is given back", async || {
        bench.store.due_depth(ids[0].partition()).await.unwrap().1.is_some_and(|due| due <= bench_now())
    })
    .await;
    slow.let_go();
    assert_eq!(courier.stop().await, Finished::Drained);
    let delivered = [bench.delivery(ids[0]).await, bench.delivery(ids[1]).await];
    let count = delivered.iter().filter(|delivery| delivery.status == Delivered).count();
    assert_eq!((count, slow.count()), (1, 1), "{delivered:?}");
    // The other one is due at once, for whoever comes.
    let _next = bench.courier(options());
    slow.wait(2).await;
    for id in ids {
        bench.reaches(id, Delivered).await;
    }
    assert_eq!(slow.count(), 2);
}

fn bench_now() -> model::Timestamp {
    use model::Clock;
    model::SystemClock.now()
}

#[tokio::test]
async fn a_request_that_outlives_the_grace_is_sent_again_by_another_courier() {
    let bench = Bench::start().await;
    let receiver =
        Receiver::scripted(|n, _| (if n == 0 { LONG } else { Duration::ZERO }, ().into_response())).await;
    let courier = bench.courier(Options { grace: Duration::from_millis(100), ..options() });
    let id = bench.ended(&receiver.url()).await;
    receiver.wait(1).await;
    assert_eq!(courier.stop().await, Finished::Drained);
    assert_eq!(bench.delivery(id).await.attempts, [], "no attempt is counted");
    let _next = bench.courier(options());
    bench.reaches(id, Delivered).await;
    let got = receiver.got();
    assert_eq!((got.len(), got[0].id()), (2, got[1].id()));
}
