//! The subscriptions and rules of one account and region.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use fleethaven_fabric::delivery::{Address, Credit};
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_quotas::Account;
use fleethaven_storage::{EntryId, GroupId, RuleRef, SessionId, Subscription};
use fleethaven_topics::{SubscriptionIndex, split_shared};
use fleethaven_types::{Scope, Utf8Bytes};
use parking_lot::{Mutex, MutexGuard, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::group::Group;

/// One scope's tables and the version that cached plans are checked against.
pub(crate) struct ScopeTables {
    pub(crate) scope: Scope,
    pub(crate) account: Arc<Account>,
    version: AtomicU64,
    pub(crate) tables: RwLock<Tables>,
}

#[derive(Default)]
pub(crate) struct Tables {
    pub(crate) subscriptions: SubscriptionIndex<Member, SubscribeOptions>,
    /// Groups of shared subscriptions by filter and share name.
    pub(crate) groups: SubscriptionIndex<Utf8Bytes, Arc<Group>>,
    pub(crate) rules: SubscriptionIndex<Utf8Bytes, RuleRef>,
    /// Enabled rules by name, with their filter if they have one, for Basic Ingest.
    pub(crate) rules_by_name: FxHashMap<Utf8Bytes, (RuleRef, Option<Utf8Bytes>)>,
}

impl ScopeTables {
    pub(crate) fn new(scope: Scope, account: Arc<Account>) -> Self {
        Self { scope, account, version: AtomicU64::new(1), tables: RwLock::default() }
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
    persistent: AtomicBool,
    address: AtomicU64,
    /// The youngest owner that is known of.
    owner: AtomicU64,
    /// Highest entry of its queue that was appended through this router.
    tail: AtomicU64,
    /// Of its connection.
    credit: Mutex<Credit>,
    /// Queued messages of groups that it got since the last second began.
    drained: AtomicU32,
    /// Of a member without a queue: shares at QoS 1 that were pushed to it and that queues of groups hold, as many as it may
    /// leave unacknowledged; clients acknowledge in order [MQTT-4.6.0-2].
    held: Mutex<VecDeque<(GroupId, EntryId)>>,
    /// Its filters, to take them out when the session goes; `None` once it is gone.
    filters: Mutex<Option<Filters>>,
}

impl Subscriber {
    /// A session without subscriptions or connection.
    pub(crate) fn new(session: SessionId, tables: Arc<ScopeTables>) -> Self {
        Self {
            session,
            tables,
            persistent: AtomicBool::new(false),
            address: AtomicU64::new(Address::NONE.to_u64()),
            owner: AtomicU64::new(OwnerNumber::UNKNOWN.0),
            tail: AtomicU64::new(EntryId::NONE.0),
            credit: Mutex::default(),
            drained: AtomicU32::new(0),
            held: Mutex::default(),
            filters: Mutex::new(Some(Filters::default())),
        }
    }

    pub(crate) fn address(&self) -> Address {
        Address::from_u64(self.address.load(Ordering::SeqCst))
    }

    pub(crate) fn is_persistent(&self) -> bool {
        self.persistent.load(Ordering::Acquire)
    }

    /// Goes online at `address`, or offline with [`Address::NONE`]; returns the highest queue entry whose push may have
    /// gone elsewhere.
    ///
    /// Address and tail are written and then read crosswise, here and in [`Self::appended`], in one total order: either
    /// the append sees the new address, or this sees the append.
    pub(crate) fn come(&self, address: Address, persistent: bool, credit: Credit) -> EntryId {
        *self.credit.lock() = credit;
        self.persistent.store(persistent, Ordering::Release);
        self.address.store(address.to_u64(), Ordering::SeqCst);
        EntryId(self.tail.load(Ordering::SeqCst))
    }

    /// An owner says something: whether it is the youngest that is known of. To be called with the sessions, or the tables and
    /// the filters locked that are to be changed.
    pub(crate) fn hears(&self, owner: OwnerNumber) -> bool {
        !owner.is_older_than(OwnerNumber(self.owner.fetch_max(owner.0, Ordering::SeqCst)))
    }

    pub(crate) fn credit(&self) -> Credit {
        self.credit.lock().clone()
    }

    pub(crate) fn drained(&self) -> u32 {
        self.drained.load(Ordering::Relaxed)
    }

    pub(crate) fn count_drained(&self) {
        self.drained.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn reset_drained(&self) {
        self.drained.store(0, Ordering::Relaxed);
    }

    /// A share was pushed to it that stays in its group's queue until the client has acknowledged it.
    pub(crate) fn hold(&self, group: GroupId, entry: EntryId) {
        let mut held = self.held.lock();
        if held.len() >= usize::from(self.tables.account.limits.inflight_out) {
            held.pop_front();
        }
        held.push_back((group, entry));
    }

    /// Its gateway has given a share back.
    pub(crate) fn unhold(&self, group: GroupId, entry: EntryId) {
        self.held.lock().retain(|held| *held != (group, entry));
    }

    /// Those of them that a group's queue holds.
    pub(crate) fn held_of(&self, queue: Option<GroupId>) -> Vec<EntryId> {
        let held = self.held.lock();
        held.iter().filter(|(group, _)| Some(*group) == queue).map(|(_, entry)| *entry).collect()
    }

    /// The shares that it may have left unacknowledged.
    pub(crate) fn take_held(&self) -> Vec<(GroupId, EntryId)> {
        std::mem::take(&mut *self.held.lock()).into()
    }

    /// Its queue holds `entry`; returns where to push it.
    pub(crate) fn appended(&self, entry: EntryId) -> Address {
        self.tail.fetch_max(entry.0, Ordering::SeqCst);
        self.address()
    }

    /// Goes offline if it is still at `address`; `false` when it has moved on.
    pub(crate) fn leave(&self, address: Address) -> bool {
        let none = Address::NONE.to_u64();
        self.address.compare_exchange(address.to_u64(), none, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Its session is over: nothing is queued for it or pushed to it any more.
    pub(crate) fn end(&self) {
        self.persistent.store(false, Ordering::Release);
        self.address.store(Address::NONE.to_u64(), Ordering::SeqCst);
    }

    pub(crate) fn has_subscriptions(&self) -> bool {
        self.filters.lock().as_ref().is_some_and(|filters| !filters.is_empty())
    }

    /// Whether it is a member of groups.
    pub(crate) fn has_shared_subscriptions(&self) -> bool {
        self.filters.lock().as_ref().is_some_and(|filters| filters.shared > 0)
    }

    /// Its filters, to be changed together with the tables: lock those first. `None`: the session is gone, and what was
    /// subscribed now would never be taken out.
    pub(crate) fn filters(&self) -> MutexGuard<'_, Option<Filters>> {
        self.filters.lock()
    }
}

/// The filters of one session, `$share/…` included.
#[derive(Default)]
pub(crate) struct Filters {
    all: FxHashSet<Utf8Bytes>,
    /// How many of them are shared.
    shared: usize,
}

impl Filters {
    pub(crate) fn insert(&mut self, filter: Utf8Bytes) {
        let shared = is_shared(&filter);
        self.shared += usize::from(self.all.insert(filter) && shared);
    }

    pub(crate) fn remove(&mut self, filter: &str) {
        self.shared -= usize::from(self.all.remove(filter) && is_shared(filter));
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Utf8Bytes> {
        self.all.iter()
    }

    /// Those of groups.
    pub(crate) fn shared(&self) -> impl Iterator<Item = &Utf8Bytes> {
        // Most sessions have none, and some have very many others.
        let all = if self.shared == 0 { None } else { Some(self.all.iter()) };
        all.into_iter().flatten().filter(|filter| is_shared(filter))
    }
}

impl IntoIterator for Filters {
    type Item = Utf8Bytes;
    type IntoIter = std::collections::hash_set::IntoIter<Utf8Bytes>;

    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

fn is_shared(filter: &str) -> bool {
    split_shared(filter).is_some()
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
