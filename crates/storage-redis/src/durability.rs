//! Whether a server can give the durability asked for, and whether it did for a batch.

use std::collections::HashMap;
use std::time::Duration;

use redis::Value;

use crate::options::Durability;
use crate::reply;

/// The settings that matter, as `CONFIG GET` names them.
pub(crate) const SETTINGS: [&str; 5] =
    ["appendonly", "appendfsync", "maxmemory", "maxmemory-policy", "min-replicas-to-write"];

/// A server as seen at the start of a connection.
#[derive(Debug, Default, Clone)]
pub(crate) struct Server {
    /// `redis_version`; Valkey says here which Redis it is compatible with.
    pub(crate) version: String,
    pub(crate) settings: HashMap<String, String>,
}

impl Server {
    fn is_at_least(&self, major: u32, minor: u32) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (major, minor)
    }

    fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    /// Refuses a server that cannot keep the promise, saying what to change.
    pub(crate) fn check(&self, wanted: Durability) -> Result<(), String> {
        if !self.is_at_least(7, 0) {
            return Err(format!("Redis {} is too old: 7.0 or later, or Valkey, is needed", self.version));
        }
        if self.setting("appendonly") != "yes" {
            return Err("Redis keeps no append-only file, so its restart loses what was confirmed: set \
                        'appendonly yes'"
                .to_owned());
        }
        if self.setting("maxmemory") != "0" && self.setting("maxmemory-policy") != "noeviction" {
            return Err(format!(
                "Redis deletes keys when its memory is full (maxmemory-policy {}), which would delete sessions: set \
                 'maxmemory-policy noeviction'",
                self.setting("maxmemory-policy")
            ));
        }
        match wanted {
            Durability::Process => Ok(()),
            Durability::Replica { replicas } => self.check_replicas(replicas),
            Durability::Fsync { .. } if !self.is_at_least(7, 2) => Err(format!(
                "durability 'fsync' needs WAITAOF, which Redis {} does not have: use Redis 7.2 or later, Valkey, or \
                 durability 'process' with 'appendfsync always', by which Redis fsyncs before each answer",
                self.version
            )),
            Durability::Fsync { .. } => Ok(()),
        }
    }

    fn check_replicas(&self, replicas: u32) -> Result<(), String> {
        let least: u32 = self.setting("min-replicas-to-write").parse().unwrap_or(0);
        if replicas == 0 {
            return Err("durability 'replica' needs at least 1 replica".to_owned());
        }
        if least < replicas {
            return Err(format!(
                "Redis takes writes with {least} replicas, but {replicas} are to confirm them: set \
                 'min-replicas-to-write {replicas}'"
            ));
        }
        Ok(())
    }
}

impl Durability {
    /// The command that follows a batch and waits until it is as durable as this says.
    pub(crate) fn confirmation(self, timeout: Duration) -> Option<Vec<String>> {
        let timeout = timeout.as_millis().max(1).to_string();
        match self {
            Self::Process => None,
            Self::Replica { replicas } => Some(vec!["WAIT".to_owned(), replicas.to_string(), timeout]),
            Self::Fsync { replicas } => {
                Some(vec!["WAITAOF".to_owned(), "1".to_owned(), replicas.to_string(), timeout])
            }
        }
    }

    /// Whether the answer to that command says that it is; why not otherwise.
    pub(crate) fn check(self, answer: &Value) -> Result<(), String> {
        match (self, answer) {
            (Self::Process, _) => Ok(()),
            (Self::Replica { replicas }, Value::Int(count)) => enough(*count, replicas, "replicas have it"),
            (Self::Fsync { replicas }, Value::Array(counts)) => {
                let count = |at: usize| counts.get(at).and_then(|count| reply::signed(count).ok());
                enough(count(0).unwrap_or(0), 1, "append-only files of the primary were fsynced")?;
                enough(count(1).unwrap_or(0), replicas, "replicas have fsynced it")
            }
            (_, answer) => Err(format!("no count of replicas: {answer:?}")),
        }
    }
}

fn enough(count: i64, wanted: u32, what: &str) -> Result<(), String> {
    if count >= i64::from(wanted) { Ok(()) } else { Err(format!("{count} of {wanted} {what}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(version: &str, settings: &[(&str, &str)]) -> Server {
        let defaults = [("appendonly", "yes"), ("maxmemory", "0"), ("min-replicas-to-write", "1")];
        let all = defaults.iter().chain(settings);
        let settings = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Server { version: version.to_owned(), settings }
    }

    #[test]
    fn a_server_that_cannot_keep_the_promise_is_refused_with_what_to_change() {
        let refused = |version, settings: &[_], wanted| server(version, settings).check(wanted).unwrap_err();
        let replicas = |replicas| Durability::Replica { replicas };
        assert!(refused("6.2.7", &[], Durability::Process).contains("7.0 or later"));
        assert!(refused("7.0.15", &[("appendonly", "no")], Durability::Process).contains("appendonly yes"));
        let evicting = [("maxmemory", "100"), ("maxmemory-policy", "allkeys-lru")];
        assert!(refused("7.0.15", &evicting, Durability::Process).contains("noeviction"));
        assert!(refused("7.0.15", &[], replicas(2)).contains("min-replicas-to-write 2"));
        assert!(refused("7.0.15", &[], replicas(0)).contains("at least 1"));
        assert!(refused("7.0.15", &[], Durability::Fsync { replicas: 0 }).contains("WAITAOF"));
        assert_eq!(server("7.0.15", &[]).check(replicas(1)), Ok(()));
        assert_eq!(server("7.2.4", &[]).check(Durability::Fsync { replicas: 1 }), Ok(()));
        assert_eq!(server("10.0.0", &[]).check(Durability::Process), Ok(()));
    }

    #[test]
    fn an_answer_confirms_only_with_enough_replicas() {
        let replica = Durability::Replica { replicas: 2 };
        assert_eq!(replica.check(&Value::Int(2)), Ok(()));
        assert!(replica.check(&Value::Int(1)).is_err() && replica.check(&Value::Nil).is_err());
        let fsync = Durability::Fsync { replicas: 1 };
        let counts = |local, others| Value::Array(vec![Value::Int(local), Value::Int(others)]);
        assert_eq!(fsync.check(&counts(1, 1)), Ok(()));
        assert!(fsync.check(&counts(0, 1)).is_err() && fsync.check(&counts(1, 0)).is_err());
        assert!(fsync.check(&Value::Array(Vec::new())).is_err());
    }
}
