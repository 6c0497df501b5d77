//! What a connection's session asks for, apart from connecting and ending: publishing, subscribing, its queue.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::RoutingRequest;
use fleethaven_mqtt::{ReasonCode, Version};
use fleethaven_session::{AckTicket, Now, SubscribeRequest, UnsubscribeRequest};
use fleethaven_storage::{EntryId, Request, Subscription, Ticket};
use fleethaven_types::{Message, Utf8Bytes};

use crate::authorize;
use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::pending::Pending;

/// Entries and bytes read from a durable queue at a time.
const QUEUE_PAGE: (usize, usize) = (256, 1 << 20);

impl Connection {
    pub(crate) fn publish(&mut self, core: &Rc<Core>, message: Arc<Message>, ack: Option<AckTicket>) {
        if let Some(rate) = &core.publish_rate
            && !self.published.take(rate, core.now().instant)
        {
            return self.refuse_over_rate(core, ack);
        }
        let Some(authorizer) = &mut self.authorizer else { return };
        if let Err(denied) = authorizer.publish(&message.topic, message.retain) {
            core.metrics.publish_in_denied.inc();
            core.log_denied(self, "Publish-In", &denied);
            return self.session.publish_denied(ack, &denied.because);
        }
        core.metrics.publish_in.inc();
        let ticket = ack.map(|AckTicket(number)| core.ticket(self.address, number));
        self.outstanding += u32::from(ticket.is_some());
        let from = Some(self.session.session_id());
        core.route(RoutingRequest::Publish { ticket, message, from });
    }

    /// MQTT 5 is told at QoS 1; otherwise the message is just not taken, nor acknowledged.
    fn refuse_over_rate(&mut self, core: &Core, ack: Option<AckTicket>) {
        core.metrics.publish_in_throttled.inc();
        if let Some(ack) = ack {
            self.session.publish_done(ack, ReasonCode::QuotaExceeded);
        }
    }

    /// A queue entry may be forgotten.
    pub(crate) fn acknowledged(&mut self, core: &Rc<Core>, entry: EntryId) {
        if self.acknowledged.is_empty() {
            core.to_trim(self.address);
        }
        self.acknowledged.push(entry);
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
        let Some(authorizer) = &mut self.authorizer else { return };
        let (mut outcomes, mut granted, mut refused) = (Vec::new(), Vec::new(), None);
        for requested in request.filters {
            let verdict = requested.verdict.and_then(|()| {
                authorizer.subscribe(&requested.filter).map_err(|denied| {
                    refused.get_or_insert(denied);
                    ReasonCode::NotAuthorized
                })
            });
            let code = verdict.err().unwrap_or_else(|| ReasonCode::granted(requested.options.qos));
            if !code.is_error() {
                granted.push(Subscription {
                    filter: requested.filter.clone(),
                    qos: requested.options.qos,
                    no_local: requested.options.no_local,
                    retain_as_published: requested.options.retain_as_published,
                    retain_handling: requested.options.retain_handling as u8,
                    identifier: request.identifier,
                });
            }
            core.metrics.subscribe(code);
            outcomes.push((requested.filter, code));
        }
        if let Some(denied) = refused {
            core.log_denied(self, "Subscribe", &denied);
            if self.session.version() == Version::V311 && core.settings.behaviour.denied_v3_subscribe_closes {
                return self.session.subscribe_denied(&denied.because);
            }
        }
        self.install(core, request.packet_id.get(), outcomes, granted);
    }

    /// Makes granted subscriptions durable (persistent session) and installs them; SUBACK follows.
    fn install(
        &self,
        core: &Rc<Core>,
        packet_id: u16,
        outcomes: Vec<(Utf8Bytes, ReasonCode)>,
        granted: Vec<Subscription>,
    ) {
        let session = self.session.session_id();
        let subscriptions = granted.clone();
        let pending = Pending::Subscribe { session, packet_id, outcomes, granted };
        let ticket = core.expect(self.address, pending);
        match self.phase {
            Phase::Owned(token) if self.is_persistent() => {
                core.ask_store(Request::Subscribe { ticket, session, token, subscriptions });
            }
            _ => core.route(RoutingRequest::Subscribe { ticket, session, subscriptions }),
        }
    }

    /// Subscriptions that the router did not install: neither shall the store keep them.
    pub(crate) fn over_quota(
        &self,
        core: &Core,
        filters: Vec<Utf8Bytes>,
        outcomes: &mut [(Utf8Bytes, ReasonCode)],
    ) {
        for (filter, code) in outcomes {
            if filters.contains(filter) {
                *code = ReasonCode::QuotaExceeded;
            }
        }
        match self.phase {
            Phase::Owned(token) if self.is_persistent() && !filters.is_empty() => {
                let (ticket, session) = (Ticket(0), self.session.session_id());
                core.ask_store(Request::Unsubscribe { ticket, session, token, filters });
            }
            _ => {}
        }
    }

    pub(crate) fn unsubscribe(&self, core: &Rc<Core>, request: UnsubscribeRequest) {
        let session = self.session.session_id();
        let filters = request.filters.clone();
        let packet_id = request.packet_id.get();
        let pending = Pending::Unsubscribe { session, packet_id, filters: request.filters };
        let ticket = core.expect(self.address, pending);
        match self.phase {
            Phase::Owned(token) if self.is_persistent() => {
                core.ask_store(Request::Unsubscribe { ticket, session, token, filters });
            }
            _ => core.route(RoutingRequest::Unsubscribe { ticket, session, filters }),
        }
    }

    /// `iot:Receive`, asked at every delivery. Denials are logged once a second at most: a busy topic would flood the log.
    pub(crate) fn may_receive(&mut self, core: &Core, topic: &str, now: Now) -> bool {
        if self.authorizer.as_mut().is_some_and(|authorizer| authorizer.receive(topic)) {
            core.metrics.publish_out.inc();
            return true;
        }
        core.metrics.publish_out_denied.inc();
        let quiet = self.receive_denied.is_some_and(|last| now.instant - last < Duration::from_secs(1));
        if !quiet {
            self.receive_denied = Some(now.instant);
            core.log_denied(self, "Publish-Out", &authorize::receive_denied(topic));
        }
        false
    }
}

/// Ticket numbers of PUBACKs in tickets of publishes.
pub(crate) fn ack_of(ticket: Ticket) -> AckTicket {
    AckTicket(ticket.0 as u32)
}
