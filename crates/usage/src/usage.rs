//! What was counted and not reported yet.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Metadata;
use fleethaven_registry::shapes::Amounts;
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::{Publisher, Scope};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

/// How long it is remembered which billing group the client of a message is in.
const REMEMBERED_FOR: Duration = Duration::from_secs(1);
/// Clients of which that is remembered.
const REMEMBERED: usize = 16_384;
/// Characters of a certificate's id.
const CERTIFICATE_ID: usize = 64;

/// Who uses something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Account and region.
    pub scope: Scope,
    /// The billing group of the thing; `None` where there is none.
    pub billing_group: Option<Arc<str>>,
}

impl Owner {
    /// An account, by no thing of a billing group.
    pub fn account(scope: Scope) -> Self {
        Self { scope, billing_group: None }
    }
}

/// What a process has counted.
pub struct Usage {
    /// Knows the billing groups of things; `None`: nothing is counted.
    metadata: Option<Arc<dyn Metadata>>,
    counted: Mutex<FxHashMap<Owner, Amounts>>,
    clients: Mutex<Clients>,
    /// Those who ask over HTTPS, by the ids of their certificates.
    callers: Mutex<Clients>,
}

/// The billing groups of clients whose messages came lately, by client id.
#[derive(Default)]
struct Clients {
    known: FxHashMap<Scope, FxHashMap<Box<str>, Known>>,
    count: usize,
}

struct Known {
    certificate_id: Box<str>,
    billing_group: Option<Arc<str>>,
    until: Instant,
}

impl Clients {
    fn find(&self, scope: Scope, certificate_id: &str, client_id: &str, now: Instant) -> Option<Owner> {
        let known = self.known.get(&scope)?.get(client_id)?;
        let counts = &*known.certificate_id == certificate_id && known.until > now;
        counts.then(|| Owner { scope, billing_group: known.billing_group.clone() })
    }

    fn remember(&mut self, owner: &Owner, certificate_id: &str, client_id: &str, now: Instant) {
        if self.count >= REMEMBERED {
            *self = Self::default();
        }
        let known = Known {
            certificate_id: certificate_id.into(),
            billing_group: owner.billing_group.clone(),
            until: now + REMEMBERED_FOR,
        };
        let replaced = self.known.entry(owner.scope).or_default().insert(client_id.into(), known);
        self.count += usize::from(replaced.is_none());
    }
}

impl Usage {
    /// Counts; what `metadata` knows here tells the billing groups of clients.
    pub fn new(metadata: Arc<dyn Metadata>) -> Arc<Self> {
        Self::with(Some(metadata))
    }

    /// Counts nothing.
    pub fn off() -> Arc<Self> {
        Self::with(None)
    }

    fn with(metadata: Option<Arc<dyn Metadata>>) -> Arc<Self> {
        Arc::new(Self {
            metadata,
            counted: Mutex::default(),
            clients: Mutex::default(),
            callers: Mutex::default(),
        })
    }

    /// Whether anything is counted.
    pub fn is_on(&self) -> bool {
        self.metadata.is_some()
    }

    /// Whose it is what an MQTT client with this certificate and id uses: its account's, and that of the billing group of the
    /// thing that it is named as, if its certificate is attached to that thing, as at AWS. Outside of MQTT there is no client id: the only
    /// thing that the certificate is attached to is meant.
    pub fn owner(&self, scope: Scope, certificate_id: Option<&str>, client_id: Option<&str>) -> Owner {
        let (Some(metadata), Some(certificate_id)) = (&self.metadata, certificate_id) else {
            return Owner::account(scope);
        };
        let certificate_id = certificate_id.to_owned();
        let kind = match client_id.map(str::to_owned) {
            Some(client_id) => QueryKind::BillingGroupOfClient { certificate_id, client_id },
            None => QueryKind::BillingGroupOfCertificate(certificate_id),
        };
        // What is not known here is in no group here: a new thing may be counted without its group for a moment.
        let billing_group = match metadata.query_local(Query::new(scope, kind)) {
            Ok(QueryReply::BillingGroupOfClient(group)) => group.map(Arc::from),
            _ => None,
        };
        Owner { scope, billing_group }
    }

    /// The same for what comes of a message of such a client. It is remembered for a second, so that a change of billing groups counts for
    /// the messages of a second later.
    pub fn owner_of_message(&self, publisher: &Publisher) -> Owner {
        let scope = publisher.scope;
        match (publisher.principal.as_deref(), publisher.client_id.as_deref()) {
            (Some(certificate_id), Some(client_id)) => {
                self.remembered(&self.clients, scope, certificate_id, Some(client_id))
            }
            (Some(principal), None) => self.owner_of_caller(scope, principal),
            (None, _) => Owner::account(scope),
        }
    }

    /// The same for who asks over HTTPS, if it is a certificate by its id.
    pub fn owner_of_caller(&self, scope: Scope, principal: &str) -> Owner {
        match principal.len() {
            CERTIFICATE_ID => self.remembered(&self.callers, scope, principal, None),
            _ => Owner::account(scope),
        }
    }

    fn remembered(
        &self,
        clients: &Mutex<Clients>,
        scope: Scope,
        certificate_id: &str,
        client_id: Option<&str>,
    ) -> Owner {
        if !self.is_on() {
            return Owner::account(scope);
        }
        let (name, now) = (client_id.unwrap_or(certificate_id), Instant::now());
        if let Some(owner) = clients.lock().find(scope, certificate_id, name, now) {
            return owner;
        }
        let owner = self.owner(scope, Some(certificate_id), client_id);
        clients.lock().remember(&owner, certificate_id, name, now);
        owner
    }

    /// Whose it is what a connection or request uses.
    pub fn owner_of(&self, publisher: &Publisher) -> Owner {
        self.owner(publisher.scope, publisher.principal.as_deref(), publisher.client_id.as_deref())
    }

    /// Adds what was used.
    pub fn add(&self, owner: Owner, amounts: Amounts) {
        self.add_all([(owner, amounts)]);
    }

    /// Adds what several have used.
    pub fn add_all(&self, used: impl IntoIterator<Item = (Owner, Amounts)>) {
        if !self.is_on() {
            return;
        }
        let mut counted = self.counted.lock();
        for (owner, amounts) in used {
            if !amounts.is_none() {
                *counted.entry(owner).or_default() += amounts;
            }
        }
    }

    /// What was counted since the last time.
    pub fn take(&self) -> Vec<(Owner, Amounts)> {
        std::mem::take(&mut *self.counted.lock()).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_kept_where_nothing_is_counted() {
        let usage = Usage::off();
        let messages = Amounts { messages: 1, ..Amounts::NONE };
        usage.add(Owner::account(Scope::CLUSTER), messages);
        assert!(!usage.is_on() && usage.take().is_empty());
    }

    #[test]
    fn clients_are_remembered_for_a_second_and_not_without_bound() {
        let mut clients = Clients::default();
        let owner = Owner { scope: Scope::CLUSTER, billing_group: Some("g".into()) };
        let start = Instant::now();
        clients.remember(&owner, "cert", "a", start);
        assert_eq!(clients.find(Scope::CLUSTER, "cert", "a", start), Some(owner.clone()));
        assert_eq!(clients.find(Scope::CLUSTER, "other", "a", start), None);
        assert_eq!(clients.find(Scope::CLUSTER, "cert", "b", start), None);
        assert_eq!(clients.find(Scope::CLUSTER, "cert", "a", start + REMEMBERED_FOR), None);
        for number in 0..2 * REMEMBERED {
            clients.remember(&owner, "cert", &number.to_string(), start);
        }
        assert!(clients.known.values().map(FxHashMap::len).sum::<usize>() <= REMEMBERED);
    }
}
