//! Everything a publish to one topic leads to, computed once and reused while no subscription, rule or connection changes.

use std::sync::Arc;

use fleethaven_fabric::delivery::{Address, Origin, Target};
use fleethaven_storage::{RuleRef, SessionId};
use fleethaven_topics::index::Options;
use fleethaven_topics::{matches, reserved};
use fleethaven_types::{Behaviour, QoS, Utf8Bytes};
use rustc_hash::FxHashMap;

use crate::group::{Group, LiveMember};
use crate::tables::{Member, ScopeTables, SubscribeOptions, Tables};

/// Targets of one core, shared by all pushes of the same plan.
type CoreTargets = Vec<(u16, Arc<[Target]>)>;

/// Where messages of one topic go.
pub(crate) struct Plan {
    pub(crate) version: u64,
    /// Receivers of a QoS 0 message: every live session.
    best_effort: CoreTargets,
    /// Live receivers of a QoS ≥ 1 message that need no durable queue; `None` when they are the same.
    direct: Option<CoreTargets>,
    /// Durable queues that a QoS ≥ 1 message goes to.
    pub(crate) queues: Vec<QueueTarget>,
    /// Groups of which one member gets it.
    pub(crate) groups: Vec<GroupPlan>,
    /// Rules that see it.
    pub(crate) rules: Vec<RuleRef>,
    /// A Basic Ingest topic whose rule is not there.
    pub(crate) rule_not_found: bool,
    /// A message can be retained here.
    pub(crate) retainable: bool,
}

/// A group that matches, and the members that are there.
pub(crate) struct GroupPlan {
    pub(crate) group: Arc<Group>,
    pub(crate) live: Arc<[LiveMember]>,
}

/// A persistent session whose queue gets QoS ≥ 1 messages.
pub(crate) struct QueueTarget {
    pub(crate) session: SessionId,
    pub(crate) qos: QoS,
    pub(crate) retain_as_published: bool,
    pub(crate) origin: Origin,
    pub(crate) identifiers: Box<[u32]>,
}

/// What one session gets of the messages of one origin.
struct Receiver {
    member: Member,
    origin: Origin,
    granted: Granted,
}

/// Matching subscriptions, merged: one copy with the highest granted QoS and all identifiers.
#[derive(Clone)]
struct Granted {
    qos: QoS,
    retain_as_published: bool,
    identifiers: Vec<u32>,
}

/// One session's matching subscriptions.
struct Merged {
    member: Member,
    /// No Local of the first one.
    no_local: bool,
    all: Granted,
    /// Those without No Local, once there are both kinds.
    own: Option<Granted>,
}

/// Subscription Identifiers that count as much as a receiver.
const IDENTIFIERS_A_PIECE: usize = 16;
/// A rule's `a/#` does not match `a`, whatever the listener does for subscribers (rules-sql 4.1).
const RULE_HASH_MATCHES_PARENT: bool = false;

impl Plan {
    /// Computes the plan for `topic`. The version is read first: a change during the computation makes the plan stale.
    pub(crate) fn compute(scope: &ScopeTables, topic: &str, behaviour: &Behaviour) -> Self {
        let version = scope.version();
        let tables = scope.tables.read();
        if let Some((rule, rest)) = reserved::basic_ingest(topic) {
            return Self::basic_ingest(version, &tables, rule, rest);
        }
        let delivered = reserved::is_deliverable(topic, behaviour);
        let receivers =
            if delivered { receivers(&tables, topic, behaviour.hash_matches_parent) } else { Vec::new() };
        let groups =
            if delivered { groups(&tables, topic, behaviour.hash_matches_parent) } else { Vec::new() };
        let rules = matching_rules(&tables, topic);
        drop(tables);
        let durable = |receiver: &&Receiver| {
            receiver.granted.qos != QoS::AtMostOnce && receiver.member.0.is_persistent()
        };
        let (queued, direct): (Vec<_>, Vec<_>) = receivers.iter().partition(durable);
        Self {
            version,
            best_effort: by_core(receivers.iter()),
            direct: (!queued.is_empty()).then(|| by_core(direct.into_iter())),
            queues: queued.into_iter().map(queue_target).collect(),
            groups,
            rules,
            rule_not_found: false,
            retainable: !reserved::is_reserved(topic, behaviour),
        }
    }

    /// `$aws/rules/{rule}/{rest}` goes to that rule only, if the rule's filter matches the rest.
    fn basic_ingest(version: u64, tables: &Tables, rule: &str, rest: &str) -> Self {
        let found = tables.rules_by_name.get(rule);
        let runs = |filter: &Option<Utf8Bytes>| {
            filter.as_ref().is_none_or(|filter| matches(filter, rest, RULE_HASH_MATCHES_PARENT))
        };
        let rules = found.filter(|(_, filter)| runs(filter)).map(|(rule, _)| rule.clone());
        Self {
            version,
            best_effort: Vec::new(),
            direct: None,
            queues: Vec::new(),
            groups: Vec::new(),
            rules: rules.into_iter().collect(),
            rule_not_found: found.is_none(),
            retainable: false,
        }
    }

    /// Live receivers of a message that is acknowledged to its publisher, or not.
    pub(crate) fn receivers(&self, acknowledged: bool) -> &[(u16, Arc<[Target]>)] {
        self.direct.as_ref().filter(|_| acknowledged).unwrap_or(&self.best_effort)
    }

    /// Whether anyone gets the message.
    pub(crate) fn matches_anyone(&self) -> bool {
        let subscribed = !(self.best_effort.is_empty() && self.queues.is_empty() && self.groups.is_empty());
        subscribed || !self.rules.is_empty()
    }

    /// What it takes up in a cache, in pieces of some 64 bytes: receivers with their Subscription Identifiers, and rules.
    pub(crate) fn weight(&self) -> usize {
        let target = |target: &Target| 1 + target.identifiers.len() / IDENTIFIERS_A_PIECE;
        let targets = |(_, targets): &(u16, Arc<[Target]>)| targets.iter().map(target).sum::<usize>();
        let cores = |cores: &CoreTargets| cores.iter().map(targets).sum::<usize>();
        let live = cores(&self.best_effort) + self.direct.as_ref().map_or(0, cores);
        let queue = |queue: &QueueTarget| 1 + queue.identifiers.len() / IDENTIFIERS_A_PIECE;
        live + self.queues.iter().map(queue).sum::<usize>() + self.groups.len() + self.rules.len()
    }
}

fn matching_rules(tables: &Tables, topic: &str) -> Vec<RuleRef> {
    let mut rules = Vec::new();
    if !reserved::is_for_requester_only(topic) {
        let options = Options { hash_matches_parent: RULE_HASH_MATCHES_PARENT };
        tables.rules.matches(topic, &options, &mut |_, rule: &RuleRef| rules.push(rule.clone()));
    }
    rules
}

fn groups(tables: &Tables, topic: &str, hash_matches_parent: bool) -> Vec<GroupPlan> {
    let mut found = Vec::new();
    tables.groups.matches(topic, &Options { hash_matches_parent }, &mut |_, group: &Arc<Group>| {
        found.push(GroupPlan { group: group.clone(), live: group.live() });
    });
    found
}

fn receivers(tables: &Tables, topic: &str, hash_matches_parent: bool) -> Vec<Receiver> {
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
                    no_local: options.no_local,
                    all: Granted::new(options),
                    own: None,
                }),
            }
        },
    );
    let mut receivers = Vec::with_capacity(merged.len());
    merged.into_iter().for_each(|merged| merged.split(&mut receivers));
    receivers
}

impl Granted {
    fn new(options: &SubscribeOptions) -> Self {
        Self {
            qos: options.qos,
            retain_as_published: options.retain_as_published,
            identifiers: options.identifier.into_iter().collect(),
        }
    }

    fn add(&mut self, options: &SubscribeOptions) {
        self.qos = self.qos.max(options.qos);
        self.retain_as_published |= options.retain_as_published;
        self.identifiers.extend(options.identifier);
    }
}

impl Merged {
    fn add(&mut self, options: &SubscribeOptions) {
        match &mut self.own {
            Some(own) if !options.no_local => own.add(options),
            None if options.no_local && !self.no_local => self.own = Some(self.all.clone()),
            None if !options.no_local && self.no_local => self.own = Some(Granted::new(options)),
            _ => {}
        }
        self.all.add(options);
    }

    fn split(self, receivers: &mut Vec<Receiver>) {
        let Self { member, no_local, all, own } = self;
        let origin = if no_local || own.is_some() { Origin::Others } else { Origin::Any };
        if let Some(granted) = own {
            receivers.push(Receiver { member: member.clone(), origin: Origin::Own, granted });
        }
        receivers.push(Receiver { member, origin, granted: all });
    }
}

fn by_core<'a>(receivers: impl Iterator<Item = &'a Receiver>) -> CoreTargets {
    let mut cores: Vec<(u16, Vec<Target>)> = Vec::new();
    for Receiver { member, origin, granted } in receivers {
        let address = member.0.address();
        if address == Address::NONE {
            continue;
        }
        let target = Target {
            address,
            session: member.0.session,
            qos: granted.qos,
            retain_as_published: granted.retain_as_published,
            origin: *origin,
            identifiers: granted.identifiers.as_slice().into(),
        };
        match cores.iter_mut().find(|(core, _)| *core == address.core()) {
            Some((_, targets)) => targets.push(target),
            None => cores.push((address.core(), vec![target])),
        }
    }
    cores.into_iter().map(|(core, targets)| (core, targets.into())).collect()
}

fn queue_target(Receiver { member, origin, granted }: &Receiver) -> QueueTarget {
    QueueTarget {
        session: member.0.session,
        qos: granted.qos,
        retain_as_published: granted.retain_as_published,
        origin: *origin,
        identifiers: granted.identifiers.as_slice().into(),
    }
}
