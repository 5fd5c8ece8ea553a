//! Pushpin: proxy, handler and its parts are all measured; what it asks for streams is answered by a few lines here.

use std::time::Duration;

use testkit::process::Jobcast;
use testkit::{free_port, wait_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use whole::SOON;

use super::super::process::find;
use super::super::wire::Wire;
use super::{Beside, Figures, Running, file};
use crate::cores::as_server;

pub(super) const FIGURES: Figures = Figures {
    memory: "pushpin_memory",
    memory_ratio: "memory_to_pushpin",
    fanout: "pushpin_cpu_per_event_fanout",
    fanout_ratio: "fanout_cpu_to_pushpin",
    jobs: "pushpin_cpu_per_event_jobs",
    jobs_ratio: "jobs_cpu_to_pushpin",
    rate: "pushpin_events_jobs",
    latency: "pushpin_latency_p99",
    latency_beside: "latency_p99_beside_pushpin",
    latency_ratio: "latency_p99_to_pushpin",
};

pub(super) fn is_installed() -> bool {
    find("pushpin").is_some()
}

pub(super) async fn start(logs: usize, pin: bool) -> anyhow::Result<Running> {
    let folder = tempfile::tempdir()?;
    let backend = TcpListener::bind("127.0.0.1:0").await?;
    file(&folder, "routes", &format!("* {}\n", backend.local_addr()?))?;
    let (port, publish) = (free_port(), free_port());
    let config = file(&folder, "pushpin.conf", &config(&folder.path().display().to_string(), port, publish))?;
    let (program, args) = as_server("pushpin", pin);
    let server = Jobcast::builder().program(program).args(args).arg("--config").arg(config).start();
    let mut tasks = JoinSet::new();
    tasks.spawn(answer(backend));
    let (address, publish_at) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{publish}"));
    for address in [&address, &publish_at] {
        wait_port(address, SOON).await;
    }
    // Its parts lose what they tell each other before all have met.
    let (client, url) =
        (testkit::http().timeout(Duration::from_secs(2)).build()?, format!("http://{address}/0"));
    testkit::eventually(SOON, "Pushpin answers", async || client.get(&url).send().await.is_ok()).await;
    let beside = Beside { _tasks: tasks, _folder: Some(folder), ..Beside::default() };
    Ok(Running { address, publish_at, wire: Wire::Pushpin, path: "/", logs, server, _beside: beside })
}

/// Limits are out of the way; the rest is as it comes.
fn config(root: &str, port: u16, publish: u16) -> String {
    let [http, sub, command] = [free_port(), free_port(), free_port()];
    format!(
        "[global]
include={{libdir}}/internal.conf
rundir={root}
ipc_prefix=pushpin-
[runner]
services=condure,zurl,pushpin-proxy,pushpin-handler
http_port=127.0.0.1:{port}
logdir={root}
log_level=1
client_maxconn=19000
[proxy]
routesfile=routes
updates_check=off
zurl_out_specs=ipc://{root}/pushpin-zurl-in
zurl_out_stream_specs=ipc://{root}/pushpin-zurl-in-stream
zurl_in_specs=ipc://{root}/pushpin-zurl-out
[handler]
push_in_spec=tcp://127.0.0.1:{publish}
push_in_sub_specs=tcp://127.0.0.1:{sub}
push_in_http_addr=127.0.0.1
push_in_http_port={http}
command_spec=tcp://127.0.0.1:{command}
message_rate=1000000
message_hwm=1000000
"
    )
}

/// Answers each request for `/<n>` with a stream of channel n, and its first event.
async fn answer(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        connections.spawn(async move { _ = serve(socket).await });
    }
}

async fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while socket.read_buf(&mut head).await? > 0 {
        while let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head[..end]).into_owned();
            head.drain(..end + 4);
            let channel = text.split(['/', ' ']).nth(2).unwrap_or_default();
            let body = "event: queued\ndata: {}\nid: 0-4f2a9c\n\n";
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGrip-Hold: stream\r\n\
                 Grip-Channel: {channel}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            socket.write_all(answer.as_bytes()).await?;
        }
    }
    Ok(())
}
