//! The subscriptions and rules of one account and region.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fleethaven_fabric::delivery::Address;
use fleethaven_storage::{RuleRef, SessionId, Subscription};
use fleethaven_topics::SubscriptionIndex;
use fleethaven_types::{Scope, Utf8Bytes};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;

/// One scope's tables and the version that cached plans are checked against.
pub(crate) struct ScopeTables {
    pub(crate) scope: Scope,
    version: AtomicU64,
    pub(crate) tables: RwLock<Tables>,
}

#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) subscriptions: SubscriptionIndex<Member, SubscribeOptions>,
    pub(crate) rules: SubscriptionIndex<Utf8Bytes, RuleRef>,
    /// Enabled rules by name, with their filter if they have one, for Basic Ingest.
    pub(crate) rules_by_name: FxHashMap<Utf8Bytes, (RuleRef, Option<Utf8Bytes>)>,
}

impl ScopeTables {
    pub(crate) fn new(scope: Scope) -> Self {
        Self { scope, version: AtomicU64::new(1), tables: RwLock::default() }
    }

    /// Changes with every change of what a publish could lead to.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// To be called after a change, before it is reported as done.
    pub(crate) fn bump(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// A session that subscribes, wherever it is.
pub(crate) struct Subscriber {
    pub(crate) session: SessionId,
    pub(crate) tables: Arc<ScopeTables>,
    pub(crate) persistent: AtomicBool,
    address: AtomicU64,
    /// Its filters, to take them out when the session goes.
    pub(crate) filters: Mutex<Vec<Utf8Bytes>>,
}

impl Subscriber {
    pub(crate) fn new(
        session: SessionId,
        tables: Arc<ScopeTables>,
        persistent: bool,
        address: Address,
    ) -> Self {
        Self {
            session,
            tables,
            persistent: AtomicBool::new(persistent),
            address: AtomicU64::new(address.to_u64()),
            filters: Mutex::default(),
        }
    }

    pub(crate) fn address(&self) -> Address {
        Address::from_u64(self.address.load(Ordering::Acquire))
    }

    pub(crate) fn set_address(&self, address: Address) {
        self.address.store(address.to_u64(), Ordering::Release);
    }

    /// Goes offline if it is still at `address`; `false` when it has moved on.
    pub(crate) fn leave(&self, address: Address) -> bool {
        let none = Address::NONE.to_u64();
        self.address.compare_exchange(address.to_u64(), none, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(crate) fn has_subscriptions(&self) -> bool {
        !self.filters.lock().is_empty()
    }
}

/// A subscriber as key of the index: equal when the session is.
#[derive(Clone)]
pub(crate) struct Member(pub(crate) Arc<Subscriber>);

impl PartialEq for Member {
    fn eq(&self, other: &Self) -> bool {
        self.0.session == other.0.session
    }
}

impl Eq for Member {}

impl Hash for Member {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.session.hash(state);
    }
}

/// The options of one subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubscribeOptions {
    pub(crate) qos: fleethaven_types::QoS,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) identifier: Option<u32>,
}

impl From<&Subscription> for SubscribeOptions {
    fn from(subscription: &Subscription) -> Self {
        Self {
            qos: subscription.qos,
            no_local: subscription.no_local,
            retain_as_published: subscription.retain_as_published,
            identifier: subscription.identifier,
        }
    }
}
