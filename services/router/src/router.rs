//! The tables shared by all lanes: who is subscribed to what, and where they are.

use std::sync::Arc;

use fleethaven_fabric::Delivery;
use fleethaven_fabric::delivery::Address;
use fleethaven_storage::{Error, RuleRef, SessionId, SessionStore, Subscription};
use fleethaven_types::{Scope, Utf8Bytes};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use crate::metrics::Metrics;
use crate::tables::{Member, ScopeTables, SubscribeOptions, Subscriber};

/// How the router matches.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether `a/#` matches `a`.
    pub hash_matches_parent: bool,
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

    pub(crate) fn subscriber(&self, session: SessionId) -> Option<Arc<Subscriber>> {
        self.sessions.read().get(&session).cloned()
    }

    pub(crate) fn attach(&self, session: SessionId, scope: Scope, persistent: bool, address: Address) {
        let known = self.subscriber(session);
        let subscriber = known.unwrap_or_else(|| {
            let subscriber = Arc::new(Subscriber::new(session, self.scope(scope), persistent, address));
            self.sessions.write().entry(session).or_insert(subscriber).clone()
        });
        subscriber.set_address(address);
        subscriber.persistent.store(persistent, std::sync::atomic::Ordering::Release);
        if subscriber.has_subscriptions() {
            subscriber.tables.bump();
        }
    }

    pub(crate) fn detach(&self, session: SessionId, address: Address, persistent: bool) {
        let Some(subscriber) = self.subscriber(session) else { return };
        if !subscriber.leave(address) {
            return;
        }
        if !persistent {
            self.forget(session);
        } else if subscriber.has_subscriptions() {
            subscriber.tables.bump();
        }
    }

    /// Removes a session and its subscriptions.
    pub fn forget(&self, session: SessionId) {
        let Some(subscriber) = self.sessions.write().remove(&session) else { return };
        let filters = std::mem::take(&mut *subscriber.filters.lock());
        if filters.is_empty() {
            return;
        }
        let member = Member(subscriber.clone());
        let mut tables = subscriber.tables.tables.write();
        for filter in &filters {
            tables.subscriptions.remove(filter, &member);
        }
        drop(tables);
        subscriber.tables.bump();
    }

    /// Installs subscriptions; tells for each whether its filter was new to the session.
    pub(crate) fn subscribe(&self, session: SessionId, subscriptions: &[Subscription]) -> Vec<bool> {
        let Some(subscriber) = self.subscriber(session) else { return vec![false; subscriptions.len()] };
        let member = Member(subscriber.clone());
        let mut tables = subscriber.tables.tables.write();
        let mut filters = subscriber.filters.lock();
        let new = subscriptions.iter().map(|subscription| {
            let options = SubscribeOptions::from(subscription);
            let replaced = tables.subscriptions.insert(&subscription.filter, member.clone(), options);
            if replaced.is_none() {
                filters.push(subscription.filter.clone());
            }
            replaced.is_none()
        });
        let new = new.collect();
        drop((filters, tables));
        subscriber.tables.bump();
        new
    }

    /// Removes subscriptions; tells for each filter whether there was one.
    pub(crate) fn unsubscribe(&self, session: SessionId, filters: &[Utf8Bytes]) -> Vec<bool> {
        let Some(subscriber) = self.subscriber(session) else { return vec![false; filters.len()] };
        let member = Member(subscriber.clone());
        let mut tables = subscriber.tables.tables.write();
        let mut held = subscriber.filters.lock();
        let existed = filters.iter().map(|filter| {
            held.retain(|known| known != filter);
            tables.subscriptions.remove(filter, &member).is_some()
        });
        let existed = existed.collect();
        drop((held, tables));
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

    /// Sessions known, live or not.
    pub fn session_count(&self) -> usize {
        self.sessions.read().len()
    }
}
