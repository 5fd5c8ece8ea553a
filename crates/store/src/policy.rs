//! What Redis itself may throw away, what a restart of it loses, and whether it has the replicas that it needs: asked once, at
//! start.

use std::collections::HashMap;

use redis::{Cmd, Value};

use crate::connect::Request;
use crate::keys::keys_of;
use crate::partition::Slot;
use crate::{Durability, Store, StoreError};

/// What eviction costs.
const EVICTS: &str = "when its memory is full it throws away living jobs, their logs and the queue without a word. Set \
     `maxmemory-policy noeviction`: then it refuses new jobs instead, and those that it has go on";

/// What it costs to keep nothing.
const FORGETS: &str = "a restart of it loses every job, ended or not, and every accepted submission. Set `appendonly yes`, with \
     `appendfsync always` if no acknowledged write may be lost, or at least `save`";

/// What it costs to have too few replicas.
const LACKS: &str = "no submission is acknowledged (503 `not-replicated`), and ends are repeated. Give it replicas, or set \
     `store.durability = \"local\"`";

impl Store {
    /// What Redis is set to lose, and what `Replicated` lacks, one sentence for each thing and server, for the operator; empty where all is well, or where
    /// Redis doesn't tell its settings (as many hosted ones). Asks the primaries of all partitions.
    pub async fn check_policy(&self) -> Result<Vec<String>, StoreError> {
        let mut asked = Vec::new();
        let mut sentences = Vec::new();
        for partition in self.partitions().await? {
            let slot = keys_of(self.prefix(), partition)?.slot;
            let primary = self.router().topology().primary_of(slot).await;
            let primary = primary.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            if asked.contains(&primary) {
                continue;
            }
            if let Some(settings) = self.told(slot, &settings_command()).await? {
                let settings = redis::from_redis_value(settings)
                    .map_err(|error| StoreError::Unreadable(error.to_string()))?;
                sentences.extend(judge(&settings).map(|said| format!("Redis at {primary} {said}")));
            }
            if let Durability::Replicated(replication) = self.router().durability()
                && let Some(said) = self.told(slot, redis::cmd("INFO").arg("replication")).await?
            {
                let said: String = redis::from_redis_value(said)
                    .map_err(|error| StoreError::Unreadable(error.to_string()))?;
                sentences.extend(
                    judge_replicas(&said, replication.replicas)
                        .map(|said| format!("Redis at {primary} {said}")),
                );
            }
            asked.push(primary);
        }
        Ok(sentences)
    }

    /// What the slot's primary says, if it may.
    async fn told(&self, slot: Slot, ask: &Cmd) -> Result<Option<Value>, StoreError> {
        match self.router().call(slot, &Request::Command(ask)).await {
            Ok(told) => Ok(Some(told)),
            Err(StoreError::Refused(why)) => {
                tracing::debug!(why, "Redis doesn't tell about itself");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn settings_command() -> Cmd {
    let mut ask = redis::cmd("CONFIG");
    ask.arg("GET").arg("maxmemory-policy").arg("appendonly").arg("save");
    ask
}

/// What is to be said of these settings. One that isn't told is taken to be well.
fn judge(settings: &HashMap<String, String>) -> impl Iterator<Item = String> + use<> {
    let told = |name: &str| settings.get(name).map(String::as_str);
    let evicts = told("maxmemory-policy")
        .filter(|&policy| policy != "noeviction")
        .map(|policy| format!("has the eviction policy `{policy}`: {EVICTS}"));
    let forgets = (told("appendonly") == Some("no") && told("save") == Some(""))
        .then(|| format!("has no persistence (`appendonly no`, `save \"\"`): {FORGETS}"));
    evicts.into_iter().chain(forgets)
}

/// What is to be said of a primary that answers so to INFO and should have `wanted` replicas.
fn judge_replicas(said: &str, wanted: u32) -> Option<String> {
    let is_online = |line: &&str| line.starts_with("slave") && line.contains("state=online");
    let online = said.lines().filter(is_online).count();
    (online < usize::try_from(wanted).unwrap_or(usize::MAX))
        .then(|| format!("has {online} replicas of the {wanted} that `store.replicas` asks for: as long as that is so, {LACKS}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use testkit::redis::{RedisServer, cmd};

    use super::*;
    use crate::{Options, Target};

    fn judged(settings: &[(&str, &str)]) -> Vec<String> {
        judge(&settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()).collect()
    }

    #[test]
    fn only_what_loses_jobs_is_said() {
        let (policy, append, save) = ("maxmemory-policy", "appendonly", "save");
        for well in [
            &[][..],
            &[(policy, "noeviction"), (append, "yes"), (save, "")],
            &[(policy, "noeviction"), (append, "no"), (save, "3600 1")],
            &[(append, "no")],
        ] {
            assert!(judged(well).is_empty(), "{well:?}");
        }
        let both = judged(&[(policy, "allkeys-lru"), (append, "no"), (save, "")]);
        assert!(both[0].starts_with("has the eviction policy `allkeys-lru`: when its memory"), "{both:?}");
        assert!(both[1].starts_with("has no persistence"), "{both:?}");
    }

    #[test]
    fn replicas_that_are_in_step_count() {
        let info = "role:master\r\nconnected_slaves:3\r\nslave0:ip=a,port=1,state=online,offset=9,lag=0\r\n\
                    slave1:ip=b,port=1,state=wait_bgsave,offset=0,lag=0\r\nslave2:ip=c,port=1,state=online,offset=9,lag=1\r\n";
        for (wanted, said) in
            [(1, None), (2, None), (3, Some("has 2 replicas of the 3 that")), (4, Some("has 2 replicas"))]
        {
            let sentence = judge_replicas(info, wanted);
            let is_so = sentence.as_ref().map(|sentence| sentence.starts_with(said.unwrap_or("nothing")));
            assert_eq!(is_so, said.map(|_| true), "{wanted}: {sentence:?}");
        }
    }

    async fn said(server: &RedisServer) -> Vec<String> {
        let store = Store::new(Options::new(Target::parse(&server.url()).unwrap()));
        store.check_policy().await.unwrap()
    }

    #[tokio::test]
    async fn real_servers_are_asked_once_each() {
        let careful = RedisServer::start().await;
        assert_eq!(said(&careful).await, Vec::<String>::new());

        let careless = RedisServer::builder().append_only(false).cluster(true);
        let careless = careless.setting("maxmemory-policy", "volatile-ttl").start().await;
        let sentences = said(&careless).await;
        assert_eq!(sentences.len(), 2, "16 partitions, one server: {sentences:?}");
        let address = format!("Redis at {} has", careless.addr());
        assert!(sentences.iter().all(|said| said.starts_with(&address)), "{sentences:?}");
    }

    #[tokio::test]
    async fn where_config_is_forbidden_nothing_is_said() {
        let server = RedisServer::builder().append_only(false).start().await;
        let mut redis = server.client().await;
        cmd("ACL").arg(&["SETUSER", "default", "-config"]).exec_async(&mut redis).await.unwrap();
        assert_eq!(said(&server).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_an_error() {
        let server = RedisServer::start().await;
        let mut options = Options::new(Target::parse(&server.url()).unwrap());
        options.patience = Duration::from_millis(300);
        server.kill();
        assert!(matches!(Store::new(options).check_policy().await, Err(StoreError::Unavailable(_))));
    }
}
