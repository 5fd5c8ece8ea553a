//! nginx with Nchan, on a Redis as gateways are: one nginx has the streams, and is measured; another one takes what is published.

use std::path::Path;

use anyhow::Context;
use testkit::process::Jobcast;
use testkit::redis::RedisServer;
use testkit::{free_port, wait_http_ok, wait_port};
use whole::SOON;

use super::super::process::find;
use super::super::wire::Wire;
use super::{Beside, Figures, Running, file};
use crate::cores::as_server;

/// Where Debian puts it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

pub(super) const FIGURES: Figures = Figures {
    memory: "nchan_memory",
    memory_ratio: "memory_to_nchan",
    fanout: "nchan_cpu_per_event_fanout",
    fanout_ratio: "fanout_cpu_to_nchan",
    jobs: "nchan_cpu_per_event_jobs",
    jobs_ratio: "jobs_cpu_to_nchan",
    rate: "nchan_events_jobs",
    latency: "nchan_latency_p99",
    latency_beside: "latency_p99_beside_nchan",
    latency_ratio: "latency_p99_to_nchan",
};

pub(super) fn is_installed() -> bool {
    Path::new(MODULE).exists() && find("nginx").is_some()
}

pub(super) async fn start(logs: usize, pin: bool) -> anyhow::Result<Running> {
    let folder = tempfile::tempdir()?;
    let redis = RedisServer::builder().append_only(false).start().await;
    let (address, server) = nginx(&folder, "streams", &redis, pin)?;
    let (publish_at, publisher) = nginx(&folder, "publisher", &redis, false)?;
    for address in [&address, &publish_at] {
        wait_port(address, SOON).await;
    }
    let running = Running {
        address,
        publish_at,
        wire: Wire::Nchan,
        path: "/sub/",
        logs,
        server,
        _beside: Beside {
            _processes: vec![publisher],
            _redis: Some(redis),
            _folder: Some(folder),
            ..Beside::default()
        },
    };
    // What streams begin with. Of each connection the last one comes last.
    let mut replay = running.replay().await?;
    replay.round(1e9, 1).await?;
    for log in logs.saturating_sub(running.wire.connections())..logs {
        wait_http_ok(&format!("http://{}/pub/{log}", running.publish_at), SOON).await;
    }
    Ok(running)
}

fn nginx(
    folder: &tempfile::TempDir,
    name: &str,
    redis: &RedisServer,
    pin: bool,
) -> anyhow::Result<(String, Jobcast)> {
    let (address, root) = (format!("127.0.0.1:{}", free_port()), folder.path().display());
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("    {what}_temp_path {root}/{name}-{what};\n"))
        .concat();
    let config = format!(
        "load_module {MODULE};
daemon off;
worker_processes 1;
pid {root}/{name}.pid;
error_log stderr error;
events {{ worker_connections 19500; }}
http {{
    access_log off;
{temporary}    keepalive_requests 1000000000;
    nchan_shared_memory_size 1g;
    nchan_message_timeout 1h;
    nchan_message_buffer_length 10;
    upstream redis {{ nchan_redis_server {}; }}
    server {{
        listen {address} backlog=4096;
        location ~ ^/sub/(.+)$ {{
            nchan_subscriber eventsource;
            nchan_subscriber_first_message oldest;
            nchan_channel_id $1;
            nchan_redis_pass redis;
        }}
        location ~ ^/pub/(.+)$ {{
            nchan_publisher;
            nchan_channel_id $1;
            nchan_redis_pass redis;
        }}
    }}
}}
",
        redis.url()
    );
    let config = file(folder, &format!("{name}.conf"), &config)?;
    let (program, args) = as_server(find("nginx").context("nginx")?, pin);
    let process = Jobcast::builder().program(program).args(args).args(["-e", "stderr", "-c"]).arg(config);
    Ok((address, process.start()))
}
