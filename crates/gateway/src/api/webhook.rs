//! Who is told of a job's end: what a submission asks for, against where webhooks may point and what they are signed with.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::Owner;
use model::webhook::{Secret, Target, TargetError, TargetRules};
use model::wire::WebhookRequest;
use service::config::WebhooksConfig;
use store::{Webhook, WebhookSecret};
use tokio::net::lookup_host;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::App;
use crate::problem::Problem;

/// How long a submission waits for DNS. The courier asks again, and judges what it connects to.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many look-ups are under way at once: each holds a thread for as long as the resolver takes, though nobody waits any more.
const LOOK_UPS: usize = 64;

/// Judges where submissions want their webhooks to go.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    rules: TargetRules,
    look_ups: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Targets {
    /// By `rules`; look-ups that nobody waits for any more run on `tasks`, until `stop`.
    pub(crate) fn new(rules: TargetRules, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self { rules, look_ups: Arc::new(Semaphore::new(LOOK_UPS)), tasks, stop }
    }

    /// The target that `url` names, if it may be told: by its form, and by every address that its name has now. A name that has
    /// none yet, or whose look-up takes too long, is taken: it is judged again at each attempt.
    async fn judge(&self, url: &str) -> Result<Target, TargetError> {
        let target = self.rules.target(url)?;
        if target.ip().is_none() {
            let look_up = tokio::time::timeout(PATIENCE, self.look_up(&target));
            let found = look_up.await.ok().and_then(Result::ok).unwrap_or_default();
            found.into_iter().try_for_each(|ip| self.rules.address(&target, ip))?;
        }
        Ok(target)
    }

    async fn look_up(&self, target: &Target) -> io::Result<Vec<IpAddr>> {
        let permit = self.look_ups.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (name, port, stop) = (target.host().to_owned(), target.port(), self.stop.clone());
        let asked = self.tasks.spawn(async move {
            let _permit = permit;
            let found = stop.run_until_cancelled(lookup_host((name, port))).await;
            let found = found.unwrap_or_else(|| Err(io::ErrorKind::Interrupted.into()))?;
            Ok(found.map(|address| address.ip()).collect())
        });
        asked.await.map_err(io::Error::other)?
    }
}

/// Who is told of a job's end: whom the request names, or else the owner's endpoints.
pub(super) async fn webhooks(
    app: &App,
    owner: &Owner,
    request: Option<&WebhookRequest>,
) -> Result<Vec<Webhook>, Problem> {
    let config = &app.config().webhooks;
    let Some(request) = request else { return Ok(endpoints(config, owner)) };
    // Before the look-up: what can't be signed needs none.
    let has_secrets = config.owners.get(owner).is_some_and(|owner| !owner.secrets.is_empty());
    if request.secret.is_none() && !has_secrets {
        return Err(Problem::NoWebhookSecret(owner.to_string()));
    }
    let url = app.targets().judge(&request.url).await.map_err(Problem::WebhookRefused)?.url().to_owned();
    let secret = match &request.secret {
        None => WebhookSecret::Owner,
        Some(secret) => own(config, owner, &url, secret)?,
    };
    Ok(vec![Webhook { url, secret }])
}

/// The same for a request that may come without any secret, and then wants the plain signature alone.
pub(super) async fn plain_webhook(
    app: &App,
    owner: &Owner,
    request: &WebhookRequest,
) -> Result<Vec<Webhook>, Problem> {
    if request.secret.is_some() {
        return webhooks(app, owner, Some(request)).await;
    }
    let target = app.targets().judge(&request.url).await.map_err(Problem::WebhookRefused)?;
    Ok(vec![Webhook { url: target.url().to_owned(), secret: WebhookSecret::None }])
}

/// What configuration has is not judged here: that a network can't be called is no fault of who submits.
fn endpoints(config: &WebhooksConfig, owner: &Owner) -> Vec<Webhook> {
    let urls = config.owners.get(owner).map(|owner| owner.endpoints.as_slice()).unwrap_or_default();
    urls.iter().map(|url| Webhook { url: url.clone(), secret: WebhookSecret::Owner }).collect()
}

fn own(config: &WebhooksConfig, owner: &Owner, url: &str, secret: &Secret) -> Result<WebhookSecret, Problem> {
    let sealed = config.encryption_keys.seal(secret, owner, url, rand::random());
    sealed.map(WebhookSecret::Own).ok_or(Problem::WebhookSecretsOff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(allow: &[&str]) -> Targets {
        let rules = TargetRules::new(allow.iter().map(|text| text.parse().unwrap()).collect());
        Targets::new(rules, TaskTracker::new(), CancellationToken::new())
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_judged() {
        // A name that every machine resolves by itself; it may lead to ::1, and has another address beside it or instead.
        let refused = targets(&["::1"]).judge("http://localhost:8080/").await;
        assert_eq!(refused, Err(TargetError::Address([127, 0, 0, 1].into(), "a loopback address")));
        let target = targets(&["::1", "127.0.0.0/8"]).judge("http://localhost:8080/").await.unwrap();
        assert_eq!(target.host(), "localhost");
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_taken() {
        let target = targets(&[]).judge("https://no-such-host.invalid/hook").await.unwrap();
        assert_eq!(target.url(), "https://no-such-host.invalid/hook");
        assert!(targets(&[]).judge("https://127.0.0.1/").await.is_err());
    }

    #[test]
    fn a_secret_without_a_key_is_not_kept() {
        let secret = "hush".parse().unwrap();
        let owner = "acme".parse().unwrap();
        let own = own(&WebhooksConfig::default(), &owner, "https://a.example/", &secret);
        assert!(matches!(own, Err(Problem::WebhookSecretsOff)));
    }
}
