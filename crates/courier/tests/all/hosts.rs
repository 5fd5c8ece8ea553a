//! Many deliveries, few places: what couriers do to hosts, and to each other.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::IntoResponse;
use courier::{Became, BecameLabels, Options};
use model::Json;
use model::wire::DeliveryStatus::{Dead, Delivered};
use store::{NewJob, Webhook, WebhookSecret};
use testkit::proxy::Proxy;
use testkit::{Bad, BadReceiver};

use crate::bench::receiver::Receiver;
use crate::bench::{Bench, Courier, LONG, Setup, new_job, options, owner};

fn became(courier: &Courier, outcome: Became) -> u64 {
    courier.metrics.became.get_or_create(&BecameLabels { outcome }).get()
}

#[tokio::test]
async fn partitions_that_do_not_answer_hold_up_no_others() {
    let bench = Bench::on_cluster().await;
    let receiver = Receiver::start().await;
    // One place for all of them.
    let setup = Setup { options: Options { concurrency: 1, ..options() }, ..Setup::default() };
    let _courier = Courier::start(&bench.server.url(), setup);
    let webhooks = vec![Webhook { url: receiver.url(), secret: WebhookSecret::Owner }];
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(bench.submit(&NewJob { webhooks: webhooks.clone(), ..new_job() }).await);
    }
    bench.server.kill(0);
    let mut told = 0;
    for id in ids {
        // Those whose partition answers, which are two thirds.
        if bench.store.cancel(id, &owner(), "enough").await.is_ok() {
            bench.reaches(id, Delivered).await;
            told += 1;
        }
    }
    assert!(told > 2, "{told}");
}

#[tokio::test]
async fn two_couriers_send_each_delivery_once() {
    let bench = Bench::start().await;
    let receiver = Receiver::scripted(|_, _| (Duration::from_millis(20), ().into_response())).await;
    let couriers = [bench.courier(options()), bench.courier(options())];
    let mut ids = HashSet::new();
    for _ in 0..200 {
        ids.insert(bench.ended(&receiver.url()).await);
    }
    for id in &ids {
        bench.reaches(*id, Delivered).await;
    }
    let got: Vec<_> = receiver.got().iter().map(|got| got.id().to_owned()).collect();
    assert_eq!((got.len(), got.iter().collect::<HashSet<_>>().len()), (200, 200));
    assert_eq!(receiver.twice(), [""; 0]);
    // Each is counted once it is written, so moments later.
    testkit::eventually_ok(LONG, "all are counted, once", async || {
        let of_each = couriers.each_ref().map(|courier| became(courier, Became::Delivered));
        if of_each.iter().sum::<u64>() == 200 { Ok(()) } else { Err(format!("{of_each:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_host_gets_no_more_requests_at_once_than_it_may() {
    let bench = Bench::start().await;
    let receiver = Receiver::scripted(|_, _| (Duration::from_millis(20), ().into_response())).await;
    let mut ids = Vec::new();
    for _ in 0..100 {
        ids.push(bench.ended(&receiver.url()).await);
    }
    let _courier = bench.courier(Options { per_host: 4, ..options() });
    receiver.wait(10).await;
    receiver.hold();
    testkit::eventually(LONG, "as many are open as may be", async || receiver.most_open() == 4).await;
    receiver.let_go();
    for id in ids {
        bench.reaches(id, Delivered).await;
    }
    assert_eq!((receiver.most_open(), receiver.count()), (4, 100));
}

#[tokio::test]
async fn a_dead_host_is_left_alone_and_others_are_served_meanwhile() {
    let bench = Bench::start().await;
    let (dead, good) = (Receiver::answering(|_, _| 500).await, Receiver::start().await);
    for _ in 0..300 {
        bench.ended(&dead.url()).await;
    }
    // No lease ends meanwhile.
    let timeout = Duration::from_mins(5);
    let courier =
        bench.courier(Options { attempts: 20, retry_delay: Duration::from_mins(1), timeout, ..options() });
    testkit::eventually(LONG, "the rest is put off", async || became(&courier, Became::Postponed) >= 290)
        .await;
    let id = bench.ended(&good.url()).await;
    bench.reaches(id, Delivered).await;
    // Five until the breaker opens, and now and then a probe: a second of this test is not worth many.
    assert!(dead.count() < 15, "{}", dead.count());
    let postponed = became(&courier, Became::Postponed);
    assert!(postponed < 600, "it doesn't spin: {postponed}");
}

#[tokio::test]
async fn all_that_wait_for_a_host_are_given_back_at_a_stop() {
    let bench = Bench::start().await;
    let receiver = Receiver::start().await;
    receiver.hold();
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(bench.ended(&receiver.url()).await);
    }
    let courier = bench.courier(Options { per_host: 1, timeout: Duration::from_mins(5), ..options() });
    receiver.wait(1).await;
    let postponed = became(&courier, Became::Postponed);
    courier.shutdown.stop_soft();
    testkit::eventually(LONG, "they are given back", async || became(&courier, Became::Postponed) >= 5).await;
    assert!(postponed < 5, "they waited until then: {postponed}");
    receiver.let_go();
    // Far sooner than their leases end.
    let _next = bench.courier(options());
    for id in ids {
        bench.reaches(id, Delivered).await;
    }
    assert_eq!(receiver.count(), 6);
}

#[tokio::test]
async fn one_owners_wrong_path_holds_up_nobody_else_at_that_host() {
    let bench = Bench::start().await;
    let receiver = Receiver::answering(|_, got| if got.path.ends_with("wrong") { 404 } else { 200 }).await;
    let _courier = bench.courier(Options { attempts: 20, retry_delay: Duration::from_mins(1), ..options() });
    let mut ids = Vec::new();
    for _ in 0..30 {
        bench.ended(&format!("{}&wrong", receiver.url())).await;
        ids.push(bench.ended(&receiver.url()).await);
    }
    for id in ids {
        bench.reaches(id, Delivered).await;
    }
    // Far more than the failures that open a breaker.
    testkit::eventually(LONG, "all wrong ones were tried", async || receiver.count() == 60).await;
}

#[tokio::test]
async fn a_host_that_is_well_again_gets_all_that_waited() {
    let bench = Bench::start().await;
    let works = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&works);
    let receiver =
        Receiver::answering(move |_, _| if switch.load(Ordering::SeqCst) { 200 } else { 503 }).await;
    let courier = bench.courier(Options { retry_delay: Duration::from_secs(1), ..options() });
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(bench.ended(&receiver.url()).await);
    }
    testkit::eventually(LONG, "it is left alone", async || became(&courier, Became::Postponed) > 0).await;
    works.store(true, Ordering::SeqCst);
    for id in ids {
        bench.reaches(id, Delivered).await;
    }
}

#[tokio::test]
async fn what_finds_no_place_for_too_long_is_given_up_and_says_so() {
    let bench = Bench::start().await;
    let silent = BadReceiver::start(Bad::Silent).await;
    let options =
        Options { give_up: Duration::from_millis(1500), timeout: Duration::from_secs(8), ..options() };
    let _courier = bench.courier(options);
    bench.ended(&silent.url()).await;
    let id = bench.ended(&silent.url()).await;
    let delivery = bench.reaches(id, Dead).await;
    let error = delivery.attempts[0].error.as_deref().unwrap();
    assert_eq!(error, "not tried any more: its receiver's host has been too slow or broken for too long");
    assert_eq!(delivery.attempts.len(), 1);
}

#[tokio::test]
async fn hosts_that_never_answer_leave_room_for_those_that_do_however_many_they_are() {
    let bench = Bench::start().await;
    let (silent, good) = (BadReceiver::start(Bad::Silent).await, Receiver::start().await);
    // None of them ends while this runs.
    let options = Options { concurrency: 16, timeout: 10 * LONG, ..options() };
    let courier = bench.courier(options);
    let id = bench.ended(&good.url()).await;
    bench.reaches(id, Delivered).await;
    for host in 2..=40 {
        bench.ended(&silent.url_at(host)).await;
    }
    testkit::eventually(LONG, "as many hang as may", async || courier.metrics.running.get() == 8).await;
    for _ in 0..20 {
        let id = bench.ended(&good.url()).await;
        bench.reaches(id, Delivered).await;
    }
    assert_eq!(courier.metrics.running.get(), 8);
}

#[tokio::test]
async fn long_bodies_that_nobody_takes_leave_memory_for_those_of_others() {
    let bench = Bench::start().await;
    let (silent, good) = (BadReceiver::start(Bad::Silent).await, Receiver::start().await);
    let long = || Json::of(&"x".repeat(1_000_000)).unwrap();
    // Each takes 2.9 MiB: four of them half of it, and one an eighth. None of those ends while this runs.
    let options = Options { bodies: 24 << 20, timeout: 10 * LONG, ..options() };
    let courier = bench.courier(options);
    let id = bench.ended(&good.url()).await;
    bench.reaches(id, Delivered).await;
    for host in 2..=20 {
        bench.completed(&silent.url_at(host), long()).await;
    }
    testkit::eventually(LONG, "the others are put off", async || became(&courier, Became::Postponed) >= 15)
        .await;
    assert_eq!(courier.metrics.running.get(), 4);
    for _ in 0..5 {
        let id = bench.completed(&good.url(), long()).await;
        bench.reaches(id, Delivered).await;
        // Short ones need none of it.
        bench.ended(&silent.url_at(99)).await;
    }
    testkit::eventually(LONG, "a short one hangs too", async || courier.metrics.running.get() == 5).await;
}

#[tokio::test]
async fn redis_may_be_away_for_a_while() {
    let bench = Bench::start().await;
    let proxy = Proxy::start(bench.server.addr()).await;
    let receiver = Receiver::scripted(|_, _| (Duration::from_millis(500), ().into_response())).await;
    let courier = Courier::start(&proxy.url(), Setup::default());
    let first = bench.ended(&receiver.url()).await;
    receiver.wait(1).await;
    // While it is being answered.
    proxy.refuse();
    let second = bench.ended(&receiver.url()).await;
    testkit::eventually(LONG, "it was answered", async || courier.metrics.running.get() == 0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    proxy.pass();
    for id in [first, second] {
        bench.reaches(id, Delivered).await;
    }
    assert_eq!(receiver.count(), 2, "what was answered is not sent again");
}
