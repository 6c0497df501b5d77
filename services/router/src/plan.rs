//! Everything a publish to one topic leads to, computed once and reused while no subscription, rule or connection changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fleethaven_fabric::delivery::{Address, Target};
use fleethaven_storage::{RuleRef, SessionId};
use fleethaven_topics::index::Options;
use fleethaven_topics::{matches, name};
use fleethaven_types::{QoS, Utf8Bytes};
use rustc_hash::FxHashMap;

use crate::tables::{Member, ScopeTables, SubscribeOptions, Tables};

/// Targets of one core, shared by all pushes of the same plan.
type CoreTargets = Vec<(u8, Arc<[Target]>)>;

/// Where messages of one topic go.
pub struct Plan {
    pub(crate) version: u64,
    /// Receivers of a QoS 0 message: every live session.
    pub(crate) best_effort: CoreTargets,
    /// Live receivers of a QoS ≥ 1 message that need no durable queue.
    pub(crate) direct: CoreTargets,
    /// Durable queues that a QoS ≥ 1 message goes to.
    pub(crate) queues: Vec<QueueTarget>,
    /// Rules that see it.
    pub(crate) rules: Vec<RuleRef>,
    /// A Basic Ingest topic whose rule is not there.
    pub(crate) rule_not_found: bool,
}

/// A persistent session whose queue gets QoS ≥ 1 messages.
pub(crate) struct QueueTarget {
    pub(crate) session: SessionId,
    pub(crate) qos: QoS,
    pub(crate) retain_as_published: bool,
    pub(crate) no_local: bool,
    pub(crate) identifiers: Box<[u32]>,
}

/// One session's matching subscriptions, merged: one copy with the highest granted QoS and all identifiers.
struct Merged {
    member: Member,
    qos: QoS,
    no_local: bool,
    retain_as_published: bool,
    identifiers: Vec<u32>,
}

impl Plan {
    /// Computes the plan for `topic`. The version is read first: a change during the computation makes the plan stale.
    pub(crate) fn compute(scope: &ScopeTables, topic: &str, hash_matches_parent: bool) -> Self {
        let version = scope.version();
        let tables = scope.tables.read();
        if let Some((rule, rest)) = name::basic_ingest(topic) {
            return Self::basic_ingest(version, &tables, rule, rest, hash_matches_parent);
        }
        let merged = merge(&tables, topic, hash_matches_parent);
        let mut rules = Vec::new();
        // A rule's `a/#` does not match `a`, whatever the listener does for subscribers (rules-sql 4.1).
        let exact = Options { hash_matches_parent: false };
        tables.rules.matches(topic, &exact, &mut |_, rule: &RuleRef| rules.push(rule.clone()));
        drop(tables);
        let durable = |merged: &Merged| {
            merged.qos != QoS::AtMostOnce && merged.member.0.persistent.load(Ordering::Acquire)
        };
        let best_effort = by_core(merged.iter());
        let (queued, direct): (Vec<_>, Vec<_>) = merged.iter().partition(|merged| durable(merged));
        let direct = if queued.is_empty() { best_effort.clone() } else { by_core(direct.into_iter()) };
        let queues = queued.into_iter().map(queue_target).collect();
        Self { version, best_effort, direct, queues, rules, rule_not_found: false }
    }

    /// `$aws/rules/{rule}/{rest}` goes to that rule only, if the rule's filter matches the rest.
    fn basic_ingest(
        version: u64,
        tables: &Tables,
        rule: &str,
        rest: &str,
        hash_matches_parent: bool,
    ) -> Self {
        let found = tables.rules_by_name.get(rule);
        let runs = |filter: &Option<Utf8Bytes>| {
            filter.as_ref().is_none_or(|filter| matches(filter, rest, hash_matches_parent))
        };
        let rules = found.filter(|(_, filter)| runs(filter)).map(|(rule, _)| rule.clone());
        Self {
            version,
            best_effort: Vec::new(),
            direct: Vec::new(),
            queues: Vec::new(),
            rules: rules.into_iter().collect(),
            rule_not_found: found.is_none(),
        }
    }

    /// Whether anyone gets the message.
    pub(crate) fn matches_anyone(&self) -> bool {
        !(self.best_effort.is_empty() && self.queues.is_empty() && self.rules.is_empty())
    }
}

fn merge(tables: &Tables, topic: &str, hash_matches_parent: bool) -> Vec<Merged> {
    let mut merged: Vec<Merged> = Vec::new();
    let mut by_session: FxHashMap<SessionId, usize> = FxHashMap::default();
    tables.subscriptions.matches(
        topic,
        &Options { hash_matches_parent },
        &mut |member: &Member, options: &SubscribeOptions| {
            let index = *by_session.entry(member.0.session).or_insert(merged.len());
            match merged.get_mut(index) {
                Some(known) => known.add(options),
                None => merged.push(Merged {
                    member: member.clone(),
                    qos: options.qos,
                    no_local: options.no_local,
                    retain_as_published: options.retain_as_published,
                    identifiers: options.identifier.into_iter().collect(),
                }),
            }
        },
    );
    merged
}

impl Merged {
    fn add(&mut self, options: &SubscribeOptions) {
        self.qos = self.qos.max(options.qos);
        self.no_local &= options.no_local;
        self.retain_as_published |= options.retain_as_published;
        self.identifiers.extend(options.identifier);
    }
}

fn by_core<'a>(merged: impl Iterator<Item = &'a Merged>) -> CoreTargets {
    let mut cores: Vec<(u8, Vec<Target>)> = Vec::new();
    for receiver in merged {
        let address = receiver.member.0.address();
        if address == Address::NONE {
            continue;
        }
        let target = Target {
            address,
            session: receiver.member.0.session,
            qos: receiver.qos,
            retain_as_published: receiver.retain_as_published,
            no_local: receiver.no_local,
            identifiers: receiver.identifiers.as_slice().into(),
        };
        match cores.iter_mut().find(|(core, _)| *core == address.core()) {
            Some((_, targets)) => targets.push(target),
            None => cores.push((address.core(), vec![target])),
        }
    }
    cores.into_iter().map(|(core, targets)| (core, targets.into())).collect()
}

fn queue_target(merged: &Merged) -> QueueTarget {
    QueueTarget {
        session: merged.member.0.session,
        qos: merged.qos,
        retain_as_published: merged.retain_as_published,
        no_local: merged.no_local,
        identifiers: merged.identifiers.as_slice().into(),
    }
}

/// A lane's plans by topic. Bounded: at the bound everything is forgotten, which costs one computation per topic in use.
#[derive(Default)]
pub(crate) struct PlanCache {
    plans: FxHashMap<(fleethaven_types::Scope, Utf8Bytes), Arc<Plan>>,
}

/// Topics a lane remembers.
const CACHE_BOUND: usize = 16_384;

impl PlanCache {
    /// The plan for `topic` if it was computed at `version`.
    pub(crate) fn get(&self, scope: &ScopeTables, topic: &Utf8Bytes, version: u64) -> Option<Arc<Plan>> {
        let key = (scope.scope, topic.clone());
        self.plans.get(&key).filter(|plan| plan.version == version).cloned()
    }

    pub(crate) fn insert(&mut self, scope: &ScopeTables, topic: &Utf8Bytes, plan: Arc<Plan>) {
        if self.plans.len() >= CACHE_BOUND {
            self.plans.clear();
        }
        // The key must not keep the receive buffer of the packet alive.
        self.plans.insert((scope.scope, topic.compact()), plan);
    }
}
