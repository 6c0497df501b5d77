//! What was counted and not reported yet.

use std::sync::Arc;

use fleethaven_fabric::Metadata;
use fleethaven_registry::shapes::Amounts;
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::{Publisher, Scope};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

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
}

impl Usage {
    /// Counts; what `metadata` knows here tells the billing groups of clients.
    pub fn new(metadata: Arc<dyn Metadata>) -> Arc<Self> {
        Arc::new(Self { metadata: Some(metadata), counted: Mutex::default() })
    }

    /// Counts nothing.
    pub fn off() -> Arc<Self> {
        Arc::new(Self { metadata: None, counted: Mutex::default() })
    }

    /// Whether anything is counted.
    pub fn is_on(&self) -> bool {
        self.metadata.is_some()
    }

    /// Whose it is what an MQTT client with this certificate and id uses: its account's, and that of the billing group of the
    /// thing that it is named as, if its certificate is attached to that thing, as at AWS.
    pub fn owner(&self, scope: Scope, certificate_id: Option<&str>, client_id: Option<&str>) -> Owner {
        let (Some(metadata), Some(certificate_id), Some(client_id)) =
            (&self.metadata, certificate_id, client_id)
        else {
            return Owner::account(scope);
        };
        let (certificate_id, client_id) = (certificate_id.to_owned(), client_id.to_owned());
        let kind = QueryKind::BillingGroupOfClient { certificate_id, client_id };
        // What is not known here is in no group here: a new thing may be counted without its group for a moment.
        let billing_group = match metadata.query_local(Query::new(scope, kind)) {
            Ok(QueryReply::BillingGroupOfClient(group)) => group.map(Arc::from),
            _ => None,
        };
        Owner { scope, billing_group }
    }

    /// Whose it is what comes of a message.
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
}
