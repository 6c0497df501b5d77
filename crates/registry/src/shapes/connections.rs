//! Where rule actions go: ours, as AWS's actions go to AWS.

use std::collections::BTreeMap;

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Secret, timestamp};

/// Arguments of PutConnection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutConnection {
    /// 1 to 128 of `a-zA-Z0-9_.-`, unique in the account.
    pub name: String,
    /// What it is from now on.
    pub connection: Connection,
}

/// A system that rule actions of an account may use, and which of them may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The type of action that it is for, `aws` for all of AWS's services, or what speaks its protocol, such as `redis`.
    pub kind: String,
    /// Where it is: an address. `None`: AWS's own endpoint of the region.
    pub endpoint: Option<String>,
    /// The region that requests are signed for. `None`: the rule's.
    pub region: Option<String>,
    /// Who the actions are there. `None`: nobody, as far as the system lets nobody in.
    pub credentials: Option<ConnectionCredentials>,
    /// The `roleArn`s (or `destinationArn`s) that stand for it in rules: whole, or the beginning and `*`. None where rules name
    /// the connection itself.
    pub roles: Vec<String>,
    /// The rules that may use it: a name, or the beginning and `*`. None but these may.
    pub rules: Vec<String>,
    /// What else this kind of system is told.
    pub options: BTreeMap<String, String>,
    /// Whom TLS to it trusts, and what it shows.
    #[serde(default)]
    pub tls: ConnectionTls,
}

/// TLS to a system, where it is not that of all systems. All of it is PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionTls {
    /// Certificate authorities, instead of those of the workers.
    pub authorities: Option<String>,
    /// What the system is shown when it asks for a certificate.
    pub identity: Option<ConnectionIdentity>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionIdentity {
    /// The certificate, and then its chain.
    pub certificate: String,
    /// Its private key, not encrypted.
    pub key: Secret,
}

/// An access key, or a user and a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionCredentials {
    /// The access key's id, or the user.
    pub id: String,
    /// The secret, password or token. Empty where a client certificate stands for it.
    pub secret: Secret,
}

/// A connection as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionDescription {
    /// Its name.
    pub name: String,
    /// What it is.
    pub connection: Connection,
    /// When it was put first.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}

impl ConnectionTls {
    /// Whether it is that of all systems.
    pub fn is_default(&self) -> bool {
        self.authorities.is_none() && self.identity.is_none()
    }
}

impl Connection {
    /// Whether a rule may use it under a role or destination.
    pub fn serves(&self, role: &str, rule: &str) -> bool {
        self.lets_in(rule) && self.roles.iter().any(|pattern| covers(pattern, role))
    }

    /// Whether a rule that names it may use it.
    pub fn lets_in(&self, rule: &str) -> bool {
        self.rules.iter().any(|pattern| covers(pattern, rule))
    }
}

/// Whether `text` is `pattern`, or begins as a pattern that ends with `*`.
fn covers(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning),
        None => pattern == text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_serves_named_roles_and_rules_only() {
        let role = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
        let connection = |roles: &[&str], rules: &[&str]| Connection {
            kind: "s3".to_owned(),
            endpoint: None,
            region: None,
            credentials: None,
            roles: roles.iter().map(|name| role(name)).collect(),
            rules: rules.iter().map(|&name| name.to_owned()).collect(),
            options: BTreeMap::new(),
            tls: ConnectionTls::default(),
        };
        let some = connection(&["iot", "team-*"], &["archive", "lab_*"]);
        assert!(some.serves(&role("iot"), "archive"));
        assert!(some.serves(&role("team-a"), "lab_1"));
        assert!(!some.serves(&role("iot2"), "archive"));
        assert!(!some.serves(&role("iot"), "archive2"));
        assert!(!connection(&["iot"], &[]).serves(&role("iot"), "archive"), "nobody is let in by default");
        assert!(connection(&["*"], &["*"]).serves(&role("x"), "y"));
    }
}
