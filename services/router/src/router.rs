//! The tables shared by all lanes: who is subscribed to what, and where they are.

use std::sync::Arc;

use fleethaven_fabric::Delivery;
use fleethaven_fabric::delivery::Address;
use fleethaven_storage::{EntryId, Error, RuleRef, SessionId, SessionStore, Subscription};
use fleethaven_types::{Behaviour, Scope, Utf8Bytes};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use crate::metrics::Metrics;
use crate::plan::Plan;
use crate::tables::{Member, ScopeTables, SubscribeOptions, Subscriber};

/// How the router matches.
#[derive(Debug, Clone)]
pub struct Options {
    /// What matches and what is delivered where AWS and the MQTT text differ.
    pub behaviour: Behaviour,
}

/// The router of one process: all slots.
pub struct Router {
    pub(crate) options: Options,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) delivery: Arc<dyn Delivery>,
    pub(crate) metrics: Metrics,
    scopes: RwLock<FxHashMap<Scope, Arc<ScopeTables>>>,
    sessions: RwLock<FxHashMap<SessionId, Arc<Subscriber>>>,
}

/// Sessions read from the store at a time during warm-up.
const WARM_UP_PAGE: usize = 1000;

impl Router {
    /// A router that appends to `store` and pushes through `delivery`. It must be warmed up before it serves.
    pub fn new(
        options: Options,
        store: Arc<dyn SessionStore>,
        delivery: Arc<dyn Delivery>,
        metrics: Metrics,
    ) -> Self {
        Self { options, store, delivery, metrics, scopes: RwLock::default(), sessions: RwLock::default() }
    }

    /// Loads the subscriptions of all persistent sessions; returns how many sessions there are.
    pub fn warm_up(&self) -> Result<usize, Error> {
        let (mut after, mut count) = (0, 0);
        loop {
            let page = self.store.persistent_sessions(after, WARM_UP_PAGE)?;
            let Some(last) = page.last() else { return Ok(count) };
            after = last.session.0;
            count += page.len();
            for record in &page {
                self.attach(record.session, record.scope, true, Address::NONE);
                self.subscribe(record.session, &record.subscriptions);
            }
        }
    }

    /// The tables of `scope`, made at its first use.
    pub(crate) fn scope(&self, scope: Scope) -> Arc<ScopeTables> {
        if let Some(tables) = self.scopes.read().get(&scope) {
            return tables.clone();
        }
        self.scopes.write().entry(scope).or_insert_with(|| Arc::new(ScopeTables::new(scope))).clone()
    }

    fn subscriber(&self, session: SessionId) -> Option<Arc<Subscriber>> {
        self.sessions.read().get(&session).cloned()
    }

    /// The queue of `session` holds `entry`; returns where to push it.
    pub(crate) fn appended(&self, session: SessionId, entry: EntryId) -> Address {
        self.sessions.read().get(&session).map_or(Address::NONE, |subscriber| subscriber.appended(entry))
    }

    /// A connection owns the session. Returns the highest entry of its queue whose push may have gone elsewhere since
    /// the session was claimed.
    pub(crate) fn attach(
        &self,
        session: SessionId,
        scope: Scope,
        persistent: bool,
        address: Address,
    ) -> EntryId {
        let tables = self.scope(scope);
        let (subscriber, tail) = {
            let mut sessions = self.sessions.write();
            let known = sessions.entry(session).or_insert_with(|| Arc::new(Subscriber::new(session, tables)));
            (known.clone(), known.come(address, persistent))
        };
        changed(&subscriber);
        tail
    }

    /// The connection at `address` is gone: without effect if the session is elsewhere by now.
    pub(crate) fn detach(&self, session: SessionId, address: Address, persistent: bool) {
        // Locked throughout: between leaving and being forgotten nobody attaches.
        let mut sessions = self.sessions.write();
        let Some(subscriber) = sessions.get(&session).filter(|subscriber| subscriber.leave(address)) else {
            return;
        };
        if persistent {
            return changed(subscriber);
        }
        if let Some(subscriber) = sessions.remove(&session) {
            withdraw(subscriber);
        }
    }

    /// Removes a session and its subscriptions.
    pub fn forget(&self, session: SessionId) {
        // Locked until its filters are out: an index entry is the session's, whichever subscriber put it there.
        let mut sessions = self.sessions.write();
        if let Some(subscriber) = sessions.remove(&session) {
            withdraw(subscriber);
        }
    }

    /// Installs subscriptions; tells for each whether its filter was new to the session.
    pub(crate) fn subscribe(&self, session: SessionId, subscriptions: &[Subscription]) -> Vec<bool> {
        let nobody = || vec![false; subscriptions.len()];
        let Some(subscriber) = self.subscriber(session) else { return nobody() };
        let member = Member(subscriber.clone());
        let new = {
            let mut tables = subscriber.tables.tables.write();
            let mut filters = subscriber.filters();
            let Some(filters) = filters.as_mut() else { return nobody() };
            let install = |subscription: &Subscription| {
                let options = SubscribeOptions::from(subscription);
                let replaced = tables.subscriptions.insert(&subscription.filter, member.clone(), options);
                if replaced.is_none() {
                    // The list must not keep the receive buffer of the packet alive.
                    filters.push(subscription.filter.compact());
                }
                replaced.is_none()
            };
            subscriptions.iter().map(install).collect()
        };
        subscriber.tables.bump();
        new
    }

    /// Removes subscriptions; tells for each filter whether there was one.
    pub(crate) fn unsubscribe(&self, session: SessionId, unwanted: &[Utf8Bytes]) -> Vec<bool> {
        let nobody = || vec![false; unwanted.len()];
        let Some(subscriber) = self.subscriber(session) else { return nobody() };
        let member = Member(subscriber.clone());
        let existed = {
            let mut tables = subscriber.tables.tables.write();
            let mut filters = subscriber.filters();
            let Some(filters) = filters.as_mut() else { return nobody() };
            let remove = |filter: &Utf8Bytes| {
                filters.retain(|known| known != filter);
                tables.subscriptions.remove(filter, &member).is_some()
            };
            unwanted.iter().map(remove).collect()
        };
        subscriber.tables.bump();
        existed
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

/// Plans that name the session are no longer right.
fn changed(subscriber: &Subscriber) {
    if subscriber.has_subscriptions() {
        subscriber.tables.bump();
    }
}

/// Takes the subscriptions of a session that is gone out of the tables.
fn withdraw(subscriber: Arc<Subscriber>) {
    let filters = subscriber.filters().take().unwrap_or_default();
    if filters.is_empty() {
        return;
    }
    let member = Member(subscriber);
    let mut tables = member.0.tables.tables.write();
    for filter in &filters {
        tables.subscriptions.remove(filter, &member);
    }
    drop(tables);
    member.0.tables.bump();
}
