//! Where a courier connects to, and where not, whatever names say.

use std::sync::Arc;
use std::time::Duration;

use courier::Options;
use model::wire::DeliveryStatus::{Dead, Delivered};

use crate::bench::receiver::Receiver;
use crate::bench::{Bench, Courier, Names, Setup, options};

fn with(names: &Names, allow: Vec<&'static str>) -> Setup {
    Setup { allow, lookup: Arc::new(names.clone()), ..Setup::default() }
}

/// The URL of `receiver` by a name.
fn named(receiver: &Receiver, name: &str) -> String {
    format!("http://{name}:{}/hook", receiver.addr.port())
}

#[tokio::test]
async fn an_address_that_is_not_allowed_is_never_connected_to() {
    let bench = Bench::start().await;
    let receiver = Receiver::start().await;
    let names = Names::default();
    let _courier = Courier::start(&bench.server.url(), with(&names, vec!["127.0.0.2"]));
    for (name, ip) in [
        ("loopback.example", "127.0.0.1"),
        ("mapped.example", "::ffff:127.0.0.1"),
        ("nat64.example", "64:ff9b::7f00:1"),
        ("six.example", "::1"),
        ("nowhere.example", "0.0.0.0"),
        ("cloud.example", "169.254.169.254"),
    ] {
        names.set(name, &[&[ip]]);
        let id = bench.ended(&named(&receiver, name)).await;
        let delivery = bench.reaches(id, Dead).await;
        let error = delivery.attempts[0].error.as_deref().unwrap();
        assert!(error.starts_with("refused: ") && delivery.attempts.len() == 1, "{name}: {error}");
    }
    let id = bench.ended(&receiver.url()).await;
    let error = bench.reaches(id, Dead).await.attempts[0].error.clone().unwrap();
    assert!(error.starts_with("refused: 127.0.0.1 is "), "{error}");
    assert_eq!(receiver.count(), 0);
}

#[tokio::test]
async fn a_name_that_changes_after_it_was_judged_gains_nothing() {
    let bench = Bench::start().await;
    // On an address that is allowed, and inside on one that isn't, at the same port.
    let inside = Receiver::start().await;
    let names = Names::default();
    let _courier = Courier::start(&bench.server.url(), with(&names, vec!["127.0.0.2", "127.0.0.3"]));
    // Nobody listens at the first, so there is an attempt for each answer.
    names.set("rebinds.example", &[&["127.0.0.2"], &["127.0.0.3"], &["127.0.0.1"]]);
    let id = bench.ended(&named(&inside, "rebinds.example")).await;
    let delivery = bench.reaches(id, Dead).await;
    let errors: Vec<_> = delivery.attempts.iter().map(|attempt| attempt.error.clone().unwrap()).collect();
    assert_eq!(errors.len(), 3, "{errors:?}");
    assert!(errors[..2].iter().all(|error| error.starts_with("no connection: ")), "{errors:?}");
    assert!(errors[2].starts_with("refused: 127.0.0.1 is "), "{errors:?}");
    // Of several addresses only those are tried that are allowed.
    names.set("both.example", &[&["127.0.0.1", "127.0.0.2"]]);
    let id = bench.ended(&named(&inside, "both.example")).await;
    let delivery = bench.tried(id, 1).await;
    assert!(delivery.attempts[0].error.as_ref().unwrap().starts_with("no connection: "), "{delivery:?}");
    assert_eq!(inside.count(), 0);
}

#[tokio::test]
async fn what_is_allowed_by_name_and_port_is_delivered_at_that_port_alone() {
    let bench = Bench::start().await;
    let (open, shut) = (Receiver::start().await, Receiver::start().await);
    let names = Names::default();
    names.set("hooks.example", &[&["127.0.0.1"]]);
    let allow: &'static str = format!("hooks.example:{}", open.addr.port()).leak();
    let _courier = Courier::start(&bench.server.url(), with(&names, vec![allow]));
    let good = bench.ended(&named(&open, "hooks.example")).await;
    let bad = bench.ended(&named(&shut, "hooks.example")).await;
    bench.reaches(good, Delivered).await;
    bench.reaches(bad, Dead).await;
    assert_eq!((open.count(), shut.count()), (1, 0));
    assert_eq!(open.got()[0].header("host"), format!("hooks.example:{}", open.addr.port()));
}

#[tokio::test]
async fn a_name_that_is_not_known_may_be_known_later() {
    let bench = Bench::start().await;
    let receiver = Receiver::start().await;
    let names = Names::default();
    let patient = Options { retry_delay: Duration::from_millis(300), ..options() };
    let setup = Setup { options: patient, ..with(&names, vec!["127.0.0.1"]) };
    let _courier = Courier::start(&bench.server.url(), setup);
    let id = bench.ended(&named(&receiver, "new.example")).await;
    let error = bench.tried(id, 1).await.attempts[0].error.clone().unwrap();
    assert_eq!(error, "the name can't be looked up: no such name");
    names.set("new.example", &[&["127.0.0.1"]]);
    bench.reaches(id, Delivered).await;
}
