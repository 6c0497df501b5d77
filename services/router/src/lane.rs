//! One core's way into the router.

use std::sync::Arc;

use fleethaven_fabric::delivery::{Address, Push, Target};
use fleethaven_fabric::routing::QueuePosition;
use fleethaven_fabric::{Routing, RoutingEvent, RoutingRequest};
use fleethaven_storage::{
    Append, Appended, Completion, DurablePublish, Error, Lane as StoreLane, Request, RetainedChange,
    SessionId, Ticket, Wake,
};
use fleethaven_types::{Message, QoS};

use crate::plan::{Plan, PlanCache, QueueTarget};
use crate::router::Router;
use crate::tables::ScopeTables;

/// Ticket of durable publishes that nobody waits for.
const NOBODY: Ticket = Ticket(u64::MAX);

/// A lane: matches in the caller's thread, reads shared tables, and stages its pushes and store requests per batch.
pub struct Lane {
    router: Arc<Router>,
    store: Box<dyn StoreLane>,
    plans: PlanCache,
    /// The scope of the last publish: nearly always that of the next one.
    scope: Option<Arc<ScopeTables>>,
    events: Vec<RoutingEvent>,
    durable: Vec<Request>,
    completions: Vec<Completion>,
    /// Pushes staged for each core.
    pushes: Vec<Vec<Push>>,
}

impl Lane {
    /// A lane whose owner is woken through `wake` when durable publishes complete.
    pub fn new(router: Arc<Router>, wake: Arc<dyn Wake>) -> Self {
        let store = router.store.lane(wake);
        Self {
            router,
            store,
            plans: PlanCache::default(),
            scope: None,
            events: Vec::new(),
            durable: Vec::new(),
            completions: Vec::new(),
            pushes: Vec::new(),
        }
    }

    fn handle(&mut self, request: RoutingRequest) {
        match request {
            RoutingRequest::Publish { ticket, message, from } => self.publish(ticket, message, from),
            RoutingRequest::Attach { session, scope, persistent, address } => {
                self.router.attach(session, scope, persistent, address);
            }
            RoutingRequest::Detach { session, address, persistent } => {
                self.router.detach(session, address, persistent)
            }
            RoutingRequest::Forget { session } => self.router.forget(session),
            RoutingRequest::Subscribe { ticket, session, subscriptions } => {
                let new = self.router.subscribe(session, &subscriptions);
                self.events.push(RoutingEvent::Subscribed { ticket, new });
            }
            RoutingRequest::Unsubscribe { ticket, session, filters } => {
                let existed = self.router.unsubscribe(session, &filters);
                self.events.push(RoutingEvent::Unsubscribed { ticket, existed });
            }
        }
    }

    fn publish(&mut self, ticket: Option<Ticket>, message: Arc<Message>, from: Option<SessionId>) {
        let plan = self.plan(&message);
        if plan.rule_not_found {
            self.router.metrics.rule_not_found.inc();
            tracing::info!(
                account = %message.publisher.scope.account, topic = %message.topic,
                trace_id = format_args!("{:032x}", message.trace_id()), event = "RuleNotFound", "no such rule"
            );
        }
        let acknowledged = message.qos != QoS::AtMostOnce;
        let targets = if acknowledged { &plan.direct } else { &plan.best_effort };
        for (core, targets) in targets {
            self.push(*core, Push::Direct { message: message.clone(), targets: Arc::clone(targets), from });
        }
        let queues = if acknowledged { queues(&plan.queues, &message, from) } else { Vec::new() };
        let retained = retained_change(&message);
        let (matched, rules) = (plan.matches_anyone(), plan.rules.clone());
        if !rules.is_empty() {
            self.router.metrics.rule_matches.inc();
        }
        if queues.is_empty() && rules.is_empty() && retained == RetainedChange::Keep {
            if let Some(ticket) = ticket {
                self.events.push(RoutingEvent::Published { ticket, matched, result: Ok(()) });
            }
            return;
        }
        self.router.metrics.durable_publishes.inc();
        let ticket = ticket.unwrap_or(NOBODY);
        let publish = DurablePublish { ticket, message, queues, rules, retained };
        self.durable.push(Request::Publish(Box::new(publish)));
    }

    fn plan(&mut self, message: &Message) -> Arc<Plan> {
        let wanted = message.publisher.scope;
        let scope = match &self.scope {
            Some(scope) if scope.scope == wanted => scope.clone(),
            _ => self.router.scope(wanted),
        };
        let version = scope.version();
        let plan = self.plans.get(&scope, &message.topic, version).unwrap_or_else(|| {
            self.router.metrics.plans_computed.inc();
            let plan =
                Arc::new(Plan::compute(&scope, &message.topic, self.router.options.hash_matches_parent));
            self.plans.insert(&scope, &message.topic, plan.clone());
            plan
        });
        self.scope = Some(scope);
        plan
    }

    fn push(&mut self, core: u8, push: Push) {
        let index = usize::from(core);
        if self.pushes.len() <= index {
            self.pushes.resize_with(index + 1, Vec::new);
        }
        if let Some(staged) = self.pushes.get_mut(index) {
            staged.push(push);
        }
    }

    fn flush(&mut self) {
        if !self.durable.is_empty() {
            self.store.submit(&mut self.durable);
        }
        for (core, staged) in self.pushes.iter_mut().enumerate() {
            if !staged.is_empty() {
                self.router.delivery.push(core as u8, staged);
            }
        }
    }

    fn complete(&mut self, completion: Completion) {
        // This lane submits publishes only.
        let Completion::Published { ticket, message, result } = completion else { return };
        let result = result.map(|appended| {
            for (append, at) in appended {
                self.push_queued(&message, append, at);
            }
        });
        if ticket != NOBODY {
            self.events.push(RoutingEvent::Published { ticket, matched: true, result });
        } else if let Err(Error::Unavailable(reason)) = result {
            tracing::error!(topic = %message.topic, reason, "a message could not be handed to rules or retained");
        }
    }

    /// Tells the live owner of a queue what was appended to it.
    fn push_queued(&mut self, message: &Arc<Message>, append: Append, at: Appended) {
        match at {
            Appended::At { entry, previous } => {
                let address = self.router.subscriber(append.session).map_or(Address::NONE, |s| s.address());
                if address == Address::NONE {
                    return;
                }
                let position = QueuePosition { entry, previous };
                let Append { session, qos, retain, identifiers } = append;
                let message = message.clone();
                self.push(
                    address.core(),
                    Push::Queued { message, address, session, qos, retain, identifiers, position },
                );
            }
            Appended::Overflow => {
                self.router.metrics.queue_overflows.inc();
                tracing::debug!(session = append.session.0, topic = %message.topic, "queue full, message dropped");
            }
            Appended::NoSession => {}
        }
    }
}

impl Routing for Lane {
    fn submit(&mut self, requests: &mut Vec<RoutingRequest>) {
        for request in requests.drain(..) {
            self.handle(request);
        }
        self.flush();
    }

    fn drain(&mut self, events: &mut Vec<RoutingEvent>) {
        let mut completions = std::mem::take(&mut self.completions);
        self.store.drain(&mut completions);
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.completions = completions;
        self.flush();
        events.append(&mut self.events);
    }

    fn is_congested(&self) -> bool {
        self.store.is_congested()
    }
}

/// The queue appends of one message.
fn queues(targets: &[QueueTarget], message: &Message, from: Option<SessionId>) -> Vec<Append> {
    let wanted = targets.iter().filter(|target| !(target.no_local && Some(target.session) == from));
    wanted
        .map(|target| Append {
            session: target.session,
            qos: target.qos.min(message.qos),
            retain: message.retain && target.retain_as_published,
            identifiers: target.identifiers.to_vec(),
        })
        .collect()
}

/// What the message does to its topic's retained message.
fn retained_change(message: &Message) -> RetainedChange {
    match (message.retain, message.payload.is_empty()) {
        (false, _) => RetainedChange::Keep,
        (true, true) => RetainedChange::Clear,
        (true, false) => RetainedChange::Set,
    }
}

/// QoS and RETAIN flag of a direct delivery of `message` to `target`; `None` when No Local forbids it.
pub fn delivery_of(message: &Message, target: &Target, from: Option<SessionId>) -> Option<(QoS, bool)> {
    let own = target.no_local && from == Some(target.session);
    (!own).then(|| (target.qos.min(message.qos), message.retain && target.retain_as_published))
}
