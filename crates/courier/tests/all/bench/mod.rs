//! A Redis, couriers in this process, jobs that end, and what a test wants to know of their deliveries.

pub mod receiver;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use courier::{Authorities, CourierMetrics, Found, Lookup, Options, Parts, Secrets, SystemLookup};
use model::webhook::{Allow, SealKey, SealKeys, Secret, TargetRules};
use model::wire::DeliveryStatus;
use model::{JobId, Json, Owner, TaskName, Token};
use parking_lot::Mutex;
use service::stop::{Finished, Shutdown};
use store::{
    Delivery, End, NewJob, Options as StoreOptions, Store, Submitted, Target, Webhook, WebhookSecret,
};
use testkit::redis::{RedisCluster, RedisServer};

/// How long anything may take; generous, for machines under load.
pub const LONG: Duration = Duration::from_mins(1);
/// What signs deliveries of [`owner`].
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub struct Bench<S = RedisServer> {
    pub server: S,
    /// The test's own.
    pub store: Store,
}

impl Bench {
    pub async fn start() -> Self {
        let server = RedisServer::builder().append_only(false).start().await;
        let store = store(&server.url());
        Self { server, store }
    }

    /// A courier that may deliver to this machine.
    pub fn courier(&self, options: Options) -> Courier {
        Courier::start(&self.server.url(), Setup { options, ..Setup::default() })
    }
}

impl Bench<RedisCluster> {
    /// On a Cluster in which nobody takes over from a primary that dies.
    pub async fn on_cluster() -> Self {
        let server = RedisCluster::builder().replicas(0).append_only(false).node_timeout(LONG).start().await;
        let options = StoreOptions::new(Target::parse(&server.url()).unwrap());
        // Impatient with the primary that is gone.
        let store = Store::new(StoreOptions { patience: Duration::from_secs(1), ..options });
        Self { server, store }
    }
}

impl<S> Bench<S> {
    /// A job that was cancelled, and is told to `url`.
    pub async fn ended(&self, url: &str) -> JobId {
        self.ended_by(Webhook { url: url.into(), secret: WebhookSecret::Owner }).await
    }

    pub async fn ended_by(&self, webhook: Webhook) -> JobId {
        let id = self.submit(&NewJob { webhooks: vec![webhook], ..new_job() }).await;
        self.store.cancel(id, &owner(), "enough").await.unwrap();
        id
    }

    /// A job that was completed with `result`, and is told to `url`.
    pub async fn completed(&self, url: &str, result: Json) -> JobId {
        let webhook = Webhook { url: url.into(), secret: WebhookSecret::Owner };
        let id = self.submit(&NewJob { webhooks: vec![webhook], ..new_job() }).await;
        let token = Token::from_random(rand::random());
        let claimed = self.store.claim(id.partition(), &[task().into()], token, LONG).await.unwrap().unwrap();
        self.store.end(&claimed.lease, &End::Completed(result), None, &[]).await.unwrap();
        id
    }

    pub async fn submit(&self, job: &NewJob) -> JobId {
        match self.store.submit(job).await.unwrap() {
            Submitted::Created(id) | Submitted::Replayed(id) => id,
        }
    }

    pub async fn delivery(&self, id: JobId) -> Delivery {
        self.store.deliveries(id).await.unwrap().remove(0)
    }

    /// The delivery, once it stands so.
    pub async fn reaches(&self, id: JobId, status: DeliveryStatus) -> Delivery {
        self.when(id, &format!("is {status:?}"), |delivery| delivery.status == status).await
    }

    /// The delivery, once it has so many attempts.
    pub async fn tried(&self, id: JobId, attempts: usize) -> Delivery {
        self.when(id, &format!("was tried {attempts} times"), |delivery| delivery.attempts.len() >= attempts)
            .await
    }

    async fn when(&self, id: JobId, what: &str, is_so: impl Fn(&Delivery) -> bool) -> Delivery {
        testkit::eventually_ok(LONG, &format!("the delivery {what}"), async || {
            match self.store.deliveries(id).await {
                Ok(mut found) if found.first().is_some_and(&is_so) => Ok(found.remove(0)),
                other => Err(format!("{other:?}")),
            }
        })
        .await
    }
}

/// What a courier is made of, where a test wants it otherwise.
pub struct Setup {
    pub options: Options,
    pub allow: Vec<&'static str>,
    pub secrets: Secrets,
    pub lookup: Arc<dyn Lookup>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            options: options(),
            allow: vec!["127.0.0.0/8"],
            secrets: secrets(&[SECRET]),
            lookup: Arc::new(SystemLookup::default()),
        }
    }
}

/// A courier in this process, with a store of its own.
pub struct Courier {
    pub metrics: CourierMetrics,
    pub shutdown: Shutdown,
}

impl Courier {
    pub fn start(url: &str, setup: Setup) -> Self {
        let (metrics, shutdown) = (CourierMetrics::default(), Shutdown::manual());
        let allow = setup.allow.iter().map(|text| text.parse::<Allow>().unwrap()).collect();
        let parts = Parts {
            store: store(url),
            options: setup.options,
            rules: TargetRules::new(allow),
            secrets: setup.secrets,
            authorities: Authorities::default(),
            lookup: setup.lookup,
            metrics: metrics.clone(),
        };
        let stop = shutdown.clone();
        shutdown.tasks().spawn(async move { courier::run(parts, &stop).await.unwrap() });
        Self { metrics, shutdown }
    }

    pub async fn stop(self) -> Finished {
        self.shutdown.finish(LONG).await
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        self.shutdown.stop_hard();
    }
}

/// A look-up whose answers the test writes; unknown names have none.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<BTreeMap<String, Vec<Vec<IpAddr>>>>>);

impl Names {
    /// The answers to the look-ups of `name`, in order; the last one stays.
    pub fn set(&self, name: &str, answers: &[&[&str]]) {
        let read = |ips: &&[&str]| ips.iter().map(|ip| ip.parse().unwrap()).collect();
        self.0.lock().insert(name.into(), answers.iter().map(read).collect());
    }
}

impl Lookup for Names {
    fn lookup(&self, name: &str) -> Found {
        let mut names = self.0.lock();
        let found = match names.get_mut(name) {
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => Ok(answers[0].clone()),
            None => Err(std::io::Error::other("no such name")),
        };
        Box::pin(std::future::ready(found))
    }
}

pub fn store(url: &str) -> Store {
    Store::new(StoreOptions::new(Target::parse(url).unwrap()))
}

/// Quick: no test waits for what it doesn't test.
pub fn options() -> Options {
    Options {
        retry_delay: Duration::from_millis(10),
        max_retry_delay: Duration::from_hours(1),
        ..Options::default()
    }
}

pub fn secrets(texts: &[&str]) -> Secrets {
    let secrets: Arc<[Secret]> = texts.iter().map(|text| text.parse().unwrap()).collect();
    Secrets { keys: keys(), owners: BTreeMap::from([(owner(), secrets)]) }
}

pub fn keys() -> SealKeys {
    SealKeys::new(vec![SealKey::new([7; 32])])
}

pub fn task() -> TaskName {
    "report".parse().unwrap()
}

pub fn owner() -> Owner {
    "acme".parse().unwrap()
}

pub fn new_job() -> NewJob {
    NewJob::new(owner(), task())
}
