//! What a connection's session asks for, apart from connecting and ending: publishing, subscribing, its queue.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_mqtt::{PacketId, ReasonCode, Version};
use fleethaven_quotas::Account;
use fleethaven_quotas::account::admits;
use fleethaven_session::subscribe::RequestedFilter;
use fleethaven_session::{AckTicket, Now, SubscribeRequest, UnsubscribeRequest};
use fleethaven_storage::{EntryId, Once, Request, Subscription, Ticket};
use fleethaven_topics::{reserved, split_shared};
use fleethaven_types::message::pieces;
use fleethaven_types::{Message, Scope, Utf8Bytes};
use fleethaven_usage::messages;

use crate::authorize::{self, Denied, Who};
use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::logging::{FORBIDDEN, THROTTLED};
use crate::pending::Pending;

/// Filters looked at, and subscriptions installed, at a time.
const PART: usize = 64;

/// Entries and bytes read from a durable queue at a time.
const QUEUE_PAGE: (usize, usize) = (256, 1 << 20);

/// What it costs to install a subscription, about, with what the router and the store answer.
const SUBSCRIPTION: Duration = Duration::from_micros(2);

/// What it costs to ask policies and quotas about a filter, about.
const CHECK: Duration = Duration::from_nanos(500);

/// SUBSCRIBEs that are carried out, large ones in parts.
#[derive(Default)]
pub(crate) struct Subscribing {
    /// The last SUBSCRIBE, while not all of its filters were looked at.
    checking: Option<Checking>,
    /// Parts of the last SUBSCRIBE that are yet to be installed.
    parts: VecDeque<(PacketId, Vec<Subscription>)>,
    subacks: Vec<Suback>,
}

impl Subscribing {
    /// What comes after the last SUBSCRIBE has to wait.
    pub(crate) fn is_under_way(&self) -> bool {
        self.checking.is_some() || !self.parts.is_empty()
    }
}

/// A SUBSCRIBE whose filters are looked at: none is installed before all were, as policies that refuse one may end the connection.
struct Checking {
    packet_id: PacketId,
    identifier: Option<u32>,
    rest: vec::IntoIter<RequestedFilter>,
    outcomes: Vec<(Utf8Bytes, ReasonCode)>,
    granted: Vec<Subscription>,
    /// The first that policies refused.
    refused: Option<Denied>,
    /// Subscriptions that the account may still add; `None`: any number.
    left: Option<u64>,
}

/// A SUBACK that waits for the parts of its SUBSCRIBE.
struct Suback {
    packet_id: PacketId,
    outcomes: Vec<(Utf8Bytes, ReasonCode)>,
    /// Parts that are not installed yet.
    left: usize,
}

impl Connection {
    pub(crate) fn publish(
        &mut self,
        core: &Rc<Core>,
        mut message: Arc<Message>,
        ack: Option<AckTicket>,
        received: Option<PacketId>,
    ) {
        let now = core.now().instant;
        let by_connection =
            self.account.publish_rate.as_ref().is_none_or(|rate| self.published.take(rate, now));
        if !by_connection || !admits(self.account.inbound.as_ref(), 1, now) {
            return self.refuse_over_rate(core, &message, ack);
        }
        let Some(authorizer) = &mut self.authorizer else { return };
        let who = Who {
            principal: &self.principal,
            client_id: self.session.client_id(),
            source_ip: self.peer.ip(),
        };
        if let Err(denied) = authorizer.publish(&who, &message.topic, message.retain) {
            core.metrics.publish_in_denied.inc();
            core.log_denied(self, "Publish-In", &denied);
            core.log_publish_in(self, &message, Some((FORBIDDEN, &denied.because)));
            return self.session.publish_denied(ack, &denied.because);
        }
        if let Some(metered) = &self.metered {
            metered.messages(messages::published(&message));
        }
        authorizer.enrich(&who, &mut message);
        if message.retain && !message.payload.is_empty() && !self.may_retain(core, &message) {
            return self.refuse_over_rate(core, &message, ack);
        }
        core.metrics.publish_in.inc();
        core.log_publish_in(self, &message, None);
        let asks = ack.is_none() && reserved::asks_for_answer(&message.topic);
        let ack = ack.or_else(|| asks.then(|| self.session.unowed_ticket()));
        let ticket = ack.map(|AckTicket(number)| core.ticket(self.address, number));
        self.outstanding += u32::from(ticket.is_some());
        let session = self.session.session_id();
        let once = match (self.phase, received) {
            (Phase::Owned(token), Some(packet_id)) => Some(Once::Received { session, token, packet_id }),
            _ => None,
        };
        core.route(RoutingRequest::Publish { ticket, message, from: Some(session), once, fence: None });
    }

    /// Whether the account may retain one more message now.
    fn may_retain(&self, core: &Core, message: &Message) -> bool {
        let (store, scope) = (&core.shared.retained, self.principal.scope);
        let kept = || (store.count(scope), store.holds(scope, &message.topic));
        self.account.admit_retained(&message.topic, kept, core.now().instant)
    }

    /// MQTT 5 is told at QoS 1 and 2; otherwise the message is just not taken, nor acknowledged.
    fn refuse_over_rate(&mut self, core: &Core, message: &Message, ack: Option<AckTicket>) {
        core.metrics.publish_in_throttled.inc();
        core.log_publish_in(self, message, Some((THROTTLED, "above a rate or quota of the account")));
        if let Some(ack) = ack {
            self.session.publish_done(ack, ReasonCode::QuotaExceeded);
        }
    }

    pub(crate) fn read_queue(&self, core: &Rc<Core>, after: EntryId) {
        let Phase::Owned(token) = self.phase else { return };
        let ticket = core.expect(self.address, Pending::Queue);
        let session = self.session.session_id();
        let (most, max_bytes) = QUEUE_PAGE;
        let max_entries = self.session.window_left().clamp(1, most);
        core.ask_store(Request::ReadQueue { ticket, session, token, after, max_entries, max_bytes });
    }

    pub(crate) fn subscribe(&mut self, core: &Rc<Core>, request: SubscribeRequest) {
        if let Some(metered) = &self.metered {
            metered.messages(pieces(request.filters.iter().map(|requested| requested.filter.len()).sum()));
        }
        let SubscribeRequest { packet_id, identifier, filters } = request;
        let outcomes = Vec::with_capacity(filters.len());
        let left = subscriptions_left(core, &self.account, self.principal.scope);
        let (rest, granted, refused) = (filters.into_iter(), Vec::new(), None);
        let checking = Checking { packet_id, identifier, rest, outcomes, granted, refused, left };
        self.check(core, checking);
    }

    /// Looks at some of a SUBSCRIBE's filters; once all were looked at, those that are granted are installed.
    fn check(&mut self, core: &Rc<Core>, mut checking: Checking) {
        let Some(authorizer) = &mut self.authorizer else { return };
        let who = Who {
            principal: &self.principal,
            client_id: self.session.client_id(),
            source_ip: self.peer.ip(),
        };
        let first = checking.outcomes.len();
        let mut forbidden = Vec::new();
        let mut quota =
            SubscribeQuota { account: &self.account, now: core.now().instant, left: checking.left };
        for requested in checking.rest.by_ref().take(PART) {
            let verdict = requested.verdict.and_then(|()| {
                authorizer.subscribe(&who, &requested.filter).map_err(|denied| {
                    forbidden.push((checking.outcomes.len(), denied.because.clone()));
                    checking.refused.get_or_insert(denied);
                    ReasonCode::NotAuthorized
                })
            });
            let held = self.session.is_subscribed(&requested.filter);
            let verdict = verdict.and_then(|()| quota.admit(&requested.filter, held));
            let code = verdict.err().unwrap_or_else(|| ReasonCode::granted(requested.options.qos));
            if !code.is_error() {
                checking.granted.push(Subscription {
                    filter: requested.filter.clone(),
                    qos: requested.options.qos,
                    no_local: requested.options.no_local,
                    retain_as_published: requested.options.retain_as_published,
                    retain_handling: requested.options.retain_handling as u8,
                    identifier: checking.identifier,
                });
            }
            core.metrics.subscribe(code);
            checking.outcomes.push((requested.filter, code));
        }
        checking.left = quota.left;
        self.log_subscribe(core, checking.packet_id, &checking.outcomes, first, &forbidden);
        if checking.rest.len() == 0 {
            return self.checked(core, checking);
        }
        let looked = u32::try_from(checking.outcomes.len() - first).unwrap_or(u32::MAX);
        core.budget.charge(CHECK * looked);
        self.subscribing.get_or_insert_default().checking = Some(checking);
        self.wake();
    }

    /// All filters of a SUBSCRIBE were looked at.
    fn checked(&mut self, core: &Rc<Core>, checking: Checking) {
        let Checking { packet_id, outcomes, granted, refused, .. } = checking;
        if let Some(denied) = refused {
            core.log_denied(self, "Subscribe", &denied);
            if self.session.version() == Version::V311 && core.settings.behaviour.denied_v3_subscribe_closes {
                return self.session.subscribe_denied(&denied.because);
            }
        }
        let left = granted.len().div_ceil(PART).max(1);
        let subscribing = self.subscribing.get_or_insert_default();
        subscribing.subacks.push(Suback { packet_id, outcomes, left });
        if left == 1 {
            return self.install(core, packet_id, granted);
        }
        subscribing.parts = granted.chunks(PART).map(|part| (packet_id, part.to_vec())).collect();
        self.install_part(core);
        self.wake();
    }

    /// An entry for each filter from `first` on; `forbidden` says of some, in their order and by their place, why policies forbid
    /// them.
    fn log_subscribe(
        &self,
        core: &Core,
        packet_id: PacketId,
        outcomes: &[(Utf8Bytes, ReasonCode)],
        first: usize,
        forbidden: &[(usize, String)],
    ) {
        if !core.shared.logs.is_on() {
            return;
        }
        for (place, (filter, code)) in outcomes.iter().enumerate().skip(first) {
            let because = forbidden.iter().find(|(at, _)| *at == place).map(|(_, because)| because.as_str());
            let refused = match (because, code) {
                (Some(because), _) => Some((FORBIDDEN, because)),
                (None, ReasonCode::QuotaExceeded) => {
                    Some((THROTTLED, "above a rate or quota of the account"))
                }
                (None, code) => code.is_error().then(|| ("CLIENT_ERROR", code.name())),
            };
            core.log_subscribe(self, packet_id, filter, refused);
        }
    }

    /// Goes on with a large SUBSCRIBE: looks at more of its filters, or installs the next part.
    pub(crate) fn subscribe_on(&mut self, core: &Rc<Core>) {
        match self.subscribing.as_mut().and_then(|subscribing| subscribing.checking.take()) {
            Some(checking) => {
                self.check(core, checking);
                self.act(core, core.now());
            }
            None => self.install_part(core),
        }
    }

    /// Installs the next part of a large SUBSCRIBE.
    fn install_part(&mut self, core: &Rc<Core>) {
        let next = self.subscribing.as_mut().and_then(|subscribing| subscribing.parts.pop_front());
        let Some((packet_id, part)) = next else { return };
        core.budget.charge(SUBSCRIPTION * u32::try_from(part.len()).unwrap_or(u32::MAX));
        self.install(core, packet_id, part);
    }

    /// Makes granted subscriptions durable (persistent session) and installs them.
    fn install(&self, core: &Rc<Core>, packet_id: PacketId, granted: Vec<Subscription>) {
        let (session, owner) = (self.session.session_id(), OwnerNumber(self.version_number));
        let subscriptions = granted.clone();
        let pending = Pending::Subscribe { session, owner, packet_id, granted };
        let ticket = core.expect(self.address, pending);
        match self.phase {
            Phase::Owned(token) if self.is_persistent() => {
                core.ask_store(Request::Subscribe { ticket, session, token, subscriptions });
            }
            _ => {
                let exact = None;
                core.route(RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner });
            }
        }
    }

    /// A part of a SUBSCRIBE is installed, but for what is over a quota; with the last part goes the SUBACK.
    pub(crate) fn installed(&mut self, core: &Core, packet_id: PacketId, over_quota: Vec<Utf8Bytes>) {
        let Some(subscribing) = &mut self.subscribing else { return };
        let subacks = &mut subscribing.subacks;
        let Some(at) = subacks.iter().position(|suback| suback.packet_id == packet_id) else { return };
        let Some(suback) = subacks.get_mut(at) else { return };
        for (filter, code) in &mut suback.outcomes {
            if over_quota.contains(filter) {
                *code = ReasonCode::QuotaExceeded;
            }
        }
        suback.left -= 1;
        if suback.left == 0 {
            let Suback { packet_id, outcomes, .. } = subacks.swap_remove(at);
            if subacks.is_empty() && subscribing.checking.is_none() && subscribing.parts.is_empty() {
                self.subscribing = None;
            }
            self.session.subscribe_done(packet_id, outcomes);
        }
        self.forget_over_quota(core, over_quota);
    }

    /// Subscriptions that the router did not install: neither shall the store keep them.
    fn forget_over_quota(&self, core: &Core, filters: Vec<Utf8Bytes>) {
        match self.phase {
            Phase::Owned(token) if self.is_persistent() && !filters.is_empty() => {
                let (ticket, session) = (Ticket(0), self.session.session_id());
                core.ask_store(Request::Unsubscribe { ticket, session, token, filters });
            }
            _ => {}
        }
    }

    pub(crate) fn unsubscribe(&self, core: &Rc<Core>, request: UnsubscribeRequest) {
        let (session, owner) = (self.session.session_id(), OwnerNumber(self.version_number));
        let filters = request.filters.clone();
        for shared in filters.iter().filter(|filter| split_shared(filter).is_some()) {
            // Counted only: UNSUBACK has no code for it.
            self.account.admit_share_request(shared, core.now().instant);
        }
        core.log_unsubscribe(self, request.packet_id, &filters);
        let packet_id = request.packet_id.get();
        let pending = Pending::Unsubscribe { session, owner, packet_id, filters: request.filters };
        let ticket = core.expect(self.address, pending);
        match self.phase {
            Phase::Owned(token) if self.is_persistent() => {
                core.ask_store(Request::Unsubscribe { ticket, session, token, filters });
            }
            _ => core.route(RoutingRequest::Unsubscribe { ticket, session, filters, owner }),
        }
    }

    /// `iot:Receive`, asked at every delivery. Denials are logged once a second at most: a busy topic would flood the log.
    pub(crate) fn may_receive(&mut self, core: &Core, message: &Message, now: Now) -> bool {
        let topic = message.topic.as_str();
        let who = Who {
            principal: &self.principal,
            client_id: self.session.client_id(),
            source_ip: self.peer.ip(),
        };
        if self.authorizer.as_mut().is_some_and(|authorizer| authorizer.receive(&who, topic)) {
            return true;
        }
        core.metrics.publish_out_denied.inc();
        core.log_publish_out(self, message, Some((FORBIDDEN, "no policy allows iot:Receive on this topic")));
        let quiet = self.receive_denied.is_some_and(|last| now.instant - last < Duration::from_secs(1));
        if !quiet {
            self.receive_denied = Some(now.instant);
            core.log_denied(self, "Publish-Out", &authorize::receive_denied(topic));
        }
        false
    }
}

/// Subscriptions that the account may still add; `None`: any number.
fn subscriptions_left(core: &Core, account: &Account, scope: Scope) -> Option<u64> {
    let most = account.limits.subscriptions_account;
    most.map(|most| most.saturating_sub(core.lanes.borrow().routing.subscription_count(scope)))
}

/// What an account's quotas leave of a SUBSCRIBE.
struct SubscribeQuota<'a> {
    account: &'a Account,
    now: Instant,
    /// Subscriptions that the account may still add; `None`: any number.
    left: Option<u64>,
}

impl SubscribeQuota<'_> {
    /// Whether one more filter may be subscribed to; one that is `held` already is no further subscription.
    fn admit(&mut self, filter: &str, held: bool) -> Result<(), ReasonCode> {
        let by_group = split_shared(filter).is_none() || self.account.admit_share_request(filter, self.now);
        if !by_group || !admits(self.account.subscribes.as_ref(), 1, self.now) {
            return Err(ReasonCode::QuotaExceeded);
        }
        if let Some(left) = self.left.as_mut().filter(|_| !held) {
            *left = left.checked_sub(1).ok_or(ReasonCode::QuotaExceeded)?;
        }
        Ok(())
    }
}

/// Ticket numbers of PUBACKs in tickets of publishes.
pub(crate) fn ack_of(ticket: Ticket) -> AckTicket {
    AckTicket(ticket.0 as u32)
}
