//! Who a service of a cluster is: a SPIFFE ID in its certificate's subject alternative name,
//! `spiffe://<cluster>/role/<role>`.

use std::fmt;
use std::str::FromStr;

use crate::{Certificate, Error};

/// The longest name of a cluster (SPIFFE ID 2.1: a trust domain has 255 bytes at most).
const MAX_CLUSTER: usize = 255;

/// What a service does, or who an operator's commands act as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceRole {
    /// A node of the metadata store.
    Metastore,
    /// Matches and fans out.
    Router,
    /// Holds connections.
    Gateway,
    /// Executes rules.
    RulesWorker,
    /// Answers AWS's REST.
    Api,
    /// The commands of whoever runs the cluster.
    Operator,
}

impl ServiceRole {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Metastore, Self::Router, Self::Gateway, Self::RulesWorker, Self::Api, Self::Operator];

    /// As it stands in the certificate.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Metastore => "metastore",
            Self::Router => "router",
            Self::Gateway => "gateway",
            Self::RulesWorker => "rules-worker",
            Self::Api => "api",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for ServiceRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ServiceRole {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| Error::ServiceIdentity(format!("'{text}' is no role of a service")))
    }
}

/// A service of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceIdentity {
    cluster: String,
    role: ServiceRole,
}

impl ServiceIdentity {
    /// The service `role` of `cluster`.
    ///
    /// # Errors
    ///
    /// [`Error::ServiceIdentity`] for a name that cannot be a trust domain: lower-case letters, digits, `.`, `-`, `_`.
    pub fn new(cluster: &str, role: ServiceRole) -> Result<Self, Error> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_')
        };
        match !cluster.is_empty() && cluster.len() <= MAX_CLUSTER && cluster.bytes().all(allowed) {
            true => Ok(Self { cluster: cluster.to_owned(), role }),
            false => Err(Error::ServiceIdentity(format!(
                "'{cluster}' cannot name a cluster: 1 to {MAX_CLUSTER} lower-case letters, digits, '.', '-' and '_'"
            ))),
        }
    }

    /// The service that a certificate is for.
    ///
    /// # Errors
    ///
    /// [`Error::ServiceIdentity`] unless its subject alternative names have exactly one URI, of the form above.
    pub fn of(certificate: &Certificate) -> Result<Self, Error> {
        match certificate.subject_alternative_names.uris.as_slice() {
            [uri] => uri.parse(),
            uris => {
                let found = format!("a service's certificate names one URI, this one {}", uris.len());
                Err(Error::ServiceIdentity(found))
            }
        }
    }

    /// The cluster's name.
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// What the service does.
    pub fn role(&self) -> ServiceRole {
        self.role
    }
}

impl fmt::Display for ServiceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/role/{}", self.cluster, self.role)
    }
}

impl FromStr for ServiceIdentity {
    type Err = Error;

    fn from_str(uri: &str) -> Result<Self, Error> {
        let parts = uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once("/role/"));
        let Some((cluster, role)) = parts else {
            return Err(Error::ServiceIdentity(format!("'{uri}' is not spiffe://<cluster>/role/<role>")));
        };
        Self::new(cluster, role.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for role in ServiceRole::ALL {
            let identity = ServiceIdentity::new("prod.eu-1", role).unwrap();
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
    }

    #[test]
    fn what_is_no_service_is_refused() {
        for uri in [
            "",
            "spiffe://prod",
            "spiffe:///role/gateway",
            "spiffe://Prod/role/gateway",
            "spiffe://prod/role/",
            "spiffe://prod/role/root",
            "spiffe://prod/role/gateway/more",
            "spiffe://prod/more/role/gateway",
            "https://prod/role/gateway",
        ] {
            assert!(uri.parse::<ServiceIdentity>().is_err(), "{uri}");
        }
        assert!(ServiceIdentity::new(&"a".repeat(256), ServiceRole::Api).is_err());
    }
}
