//! What `jobcast dev` says on stdout when all is ready: where it is, and a first thing to do.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;

use service::config::Config;

/// Prints the addresses and a first session. Nobody may be reading, which is no error.
pub(crate) fn print(gateways: &[SocketAddr], config: &Config) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text(gateways, config).as_bytes()).and_then(|()| out.flush());
}

fn text(gateways: &[SocketAddr], config: &Config) -> String {
    let mut text = String::from("\nJobcast is ready:\n");
    for address in gateways {
        let _ = writeln!(text, "  http://{address}");
    }
    let (Some(first), Some(last)) = (gateways.first(), gateways.last()) else { return text };
    let task = config.tasks.keys().find(|task| task.as_str() == "narrate").or(config.tasks.keys().next());
    if let Some(task) = task {
        let _ = write!(
            text,
            "\nSubmit a job, and follow it:\n  \
             curl -s http://{first}/api/jobs -H 'Content-Type: application/json' -d '{{\"task\":\"{task}\"}}'\n  \
             curl -N http://{last}/api/jobs/JOB_ID/events\n",
        );
    }
    text.push_str("\nCtrl-C stops it; jobs are kept.\n\n");
    text
}

#[cfg(test)]
mod tests {
    use service::config::TaskConfig;

    use super::*;

    #[test]
    fn it_names_every_gateway_and_a_task_that_there_is() {
        let gateways = [8080, 8081].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut config = Config::default();
        assert!(!text(&gateways, &config).contains("curl"));
        config.tasks.insert("work".parse().unwrap(), TaskConfig::default());
        config.tasks.insert("narrate".parse().unwrap(), TaskConfig::default());
        let text = text(&gateways, &config);
        for said in [
            "  http://127.0.0.1:8080\n  http://127.0.0.1:8081\n",
            "curl -s http://127.0.0.1:8080/api/jobs",
            "{\"task\":\"narrate\"}",
            "curl -N http://127.0.0.1:8081/api/jobs/",
        ] {
            assert!(text.contains(said), "{said} in {text}");
        }
    }
}
