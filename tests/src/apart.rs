//! A gateway that alone reaches the system's Redis through something that can break: what others write goes on meanwhile.

use testkit::process::Jobcast;
use testkit::proxy::Proxy;
use testkit::{free_port, wait_http_ok};

use crate::{Client, SOON, System};

/// The gateway. Dropping it kills it.
#[derive(Debug)]
pub struct Apart {
    /// The process.
    pub gateway: Jobcast,
    /// Its client.
    pub client: Client,
}

impl Apart {
    /// Starts one that finds Redis at `url`, with `stream` as its section `[stream]`; ready when this returns.
    pub async fn start(url: &str, stream: &str) -> Self {
        Self::with(url, "", stream).await
    }

    /// The same with more lines of the section `[store]`.
    pub async fn with(url: &str, store: &str, stream: &str) -> Self {
        let config = format!(
            "[store]\nurl = {url:?}\n{store}\n[auth]\nanonymous = true\n[stream]\n{stream}\n[tasks.remote]\n[tasks.long]\n"
        );
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let gateway = Jobcast::builder().args(["gateway", "--listen", &listen]).config(config).start();
        let client = Client::new(format!("http://{listen}"));
        wait_http_ok(&client.url("/readyz"), SOON).await;
        Self { gateway, client }
    }

    /// The same behind a proxy before the Redis of `system`.
    pub async fn proxied(system: &System, stream: &str) -> (Self, Proxy) {
        let proxy = Proxy::start(system.redis.addr()).await;
        (Self::start(&proxy.url(), stream).await, proxy)
    }
}
