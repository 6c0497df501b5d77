//! One core's way into the router.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use fleethaven_fabric::delivery::{Address, Push};
use fleethaven_fabric::routing::{Owned, QueuePosition};
use fleethaven_fabric::{Routing, RoutingEvent, RoutingRequest};
use fleethaven_logging::{LogEvent, LogLevel};
use fleethaven_storage::{
    Append, Appended, Completion, DurablePublish, EntryId, Error, GroupId, Lane as StoreLane, Once, Request,
    RetainedChange, SessionId, Ticket, Wake,
};
use fleethaven_types::{Message, QoS, Scope};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::plan::{Plan, QueueTarget};
use crate::plans::Plans;
use crate::queued::Fate;
use crate::router::{Arrival, Installed, Router};
use crate::spans::{Reach, Routing as RoutingSpan, Spans};
use crate::staged::Staged;

mod sharing;

use sharing::{Homeless, Opening, Placement, Withheld};

/// Ticket of durable publishes that nobody waits for.
const NOBODY: Ticket = Ticket(u64::MAX);

/// A lane: matches in the caller's thread, reads shared tables, and stages its pushes and store requests per batch.
pub struct Lane {
    router: Arc<Router>,
    store: Box<dyn StoreLane>,
    plans: Plans,
    staged: Staged,
    completions: Vec<Completion>,
    /// Publishes on their way to the retained store only: nobody matched.
    unmatched: FxHashSet<Ticket>,
    /// Answers that wait for the queues of groups.
    opening: Vec<Opening>,
    next_open: u64,
    /// Messages that wait until their groups have queues again.
    homeless: Vec<Homeless>,
    /// Publishes that wait until this router knows the queues of their groups, in order.
    early: Vec<Early>,
    /// What waits for the store's answer to a message, by where that is kept; the oldest first.
    withheld: FxHashMap<usize, VecDeque<Withheld>>,
    spans: Spans,
    /// Requests that the store has not answered.
    unanswered: usize,
    /// Groups whose queues were asked for entries.
    claims: Vec<GroupId>,
}

/// A publish that nothing has been done of.
struct Early {
    ticket: Option<Ticket>,
    message: Arc<Message>,
    from: Option<SessionId>,
    once: Option<Once>,
    owned: Option<Owned>,
}

impl Lane {
    /// A lane whose owner is woken through `wake` when durable publishes complete.
    pub fn new(router: Arc<Router>, wake: Arc<dyn Wake>) -> Self {
        let store = router.store.lane(wake);
        Self {
            router,
            store,
            plans: Plans::default(),
            staged: Staged::default(),
            completions: Vec::new(),
            unmatched: FxHashSet::default(),
            opening: Vec::new(),
            next_open: 0,
            homeless: Vec::new(),
            early: Vec::new(),
            withheld: FxHashMap::default(),
            spans: Spans::default(),
            unanswered: 0,
            claims: Vec::new(),
        }
    }

    fn handle(&mut self, request: RoutingRequest) {
        match request {
            RoutingRequest::Publish { ticket, message, from, once, fence } => {
                self.publish(ticket, message, from, (once, fence))
            }
            RoutingRequest::Attach { session, scope, persistent, address, credit, owner } => {
                if !persistent {
                    self.moved(session, address);
                }
                let arrival = Arrival { persistent, address, credit, owner };
                let tail = self.router.attach(session, scope, arrival);
                if persistent && tail > EntryId::NONE {
                    self.staged.push(address.core(), Push::Tail { address, session, tail });
                }
                self.ready(session, false);
            }
            RoutingRequest::Ready { session, returned } => self.ready(session, returned),
            RoutingRequest::Return { session, shares, refused } => self.returned(session, shares, refused),
            RoutingRequest::Detach { session, address, persistent } => {
                let left = self.router.detach(session, address, persistent);
                self.take_back(left);
            }
            RoutingRequest::Forget { session } => {
                self.forget(session);
            }
            RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner } => {
                let Installed { new, over_quota, opening } =
                    self.router.subscribe(session, &subscriptions, owner);
                if let Some(version) = exact {
                    let wanted = subscriptions.iter().map(|subscription| &subscription.filter).collect();
                    let groups = self.router.groups_of(session);
                    if self.router.keep_only(session, &wanted, version, owner) {
                        self.dispatch_all(&groups, true);
                    }
                }
                self.open_groups(opening, RoutingEvent::Subscribed { ticket, new, over_quota });
                self.ready(session, false);
            }
            RoutingRequest::Unsubscribe { ticket, session, filters, owner } => {
                let existed = self.router.unsubscribe(session, &filters, owner);
                self.staged.events.push(RoutingEvent::Unsubscribed { ticket, existed });
            }
        }
    }

    fn forget(&mut self, session: SessionId) {
        let groups = self.router.groups_of(session);
        let left = self.router.forget(session);
        self.take_back(left);
        self.dispatch_all(&groups, true);
    }

    fn publish(
        &mut self,
        ticket: Option<Ticket>,
        message: Arc<Message>,
        from: Option<SessionId>,
        (once, owned): (Option<Once>, Option<Owned>),
    ) {
        let Self { router, plans, staged, early, .. } = self;
        let plan = plans.plan(router, &message);
        // One before it on the same topic may wait already.
        let follows = || early.iter().any(|before| before.message.topic == message.topic);
        if message.qos != QoS::AtMostOnce && (sharing::await_queues(router, &plan.groups) || follows()) {
            return self.early.push(Early { ticket, message, from, once, owned });
        }
        let mut span = RoutingSpan::of(&router.options.traces, &message);
        if plan.rule_not_found {
            router.metrics.rule_not_found.inc();
            tracing::error!(
                account = %message.publisher.scope.account, topic = %message.topic,
                client_id = message.publisher.client_id.as_deref(),
                trace_id = format_args!("{:032x}", message.trace_id()), event = "RuleNotFound", "no such rule"
            );
            let (event, logs) = ((LogEvent::RuleNotFound, LogLevel::Error), &router.options.logs);
            let (name, _) = fleethaven_topics::name::basic_ingest(&message.topic).unwrap_or_default();
            if let Some(entry) = logs.about_rule(&message.publisher, name, event, message.trace_id()) {
                let entry = entry.on(&message.topic);
                logs.write(entry.because("RuleNotFound", "no rule of this name is enabled"));
            }
        }
        let acknowledged = message.qos != QoS::AtMostOnce;
        // What happens once is pushed when the store has made sure that it does.
        if once.is_none() {
            push_direct(staged, plan, &message, from);
        }
        let mut queues = if acknowledged { queues(&plan.queues, &message, from) } else { Vec::new() };
        if router.options.queue_rates && !queues.is_empty() {
            router.throttle_queues(&mut queues, message.publisher.scope);
        }
        let (mut placements, mut charged) = (Vec::new(), Vec::new());
        for group in &plan.groups {
            let placement = sharing::place(router, group, &message);
            // What is pushed at once does not wait for the store.
            let waits = once.is_some() || matches!(placement, Placement::Queue(_));
            charged.extend(placement.charged().filter(|_| waits));
            match placement {
                Placement::Queue(append) => queues.push(append),
                Placement::Dropped => {}
                placement => placements.push(placement),
            }
        }
        let retained = if plan.retainable { retained_change(&message) } else { RetainedChange::Keep };
        staged.rule_matches += u64::from(!plan.rules.is_empty());
        let matched = plan.matches_anyone();
        let rules = plan.rules.clone();
        if let Some(span) = &mut span {
            let receivers = plan.receivers(acknowledged).iter().map(|(_, targets)| targets.len()).sum();
            span.reaches(&Reach { receivers, queues: queues.len(), rules: rules.len() });
        }
        if once.is_none() {
            self.share(&message, std::mem::take(&mut placements));
        }
        if !placements.is_empty() || !charged.is_empty() {
            self.withhold(&message, Withheld { placements, charged, moving: None });
        }
        let sure = owned.is_none_or(|owned| !owned.doubtful) || ticket.is_none();
        let nothing = queues.is_empty() && rules.is_empty() && retained == RetainedChange::Keep;
        if nothing && once.is_none() && sure {
            if let Some(span) = span {
                span.end();
            }
            if let Some(ticket) = ticket {
                self.staged.events.push(RoutingEvent::Published { ticket, matched, result: Ok(()) });
            }
            return;
        }
        if let Some(span) = span {
            self.spans.wait(span);
        }
        let ticket = ticket.unwrap_or(NOBODY);
        let fence = owned.map(|owned| owned.fence);
        let publish =
            DurablePublish { ticket, message, queues, rules, retained, replaces: None, once, fence };
        self.staged.durable.push(Request::Publish(Box::new(publish)));
        if !matched && ticket != NOBODY {
            self.unmatched.insert(ticket);
        }
    }

    /// Publishes what waited, as far as it need not any more. What is of a slot that others are to own is left to them: they may be who
    /// makes the queue that it waits for, and get the slot only once nothing here is unanswered.
    fn publish_early(&mut self) {
        let leaves = |early: &Early| early.owned.is_some_and(|owned| !self.router.serves(owned.fence));
        if self.early.iter().any(leaves) {
            self.refuse_early(&Error::Unavailable("the slot is another router's to serve".to_owned()));
        }
        for early in std::mem::take(&mut self.early) {
            let Early { ticket, message, from, once, owned } = early;
            self.publish(ticket, message, from, (once, owned));
        }
    }

    /// A message has failed that its gateway sends again, with all that came after it: what waits here must not overtake it.
    fn refuse_early(&mut self, error: &Error) {
        let refused = self.early.extract_if(.., |early| early.ticket.is_some());
        let refusal = |early: Early| {
            let result = Err(error.clone());
            Some(RoutingEvent::Published { ticket: early.ticket?, matched: true, result })
        };
        self.staged.events.extend(refused.filter_map(refusal));
    }

    fn flush(&mut self) {
        self.staged.durable.extend(self.router.take_ended());
        let answered = |request: &&Request| {
            matches!(
                request,
                Request::Publish(_)
                    | Request::OpenGroup(_)
                    | Request::ClaimShares { .. }
                    | Request::HeldShares { .. }
            )
        };
        self.unanswered += self.staged.durable.iter().filter(answered).count();
        let Router { delivery, metrics, .. } = &*self.router;
        self.staged.flush(&mut *self.store, &**delivery, metrics);
    }

    fn complete(&mut self, completion: Completion) {
        self.unanswered = self.unanswered.saturating_sub(1);
        let (ticket, message, once, result) = match completion {
            Completion::Published { ticket, message, once, result } => (ticket, message, once, result),
            Completion::GroupOpened { ticket, result } => return self.group_opened(ticket, result),
            Completion::SharesClaimed { group, result, .. } => return self.shares_claimed(group, result),
            // At the next sweep, if not now.
            Completion::SharesHeld { group, result, .. } => {
                return result.iter().for_each(|held| self.shares_held(group, held));
            }
            // This lane asks for nothing else.
            _ => return,
        };
        let traces = &self.router.options.traces;
        if traces.is_on() {
            self.spans.done(traces, &message, result.as_ref().err());
        }
        let withheld = self.take_withheld(&message);
        if let Some(once) = once.filter(|_| result.is_ok()) {
            self.push_once(&message, once);
        }
        if let Some(withheld) = withheld {
            match result.is_ok() {
                true => self.share(&message, withheld.placements),
                false => self.give_up(withheld),
            }
        }
        let result = match result {
            Ok(appended) => {
                let is_lost =
                    |(append, at): &(Append, Appended)| append.share.is_some() && *at == Appended::NoSession;
                let (lost, appended): (Vec<_>, Vec<_>) = appended.into_iter().partition(is_lost);
                for (append, at) in appended {
                    self.push_queued(&message, append, at);
                }
                if self.lose_queues(ticket, &message, lost.into_iter().map(|(append, _)| append)) {
                    return;
                }
                Ok(())
            }
            Err(error) => {
                if matches!(error, Error::Fenced | Error::Unavailable(_)) {
                    self.refuse_early(&error);
                }
                Err(error)
            }
        };
        if ticket != NOBODY {
            let matched = self.unmatched.is_empty() || !self.unmatched.remove(&ticket);
            self.staged.events.push(RoutingEvent::Published { ticket, matched, result });
        } else if let Err(error) = result.or_else(unless_done) {
            tracing::error!(topic = %message.topic, %error, "a message could not be handed to queues, rules or the retained store");
        }
    }

    /// Pushes a message that is now known to be published for the first time to those who need no durable queue.
    fn push_once(&mut self, message: &Arc<Message>, once: Once) {
        let from = match once {
            Once::Received { session, .. } => Some(session),
            Once::Will(_) => None,
        };
        let Self { router, plans, staged, .. } = self;
        push_direct(staged, plans.plan(router, message), message, from);
    }

    /// Tells the live owner of a queue what was appended to it.
    fn push_queued(&mut self, message: &Arc<Message>, append: Append, at: Appended) {
        if append.share.is_some() && !matches!(at, Appended::At { .. }) {
            return self.share_appended(message, append, at);
        }
        match at {
            Appended::At { entry, previous } => {
                let address = self.router.appended(append.session, entry);
                if address == Address::NONE {
                    return self.tell_queued(message, &append, Fate::Queued);
                }
                let position = QueuePosition { entry, previous };
                let Append { session, qos, retain, identifiers, share } = append;
                let message = message.clone();
                self.staged.push(
                    address.core(),
                    Push::Queued { message, address, session, qos, retain, identifiers, share, position },
                );
            }
            Appended::Overflow => {
                self.router.metrics.queue_overflows.inc();
                tracing::debug!(session = append.session.0, topic = %message.topic, "queue full, message dropped");
                self.tell_queued(message, &append, Fate::Dropped);
            }
            Appended::Held { .. } | Appended::Waiting | Appended::Gone => {}
            // Ids are not used again: what is subscribed under this one is left over.
            Appended::NoSession => drop(self.router.forget(append.session)),
        }
    }

    fn tell_queued(&self, message: &Arc<Message>, append: &Append, fate: Fate) {
        let Router { options, store, queued_log, .. } = &*self.router;
        queued_log.tell((&options.logs, store), append.session, message, (append.qos, fate));
    }
}

impl Routing for Lane {
    fn submit(&mut self, requests: &mut Vec<RoutingRequest>) {
        // Before what comes after it.
        self.publish_early();
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
        self.publish_early();
        self.rehouse();
        self.flush();
        events.append(&mut self.staged.events);
    }

    fn tick(&mut self, now: Instant) {
        self.refill(now);
        self.router.take_departed(now).into_iter().for_each(|session| self.forget(session));
        self.sweep_groups(now);
        self.publish_early();
        self.rehouse();
        // Also where nobody asks: whose lane made them may be gone.
        self.router.withdraw_some();
        self.flush();
    }

    fn has_leftovers(&self) -> bool {
        self.router.withdrawals.are_any()
    }

    fn tidy(&mut self) -> bool {
        let any = self.router.withdraw_some();
        // Of groups that nobody is a member of any more the store is told.
        self.flush();
        any
    }

    /// Shares that were asked for come, and go to members of other lanes, too.
    fn has_unanswered(&self) -> bool {
        self.unanswered > 0 || !self.homeless.is_empty() || !self.early.is_empty()
    }

    fn is_congested(&self) -> bool {
        self.store.is_congested()
    }

    fn subscription_count(&self, scope: Scope) -> u64 {
        self.router.subscription_count(scope)
    }

    fn reaches_anyone(&self, scope: Scope, topic: &str) -> bool {
        self.router.reaches_anyone(scope, topic)
    }
}

impl Drop for Lane {
    /// Other lanes ask for what was asked for here.
    fn drop(&mut self) {
        for group in std::mem::take(&mut self.claims) {
            self.router.group(group).iter().for_each(|group| group.unclaim());
        }
    }
}

/// Pushes to live receivers that need no durable queue.
fn push_direct(staged: &mut Staged, plan: &Plan, message: &Arc<Message>, from: Option<SessionId>) {
    for (core, targets) in plan.receivers(message.qos != QoS::AtMostOnce) {
        staged.push(*core, Push::Direct { message: message.clone(), targets: targets.clone(), from });
    }
}

/// That it had been done before is what was to be made sure of.
fn unless_done(error: Error) -> Result<(), Error> {
    if error == Error::AlreadyDone { Ok(()) } else { Err(error) }
}

/// The queue appends of one message.
fn queues(targets: &[QueueTarget], message: &Message, from: Option<SessionId>) -> Vec<Append> {
    let wanted = targets.iter().filter(|target| target.origin.accepts(Some(target.session) == from));
    wanted
        .map(|target| Append {
            session: target.session,
            qos: target.qos.min(message.qos),
            retain: message.retain && target.retain_as_published,
            identifiers: target.identifiers.to_vec(),
            share: None,
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

#[cfg(test)]
mod tests;
