//! The command line: what it is, and which settings its flags stand for.

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser, Subcommand};
use service::config::{Config, ConfigError, Loaded, Override, env_overrides};

use crate::command::partitions::Partitions;
use crate::command::people::People;

const EXAMPLES: &str = "\
Examples:
  jobcast dev                                  everything on this machine, with a Redis server of its own
  jobcast gateway --listen 0.0.0.0:8080        a gateway; start as many as you like
  jobcast worker --concurrency 16              a worker; start as many as you like
  jobcast courier                              delivers webhooks; start as many as you like
  jobcast gateway --set store.url=redis://redis:6379 --set stream.heartbeat=20s
  jobcast submit narrate --watch               a job, and how it goes

Settings come from the file; a variable (JOBCAST__STREAM__HEARTBEAT=20s) beats the file, a flag beats both.";

const COURIER_EXAMPLES: &str = "\
Examples:
  jobcast courier                              tells receivers how jobs have ended; start as many as you like
  jobcast courier --listen 0.0.0.0:9091        with health and metrics
  jobcast courier --set webhooks.timeout=5s --set courier.per_host=8

Each delivery is signed, and tried again with growing pauses until it is taken or a dead letter. Nothing is sent to
private or local addresses but to those that webhooks.allow lists.";

const DEV_EXAMPLES: &str = "\
Examples:
  jobcast dev                                  a gateway on port 8080, a worker and a courier
  jobcast dev --gateways 2 --port 9000         gateways on ports 9000 and 9001
  jobcast dev --dir /tmp/try                   keeps its jobs in another folder

Jobs survive a restart, and a kill. Requests need no key.";

/// Background jobs over HTTP: submit, and follow by stream or poll, on any node.
#[derive(Debug, Parser)]
#[command(name = "jobcast", version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Args {
    /// Before the command.
    #[command(flatten)]
    settings: Settings,

    /// What to be.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where settings come from. It may stand before a command and after it, and all of it counts: clap's own `global` would
/// drop without a word what stands before where something stands after.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Settings {
    /// The configuration [default: config/jobcast.toml if there is one, else the built-in defaults]
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Sets what the file would; may be repeated
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = setting)]
    set: Vec<Override>,
}

impl Settings {
    fn is_empty(&self) -> bool {
        self.config.is_none() && self.set.is_empty()
    }
}

/// What to be, or what to do.
#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one in the process")]
pub(crate) enum Command {
    /// Runs until it is stopped.
    #[command(flatten)]
    Role(Role),
    /// Shows how many partitions jobs are spread over, and makes them more
    Partitions(Partitions),
    /// Asks a gateway.
    #[command(flatten)]
    People(People),
}

/// The roles.
#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// Serves HTTP: submit, poll, stream, cancel, the worker API, metrics
    Gateway {
        /// The address to listen on, IP and port [gateway.listen]
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Claims jobs and runs their handlers and programs
    Worker {
        /// How many attempts run at once [worker.concurrency]
        #[arg(long, value_name = "N")]
        concurrency: Option<u32>,
        /// Where to serve /healthz, /readyz and /metrics, IP and port [worker.listen]
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Delivers webhooks: tells receivers how jobs have ended
    #[command(after_help = COURIER_EXAMPLES)]
    Courier {
        /// How many deliveries are in hand at once [courier.concurrency]
        #[arg(long, value_name = "N")]
        concurrency: Option<u32>,
        /// Where to serve /healthz, /readyz and /metrics, IP and port [courier.listen]
        #[arg(long, value_name = "ADDRESS")]
        listen: Option<SocketAddr>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Runs gateways, a worker, a courier and a private Redis server, for trying out and developing
    #[command(after_help = DEV_EXAMPLES)]
    Dev {
        /// How many gateways, on consecutive ports [dev.gateways]
        #[arg(long, value_name = "N")]
        gateways: Option<u16>,
        /// The first gateway's port; 0 takes free ones [gateway.listen]
        #[arg(long, value_name = "PORT")]
        port: Option<u16>,
        /// The folder of the Redis server's data [dev.dir]
        #[arg(long, value_name = "PATH")]
        dir: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
}

impl Args {
    /// The process' command line. A wrong one ends the process, with a word on stderr and code 2.
    pub(crate) fn read() -> Self {
        Self::try_read(env::args_os()).unwrap_or_else(|wrong| wrong.exit())
    }

    fn try_read(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args = Self::try_parse_from(line)?;
        if args.all_settings().iter().filter(|settings| settings.config.is_some()).count() > 1 {
            let says = "the argument '--config <PATH>' cannot be used multiple times";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, says));
        }
        Ok(args)
    }

    /// What stands before the command and after it.
    fn all_settings(&self) -> Vec<&Settings> {
        let mut all = vec![&self.settings];
        match &self.command {
            Command::Role(
                Role::Gateway { settings, .. }
                | Role::Worker { settings, .. }
                | Role::Courier { settings, .. }
                | Role::Dev { settings, .. },
            ) => all.push(settings),
            Command::Partitions(partitions) => all.extend(partitions.all_settings()),
            // They have none, and look by themselves.
            Command::People(_) => {}
        }
        all
    }

    /// Whether settings stand before the command.
    pub(crate) fn has_settings_before(&self) -> bool {
        !self.settings.is_empty()
    }

    /// Reads the configuration: the file, then the environment, then `--set`, then the command's own flags.
    pub(crate) fn load(&self, role: &Role) -> Result<Loaded, ConfigError> {
        let mut loaded = self.settings(role.overrides())?;
        if let Role::Dev { port: Some(port), .. } = role {
            loaded.config.gateway.listen.set_port(*port);
        }
        Ok(loaded)
    }

    /// The same, for a command that stands for the settings `own`.
    pub(crate) fn settings(&self, own: Vec<Override>) -> Result<Loaded, ConfigError> {
        let mut overrides = env_overrides(env::vars_os());
        overrides.extend(self.all_settings().into_iter().flat_map(|settings| settings.set.iter().cloned()));
        overrides.extend(own);
        let config = self.all_settings().into_iter().find_map(|settings| settings.config.as_deref());
        Config::load(config, &overrides)
    }
}

impl Role {
    fn overrides(&self) -> Vec<Override> {
        let flag = |flag: &str, key: &str, value: Option<String>| Some(Override::flag(flag, key, value?));
        let text = |address: &SocketAddr| address.to_string();
        let flags = match self {
            Self::Gateway { listen, .. } => {
                vec![flag("--listen", "gateway.listen", listen.as_ref().map(text))]
            }
            Self::Worker { concurrency, listen, .. } => vec![
                flag("--concurrency", "worker.concurrency", concurrency.map(|n| n.to_string())),
                flag("--listen", "worker.listen", listen.as_ref().map(text)),
            ],
            Self::Courier { concurrency, listen, .. } => vec![
                flag("--concurrency", "courier.concurrency", concurrency.map(|n| n.to_string())),
                flag("--listen", "courier.listen", listen.as_ref().map(text)),
            ],
            Self::Dev { gateways, dir, .. } => vec![
                flag("--gateways", "dev.gateways", gateways.map(|n| n.to_string())),
                flag("--dir", "dev.dir", dir.clone()),
            ],
        };
        flags.into_iter().flatten().collect()
    }
}

/// Reads the value of `--set`.
pub(crate) fn setting(text: &str) -> Result<Override, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok(Override::flag(format!("--set {key}"), key, value)),
        _ => Err("it is a key and a value, such as stream.heartbeat=20s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Args, clap::Error> {
        Args::try_read(line.split_whitespace().map(OsString::from))
    }

    fn load(line: &str) -> Result<Config, ConfigError> {
        // In the crate's folder, where there is no file of the usual name.
        let args = read(line).unwrap();
        let Command::Role(role) = &args.command else { panic!("{line} is no role") };
        args.load(role).map(|loaded| loaded.config)
    }

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn flags_are_settings() {
        let dev =
            load("jobcast dev --gateways 3 --port 9000 --dir 15 --set gateway.listen=0.0.0.0:1").unwrap();
        assert_eq!((dev.dev.gateways, dev.gateway.listen.to_string().as_str()), (3, "0.0.0.0:9000"));
        assert_eq!(dev.dev.dir, PathBuf::from("15"));
        let worker =
            load("jobcast --set worker.concurrency=2 worker --concurrency 16 --listen [::1]:1").unwrap();
        assert_eq!((worker.worker.concurrency, worker.worker.listen), (16, Some("[::1]:1".parse().unwrap())));
        let gateway = load("jobcast gateway --set store.url=redis://:a=b@h --listen 127.0.0.1:0").unwrap();
        assert_eq!((gateway.store.url.expose(), gateway.gateway.listen.port()), ("redis://:a=b@h", 0));
    }

    #[test]
    fn settings_before_and_after_a_command_all_count() {
        let both = load(
            "jobcast --set worker.concurrency=2 --set stream.heartbeat=3s worker --set worker.concurrency=4",
        )
        .unwrap();
        assert_eq!(both.worker.concurrency, 4, "the later one of the same");
        assert_eq!(both.stream.heartbeat.as_secs(), 3);
        let line = "jobcast --set store.prefix=a partitions --set store.partitions=2 grow 4 --set stream.heartbeat=3s";
        let config = read(line).unwrap().settings(Vec::new()).unwrap().config;
        assert_eq!((config.store.prefix.as_str(), config.stream.heartbeat.as_secs()), ("a", 3));
        assert_eq!(config.store.partitions, Some(2));
    }

    #[test]
    fn what_is_refused_names_its_flag() {
        for (line, says) in [
            ("jobcast worker --concurrency 0", "--concurrency: `worker.concurrency`"),
            ("jobcast dev --gateways 17", "--gateways: `dev.gateways`"),
            ("jobcast dev --set dev.gates=2", "--set dev.gates: unknown key `dev.gates`"),
            ("jobcast dev --config /nowhere.toml", "/nowhere.toml: can't be read"),
        ] {
            let error = load(line).unwrap_err().to_string();
            assert!(error.starts_with(says), "{line}: {error}");
        }
        for line in [
            "jobcast",
            "jobcast dev --set a",
            "jobcast dev --port 65536",
            "jobcast fly",
            "jobcast --config a.toml worker --config b.toml",
            "jobcast partitions --config a.toml grow 4 --config b.toml",
        ] {
            let error = read(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}: {error}");
        }
    }
}
