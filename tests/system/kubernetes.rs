//! The configuration that `k8s/base` gives its pods, read by the real binary as the pods run it.

use serde_json::json;
use testkit::process::{Jobcast, JobcastBuilder};
use testkit::redis::RedisServer;
use testkit::sse::check_history;
use testkit::{free_port, wait_http_ok};
use whole::{Client, SOON, repository};

/// A role with the file of the `ConfigMap` and the variables of `k8s/overlays/dev`, but on an address of this test's own.
fn pod(role: &str, store: &str, port: u16) -> JobcastBuilder {
    let file = repository().join("k8s/base/jobcast.toml");
    Jobcast::builder()
        .arg(role)
        .arg("--config")
        .arg(file)
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .env("JOBCAST__STORE__URL", store)
        .env("JOBCAST__AUTH__TOKEN_KEYS", format!("[\"{}\"]", "0f".repeat(32)))
        .env("JOBCAST__WEBHOOKS__ENCRYPTION_KEYS", format!("[\"{}\"]", "f0".repeat(32)))
        .env(
            "JOBCAST__WEBHOOKS__OWNERS",
            "{Acme = {secrets = [\"hush\"], endpoints = [\"https://acme.example/\"]}}",
        )
        .env("JOBCAST__AUTH__ANONYMOUS", "true")
        .env("JOBCAST__STREAM__DRAIN", "500ms")
}

#[tokio::test]
async fn the_roles_run_a_job_with_the_configuration_of_the_base() {
    let redis = RedisServer::start().await;
    let (gateway_port, worker_port, courier_port) = (free_port(), free_port(), free_port());
    let gateway = pod("gateway", &redis.url(), gateway_port).start();
    let worker = pod("worker", &redis.url(), worker_port).start();
    let courier = pod("courier", &redis.url(), courier_port).start();
    for port in [gateway_port, worker_port, courier_port] {
        for probe in ["/healthz", "/readyz", "/metrics"] {
            wait_http_ok(&format!("http://127.0.0.1:{port}{probe}"), SOON).await;
        }
    }
    let client = Client::new(format!("http://127.0.0.1:{gateway_port}"));
    let id = client.submit("narrate", json!({ "tokens": 5, "perSecond": 50 })).await;
    let events = client.events(id).await;
    check_history(&events).unwrap();
    assert_eq!(events.last().unwrap().event, "completed");
    // A pod's end, when nothing is left to do.
    for pod in [gateway, worker, courier] {
        pod.terminate();
        assert!(pod.wait_exit(SOON).await.success(), "{}", pod.stderr());
    }
}
