//! Deliveries of webhooks and dead letters, against a real Redis.

use std::time::Duration;

use model::webhook::DeliveryId;
use model::wire::{AttemptView, DeadLetterFilter, DeliveryStatus};
use model::{JobId, RunLimits, Status, Timestamp};
use store::{
    DeadLetterLimits, DeadLettersQuery, Due, DueDeliveries, DueOptions, MAX_SETTLEMENTS, NewJob, Outcome,
    ReplayError, Settled, Settlement, Webhook, WebhookSecret,
};

use crate::bench::{Bench, SWEEP, failed, new_job, owner, token};

const LEASE: Duration = Duration::from_mins(1);
const DUE: DueOptions = DueOptions { most: 100, lease: LEASE, longest_body: 1 << 20 };
const KEPT: Duration = Duration::from_mins(10);
const MANY: DeadLetterLimits = DeadLetterLimits { most: 1000, retention: KEPT };

fn told(urls: &[&str]) -> NewJob {
    let webhook = |url: &&str| Webhook { url: (*url).to_owned(), secret: WebhookSecret::Owner };
    // All in one partition.
    let limits = RunLimits { fleet: Some(1), per_owner: None };
    NewJob { webhooks: urls.iter().map(webhook).collect(), limits, ..new_job() }
}

/// A job that has failed, and is to be told of.
async fn ended(bench: &Bench, urls: &[&str]) -> JobId {
    let id = bench.submit(&told(urls)).await;
    let claimed = bench.claim(id).await;
    bench.at().end(&claimed.lease, &failed("no"), None, &[]).await.unwrap();
    id
}

async fn due(bench: &Bench, id: JobId) -> DueDeliveries {
    bench.at().due(id.partition(), token(), &DUE).await.unwrap()
}

async fn one(bench: &Bench, id: JobId) -> Due {
    let mut all = due(bench, id).await.deliveries;
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

async fn settle(bench: &Bench, due: &Due, outcome: Outcome) {
    assert_eq!(write(bench, &[settlement(bench, due, outcome)]).await, [Settled::Yes]);
}

fn settlement(bench: &Bench, due: &Due, outcome: Outcome) -> Settlement {
    Settlement { id: due.id, token: due.token, outcome, attempt: Some(attempt(bench, 500)) }
}

/// Writes them together.
async fn write(bench: &Bench, settlements: &[Settlement]) -> Vec<Settled> {
    let partition = settlements[0].id.job.partition();
    bench.at().settle(partition, settlements, MANY).await.unwrap()
}

fn attempt(bench: &Bench, status: u16) -> AttemptView {
    AttemptView {
        at: Timestamp::from_millis(bench.now),
        duration_ms: 7,
        status: Some(status),
        error: Some("it said\nno".into()),
        body: Some("\u{fffd}\"".into()),
    }
}

async fn keys(bench: &Bench, what: &str) -> usize {
    let keys = testkit::redis::dump(&mut bench.server.client().await).await;
    keys.iter().filter(|info| info.key.contains(what)).count()
}

on_both!(every_way_to_an_end_leaves_a_delivery, bench, {
    let target = told(&["https://a.example/hook"]);
    let finished = ended(&bench, &["https://a.example/hook"]).await;
    let cancelled = bench.submit(&target).await;
    bench.at().cancel(cancelled, &owner(), "enough").await.unwrap();
    let lost = bench.submit(&NewJob { max_attempts: 1, ..target.clone() }).await;
    bench.claim(lost).await;
    let late = bench.submit(&NewJob { queue_timeout: Duration::from_secs(1), ..target }).await;
    bench.sweep_for(late, 70).await;
    for id in [finished, cancelled, late, lost] {
        let deliveries = bench.store.deliveries(id).await.unwrap();
        assert_eq!(deliveries.len(), 1, "{id}");
        let job = bench.store.job(id).await.unwrap().unwrap();
        let delivery = &deliveries[0];
        assert_eq!(delivery.webhook_id, format!("{id}.{}", job.last_event));
        assert_eq!((delivery.status, &*delivery.url), (DeliveryStatus::Pending, "https://a.example/hook"));
        assert_eq!(Some(delivery.created_at), job.finished_at);
        let told = bench.store.delivery_body(delivery.id).await.unwrap().unwrap();
        assert_eq!(told, model::Job { cancel_on_disconnect: None, ..job }, "as polled");
    }
    // One who is told of nothing leaves nothing.
    let silent = bench.submit(&new_job()).await;
    bench.at().cancel(silent, &owner(), "enough").await.unwrap();
    assert_eq!(keys(&bench, &format!("y:{silent}")).await, 0);
    assert_eq!(bench.status(lost).await, Status::Failed);
});

on_both!(a_claim_is_a_couriers_own_until_its_lease_ends, bench, {
    let id = ended(&bench, &["https://a.example/1", "https://a.example/2"]).await;
    let mine = token();
    let claim = async || bench.at().due(id.partition(), mine, &DUE).await.unwrap();
    let first = claim().await;
    let names: Vec<_> = first.deliveries.iter().map(|due| due.id).collect();
    assert_eq!(names, [1, 2].map(|number| DeliveryId { job: id, number }));
    assert_eq!(first.deliveries[0].job, bench.store.delivery_body(names[0]).await.unwrap());
    assert_eq!(claim().await, first, "a repeat");
    assert_eq!(first.next, Some(LEASE));
    assert_eq!(due(&bench, id).await.deliveries, [], "nobody else");
    bench.pass(59);
    assert_eq!(due(&bench, id).await.deliveries, []);
    bench.pass(1);
    let second = due(&bench, id).await.deliveries;
    assert_eq!(second.len(), 2);
    for (old, new) in first.deliveries.iter().zip(&second) {
        let settled = write(&bench, &[settlement(&bench, old, Outcome::Delivered)]).await;
        assert_eq!(settled, [Settled::Lost], "too late");
        for _ in 0..2 {
            settle(&bench, new, Outcome::Delivered).await;
        }
    }
    let short = DueOptions { longest_body: 10, most: 1, ..DUE };
    let id = ended(&bench, &["https://a.example/1", "https://a.example/2"]).await;
    let due = bench.at().due(id.partition(), token(), &short).await.unwrap();
    assert_eq!((due.deliveries.len(), due.deliveries[0].job.is_none()), (1, true));
    assert_eq!(due.next, Some(Duration::ZERO), "another courier may take the other one");
});

on_both!(a_failed_one_comes_again_and_a_postponed_one_counts_no_try, bench, {
    let id = ended(&bench, &["https://a.example/"]).await;
    let first = one(&bench, id).await;
    assert_eq!((first.tries, first.since), (0, Timestamp::from_millis(bench.now)));
    settle(&bench, &first, Outcome::Retry(Duration::from_secs(5))).await;
    assert_eq!(
        due(&bench, id).await,
        DueDeliveries { deliveries: vec![], next: Some(Duration::from_secs(5)) }
    );
    bench.pass(5);
    let second = one(&bench, id).await;
    assert_eq!((second.tries, second.since), (1, first.since));
    settle(&bench, &second, Outcome::Postponed(Duration::from_secs(1))).await;
    bench.pass(1);
    let third = one(&bench, id).await;
    assert_eq!(third.tries, 1);
    settle(&bench, &third, Outcome::Delivered).await;
    let delivery = bench.store.deliveries(id).await.unwrap().remove(0);
    assert_eq!(delivery.attempts.len(), 3);
    assert_eq!(delivery.attempts[0], AttemptView { at: first.since, ..attempt(&bench, 500) });
    assert_eq!(delivery.status, DeliveryStatus::Delivered);
    assert_eq!(delivery.settled_at, Some(Timestamp::from_millis(bench.now)));
    assert_eq!(keys(&bench, "body:").await, 0, "what was delivered needs no body");
    bench.nothing_grows().await;
});

on_both!(many_are_settled_in_one_step_and_each_by_its_own_claim, bench, {
    use Settled::{Lost, Yes};
    let urls = ["https://a.example/1", "https://a.example/2", "https://a.example/3", "https://a.example/4"];
    let id = ended(&bench, &urls).await;
    let late = due(&bench, id).await.deliveries.remove(2);
    bench.pass(60);
    let all = due(&bench, id).await.deliveries;
    let other = ended(&bench, &["https://a.example/"]).await;
    let lone = one(&bench, other).await;
    let gone = Due { id: DeliveryId { number: 7, ..lone.id }, ..lone.clone() };
    let after = Duration::from_secs(5);
    let together = [
        settlement(&bench, &all[0], Outcome::Delivered),
        settlement(&bench, &late, Outcome::Delivered),
        settlement(&bench, &all[1], Outcome::Retry(after)),
        settlement(&bench, &gone, Outcome::Delivered),
        settlement(&bench, &all[2], Outcome::Dead),
        settlement(&bench, &lone, Outcome::Delivered),
        Settlement { attempt: None, ..settlement(&bench, &all[3], Outcome::Postponed(after / 5)) },
    ];
    let expected = [Yes, Lost, Yes, Lost, Yes, Yes, Yes];
    assert_eq!(write(&bench, &together).await, expected);
    let told = bench.store.deliveries(id).await.unwrap();
    // The reply was lost: all are sent again, or some.
    for (settlement, expected) in together.iter().zip(expected) {
        assert_eq!(write(&bench, std::slice::from_ref(settlement)).await, [expected]);
    }
    assert_eq!(write(&bench, &together).await, expected);
    assert_eq!(bench.store.deliveries(id).await.unwrap(), told, "a repeat changes nothing");

    let stands: Vec<_> = told.iter().map(|one| (one.status, one.attempts.len(), one.due_at)).collect();
    let at = |after: Duration| Some(Timestamp::from_millis(bench.now).plus(after));
    let expected = [
        (DeliveryStatus::Delivered, 1, None),
        (DeliveryStatus::Pending, 1, at(after)),
        (DeliveryStatus::Dead, 1, None),
        (DeliveryStatus::Pending, 0, at(after / 5)),
    ];
    assert_eq!(stands, expected);
    assert_eq!(keys(&bench, &format!("body:{other}")).await, 0);
    assert_eq!(keys(&bench, &format!("body:{id}")).await, 1);
    let depth = bench.store.due_depth(id.partition()).await.unwrap();
    assert_eq!(depth, (2, at(after / 5)), "those that are over are due no more");
    bench.pass(5);
    let left = due(&bench, id).await.deliveries;
    let stand: Vec<_> = left.iter().map(|due| (due.id, due.tries)).collect();
    assert_eq!(stand, [(all[3].id, 0), (all[1].id, 1)]);
    // The last ones of a job, together: its dead letter keeps the body.
    let together: Vec<_> = left.iter().map(|due| settlement(&bench, due, Outcome::Delivered)).collect();
    assert_eq!(write(&bench, &together).await, [Yes, Yes]);
    bench.at().replay(all[2].id, &owner()).await.unwrap();
    settle(&bench, &one(&bench, id).await, Outcome::Delivered).await;
    assert_eq!(keys(&bench, "body:").await, 0);
    assert_eq!(bench.store.due_depth(id.partition()).await.unwrap(), (0, None));
});

on_both!(more_than_a_step_takes_are_settled_in_several, bench, {
    let mut first = None;
    for _ in 0..=MAX_SETTLEMENTS {
        first.get_or_insert(ended(&bench, &["https://a.example/"]).await);
    }
    let partition = first.unwrap().partition();
    let mut together = Vec::new();
    for claimed in [MAX_SETTLEMENTS, 1] {
        let due = bench.at().due(partition, token(), &DUE).await.unwrap().deliveries;
        assert_eq!(due.len(), claimed);
        together.extend(due.iter().map(|due| settlement(&bench, due, Outcome::Delivered)));
    }
    assert_eq!(write(&bench, &together).await, [Settled::Yes; MAX_SETTLEMENTS + 1]);
    assert_eq!(bench.store.due_depth(partition).await.unwrap(), (0, None));
    assert_eq!(bench.at().settle(partition, &[], MANY).await.unwrap(), []);
});

on_both!(a_body_stays_until_the_last_target_has_it, bench, {
    let id = ended(&bench, &["https://a.example/1", "https://a.example/2", "https://a.example/3"]).await;
    let all = due(&bench, id).await.deliveries;
    settle(&bench, &all[0], Outcome::Delivered).await;
    settle(&bench, &all[1], Outcome::Dead).await;
    settle(&bench, &all[2], Outcome::Delivered).await;
    assert!(bench.store.delivery_body(all[1].id).await.unwrap().is_some(), "a dead letter may be replayed");
    bench.store.delete(id, &owner()).await.unwrap();
    bench.at().replay(all[1].id, &owner()).await.unwrap();
    let again = one(&bench, id).await;
    assert_eq!((again.webhook_id.clone(), again.tries), (all[1].webhook_id.clone(), 0));
    assert!(again.job.is_some(), "it outlives its job");
    settle(&bench, &again, Outcome::Delivered).await;
    assert_eq!(keys(&bench, "body:").await, 0);
    bench.nothing_grows().await;
});

on_both!(a_dead_letters_body_is_kept_as_long_as_it_though_another_target_is_tried_again, bench, {
    let id = ended(&bench, &["https://a.example/1", "https://a.example/2"]).await;
    let all = due(&bench, id).await.deliveries;
    let month = DeadLetterLimits { retention: Duration::from_hours(30 * 24), ..MANY };
    let both =
        [settlement(&bench, &all[0], Outcome::Dead), settlement(&bench, &all[1], Outcome::Retry(LEASE))];
    for one in both {
        assert_eq!(bench.at().settle(id.partition(), &[one], month).await.unwrap(), [Settled::Yes]);
    }
    let keys = testkit::redis::dump(&mut bench.server.client().await).await;
    let ttl = |name: &str| keys.iter().find(|info| info.key.contains(name)).unwrap().ttl.unwrap();
    assert!(ttl("body:") > Duration::from_hours(29 * 24), "{:?}", ttl("body:"));
});

on_both!(dead_letters_are_listed_replayed_capped_and_expire, bench, {
    let mut ids = Vec::new();
    let (mut first, mut seen) = (None, Vec::new());
    for _ in 0..5 {
        let id = ended(&bench, &["https://a.example/"]).await;
        first.get_or_insert(id);
        let due = one(&bench, id).await;
        settle(&bench, &due, Outcome::Dead).await;
        ids.push(due.id);
        // Two of them in the same millisecond.
        bench.pass(u64::from(ids.len() != 2));
    }
    let first = first.unwrap();
    let page = async |after, limit| {
        let query = DeadLettersQuery { owner: owner(), filter: DeadLetterFilter::default(), after, limit };
        bench.store.dead_letters(&query).await.unwrap()
    };
    let mut after = None;
    loop {
        let found = page(after, 2).await;
        seen.extend(found.letters.iter().map(|letter| letter.id));
        after = found.next.map(|place| place.to_string().parse().unwrap());
        if after.is_none() {
            break;
        }
    }
    let mut newest_first = ids.clone();
    newest_first.reverse();
    seen.sort();
    newest_first.sort();
    assert_eq!(seen, newest_first);
    assert_eq!(page(None, 10).await.letters[0].id, ids[4], "the newest first");

    let stranger = "stranger".parse().unwrap();
    assert!(matches!(bench.at().replay(ids[0], &stranger).await, Err(ReplayError::Absent)));
    for _ in 0..2 {
        bench.at().replay(ids[0], &owner()).await.unwrap();
    }
    assert_eq!(page(None, 10).await.letters.len(), 4);
    let due = one(&bench, first).await;
    settle(&bench, &due, Outcome::Delivered).await;
    assert!(matches!(bench.at().replay(ids[0], &owner()).await, Err(ReplayError::Delivered)));

    let id = ended(&bench, &["https://a.example/"]).await;
    let due = one(&bench, id).await;
    let partitions = u32::try_from(bench.store.partitions().await.unwrap().count()).unwrap();
    // Three in each partition.
    let few = DeadLetterLimits { most: 3 * partitions, ..MANY };
    let dead = settlement(&bench, &due, Outcome::Dead);
    assert_eq!(bench.at().settle(id.partition(), &[dead], few).await.unwrap(), [Settled::Yes]);
    let left: Vec<_> = page(None, 10).await.letters.iter().map(|letter| letter.id).collect();
    assert_eq!(left, [due.id, ids[4], ids[3]], "the oldest go first");
    assert!(bench.store.delivery(ids[1]).await.unwrap().is_none());
    assert_eq!(keys(&bench, "body:").await, 3);
    bench.nothing_grows().await;
});

on_both!(dead_letters_are_chosen_by_url_and_time, bench, {
    let begin = bench.now;
    let mut ids = Vec::new();
    for number in 0..6 {
        let url = format!("https://{}.example/{number}", if number % 2 == 0 { "even" } else { "odd" });
        let id = ended(&bench, &[&url]).await;
        let due = one(&bench, id).await;
        settle(&bench, &due, Outcome::Dead).await;
        ids.push(due.id);
        bench.pass(10);
    }
    let time = |seconds: u64| Some(Timestamp::from_millis(begin + 1000 * seconds));
    let url = |url: &str| Some(url.to_owned());
    let all = DeadLetterFilter::default;
    for (filter, expected) in [
        (all(), vec![5, 4, 3, 2, 1, 0]),
        (DeadLetterFilter { url: url("https://even."), ..all() }, vec![4, 2, 0]),
        (DeadLetterFilter { url: url("https://odd.example/3"), ..all() }, vec![3]),
        (DeadLetterFilter { url: url("https://none."), ..all() }, vec![]),
        (DeadLetterFilter { since: time(20), ..all() }, vec![5, 4, 3, 2]),
        (DeadLetterFilter { until: time(20), ..all() }, vec![1, 0]),
        (DeadLetterFilter { url: url("https://even."), since: time(20), until: time(40) }, vec![2]),
        (DeadLetterFilter { since: time(30), until: time(20), ..all() }, vec![]),
    ] {
        for limit in [1, 2, 6] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let query = DeadLettersQuery { owner: owner(), filter: filter.clone(), after, limit };
                let page = bench.store.dead_letters(&query).await.unwrap();
                assert!(page.letters.len() <= limit);
                found.extend(page.letters.into_iter().map(|letter| letter.id));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            let expected: Vec<_> = expected.iter().map(|&number: &usize| ids[number]).collect();
            assert_eq!(found, expected, "{filter:?} by {limit}");
        }
    }
});

on_both!(a_bell_wakes_a_courier, bench, {
    let id = bench.submit(&told(&["https://a.example/"])).await;
    let partition = id.partition();
    let waits = bench.store.wait_for_due(partition, Duration::from_secs(30));
    let cancels = async { bench.at().cancel(id, &owner(), "enough").await.unwrap() };
    let (rang, ()) = tokio::join!(waits, cancels);
    assert!(rang.unwrap());
    let depth = bench.store.due_depth(partition).await.unwrap();
    assert_eq!(depth, (1, Some(Timestamp::from_millis(bench.now))));
    // The bell was heard, and nobody came: the sweep rings again.
    bench.at().sweep(partition, "test", &SWEEP).await.unwrap();
    assert!(bench.store.wait_for_due(partition, Duration::from_secs(30)).await.unwrap());
    settle(&bench, &one(&bench, id).await, Outcome::Delivered).await;
    assert_eq!(bench.store.due_depth(partition).await.unwrap(), (0, None));
});

on_both!(what_no_courier_ever_took_goes, bench, {
    let id = ended(&bench, &["https://a.example/"]).await;
    let delivery = testkit::redis::dump(&mut bench.server.client().await).await;
    assert!(delivery.iter().any(|info| info.key.contains("delivery:")));
    bench.pass(15 * 24 * 3600);
    bench.sweep(id).await;
    assert_eq!(bench.store.due_depth(id.partition()).await.unwrap(), (0, None));
});
