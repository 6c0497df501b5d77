//! One connection: transport, decoder, session, decisions.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::delivery::Address;
use fleethaven_mqtt::{DecodeLimits, Decoder, Disconnect, Packet, ReasonCode, Version};
use fleethaven_session::{AckTicket, Action, Close, Now, Session, SubscribeRequest, UnsubscribeRequest};
use fleethaven_storage::{EntryId, OwnerToken, Request, SessionId, Subscription, Ticket};
use fleethaven_types::{Message, Publisher, Utf8Bytes};

use crate::authorize::Authorizer;
use crate::core::{Core, Pending};
use crate::identity::Principal;
use crate::transport::{Received, Transport};

/// Packets handled before other connections of the core get their turn.
const PACKETS_PER_POLL: usize = 256;
/// Entries and bytes read from a durable queue at a time.
const QUEUE_PAGE: (usize, usize) = (256, 1 << 20);

/// Where a connection is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Until the session is claimed.
    Opening,
    /// The session is owned.
    Owned(OwnerToken),
    /// The socket is to be closed when the output is written.
    Closing,
    /// Nothing is left to do.
    Gone,
}

/// A connection in its core's table.
pub(crate) struct Connection {
    pub(crate) address: Address,
    pub(crate) peer: SocketAddr,
    pub(crate) principal: Principal,
    pub(crate) session: Session,
    pub(crate) authorizer: Option<Authorizer>,
    pub(crate) phase: Phase,
    /// Written at the end of this turn.
    pub(crate) dirty: bool,
    pub(crate) trace: u64,
    /// As what the connection publishes; `None` until it is accepted.
    pub(crate) publisher: Option<Arc<Publisher>>,
    /// Queue entries to be forgotten, gathered during a turn.
    pub(crate) acknowledged: Vec<EntryId>,
    transport: Transport,
    decoder: Decoder,
    received: BytesMut,
    /// The socket is full: the connection's own task waits for it.
    blocked: bool,
    /// The task was told to look at its input again.
    waker: Option<Waker>,
    input_paused: bool,
}

impl Connection {
    pub(crate) fn new(
        address: Address,
        peer: SocketAddr,
        principal: Principal,
        transport: Transport,
        session: Session,
        max_packet: u32,
        trace: u64,
    ) -> Self {
        Self {
            address,
            peer,
            principal,
            session,
            authorizer: None,
            phase: Phase::Opening,
            dirty: false,
            trace,
            publisher: None,
            acknowledged: Vec::new(),
            transport,
            decoder: Decoder::new(DecodeLimits { max_packet_size: max_packet }),
            received: BytesMut::new(),
            blocked: false,
            waker: None,
            input_paused: false,
        }
    }

    /// The connection's task: reads, decodes, hands packets to the session, and waits for a full socket. Ends with the
    /// connection.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, core: &Rc<Core>) -> Poll<()> {
        if self.phase == Phase::Gone {
            return Poll::Ready(());
        }
        self.waker = Some(cx.waker().clone());
        let now = core.tick();
        if self.blocked {
            match self.transport.poll_send(cx, self.session.output()) {
                Poll::Ready(Ok(())) => self.unblocked(core, now),
                Poll::Ready(Err(error)) => self.lost(core, now, &error.to_string()),
                Poll::Pending => {}
            }
        }
        self.read(cx, core, now);
        self.mark_dirty(core);
        if self.phase == Phase::Gone { Poll::Ready(()) } else { Poll::Pending }
    }

    fn read(&mut self, cx: &mut Context<'_>, core: &Rc<Core>, now: Now) {
        let mut budget = PACKETS_PER_POLL;
        loop {
            if !self.decode(core, now, &mut budget) {
                return;
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                return;
            }
            let mut arena = core.arena.borrow_mut();
            let received = self.transport.poll_receive(cx, &mut arena, &mut self.received);
            drop(arena);
            match received {
                Poll::Pending => return,
                Poll::Ready(Ok(Received::Bytes)) => {}
                Poll::Ready(Ok(Received::End)) => return self.closed_by_client(core, now),
                Poll::Ready(Err(error)) => return self.lost(core, now, &error.to_string()),
            }
        }
    }

    /// Handles the packets that are there; `false` when no more input is wanted now.
    fn decode(&mut self, core: &Rc<Core>, now: Now, budget: &mut usize) -> bool {
        while *budget > 0 {
            // Held back: too much is on its way to the store, or the client has too much unacknowledged.
            let congested = core.congested.get();
            self.input_paused = !self.session.wants_input() || congested;
            if congested {
                core.pause(self.address);
            }
            if self.input_paused || !matches!(self.phase, Phase::Opening | Phase::Owned(_)) {
                return false;
            }
            match self.decoder.decode(&mut self.received) {
                Ok(Some(packet)) => {
                    *budget -= 1;
                    self.session.handle_packet(packet, now);
                    self.act(core, now);
                }
                Ok(None) => {
                    if self.received.is_empty() {
                        self.received = BytesMut::new();
                    }
                    return true;
                }
                Err(error) => {
                    let version = error.answer_version().or_else(|| self.decoder.version());
                    self.session.handle_malformed(&error, version);
                    self.act(core, now);
                    return false;
                }
            }
        }
        true
    }

    /// Carries out what the session asks for.
    pub(crate) fn act(&mut self, core: &Rc<Core>, now: Now) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Publish { message, ack } => self.publish(core, message, ack),
                Action::Acknowledged { entry } => self.acknowledged(core, entry),
                Action::ReadQueue { after } => self.read_queue(core, after),
                Action::Subscribe(request) => self.subscribe(core, request),
                Action::Unsubscribe(request) => self.unsubscribe(core, request),
                Action::Connect(request) => core.connecting(self, *request),
                Action::Refused { code, detail } => core.refused(self, code, &detail),
                Action::Close => core.ended(self, now),
            }
        }
    }

    fn publish(&mut self, core: &Rc<Core>, message: Arc<Message>, ack: Option<AckTicket>) {
        let Some(authorizer) = &mut self.authorizer else { return };
        if let Err(denied) = authorizer.publish(&message.topic, message.retain) {
            core.metrics.publish_in_denied.inc();
            core.log_denied(self, "Publish-In", &denied);
            return self.session.publish_denied(ack, &denied.because);
        }
        core.metrics.publish_in.inc();
        let ticket = ack.map(|AckTicket(number)| core.ticket(self.address, number));
        let from = Some(self.session.session_id());
        core.route(RoutingRequest::Publish { ticket, message, from });
    }

    /// A queue entry may be forgotten.
    pub(crate) fn acknowledged(&mut self, core: &Rc<Core>, entry: EntryId) {
        if self.acknowledged.is_empty() {
            core.to_trim(self.address);
        }
        self.acknowledged.push(entry);
    }

    fn read_queue(&mut self, core: &Rc<Core>, after: EntryId) {
        let Phase::Owned(token) = self.phase else { return };
        let ticket = core.expect(self.address, Pending::Queue);
        let session = self.session.session_id();
        let (max_entries, max_bytes) = QUEUE_PAGE;
        core.ask_store(Request::ReadQueue { ticket, session, token, after, max_entries, max_bytes });
    }

    fn subscribe(&mut self, core: &Rc<Core>, request: SubscribeRequest) {
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
        &mut self,
        core: &Rc<Core>,
        packet_id: u16,
        outcomes: Vec<(Utf8Bytes, ReasonCode)>,
        granted: Vec<Subscription>,
    ) {
        let session = self.session.session_id();
        let subscriptions = granted.clone();
        let ticket = core.expect(self.address, Pending::Subscribe { packet_id, outcomes, granted });
        match self.phase {
            Phase::Owned(token) if self.is_persistent() => {
                core.ask_store(Request::Subscribe { ticket, session, token, subscriptions });
            }
            _ => core.route(RoutingRequest::Subscribe { ticket, session, subscriptions }),
        }
    }

    fn unsubscribe(&mut self, core: &Rc<Core>, request: UnsubscribeRequest) {
        let session = self.session.session_id();
        let filters = request.filters.clone();
        let packet_id = request.packet_id.get();
        let ticket = core.expect(self.address, Pending::Unsubscribe { packet_id, filters: request.filters });
        match self.phase {
            Phase::Owned(token) if self.is_persistent() => {
                core.ask_store(Request::Unsubscribe { ticket, session, token, filters });
            }
            _ => core.route(RoutingRequest::Unsubscribe { ticket, session, filters }),
        }
    }

    /// Whether the session goes on without a connection.
    pub(crate) fn is_persistent(&self) -> bool {
        self.session.session_expiry() > 0
    }

    /// Ends the connection from outside: takeover, revocation, drain.
    pub(crate) fn close(&mut self, core: &Rc<Core>, close: Close, now: Now) {
        self.session.close(close);
        self.act(core, now);
        self.mark_dirty(core);
    }

    /// The stream ended. Under `ws_close_is_disconnect` a WebSocket Close frame counts as DISCONNECT: no will.
    fn closed_by_client(&mut self, core: &Rc<Core>, now: Now) {
        if core.settings.behaviour.ws_close_is_disconnect && self.transport.is_closed_in_order() {
            let disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
            self.session.handle_packet(Packet::Disconnect(disconnect), now);
            self.act(core, now);
        }
        self.lost(core, now, "the client closed the connection");
    }

    fn lost(&mut self, core: &Rc<Core>, now: Now, detail: &str) {
        self.session.close(Close::lost(detail));
        self.act(core, now);
        self.gone();
    }

    /// The socket took everything that waited.
    fn unblocked(&mut self, core: &Rc<Core>, now: Now) {
        self.blocked = false;
        self.session.output().shrink();
        if self.phase == Phase::Closing {
            return self.gone();
        }
        self.session.send_waiting(now);
        self.act(core, now);
    }

    /// Has this connection's output written at the end of the turn.
    pub(crate) fn mark_dirty(&mut self, core: &Rc<Core>) {
        let pending = !self.session.output().is_empty() || self.phase == Phase::Closing;
        if pending && !self.dirty && self.phase != Phase::Gone {
            self.dirty = true;
            core.write_later(self.address);
        }
    }

    /// Writes at the end of a turn; what the socket does not take, the connection's task goes on with.
    pub(crate) fn flush(&mut self, core: &Rc<Core>, now: Now) {
        self.dirty = false;
        if self.blocked || self.phase == Phase::Gone {
            return;
        }
        match self.transport.try_send(self.session.output()) {
            Ok(true) => {
                self.session.output().shrink();
                if self.phase == Phase::Closing {
                    self.gone();
                } else {
                    self.session.send_waiting(now);
                    self.act(core, now);
                }
            }
            Ok(false) => {
                self.blocked = true;
                self.wake();
            }
            Err(error) => self.lost(core, now, &error.to_string()),
        }
    }

    fn gone(&mut self) {
        self.transport.close();
        self.phase = Phase::Gone;
        self.wake();
    }

    /// Has the task run again.
    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Has the task run again if it stopped reading and may go on.
    pub(crate) fn resume_input(&mut self) {
        if self.input_paused && self.session.wants_input() {
            self.wake();
        }
    }

    pub(crate) fn close_when_written(&mut self, core: &Rc<Core>) {
        if self.phase != Phase::Gone {
            self.phase = Phase::Closing;
            self.mark_dirty(core);
        }
    }

    pub(crate) fn session_id(&self) -> SessionId {
        self.session.session_id()
    }
}

/// Ticket numbers of PUBACKs in tickets of publishes.
pub(crate) fn ack_of(ticket: Ticket) -> AckTicket {
    AckTicket(ticket.0 as u32)
}
