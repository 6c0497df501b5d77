//! The tables shared by all lanes: who is subscribed to what, and where they are.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fleethaven_fabric::delivery::{Address, Credit};
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_fabric::{Delivery, Traces};
use fleethaven_logging::Logs;
use fleethaven_quotas::Accounts;
use fleethaven_storage::{Append, EntryId, GroupId, RuleRef, SessionId, SessionStore, Subscription};
use fleethaven_topics::split_shared;
use fleethaven_types::{Behaviour, Scope, Utf8Bytes};
use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::group::Group;
use crate::groups::Groups;
use crate::homes::Homes;
use crate::loading::Touched;
use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::queued::QueuedLog;
use crate::tables::{Member, ScopeTables, SubscribeOptions, Subscriber, Tables};
use crate::withdrawals::{self, Withdrawals};

/// How the router matches.
#[derive(Clone)]
pub struct Options {
    /// What matches and what is delivered where AWS and the MQTT text differ.
    pub behaviour: Behaviour,
    /// What accounts may use and have used: groups and members too, and how much waits in a group.
    pub accounts: Arc<Accounts>,
    /// Whether any account has a rate of queued messages.
    pub queue_rates: bool,
    /// Tells the time, for rates.
    pub clock: fn() -> Instant,
    /// What became of messages.
    pub traces: Traces,
    /// AWS's log entries.
    pub logs: Logs,
}

/// The router of one process: all slots.
pub struct Router {
    pub(crate) options: Options,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) delivery: Arc<dyn Delivery>,
    pub(crate) metrics: Metrics,
    scopes: RwLock<FxHashMap<Scope, Arc<ScopeTables>>>,
    sessions: RwLock<FxHashMap<SessionId, Arc<Subscriber>>>,
    pub(crate) groups: Groups,
    /// In a cluster.
    pub(crate) homes: OnceLock<Homes>,
    /// Filters of sessions that are gone and had many.
    pub(crate) withdrawals: Withdrawals,
    pub(crate) touched: Touched,
    pub(crate) queued_log: QueuedLog,
    departed: Mutex<Departed>,
}

/// How long a session without a queue is kept whose connection has ended, at least.
const DEPARTED: Duration = Duration::from_secs(5);

/// Sessions without a queue whose connection has ended, but that are not forgotten yet.
#[derive(Default)]
struct Departed {
    looked: Option<Instant>,
    since: Vec<SessionId>,
    /// Those that had been so when it was looked last.
    before: Vec<SessionId>,
}

/// A connection that owns a session.
pub(crate) struct Arrival {
    pub(crate) persistent: bool,
    pub(crate) address: Address,
    pub(crate) credit: Credit,
    pub(crate) owner: OwnerNumber,
}

/// What SUBSCRIBE led to.
pub(crate) struct Installed {
    /// For each subscription, whether its filter was new to the session.
    pub(crate) new: Vec<bool>,
    /// Those that are one too many.
    pub(crate) over_quota: Vec<usize>,
    /// Groups that need a queue before the answer.
    pub(crate) opening: Vec<Arc<Group>>,
}

impl Router {
    /// A router that appends to `store` and pushes through `delivery`. It must be warmed up before it serves.
    pub fn new(
        options: Options,
        store: Arc<dyn SessionStore>,
        delivery: Arc<dyn Delivery>,
        metrics: Metrics,
    ) -> Self {
        Self {
            options,
            store,
            delivery,
            metrics,
            scopes: RwLock::default(),
            sessions: RwLock::default(),
            groups: Groups::default(),
            homes: OnceLock::new(),
            withdrawals: Withdrawals::default(),
            touched: Touched::default(),
            queued_log: QueuedLog::default(),
            departed: Mutex::default(),
        }
    }

    /// The tables of `scope`, made at its first use.
    pub(crate) fn scope(&self, scope: Scope) -> Arc<ScopeTables> {
        if let Some(tables) = self.scopes.read().get(&scope) {
            return tables.clone();
        }
        self.scopes
            .write()
            .entry(scope)
            .or_insert_with(|| Arc::new(ScopeTables::new(scope, self.options.accounts.get(scope))))
            .clone()
    }

    pub(crate) fn subscriber(&self, session: SessionId) -> Option<Arc<Subscriber>> {
        self.sessions.read().get(&session).cloned()
    }

    /// The queue of `session` holds `entry`; returns where to push it.
    pub(crate) fn appended(&self, session: SessionId, entry: EntryId) -> Address {
        self.sessions.read().get(&session).map_or(Address::NONE, |subscriber| subscriber.appended(entry))
    }

    /// A connection owns the session, unless a younger one is known of. Returns the highest entry of its queue whose push may
    /// have gone elsewhere since the session was claimed.
    pub(crate) fn attach(&self, session: SessionId, scope: Scope, arrival: Arrival) -> EntryId {
        let Arrival { persistent, address, credit, owner } = arrival;
        let tables = self.scope(scope);
        self.withdraw_rest(session);
        let (subscriber, tail) = {
            let mut sessions = self.sessions.write();
            let known = sessions.entry(session).or_insert_with(|| Arc::new(Subscriber::new(session, tables)));
            if !known.hears(owner) {
                return EntryId::NONE;
            }
            (known.clone(), known.come(address, persistent, credit))
        };
        self.changed(&subscriber);
        tail
    }

    /// A persistent session is there, wherever its connection may be; the store knows of this owner.
    pub(crate) fn know(&self, session: SessionId, scope: Scope, owner: OwnerNumber) {
        let tables = self.scope(scope);
        self.withdraw_rest(session);
        let mut sessions = self.sessions.write();
        let known = sessions.entry(session).or_insert_with(|| {
            let subscriber = Subscriber::new(session, tables);
            subscriber.come(Address::NONE, true, Credit::default());
            Arc::new(subscriber)
        });
        known.hears(owner);
    }

    /// The connection at `address` is gone: without effect if the session is elsewhere by now. A session that is not persistent
    /// is forgotten; returns the shares that it may have left behind.
    pub(crate) fn detach(
        &self,
        session: SessionId,
        address: Address,
        persistent: bool,
    ) -> Vec<(GroupId, EntryId)> {
        // Locked throughout: between leaving and being forgotten nobody attaches.
        let mut sessions = self.sessions.write();
        let Some(subscriber) = sessions.get(&session).filter(|subscriber| subscriber.leave(address)) else {
            return Vec::new();
        };
        if persistent {
            self.changed(subscriber);
            if !subscriber.is_persistent() {
                self.departed.lock().since.push(session);
            }
            return Vec::new();
        }
        let Some(subscriber) = sessions.remove(&session) else { return Vec::new() };
        let left = subscriber.take_held();
        self.withdraw(subscriber);
        left
    }

    /// Removes a session and its subscriptions; returns the shares that it may have left behind.
    pub fn forget(&self, session: SessionId) -> Vec<(GroupId, EntryId)> {
        self.touched.note(session);
        // Locked until its filters are out: an index entry is the session's, whichever subscriber put it there.
        let mut sessions = self.sessions.write();
        let Some(subscriber) = sessions.remove(&session) else { return Vec::new() };
        let left = subscriber.take_held();
        self.withdraw(subscriber);
        left
    }

    /// Sessions without a queue whose connection ended a while ago, and that nobody has had forgotten: their gateway has died, or
    /// the word was lost.
    pub(crate) fn take_departed(&self, now: Instant) -> Vec<SessionId> {
        let mut departed = self.departed.lock();
        if departed.looked.is_some_and(|last| now.saturating_duration_since(last) < DEPARTED) {
            return Vec::new();
        }
        departed.looked = Some(now);
        let since = std::mem::take(&mut departed.since);
        let before = std::mem::replace(&mut departed.before, since);
        drop(departed);
        let sessions = self.sessions.read();
        let is_gone = |subscriber: &Arc<Subscriber>| {
            !subscriber.is_persistent() && subscriber.address() == Address::NONE
        };
        before.into_iter().filter(|session| sessions.get(session).is_some_and(is_gone)).collect()
    }

    /// Installs subscriptions, unless an older owner says so than is known of: what it had made durable the younger one has
    /// found in the store.
    pub(crate) fn subscribe(
        &self,
        session: SessionId,
        subscriptions: &[Subscription],
        owner: OwnerNumber,
    ) -> Installed {
        let new = vec![false; subscriptions.len()];
        let mut installed = Installed { new, over_quota: Vec::new(), opening: Vec::new() };
        let Some(subscriber) = self.subscriber(session) else { return installed };
        let member = Member(subscriber.clone());
        {
            let mut tables = subscriber.tables.tables.write();
            let mut filters = subscriber.filters();
            let Some(filters) = filters.as_mut().filter(|_| subscriber.hears(owner)) else {
                return installed;
            };
            for (index, subscription) in subscriptions.iter().enumerate() {
                let options = SubscribeOptions::from(subscription);
                let new = match split_shared(&subscription.filter) {
                    Some(shared) => {
                        self.join(&mut tables, &subscriber, shared, options, &mut installed.opening)
                    }
                    None => {
                        let replaced =
                            tables.subscriptions.insert(&subscription.filter, member.clone(), options);
                        Some(replaced.is_none())
                    }
                };
                let Some(new) = new else {
                    installed.over_quota.push(index);
                    continue;
                };
                if new {
                    // The list must not keep the receive buffer of the packet alive.
                    filters.insert(subscription.filter.compact());
                }
                if let Some(place) = installed.new.get_mut(index) {
                    *place = new;
                }
            }
        }
        subscriber.tables.bump();
        installed
    }

    /// Removes subscriptions, unless an older owner says so than is known of; tells for each filter whether there was one.
    pub(crate) fn unsubscribe(
        &self,
        session: SessionId,
        unwanted: &[Utf8Bytes],
        owner: OwnerNumber,
    ) -> Vec<bool> {
        let nobody = || vec![false; unwanted.len()];
        self.touched.note(session);
        let Some(subscriber) = self.subscriber(session) else { return nobody() };
        let member = Member(subscriber.clone());
        let existed = {
            let mut tables = subscriber.tables.tables.write();
            let mut filters = subscriber.filters();
            let Some(filters) = filters.as_mut().filter(|_| subscriber.hears(owner)) else { return nobody() };
            let remove = |filter: &Utf8Bytes| {
                filters.remove(filter);
                self.remove(&mut tables, filter, &member)
            };
            unwanted.iter().map(remove).collect()
        };
        subscriber.tables.bump();
        existed
    }

    /// Removes all subscriptions of a session but these and those that who knows the table up to `version` cannot know to be held
    /// here, unless an older owner says so than is known of; whether there were others.
    pub(crate) fn keep_only(
        &self,
        session: SessionId,
        wanted: &FxHashSet<&Utf8Bytes>,
        version: u64,
        owner: OwnerNumber,
    ) -> bool {
        let Some(subscriber) = self.subscriber(session) else { return false };
        let scope = &subscriber.tables.scope;
        let other =
            |filter: &&Utf8Bytes| !wanted.contains(filter) && !self.is_unknown_at(version, scope, filter);
        let unwanted: Vec<_> = match &*subscriber.filters() {
            Some(filters) => filters.iter().filter(other).cloned().collect(),
            None => Vec::new(),
        };
        self.unsubscribe(session, &unwanted, owner).contains(&true)
    }

    /// Takes one subscription out of the tables; whether there was one.
    fn remove(&self, tables: &mut Tables, filter: &str, member: &Member) -> bool {
        match split_shared(filter) {
            Some(shared) => self.leave(tables, shared, member.0.session),
            None => tables.subscriptions.remove(filter, member).is_some(),
        }
    }

    /// Installs, replaces or (with `None`) removes a rule.
    pub fn set_rule(&self, scope: Scope, name: &Utf8Bytes, rule: Option<(RuleRef, Option<Utf8Bytes>)>) {
        let scope = self.scope(scope);
        let mut tables = scope.tables.write();
        if let Some((_, Some(filter))) = tables.rules_by_name.remove(name) {
            tables.rules.remove(&filter, name);
        }
        if let Some((rule, filter)) = rule {
            if let Some(filter) = &filter {
                tables.rules.insert(filter, name.clone(), rule.clone());
            }
            tables.rules_by_name.insert(name.clone(), (rule, filter));
        }
        drop(tables);
        scope.bump();
    }

    /// Subscriptions of `scope`.
    pub(crate) fn subscription_count(&self, scope: Scope) -> u64 {
        self.scope(scope).tables.read().subscriptions.len() as u64
    }

    /// Leaves out what is above the account's rate of messages queued for sessions nobody is connected to, and counts it.
    pub(crate) fn throttle_queues(&self, queues: &mut Vec<Append>, scope: Scope) {
        let scope = self.scope(scope);
        let Some(rate) = &scope.account.queued else { return };
        let now = (self.options.clock)();
        let before = queues.len();
        let sessions = self.sessions.read();
        let offline = |append: &Append| {
            sessions.get(&append.session).is_none_or(|subscriber| subscriber.address() == Address::NONE)
        };
        queues.retain(|append| !offline(append) || rate.take(1, now));
        self.metrics.queue_throttled.inc_by((before - queues.len()) as u64);
    }

    /// Whether a message on `topic` would reach any subscriber or rule. The plan is not kept: topics asked about are many,
    /// and most reach nobody.
    pub fn reaches_anyone(&self, scope: Scope, topic: &str) -> bool {
        Plan::compute(&self.scope(scope), topic, &self.options.behaviour).matches_anyone()
    }

    /// Sessions known, live or not.
    pub fn session_count(&self) -> usize {
        self.sessions.read().len()
    }
}

impl Router {
    /// Plans and groups that name the session are no longer right.
    fn changed(&self, subscriber: &Subscriber) {
        if subscriber.has_subscriptions() {
            self.groups_with(subscriber).iter().for_each(|group| group.refresh());
            subscriber.tables.bump();
        }
    }

    /// Takes the subscriptions of a session that is gone out of the tables.
    fn withdraw(&self, subscriber: Arc<Subscriber>) {
        let filters = subscriber.filters().take().unwrap_or_default();
        if filters.is_empty() {
            return;
        }
        let member = Member(subscriber);
        if filters.len() <= withdrawals::PART {
            return self.withdraw_filters(&member, filters);
        }
        member.0.end();
        // Of groups it is no member from here on; taken out once more later, those are not there.
        self.withdraw_filters(&member, filters.shared().cloned());
        self.withdrawals.add(member, filters);
    }

    pub(crate) fn withdraw_filters(&self, member: &Member, filters: impl IntoIterator<Item = Utf8Bytes>) {
        let mut tables = member.0.tables.tables.write();
        for filter in filters {
            self.remove(&mut tables, &filter, member);
        }
        drop(tables);
        member.0.tables.bump();
    }
}
