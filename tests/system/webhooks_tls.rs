//! Webhooks over TLS: to whom the courier's machine, or `webhooks.ca_file`, trusts, and to nobody else.

use std::fs;
use std::path::Path;

use model::webhook::{Secret, sign};
use serde_json::{Value, json};
use testkit::process::Jobcast;
use whole::{Authority, Hook, SOON, System};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A system that delivers to this machine, whose courier trusts the authorities of `ca_file`. What fails is soon tried again.
async fn trusting(ca_file: &Path) -> System {
    let webhooks = format!(
        "[webhooks]\nallow = [\"127.0.0.0/8\", \"localhost\"]\nencryption_keys = [\"{KEY}\"]\nca_file = {:?}\nattempts = 20\n\
         retry_delay = \"10ms\"\nmax_retry_delay = \"500ms\"",
        ca_file.display().to_string()
    );
    System::builder().workers(0).couriers(1).settings(&webhooks).start().await
}

/// A job that has ended, and is told to `url`.
async fn told(system: &System, url: &str) -> String {
    let job = json!({ "task": "remote", "webhook": { "url": url, "secret": SECRET } });
    let id = system.client(0).submit_with(&job).await;
    let answer = system.client(0).tell(&format!("/api/jobs/{id}/cancel"), &json!({})).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    id.to_string()
}

/// The delivery of the job, as soon as it is so.
async fn delivery(system: &System, id: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    testkit::eventually_ok(SOON, what, async || {
        let answer = system.client(0).ask(&format!("/api/jobs/{id}/deliveries")).await;
        let delivery = answer.body["deliveries"][0].clone();
        if is_so(&delivery) { Ok(delivery) } else { Err(delivery.to_string()) }
    })
    .await
}

fn attempts(delivery: &Value) -> &[Value] {
    delivery["attempts"].as_array().map_or(&[], Vec::as_slice)
}

#[tokio::test]
async fn it_arrives_signed_at_a_receiver_whose_authority_is_trusted() {
    let authority = Authority::new("The authority of this house");
    let system = trusting(authority.file()).await;
    let receiver = Hook::over_tls(authority.certify(&["localhost", "127.0.0.1"])).await;
    for host in ["localhost", "127.0.0.1"] {
        let id = told(&system, &format!("https://{host}:{}/hook", receiver.port())).await;
        let delivered = delivery(&system, &id, "it is delivered", |one| one["status"] == "delivered").await;
        assert_eq!(attempts(&delivered).len(), 1, "{delivered}");
    }
    for got in receiver.wait(2).await {
        let timestamp = got.header("webhook-timestamp").parse().unwrap();
        let signed = sign(got.id(), timestamp, &got.body, &[SECRET.parse::<Secret>().unwrap()]);
        assert_eq!(got.header("webhook-signature"), signed.signature.unwrap());
        assert_eq!(got.header("x-webhook-signature"), signed.plain);
    }
    assert_eq!((receiver.got().len(), receiver.plain()), (2, 0));
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_a_failed_attempt_and_tried_again_but_never_in_plain_text() {
    let authority = Authority::new("The authority of this house");
    let stranger = Authority::new("A stranger");
    let system = trusting(authority.file()).await;
    let names = ["localhost", "127.0.0.1"];
    for (shown, says) in [
        (
            stranger.certify(&names),
            "no connection: the receiver's certificate is signed by nobody whom the courier trusts",
        ),
        (
            authority.certify(&["hooks.example"]),
            "no connection: the receiver's certificate: certificate not valid for name",
        ),
        (
            authority.certify_for_the_past(&names),
            "no connection: the receiver's certificate: certificate expired",
        ),
    ] {
        let receiver = Hook::over_tls(shown).await;
        let id = told(&system, &format!("https://localhost:{}/hook", receiver.port())).await;
        let failing = delivery(&system, &id, "it was tried twice", |one| attempts(one).len() >= 2).await;
        assert_eq!(failing["status"], "pending", "{failing}");
        for attempt in attempts(&failing) {
            let error = attempt["error"].as_str().unwrap();
            assert!(error.starts_with(says) && attempt["status"].is_null(), "{error}");
        }
        // Nothing was sent, not even in plain text.
        assert_eq!((receiver.got().len(), receiver.plain()), (0, 0), "{says}");
        // The same receiver, put right.
        receiver.show(authority.certify(&names));
        delivery(&system, &id, "it is delivered", |one| one["status"] == "delivered").await;
        assert_eq!((receiver.got().len(), receiver.plain()), (1, 0));
    }
    // Strangers' mistakes are told to those whom they concern.
    let said = system.couriers[0].stderr();
    assert!(!said.contains("ERROR") && !said.contains("certificate"), "{said}");
}

#[tokio::test]
async fn a_file_of_authorities_that_is_none_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (empty, broken) = (folder.path().join("empty.pem"), folder.path().join("broken.pem"));
    fs::write(&empty, "no certificate\n").unwrap();
    fs::write(&broken, "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n").unwrap();
    let missing = folder.path().join("missing.pem");
    for (file, says) in [
        (&missing, "can't be read: No such file"),
        (&empty, "there is no certificate in it"),
        (&broken, "certificate 1 is broken: "),
    ] {
        let config = format!("[webhooks]\nca_file = {:?}\n", file.display().to_string());
        let courier = Jobcast::builder().arg("courier").config(config).start();
        let status = courier.wait_exit(SOON).await;
        let said = courier.stderr();
        let expected = format!("`webhooks.ca_file`: {}: {says}", file.display());
        assert!(!status.success() && said.contains(&expected), "{status}: {said}");
    }
}
