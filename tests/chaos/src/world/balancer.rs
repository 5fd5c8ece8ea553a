//! haproxy, with the configuration that `examples/loadbalancer` ships, and one gateway more; over HTTP/2 to the gateways, and the
//! calls of the suite to haproxy, where `JOBCAST_TEST_HTTP2=1` (`make chaos HTTP2=1`).

use std::fmt::Write;
use std::path::PathBuf;

use testkit::process::Jobcast;
use testkit::{free_port, wait_port};

/// Starts it before the gateways on these ports; it accepts connections when this returns. With its address.
pub(super) async fn start(ports: &[u16]) -> (Jobcast, String) {
    let shipped = whole::repository().join("examples/loadbalancer/haproxy.cfg");
    let mut config = std::fs::read_to_string(&shipped).expect("haproxy's configuration is in the repository");
    for n in 3..=ports.len() {
        let _ = writeln!(config, "\n    server gateway{n} \"${{JOBCAST_GATEWAY_{n}}}\"");
    }
    let to_gateways = whole::Balances::haproxy().to_gateways();
    let line = |line: &str| match line.trim_start().strip_prefix("server ") {
        Some(_) => format!("{line}{to_gateways}\n"),
        None => format!("{line}\n"),
    };
    let config: String = config.lines().map(line).collect();
    let folder = std::env::temp_dir().join(format!("jobcast-chaos-{}-{}", std::process::id(), ports[0]));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let file = folder.join("haproxy.cfg");
    std::fs::write(&file, config).expect("the temporary folder can be written");
    let address = format!("127.0.0.1:{}", free_port());
    let mut builder =
        Jobcast::builder().program(program()).args(["-db", "-f"]).arg(&file).env("JOBCAST_LISTEN", &address);
    for (n, port) in (1..).zip(ports) {
        builder = builder.env(format!("JOBCAST_GATEWAY_{n}"), format!("127.0.0.1:{port}"));
    }
    let balancer = builder.start();
    wait_port(&address, whole::SOON).await;
    let _ = std::fs::remove_dir_all(folder);
    (balancer, address)
}

/// In PATH, or where only root's PATH leads.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let mut files = folders.map(|folder| folder.join("haproxy"));
    files.find(|file| file.is_file()).expect("haproxy is installed: run scripts/setup haproxy")
}
