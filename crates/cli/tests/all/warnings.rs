//! What is said of a Redis that may lose jobs.

use std::time::Duration;

use testkit::eventually_ok;
use testkit::process::Jobcast;
use testkit::redis::RedisServer;

#[tokio::test]
async fn a_redis_that_evicts_and_keeps_nothing_is_a_loud_warning_at_start() {
    let redis = RedisServer::builder().append_only(false).setting("maxmemory-policy", "allkeys-lru");
    let redis = redis.start().await;
    let config = format!("[store]\nurl = \"{}\"\n", redis.url());
    let gateway = Jobcast::builder().args(["gateway", "--listen", "127.0.0.1:0"]).config(config).start();
    eventually_ok(Duration::from_mins(1), "both are said", async || {
        let said = gateway.stderr();
        let loud = |what: &str| {
            let what = format!("Redis at {} {what}", redis.addr());
            said.lines().filter(|line| line.contains("WARN") && line.contains(&what)).count() == 1
        };
        if loud("has the eviction policy `allkeys-lru`") && loud("has no persistence") {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
}
