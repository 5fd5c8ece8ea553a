//! From a submission to a job: what it asks for, against what is declared and allowed.

use std::time::Duration;

use model::Json;
use model::wire::{Seconds, SubmitRequest, WebhookRequest};
use service::config::{Config, JobsConfig, TaskConfig};
use store::{Idempotency, NewJob, Retry};

use super::external::external;
use crate::owner::Caller;
use crate::problem::Problem;

/// The most attempts that a submission may ask for.
pub(super) const MAX_ATTEMPTS: u32 = 100;

/// The shortest `cancelOnDisconnect`: a browser whose stream a node closed is back by then.
const MIN_DISCONNECT: Duration = Duration::from_secs(5);

/// Checks what the request asks for against what is declared and allowed. Who is told of its end is for the caller to add, since
/// that takes a look-up.
pub(super) fn new_job(
    config: &Config,
    caller: &Caller,
    request: &SubmitRequest,
    key: Option<String>,
) -> Result<NewJob, Problem> {
    let limits = &config.jobs;
    let Some(task) = config.tasks.get(&request.task) else {
        return Err(Problem::unknown_task(&request.task, config));
    };
    let payload = request.payload.clone().unwrap_or_else(Json::null);
    at_most("payload", payload.as_str().len(), limits.max_payload.as_usize())?;
    let metadata = match &request.metadata {
        None => None,
        Some(map) => Some(Json::of(map).map_err(|error| Problem::Malformed(error.to_string()))?),
    };
    at_most(
        "metadata",
        metadata.as_ref().map_or(0, |json| json.as_str().len()),
        limits.max_metadata.as_usize(),
    )?;
    let idempotency = match key {
        None => None,
        Some(key) => Some(Idempotency {
            key: model::fingerprint::sha256(key.as_bytes()),
            fingerprint: fingerprint(request).map_err(|error| Problem::Malformed(error.to_string()))?,
        }),
    };
    let times = Times::of(request, task, limits)?;
    Ok(NewJob {
        owner: caller.owner.clone(),
        task: request.task.clone(),
        payload,
        metadata,
        priority: request.priority.unwrap_or_default(),
        delay: times.delay,
        max_attempts: max_attempts(request, task, limits)?,
        retry: Retry {
            first: task.retry_delay.unwrap_or(limits.retry_delay),
            longest: limits.max_retry_delay,
        },
        limits: task.run_limits(),
        cancel_on_disconnect: times.cancel_on_disconnect,
        timeout: times.timeout,
        deadline: times.deadline,
        queue_timeout: times.queue_timeout,
        retention: times.retention,
        log_events: task.log_events.unwrap_or(limits.log_events),
        log_bytes: task.log_bytes.unwrap_or(limits.log_bytes).as_u64(),
        idempotency,
        external: external(request, limits)?,
        webhooks: Vec::new(),
    })
}

/// What is in Redis for whoever reads it must not let a secret be guessed: requests that differ in it alone count as the same.
fn fingerprint(request: &SubmitRequest) -> Result<String, serde_json::Error> {
    match &request.webhook {
        Some(webhook) if webhook.secret.is_some() => {
            let webhook = Some(WebhookRequest { secret: None, ..webhook.clone() });
            model::fingerprint::of(&SubmitRequest { webhook, ..request.clone() })
        }
        _ => model::fingerprint::of(request),
    }
}

fn at_most(what: &str, size: usize, limit: usize) -> Result<(), Problem> {
    if size <= limit {
        return Ok(());
    }
    let says =
        format!("The {what} has {size} bytes, more than {limit}; store it elsewhere and send a link to it.");
    Err(Problem::TooLarge(says))
}

fn max_attempts(request: &SubmitRequest, task: &TaskConfig, limits: &JobsConfig) -> Result<u32, Problem> {
    let Some(asked) = request.max_attempts else {
        let declared = task.max_attempts.unwrap_or(limits.max_attempts);
        return Ok(if request.is_external() { 1 } else { declared });
    };
    let legal = u32::try_from(asked).ok().filter(|attempts| (1..=MAX_ATTEMPTS).contains(attempts));
    legal.ok_or_else(|| Problem::OutOfRange(format!("maxAttempts is 1 to {MAX_ATTEMPTS}, not {asked}.")))
}

struct Times {
    timeout: Duration,
    deadline: Duration,
    queue_timeout: Duration,
    retention: Duration,
    delay: Duration,
    cancel_on_disconnect: Option<Duration>,
}

impl Times {
    fn of(request: &SubmitRequest, task: &TaskConfig, limits: &JobsConfig) -> Result<Self, Problem> {
        let within = |name: &str, asked: Option<Seconds>, most: Duration| {
            let asked = asked.map(Seconds::get).transpose();
            let asked = asked.map_err(|error| Problem::OutOfRange(format!("{name}: {error}.")))?;
            match asked {
                Some(asked) if asked > most => Err(Problem::OutOfRange(format!(
                    "{name} is at most {} seconds here, not {}.",
                    most.as_secs_f64(),
                    asked.as_secs_f64()
                ))),
                asked => Ok(asked),
            }
        };
        let deadline = within("deadline", request.deadline, limits.max_deadline)?.unwrap_or(limits.deadline);
        let timeout = within("timeout", request.timeout, limits.max_deadline)?;
        let queue_timeout = within("queueTimeout", request.queue_timeout, limits.max_deadline)?;
        let retention = within("retention", request.retention, limits.max_retention)?;
        let delay = within("delay", request.delay, limits.max_deadline)?.unwrap_or_default();
        if delay >= deadline {
            let (delay, deadline) = (delay.as_secs_f64(), deadline.as_secs_f64());
            return Err(Problem::OutOfRange(format!(
                "The delay of {delay} seconds must be shorter than the deadline, {deadline} seconds from submission."
            )));
        }
        let cancel_on_disconnect =
            within("cancelOnDisconnect", request.cancel_on_disconnect, limits.max_deadline)?;
        if let Some(asked) = cancel_on_disconnect.filter(|&asked| asked < MIN_DISCONNECT) {
            return Err(Problem::OutOfRange(format!(
                "cancelOnDisconnect is at least {} seconds, the time that a client needs to come back; not {}.",
                MIN_DISCONNECT.as_secs(),
                asked.as_secs_f64()
            )));
        }
        Ok(Self {
            timeout: timeout.or(task.timeout).unwrap_or(limits.timeout),
            deadline,
            queue_timeout: queue_timeout.or(task.queue_timeout).or(limits.queue_timeout).unwrap_or(deadline),
            retention: retention.unwrap_or(limits.retention),
            delay,
            cancel_on_disconnect,
        })
    }
}
