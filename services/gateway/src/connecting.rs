//! CONNECT: decision, claim, CONNACK. And the end of a connection: what is recorded, and the will.

use std::rc::Rc;
use std::sync::Arc;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::delivery::Address;
use fleethaven_mqtt::{ReasonCode, Version};
use fleethaven_session::{
    Accepted, Close, ConnectRequest, Delivery, DisconnectReason, Encoded, Now, QueueState,
};
use fleethaven_storage::{
    Append, Claim, Claimed, ConnectionEnd, DurablePublish, Error, PreviousOwner, Request, RetainedChange,
    StoredWill, Subscription, Ticket,
};
use fleethaven_types::{Message, Publisher, QoS, Utf8Bytes};

use crate::authorize::{Authorizer, ConnectQuestion, Denied, connect};
use crate::connection::{Connection, Phase};
use crate::core::{Core, Pending, PendingClaim, PendingEnd};
use crate::mailbox::Control;

/// Retained messages read at a time.
const RETAINED_PAGE: usize = 256;

impl Core {
    /// Decides a CONNECT. A refusal that rests on cached state is looked up once more before it is final.
    pub(crate) fn connecting(self: &Rc<Self>, connection: &mut Connection, request: ConnectRequest) {
        if self.draining.get() {
            let code = match request.version {
                Version::V5 => ReasonCode::ServerBusy,
                Version::V311 => ReasonCode::ServerUnavailable,
            };
            return connection.session.refuse(code, "the broker is shutting down");
        }
        let assigned = request.client_id.is_empty().then(|| self.shared.assign_client_id());
        let client_id = assigned.clone().unwrap_or_else(|| request.client_id.clone());
        match self.decide(connection, &request, &client_id) {
            Ok(()) => self.claim(connection, request, assigned),
            Err(denied) if connection.principal.certificate_id.is_none() => {
                self.deny(connection, &client_id, &denied)
            }
            Err(_) => self.decide_again(connection.address, request, assigned),
        }
    }

    fn decide(
        &self,
        connection: &Connection,
        request: &ConnectRequest,
        client_id: &str,
    ) -> Result<(), Denied> {
        let question = ConnectQuestion {
            client_id,
            persistent: request.session_expiry > 0,
            will: request.will.as_ref().map(|will| (will.topic.as_str(), will.retain)),
        };
        connect(&connection.principal, &question, connection.peer.ip())
    }

    fn decide_again(self: &Rc<Self>, address: Address, request: ConnectRequest, assigned: Option<Utf8Bytes>) {
        let core = self.clone();
        tokio::task::spawn_local(async move {
            let Some(entry) = core.at(address).map(|connection| connection.borrow().principal.entry.clone())
            else {
                return;
            };
            let refreshed = core.shared.identity.refresh(&entry).await;
            let Some(connection) = core.at(address) else { return };
            let mut connection = connection.borrow_mut();
            if let Err(error) = refreshed {
                tracing::warn!(%error, "a refused CONNECT could not be decided again");
            }
            let client_id = assigned.clone().unwrap_or_else(|| request.client_id.clone());
            match core.decide(&connection, &request, &client_id) {
                Ok(()) => core.claim(&mut connection, request, assigned),
                Err(denied) => {
                    core.deny(&mut connection, &client_id, &denied);
                    let now = core.tick();
                    connection.act(&core, now);
                    connection.mark_dirty(&core);
                }
            }
        });
    }

    fn deny(&self, connection: &mut Connection, client_id: &str, denied: &Denied) {
        tracing::warn!(
            account = %connection.principal.scope.account,
            client_id,
            principal_id = connection.principal.certificate_id.map(tracing::field::display),
            source_ip = %connection.peer.ip(),
            trace_id = format_args!("{:016x}", connection.trace),
            event = "Connect",
            reason = "AUTHORIZATION_FAILURE",
            action = denied.action,
            resource = denied.resource,
            details = denied.because,
            "refused"
        );
        self.shared.metrics.connect.with_label_values(&["auth_error"]).inc();
        connection.session.refuse(ReasonCode::NotAuthorized, "not authorized to connect");
    }

    /// A CONNECT that was refused: the answer is written, then the socket closed.
    pub(crate) fn refused(&self, connection: &mut Connection, code: ReasonCode, detail: &str) {
        if code != ReasonCode::NotAuthorized {
            self.shared.metrics.connect.with_label_values(&["client_error"]).inc();
            tracing::info!(
                account = %connection.principal.scope.account, client_id = %connection.session.client_id(),
                source_ip = %connection.peer.ip(), event = "Connect", reason = "CLIENT_ERROR",
                code = code.name(), details = detail, "refused"
            );
        }
        connection.phase = Phase::Closing;
        self.write_later(connection.address);
    }

    /// Claims the client id; the session store decides what becomes of an older session.
    fn claim(
        self: &Rc<Self>,
        connection: &mut Connection,
        request: ConnectRequest,
        assigned: Option<Utf8Bytes>,
    ) {
        let principal = &connection.principal;
        let client_id = assigned.clone().unwrap_or_else(|| request.client_id.clone());
        let token = self.shared.next_token();
        let publisher = Arc::new(Publisher {
            scope: principal.scope,
            client_id: Some(client_id.clone()),
            principal: principal
                .certificate_id
                .map(|id| id.to_string().into())
                .or_else(|| principal.user.clone()),
            source_ip: Some(connection.peer.ip()),
            trace: connection.trace,
        });
        let will = request
            .will
            .as_ref()
            .map(|will| StoredWill { message: will.message(&publisher), delay: will.delay });
        let limits = &self.settings.limits;
        let claim = Claim {
            ticket: Ticket(0),
            scope: principal.scope,
            client_id,
            token,
            owner_address: connection.address.to_u64(),
            clean_start: request.clean_start,
            session_expiry: request.session_expiry,
            protocol_level: request.version.level(),
            cross_version_resume: self.settings.behaviour.cross_version_session_resume,
            queue_bounds: (limits.session_queued_messages, limits.session_queued_bytes),
            will,
            principal: publisher.principal.clone(),
            now: fleethaven_daemon::clock::now(),
        };
        let pending = PendingClaim { request, assigned, token, publisher };
        let ticket = self.expect(connection.address, Pending::Claim(Box::new(pending)));
        self.ask_store(Request::Claim(Box::new(Claim { ticket, ..claim })));
    }

    /// The store answered a claim.
    pub(crate) fn claimed(
        self: &Rc<Self>,
        address: Address,
        pending: PendingClaim,
        result: Result<Box<Claimed>, Error>,
        now: Now,
    ) {
        let connection = self.at(address);
        let claimed = match result {
            Ok(claimed) => *claimed,
            Err(error) => {
                if let Some(connection) = connection {
                    let mut connection = connection.borrow_mut();
                    connection.session.refuse(ReasonCode::ServerUnavailable, error.to_string());
                    connection.act(self, now);
                }
                return;
            }
        };
        self.take_over(&claimed, pending.request.clean_start, now);
        match connection.filter(|connection| connection.borrow().phase == Phase::Opening) {
            Some(connection) => self.accept(&mut connection.borrow_mut(), pending, claimed, now),
            None => self.give_up(pending, &claimed, now),
        }
    }

    /// Ends the previous owner's connection, publishes the will it leaves, and forgets a wiped session.
    fn take_over(&self, claimed: &Claimed, clean_start: bool, now: Now) {
        if let Some(PreviousOwner { address, will, .. }) = &claimed.previous {
            let address = Address::from_u64(*address);
            if let Some(mailbox) = self.shared.mailboxes.cores.get(usize::from(address.core())) {
                mailbox.send(Control::Close(address, Close::taken_over()));
            }
            // A delayed will is not sent when the session goes on before its delay has passed [MQTT-3.1.3-9].
            let due = |will: &&StoredWill| will.delay == 0 || clean_start || !claimed.session_present;
            if let Some(will) = will.as_ref().filter(due) {
                self.publish_will(&will.message, now);
            }
        }
        if let Some(session) = claimed.wiped {
            self.route(RoutingRequest::Forget { session });
        }
    }

    fn accept(
        self: &Rc<Self>,
        connection: &mut Connection,
        pending: PendingClaim,
        claimed: Claimed,
        now: Now,
    ) {
        let PendingClaim { request, assigned, token, publisher } = pending;
        let persistent = request.session_expiry > 0;
        let (session, address) = (claimed.session, connection.address);
        let scope = connection.principal.scope;
        let client_id = publisher.client_id.clone().unwrap_or_default();
        connection.authorizer =
            Some(Authorizer::new(connection.principal.clone(), client_id, connection.peer.ip()));
        connection.phase = Phase::Owned(token);
        connection.publisher = Some(publisher.clone());
        self.route(RoutingRequest::Attach { session, scope, persistent, address });
        let queue = persistent.then_some(QueueState {
            trimmed: claimed.trimmed,
            tail: claimed.tail,
            sent: if claimed.previous.is_some() { claimed.tail } else { claimed.sent },
        });
        let will = request.will.as_ref().map(|will| will.message(&publisher));
        let accepted = Accepted {
            session,
            session_present: claimed.session_present,
            assigned_client_id: assigned,
            publisher,
            queue,
            subscriptions: claimed
                .subscriptions
                .into_iter()
                .map(|subscription| subscription.filter)
                .collect(),
        };
        connection.session.accept(accepted, will, now);
        self.shared.metrics.connections.inc();
        self.shared.metrics.connect.with_label_values(&["success"]).inc();
        tracing::info!(
            account = %scope.account, client_id = %connection.session.client_id(),
            principal_id = connection.principal.certificate_id.map(tracing::field::display),
            source_ip = %connection.peer.ip(), trace_id = format_args!("{:016x}", connection.trace),
            event = "Connect", session_present = claimed.session_present, "connected"
        );
        if let Some(deadline) = connection.session.poll_timeout() {
            self.wheel.borrow_mut().insert(deadline, (address.slot(), address.generation()));
        }
        connection.act(self, now);
        connection.mark_dirty(self);
        connection.wake();
    }

    /// The connection was gone before its session was claimed: the session ends as if it had been lost right after.
    fn give_up(&self, pending: PendingClaim, claimed: &Claimed, now: Now) {
        let end = ConnectionEnd {
            ticket: Ticket(0),
            session: claimed.session,
            token: pending.token,
            session_expiry: pending.request.session_expiry,
            sent: claimed.sent,
            now: now.wall,
        };
        self.ask_store(Request::End(Box::new(end)));
    }

    /// An accepted connection is over: its end is recorded, and the record decides whether the will is published.
    pub(crate) fn ended(self: &Rc<Self>, connection: &mut Connection, now: Now) {
        let owned = connection.phase;
        connection.close_when_written(self);
        let Some(ending) = connection.session.ended(now) else { return };
        let Phase::Owned(token) = owned else { return };
        let reason = ending.close.reason;
        self.shared.metrics.connections.dec();
        self.shared.metrics.disconnect.with_label_values(&[reason.as_str()]).inc();
        tracing::info!(
            account = %connection.principal.scope.account, client_id = %connection.session.client_id(),
            principal_id = connection.principal.certificate_id.map(tracing::field::display),
            source_ip = %connection.peer.ip(), trace_id = format_args!("{:016x}", connection.trace),
            event = "Disconnect", reason = reason.as_str(), details = ending.close.detail, "disconnected"
        );
        let session = connection.session_id();
        let persistent = ending.session_expiry > 0;
        let acknowledged = std::mem::take(&mut connection.acknowledged);
        if !acknowledged.is_empty() {
            self.ask_store(Request::Trim { session, token, entries: acknowledged });
        }
        self.route(RoutingRequest::Detach { session, address: connection.address, persistent });
        let Some(publisher) = connection.publisher.take() else { return };
        let (session_expiry, sent) = (ending.session_expiry, ending.sent);
        let pending = PendingEnd { ending, publisher };
        let ticket = self.expect(connection.address, Pending::End(Box::new(pending)));
        let end = ConnectionEnd { ticket, session, token, session_expiry, sent, now: now.wall };
        self.ask_store(Request::End(Box::new(end)));
    }

    /// The end is recorded. When another connection owns the session by now, it has taken over the will, too.
    pub(crate) fn end_recorded(self: &Rc<Self>, pending: PendingEnd, result: Result<(), Error>) {
        let PendingEnd { ending, publisher } = pending;
        let taken_over = ending.close.reason == DisconnectReason::DuplicateClientId;
        let Some((will, delay)) = ending.will.filter(|_| result.is_ok() && !taken_over) else { return };
        let delay = delay.min(ending.session_expiry);
        if delay == 0 {
            return self.publish_will(&will, self.tick());
        }
        let core = self.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(std::time::Duration::from_secs(u64::from(delay))).await;
            let client_id = publisher.client_id.clone().unwrap_or_default();
            let owner = core.shared.store.owner(publisher.scope, &client_id);
            // A connection that resumed the session in time cancels its will.
            if matches!(owner, Ok(None)) {
                core.publish_will(&will, core.tick());
            }
        });
    }

    /// Publishes a will; at QoS ≥ 1 nobody waits for its acknowledgement.
    pub(crate) fn publish_will(&self, will: &Arc<Message>, now: Now) {
        let mut message = (**will).clone();
        message.received_at = now.wall;
        let message = Arc::new(message);
        tracing::debug!(topic = %message.topic, "will published");
        self.route(RoutingRequest::Publish { ticket: None, message, from: None });
    }

    /// Asks for the retained messages of new subscriptions.
    pub(crate) fn read_retained(&self, connection: &mut Connection, granted: &[(Subscription, bool)]) {
        for (subscription, new) in granted {
            let wanted = match subscription.retain_handling {
                0 => true,
                1 => *new,
                _ => false,
            };
            let wildcard = subscription.filter.contains(['+', '#']);
            if !wanted || (wildcard && !self.settings.behaviour.retained_on_wildcard_subscribe) {
                continue;
            }
            self.read_retained_page(connection, subscription.clone(), None);
        }
    }

    fn read_retained_page(
        &self,
        connection: &Connection,
        subscription: Subscription,
        after: Option<Utf8Bytes>,
    ) {
        let filter = subscription.filter.clone();
        let ticket = self.expect(connection.address, Pending::Retained(Box::new(subscription)));
        let scope = connection.principal.scope;
        self.ask_store(Request::ReadRetained { ticket, scope, filter, after, max_entries: RETAINED_PAGE });
    }

    /// Retained messages for a new subscription: delivered with RETAIN 1, page by page.
    pub(crate) fn retained_read(
        self: &Rc<Self>,
        ticket: Ticket,
        result: Result<Vec<Arc<Message>>, Error>,
        now: Now,
    ) {
        let Some((address, Pending::Retained(subscription))) = self.expected(ticket) else { return };
        let Some(connection) = self.at(address) else { return };
        let mut connection = connection.borrow_mut();
        let messages = match result {
            Ok(messages) => messages,
            Err(error) => return connection.close(self, Close::server_error(error.to_string()), now),
        };
        let more = messages.len() == RETAINED_PAGE;
        let last = messages.last().map(|message| message.topic.clone());
        for message in messages {
            self.deliver_retained(&mut connection, &subscription, message, now);
        }
        connection.act(self, now);
        connection.mark_dirty(self);
        if more && last.is_some() {
            self.read_retained_page(&connection, *subscription, last);
        }
    }

    /// At QoS ≥ 1 to a persistent session, a retained message goes through the queue like any other.
    fn deliver_retained(
        &self,
        connection: &mut Connection,
        subscription: &Subscription,
        message: Arc<Message>,
        now: Now,
    ) {
        let allowed =
            connection.authorizer.as_mut().is_some_and(|authorizer| authorizer.receive(&message.topic));
        if !allowed {
            return;
        }
        let qos = subscription.qos.min(message.qos);
        let identifiers: Vec<u32> = subscription.identifier.into_iter().collect();
        if qos != QoS::AtMostOnce && connection.is_persistent() {
            let queues = vec![Append { session: connection.session_id(), qos, retain: true, identifiers }];
            let (ticket, retained) = (Ticket(0), RetainedChange::Keep);
            let publish = DurablePublish { ticket, message, queues, rules: Vec::new(), retained };
            return self.ask_store(Request::Publish(Box::new(publish)));
        }
        let mut encoded = Encoded::new(message, now.wall);
        let delivery = Delivery { qos, retain: true, identifiers: &identifiers };
        connection.session.deliver(&mut encoded, &delivery, now);
    }
}
