//! From the configuration to what the roles are made of.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use courier::{Authorities, AuthoritiesError, Secrets};
use model::webhook::TargetRules;
use model::{RunLimits, TaskName};
use service::config::{Config, DurabilityConfig, Runs};
use store::{Durability, Replication, SweepOptions, TargetError};
use worker::{AnyHandler, Exec};

/// A task that this binary can't run.
#[derive(Debug, thiserror::Error)]
#[error("`tasks.{task}.handler`: there is no built-in handler {handler:?}; allowed: {}", example_tasks::NAMES.join(", "))]
pub(crate) struct BadTask {
    task: TaskName,
    handler: String,
}

/// How the store is reached.
pub(crate) fn store_options(config: &Config) -> Result<store::Options, TargetError> {
    let store = &config.store;
    Ok(store::Options {
        target: store::Target::parse(store.url.expose())?,
        prefix: store.prefix.as_str().to_owned(),
        partitions: store.partitions,
        patience: store.patience,
        response_timeout: store.response_timeout,
        connect_timeout: store.connect_timeout,
        ping: config.stream.ping,
        durability: match store.durability {
            DurabilityConfig::Local => Durability::Local,
            DurabilityConfig::Replicated => Durability::Replicated(Replication {
                replicas: store.replicas,
                within: store.replication_timeout,
            }),
        },
        max_event: config.jobs.max_event.as_usize(),
    })
}

/// How often every role sweeps.
pub(crate) fn sweep_options(config: &Config) -> SweepOptions {
    SweepOptions { interval: config.jobs.sweep, lease: config.jobs.lease }
}

/// How the worker runs attempts.
pub(crate) fn worker_options(config: &Config) -> worker::Options {
    let (worker, jobs) = (&config.worker, &config.jobs);
    worker::Options {
        concurrency: usize::try_from(worker.concurrency).unwrap_or(usize::MAX),
        task_concurrency: task_concurrency(config),
        limits: run_limits(config),
        lease: jobs.lease,
        heartbeat: jobs.heartbeat,
        grace: worker.grace,
        max_blind: worker.max_blind,
        progress_interval: worker.progress_interval,
        text_interval: worker.text_interval,
        buffer: worker.buffer.as_usize(),
        max_event: jobs.max_event.as_usize(),
        max_result: jobs.max_result.as_usize(),
    }
}

/// How the courier delivers.
pub(crate) fn courier_options(config: &Config) -> courier::Options {
    let (courier, webhooks) = (&config.courier, &config.webhooks);
    courier::Options {
        concurrency: usize::try_from(courier.concurrency).unwrap_or(usize::MAX),
        per_host: courier.per_host,
        bodies: courier.bodies.as_usize(),
        grace: courier.grace,
        timeout: webhooks.timeout,
        attempts: webhooks.attempts,
        retry_delay: webhooks.retry_delay,
        max_retry_delay: webhooks.max_retry_delay,
        give_up: webhooks.give_up,
        dead_letters: webhooks.dead_letters,
        dead_letter_retention: webhooks.dead_letter_retention,
        base_url: config.gateway.public_url.clone().unwrap_or_default(),
    }
}

/// Where webhooks may point.
pub(crate) fn target_rules(config: &Config) -> TargetRules {
    TargetRules::new(config.webhooks.allow.clone())
}

/// By what deliveries are signed.
pub(crate) fn webhook_secrets(config: &Config) -> Secrets {
    let owners =
        config.webhooks.owners.iter().map(|(owner, has)| (owner.clone(), has.secrets.clone().into()));
    Secrets { keys: config.webhooks.encryption_keys.clone(), owners: owners.collect() }
}

/// A file of authorities that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("`webhooks.ca_file`: {0}")]
pub(crate) struct BadCaFile(#[from] AuthoritiesError);

/// Who else may sign the certificates of receivers.
pub(crate) fn webhook_authorities(config: &Config) -> Result<Authorities, BadCaFile> {
    match &config.webhooks.ca_file {
        Some(file) => Ok(Authorities::read(file)?),
        None => Ok(Authorities::default()),
    }
}

/// How many attempts of each task may run in one worker.
fn task_concurrency(config: &Config) -> HashMap<TaskName, usize> {
    let limits = config.tasks.iter().map(|(name, task)| Some((name.clone(), task.concurrency?)));
    limits.flatten().map(|(name, limit)| (name, usize::try_from(limit).unwrap_or(usize::MAX))).collect()
}

/// How many jobs of each task may run over the whole fleet.
fn run_limits(config: &Config) -> HashMap<TaskName, RunLimits> {
    let limits = config.tasks.iter().map(|(name, task)| (name.clone(), task.run_limits()));
    limits.filter(|(_, limits)| *limits != RunLimits::default()).collect()
}

/// What runs each task here: tasks that are worked elsewhere have no entry. Programs run in `dir`.
pub(crate) fn handlers(
    config: &Config,
    dir: &Path,
) -> Result<HashMap<TaskName, Arc<dyn AnyHandler>>, BadTask> {
    let mut handlers = HashMap::new();
    for (task, declared) in &config.tasks {
        let handler = match &declared.runs {
            Runs::Elsewhere => continue,
            Runs::Handler(name) => example_tasks::builtin(name, &config.worker.input_dir)
                .ok_or_else(|| BadTask { task: task.clone(), handler: name.clone() })?,
            Runs::Command(command) => {
                let mut exec = Exec::new(&command.program, command.args.clone(), dir);
                exec.kill_after = config.worker.kill_after;
                // A line holds the largest result, and the words around it.
                exec.max_line = exec.max_line.max(config.jobs.max_result.as_usize()) + 1024;
                Arc::new(exec)
            }
        };
        handlers.insert(task.clone(), handler);
    }
    Ok(handlers)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(text: &str) -> Config {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jobcast.toml");
        fs::write(&file, text).unwrap();
        Config::load(Some(&file), &[]).unwrap().config
    }

    #[test]
    fn tasks_have_the_handlers_that_they_name() {
        let config = config(
            "[tasks.count]\nhandler = \"wordcount\"\n[tasks.run]\ncommand = [\"cat\", \"-\"]\n[tasks.elsewhere]\n",
        );
        let handlers = handlers(&config, Path::new("/")).unwrap();
        let mut names: Vec<_> = handlers.keys().map(ToString::to_string).collect();
        names.sort();
        assert_eq!(names, ["count", "run"]);
    }

    #[test]
    fn an_unknown_handler_names_the_key_and_what_there_is() {
        let config = config("[tasks.count]\nhandler = \"wordcont\"\n");
        let error = handlers(&config, Path::new("/")).err().unwrap();
        assert_eq!(
            error.to_string(),
            "`tasks.count.handler`: there is no built-in handler \"wordcont\"; allowed: wordcount, narrate"
        );
    }

    #[test]
    fn the_defaults_of_all_crates_are_the_same() {
        let config = Config::default();
        assert_eq!(worker_options(&config), worker::Options::default());
        assert_eq!(courier_options(&config), courier::Options::default());
        let (ours, theirs) =
            (store_options(&config).unwrap(), store::Options::new(store_options(&config).unwrap().target));
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}
