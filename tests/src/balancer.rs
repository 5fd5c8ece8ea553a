//! A load balancer before the gateways, run with the configuration that `examples/loadbalancer` ships.

use std::env;
use std::path::{Path, PathBuf};

use testkit::process::Jobcast;
use testkit::{free_port, wait_port};

use crate::{Client, SOON, repository};

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balances {
    /// `haproxy.cfg`.
    Haproxy,
    /// The same, with HTTP/2 to the gateways.
    HaproxyHttp2,
    /// `nginx.conf`.
    Nginx,
    /// The same, with HTTP/1.0 to the gateways.
    NginxHttp10,
}

impl Balances {
    /// HAProxy, with HTTP/2 to the gateways where this run of the tests is over that.
    pub fn haproxy() -> Self {
        if testkit::speaks_http2() { Self::HaproxyHttp2 } else { Self::Haproxy }
    }

    /// What its configuration says of each gateway more than its address.
    pub fn to_gateways(self) -> &'static str {
        if self == Self::HaproxyHttp2 { " proto h2" } else { "" }
    }

    fn is_nginx(self) -> bool {
        matches!(self, Self::Nginx | Self::NginxHttp10)
    }
}

/// A running load balancer. Dropping it kills it.
#[derive(Debug)]
pub struct Balancer {
    process: Jobcast,
    client: Client,
    /// What its log calls each gateway.
    names: [String; 2],
}

const HAPROXY: &str = r#"
sed "$EDIT" "$EXAMPLES/haproxy.cfg" > haproxy.cfg && exec "$HAPROXY" -db -f haproxy.cfg
"#;

/// As nginx wants it: all of its files in one folder, and its own where it may write. Its own user couldn't: the folder is ours.
const NGINX: &str = r#"
sed "$EDIT" "$EXAMPLES/nginx.conf" > nginx.conf &&
printf 'server %s max_fails=1 fail_timeout=1s;\n' $GATEWAYS > gateways.conf &&
echo "listen $LISTEN; client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;" > listen.conf &&
exec "$NGINX" -p "$PWD" -c "$PWD/nginx.conf" -g 'daemon off; user root;'
"#;

impl Balancer {
    /// Starts one before two gateways, addresses as `127.0.0.1:8080`; it accepts connections when this returns.
    pub async fn start(which: Balances, gateways: [&str; 2]) -> Self {
        Self::with(which, gateways, "", "").await
    }

    /// The same, its configuration edited by these commands of `sed`, and with `more` where it says on what it listens.
    pub async fn with(which: Balances, gateways: [&str; 2], edit: &str, more: &str) -> Self {
        let to_gateways = if which == Balances::NginxHttp10 {
            "s/proxy_http_version 1.1/proxy_http_version 1.0/;/proxy_set_header Connection/d".to_owned()
        } else {
            format!("s/^ *server gateway.*/&{}/", which.to_gateways())
        };
        let edit = format!("{to_gateways};{edit}");
        let examples = repository().join("examples/loadbalancer");
        let listen = format!("127.0.0.1:{}", free_port());
        let process = if which.is_nginx() {
            Jobcast::builder()
                .program("sh")
                .args(["-c", NGINX])
                .env("NGINX", installed("nginx"))
                .env("EDIT", edit)
                .env("GATEWAYS", gateways.join(" "))
                .env("LISTEN", format!("{listen} {more}"))
        } else {
            let edit = format!("{edit};s/^ *bind .*/& {more}/");
            Jobcast::builder()
                .program("sh")
                .args(["-c", HAPROXY])
                .env("HAPROXY", installed("haproxy"))
                .env("EDIT", edit)
                .env("JOBCAST_LISTEN", &listen)
                .env("JOBCAST_GATEWAY_1", gateways[0])
                .env("JOBCAST_GATEWAY_2", gateways[1])
        };
        let process = process.env("EXAMPLES", &examples).start();
        wait_port(&listen, SOON).await;
        let names = if which.is_nginx() {
            gateways.map(str::to_owned)
        } else {
            ["gateways/gateway1", "gateways/gateway2"].map(str::to_owned)
        };
        Self { process, client: Client::new(format!("http://{listen}")), names }
    }

    /// A client that goes through it.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// How many GETs gateway `index` has answered through it.
    pub fn served(&self, index: usize) -> usize {
        let name = format!(" {} ", self.names[index]);
        self.log().lines().filter(|line| line.contains(&name) && line.contains(" GET ")).count()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.process.stderr() + &self.process.stdout()
    }
}

/// Where a server's program is: in PATH, or where only root's PATH leads.
fn installed(program: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(program)).find(|file: &PathBuf| Path::is_file(file));
    found.unwrap_or_else(|| panic!("{program} is not installed: run scripts/setup {program}"))
}
