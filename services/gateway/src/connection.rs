//! One connection: transport, decoder, session, decisions.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use fleethaven_authorizers::Granted;
use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::delivery::{Address, Credit};
use fleethaven_mqtt::{DecodeLimits, Decoder, Disconnect, Packet, PacketId, PacketType, ReasonCode};
use fleethaven_quotas::{Account, Held, Meter};
use fleethaven_session::{Action, Close, DisconnectReason, Now, Session};
use fleethaven_storage::{EntryId, OwnerToken, SessionId};
use fleethaven_types::Timestamp;

use crate::authorize::Authorizer;
use crate::authorizing::Custom;
use crate::budget::{Place, after_the_sockets};
use crate::connections::Asked;
use crate::core::Core;
use crate::gateway::Arrival;
use crate::identity::{Allowance, Principal};
use crate::lifetime::Lifetime;
use crate::metering::Metered;
use crate::requests::Subscribing;
use crate::retained::Retained;
use crate::throttle::Throttle;
use crate::transport::{Received, Transport};

/// What a connection's packets may cost, by [`weight`], before the sockets are looked at again and others have their turn.
const WEIGHT_PER_POLL: usize = 16_384;

/// A client that has more than this many bytes unread and read nothing for this long is cut off.
const UNREAD_BOUND: usize = 64 << 10;
const UNREAD_FOR: Duration = Duration::from_secs(30);

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

/// How far a client is with its queue and its exchanges, gathered during a turn.
#[derive(Default)]
pub(crate) struct Progress {
    /// Queue entries to be forgotten.
    pub(crate) acknowledged: Vec<EntryId>,
    /// QoS 2 entries that the client has.
    pub(crate) released: Vec<EntryId>,
    /// Identifiers whose QoS 2 exchange the client has ended.
    pub(crate) forgotten: Vec<PacketId>,
}

impl Progress {
    fn is_empty(&self) -> bool {
        self.acknowledged.is_empty() && self.released.is_empty() && self.forgotten.is_empty()
    }
}

/// A connection in its core's table.
pub(crate) struct Connection {
    pub(crate) address: Address,
    pub(crate) peer: SocketAddr,
    pub(crate) principal: Principal,
    /// A custom authorizer decides about the client.
    pub(crate) custom: Option<Box<Custom>>,
    pub(crate) session: Session,
    pub(crate) authorizer: Option<Authorizer>,
    pub(crate) phase: Phase,
    pub(crate) trace: u64,
    /// CONNECT was above a quota.
    pub(crate) over_quota: bool,
    /// CONNECT came with a will, which waits in the store under this number afterwards.
    pub(crate) will: Option<SessionId>,
    /// The session's messages are queued in the store.
    pub(crate) has_queue: bool,
    /// The peer is yet to read what is written last: the socket is not closed before it had the time.
    pub(crate) lingers: bool,
    /// Publishes whose tickets are on their way.
    pub(crate) outstanding: u32,
    /// The second of the timer wheel that the connection is looked at in.
    pub(crate) armed: u64,
    /// Waits in the core's list for the store to catch up.
    pub(crate) held: bool,
    /// What the store is to be told at the end of this turn.
    pub(crate) progress: Progress,
    /// What routers may give it as the member of groups, what of it was announced, and shares that came since.
    pub(crate) credit: Credit,
    announced: i32,
    pub(crate) shares_received: i32,
    /// Its place in the line of those that the core's budget keeps waiting.
    line: Place,
    /// While SUBSCRIBEs are carried out.
    pub(crate) subscribing: Option<Box<Subscribing>>,
    /// Retained messages on their way to new subscriptions.
    pub(crate) retained: Option<Box<Retained>>,
    /// Written at the end of this turn.
    dirty: bool,
    /// What the account may use and has used.
    pub(crate) account: Arc<Account>,
    /// Its place among the account's connections, from CONNECT to the end.
    pub(crate) place: Option<Held>,
    pub(crate) throttle: Throttle,
    /// Where its usage is counted, from CONNECT on.
    pub(crate) metered: Option<Metered>,
    websocket: bool,
    /// What ends the connection whatever happens, and when.
    lifetime: Lifetime,
    ends_at: Option<Instant>,
    /// PUBLISH packets, against the rate per connection.
    pub(crate) published: Meter,
    /// The last PINGREQ whose answer is not written yet, where that is logged.
    pinged: Option<Now>,
    /// When a refused delivery was last logged.
    pub(crate) receive_denied: Option<Instant>,
    /// When CONNECT was accepted.
    pub(crate) connected_at: Timestamp,
    /// versionNumber of the connection's lifecycle events.
    pub(crate) version_number: u64,
    /// Who of the connections API waits for something.
    pub(crate) asked: Option<Box<Asked>>,
    local: Option<SocketAddr>,
    transport: Transport,
    decoder: Decoder,
    received: BytesMut,
    /// What came last completed no packet.
    dribbles: bool,
    /// The socket is full, and has been since then: the connection's own task waits for it.
    blocked: Option<Instant>,
    /// Nothing can be read or written any more, for this reason; what had come in before is still handled.
    broken: Option<String>,
    /// When the socket is closed whether the peer has read everything or not.
    closing_by: Option<Instant>,
    /// Wakes the connection's own task.
    waker: Option<Waker>,
    input_paused: bool,
}

impl Connection {
    pub(crate) fn new(
        address: Address,
        Arrival { peer, local, principal, websocket, stranger }: Arrival,
        transport: Transport,
        session: Session,
        account: Arc<Account>,
        trace: u64,
    ) -> Self {
        let limits = DecodeLimits { max_packet_size: account.limits.packet_bytes };
        Self {
            address,
            peer,
            principal,
            custom: stranger.map(|attempt| Box::new(Custom::new(*attempt))),
            session,
            authorizer: None,
            phase: Phase::Opening,
            trace,
            over_quota: false,
            will: None,
            has_queue: false,
            lingers: true,
            outstanding: 0,
            armed: 0,
            held: false,
            progress: Progress::default(),
            credit: Credit::default(),
            announced: 0,
            shares_received: 0,
            line: Place::default(),
            subscribing: None,
            retained: None,
            dirty: false,
            account,
            place: None,
            throttle: Throttle::default(),
            metered: None,
            websocket,
            lifetime: Lifetime::default(),
            ends_at: None,
            published: Meter::default(),
            pinged: None,
            receive_denied: None,
            connected_at: Timestamp(0),
            version_number: 0,
            asked: None,
            local,
            transport,
            decoder: Decoder::new(limits),
            received: BytesMut::new(),
            dribbles: false,
            blocked: None,
            broken: None,
            closing_by: None,
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
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        let now = core.tick();
        self.poll_throttle(cx, core, now);
        self.send_on(cx, core, now);
        self.subscribe_next(cx, core);
        if self.phase != Phase::Opening && !self.dribbles {
            self.read(cx, core, now, false);
        } else if core.budget.admit(&mut self.line, cx.waker()) {
            self.read(cx, core, now, true);
            core.charge_since(now);
        }
        if self.is_open() && self.broken.is_some() && core.budget.admit(&mut self.line, cx.waker()) {
            self.lost(core, now);
            core.charge_since(now);
        }
        self.settle(core, now);
        if self.phase == Phase::Gone { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Goes on with output that the socket did not take.
    fn send_on(&mut self, cx: &mut Context<'_>, core: &Rc<Core>, now: Now) {
        if self.blocked.is_none() {
            return;
        }
        let before = self.session.output().len();
        match self.transport.poll_send(cx, self.session.output()) {
            Poll::Ready(Ok(())) => self.unblocked(core, now),
            Poll::Ready(Err(error)) => self.cannot_write(core, &error),
            Poll::Pending if self.session.output().len() < before => self.blocked = Some(now.instant),
            Poll::Pending => {}
        }
    }

    /// Handles what the client had sent before its session went to another connection.
    pub(crate) fn catch_up(&mut self, core: &Rc<Core>, now: Now) {
        if self.is_open() {
            self.read(&mut Context::from_waker(Waker::noop()), core, now, true);
        }
        if self.is_open() && self.broken.is_some() {
            self.lost(core, now);
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Owned(_))
    }

    /// Reads and handles what is there; all of it when that is `admitted`, otherwise the core's budget is asked for whatever costs
    /// more than a message.
    fn read(&mut self, cx: &mut Context<'_>, core: &Rc<Core>, now: Now, admitted: bool) {
        let mut budget = WEIGHT_PER_POLL;
        let mut is_fresh = false;
        loop {
            let before = budget;
            if !self.decode(cx, core, now, &mut budget, admitted) {
                return;
            }
            if std::mem::take(&mut is_fresh) {
                self.dribbles = budget == before && !self.received.is_empty();
            }
            if budget == 0 {
                return after_the_sockets(cx);
            }
            if self.throttle.holds_input() {
                return;
            }
            let before = self.received.len();
            let mut arena = core.arena.borrow_mut();
            let received = self.transport.poll_receive(cx, &mut arena, &mut self.received);
            drop(arena);
            match received {
                Poll::Pending => return,
                Poll::Ready(Ok(Received::Bytes)) => {
                    self.count_received(cx, self.received.len() - before, now);
                    is_fresh = true;
                }
                Poll::Ready(Ok(Received::End)) => return self.closed_by_client(core, now),
                Poll::Ready(Err(error)) => return self.broken_by(error.to_string()),
            }
        }
    }

    /// Handles the packets that are there; `false` when no more input is wanted now.
    fn decode(
        &mut self,
        cx: &Context<'_>,
        core: &Rc<Core>,
        now: Now,
        budget: &mut usize,
        admitted: bool,
    ) -> bool {
        while *budget > 0 {
            // Held back: too much is on its way to the store, or the client has too much unacknowledged.
            let congested = core.congested.get();
            self.input_paused = !self.wants_input() || congested;
            if congested && !std::mem::replace(&mut self.held, true) {
                core.pause(self.address);
            }
            if self.input_paused || !self.is_open() {
                return false;
            }
            let costly = !admitted && self.is_costly();
            if costly && !core.budget.admit(&mut self.line, cx.waker()) {
                return false;
            }
            let before = if costly { core.tick() } else { now };
            match self.decoder.decode(&mut self.received) {
                Ok(Some(packet)) => {
                    *budget = budget.saturating_sub(weight(&packet));
                    if let (Packet::Puback(_) | Packet::Pubrec(_), Some(metered)) = (&packet, &self.metered) {
                        metered.messages(1);
                    }
                    if matches!(packet, Packet::Pingreq) && core.shared.logs.is_on() {
                        self.pinged = Some(now);
                    }
                    self.session.handle_packet(packet, now);
                    self.act(core, now);
                    if costly {
                        core.charge_since(before);
                    }
                }
                Ok(None) => {
                    if self.received.is_empty() {
                        self.received = BytesMut::new();
                    }
                    return true;
                }
                // The decoder says so again when it is asked again.
                Err(_) if !admitted && !costly && !core.budget.admit(&mut self.line, cx.waker()) => {
                    return false;
                }
                Err(error) => {
                    let version = error.answer_version().or_else(|| self.decoder.version());
                    self.session.handle_malformed(&error, version);
                    self.act(core, now);
                    if !admitted {
                        core.charge_since(before);
                    }
                    return false;
                }
            }
        }
        true
    }

    /// Whether the next packet is more work than a message: what begins and ends connections and subscriptions, and the first
    /// message, for which the client's policies are prepared. A storm of clients that come back sends them by the thousand.
    fn is_costly(&self) -> bool {
        let Some(first_byte) = self.received.first() else { return false };
        match PacketType::from_first_byte(*first_byte) {
            Some(PacketType::Publish) => {
                !self.authorizer.as_ref().is_some_and(|authorizer| authorizer.is_current(&self.principal))
            }
            Some(
                PacketType::Puback
                | PacketType::Pubrec
                | PacketType::Pubrel
                | PacketType::Pubcomp
                | PacketType::Pingreq,
            ) => false,
            _ => true,
        }
    }

    /// What comes after a SUBSCRIBE is not looked at before all of that is on its way: it may be about the same filters.
    fn wants_input(&self) -> bool {
        self.session.wants_input() && !self.is_subscribing()
    }

    fn is_subscribing(&self) -> bool {
        self.subscribing.as_ref().is_some_and(|subscribing| subscribing.is_under_way())
    }

    /// Goes on with a large SUBSCRIBE.
    fn subscribe_next(&mut self, cx: &Context<'_>, core: &Rc<Core>) {
        // What is left of a connection that is over is not installed: its session has been given up.
        if !self.is_open() || !self.is_subscribing() || !core.budget.admit(&mut self.line, cx.waker()) {
            return;
        }
        self.subscribe_on(core);
        if self.is_subscribing() {
            cx.waker().wake_by_ref();
        } else {
            self.resume_input(core);
        }
    }

    /// Carries out what the session asks for.
    pub(crate) fn act(&mut self, core: &Rc<Core>, now: Now) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Publish { message, ack, received } => self.publish(core, message, ack, received),
                Action::DirectAcknowledged { ticket } => self.direct_acknowledged(ticket),
                Action::ShareDone { group, entry } => core.share_done(group, entry),
                Action::Acknowledged { entry } => {
                    self.note(core, |progress| progress.acknowledged.push(entry))
                }
                Action::Release { entry } => self.note(core, |progress| progress.released.push(entry)),
                Action::Forget { packet_id } => {
                    self.note(core, |progress| progress.forgotten.push(packet_id));
                }
                Action::ReadQueue { after } => self.read_queue(core, after),
                Action::Subscribe(request) => self.subscribe(core, request),
                Action::Unsubscribe(request) => self.unsubscribe(core, request),
                Action::Connect(request) => {
                    core.connecting(self, *request);
                }
                Action::Refused { code, detail } => core.refused(self, code, &detail),
                Action::Close => core.ended(self, now),
            }
        }
    }

    /// Has the store told at the end of this turn.
    pub(crate) fn note(&mut self, core: &Core, add: impl FnOnce(&mut Progress)) {
        if self.progress.is_empty() {
            core.tell_progress(self.address);
        }
        add(&mut self.progress);
    }

    /// Whether the session's messages are queued in the store: it was resumed, or goes on without a connection.
    pub(crate) fn is_persistent(&self) -> bool {
        self.has_queue
    }

    /// Ends the connection from outside: takeover, revocation, drain.
    pub(crate) fn close(&mut self, core: &Rc<Core>, close: Close, now: Now) {
        self.session.close(close);
        self.act(core, now);
        self.settle(core, now);
    }

    /// The stream ended. Under `ws_close_is_disconnect` a WebSocket Close frame counts as DISCONNECT: no will.
    fn closed_by_client(&mut self, core: &Rc<Core>, now: Now) {
        if core.settings.behaviour.ws_close_is_disconnect && self.transport.is_closed_in_order() {
            let disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
            self.session.handle_packet(Packet::Disconnect(disconnect), now);
            self.act(core, now);
        }
        self.broken_by("the client closed the connection".to_owned());
    }

    /// Nothing comes any more. The connection ends when its task may do that.
    fn broken_by(&mut self, detail: String) {
        self.broken.get_or_insert(detail);
    }

    fn lost(&mut self, core: &Rc<Core>, now: Now) {
        let detail = self.broken.take().unwrap_or_default();
        self.session.close(Close::lost(detail));
        self.act(core, now);
        self.lingers = false;
        self.gone(core);
    }

    /// Nothing can be written any more. The client may have sent DISCONNECT before it closed: its task reads to the end.
    fn cannot_write(&mut self, core: &Rc<Core>, error: &std::io::Error) {
        self.blocked = None;
        self.broken = Some(error.to_string());
        self.discard_output();
        if !self.is_open() {
            self.lingers = false;
            self.gone(core);
        }
        self.wake();
    }

    fn discard_output(&mut self) {
        let output = self.session.output();
        let rest = output.len();
        output.advance(rest);
        output.shrink();
    }

    /// The socket took everything that waited.
    fn unblocked(&mut self, core: &Rc<Core>, now: Now) {
        self.blocked = None;
        if let Some(asked) = self.pinged.take() {
            core.log_ping(self, asked, Some(now));
        }
        self.session.output().shrink();
        if self.phase == Phase::Closing {
            return self.gone(core);
        }
        self.session.send_waiting(now);
        self.act(core, now);
        self.settle(core, now);
    }

    /// To be called when anything was done with the connection: its output is written at the end of the turn, retained
    /// messages go on, input is read on if it may be, and the timer follows the deadline.
    pub(crate) fn settle(&mut self, core: &Rc<Core>, now: Now) {
        if self.retained.is_some() {
            core.deliver_retained(self, now);
        }
        self.announce_room(core);
        self.mark_dirty(core);
        self.resume_input(core);
        core.arm(self);
    }

    /// Tells routers what the connection can take as the member of groups. A share costs credit when it is chosen for this
    /// connection and is known here when it comes: what is on its way is in neither figure.
    fn announce_room(&mut self, core: &Core) {
        let room = self.session.share_room();
        let change = room - self.announced + std::mem::take(&mut self.shares_received);
        self.announced = room;
        if change != 0 && self.credit.adjust(change) {
            core.route(RoutingRequest::Ready { session: self.session_id(), returned: false });
        }
    }

    /// Pushes were lost, and with them the count of shares on their way.
    pub(crate) fn recount_room(&mut self) {
        (self.announced, self.shares_received) = (self.session.share_room(), 0);
        self.credit.reset(self.announced);
    }

    /// Has this connection's output written at the end of the turn.
    pub(crate) fn mark_dirty(&mut self, core: &Core) {
        let pending = !self.session.output().is_empty() || self.phase == Phase::Closing;
        if pending && !self.dirty && self.phase != Phase::Gone {
            self.dirty = true;
            core.write_later(self.address);
        }
    }

    /// Writes at the end of a turn; what the socket does not take, the connection's task goes on with.
    pub(crate) fn flush(&mut self, core: &Rc<Core>, now: Now) {
        self.dirty = false;
        self.count_deliveries(core, now);
        if self.blocked.is_some() || self.phase == Phase::Gone {
            return;
        }
        if self.broken.is_some() {
            return self.discard_output();
        }
        match self.transport.try_send(self.session.output()) {
            Ok(true) => self.unblocked(core, now),
            Ok(false) => {
                self.blocked = Some(now.instant);
                self.wake();
                core.arm(self);
            }
            Err(error) => self.cannot_write(core, &error),
        }
    }

    /// When the connection is to be looked at.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Opening | Phase::Owned(_) => {
                let stalled = self.blocked.map(|since| since + UNREAD_FOR);
                let refresh = self.custom.as_ref().and_then(|custom| custom.refresh_at());
                [self.session.poll_timeout(), stalled, self.ends_at, refresh].into_iter().flatten().min()
            }
            Phase::Closing => self.closing_by,
            Phase::Gone => None,
        }
    }

    /// Acts on deadlines that have passed.
    pub(crate) fn handle_timeout(&mut self, core: &Rc<Core>, now: Now) {
        let reads_nothing = self.blocked.is_some_and(|since| now.instant - since >= UNREAD_FOR);
        if self.phase == Phase::Closing {
            if self.closing_by.is_some_and(|at| at <= now.instant) {
                self.lingers = false;
                self.gone(core);
            }
        } else if reads_nothing && self.session.output().len() > UNREAD_BOUND {
            let detail = format!("nothing was read for {} s", UNREAD_FOR.as_secs());
            let (reason, code) = (DisconnectReason::Throttled, Some(ReasonCode::QuotaExceeded));
            self.session.close(Close { reason, code, detail });
        } else if let Some(close) = self.lifetime.over(now) {
            self.session.close(close);
        } else if !(self.input_paused && self.blocked.is_none() && self.session.is_connected()) {
            // Silence counts only while the client is listened to.
            self.session.handle_timeout(now);
        }
        self.ends_at = self.lifetime.ends_at(now);
        let refresh = self.custom.as_ref().and_then(|custom| custom.refresh_at());
        if self.is_open() && refresh.is_some_and(|at| at <= now.instant) {
            core.refresh_authorizer(self, now);
        }
        self.act(core, now);
        self.count_deliveries(core, now);
        self.settle(core, now);
    }

    /// The connection was opened now: from here counts how long it may last.
    pub(crate) fn limit_lifetime(&mut self, now: Now) {
        let lifetime = self.account.limits.websocket_lifetime_secs.filter(|_| self.websocket);
        self.lifetime = Lifetime {
            websocket: lifetime.map(|seconds| now.instant + Duration::from_secs(u64::from(seconds))),
            certificate: self.principal.expires(),
            authorizer: None,
            credentials: self.principal.credentials_end(),
        };
        self.ends_at = self.lifetime.ends_at(now);
    }

    /// An authorizer has let the client in: what it allows counts until it is asked again, and the connection lasts as long as
    /// it says, from now on.
    pub(crate) fn let_in(&mut self, granted: Granted, now: Now) {
        if self.principal.certificate_id.is_none() {
            self.principal.user = Some(granted.principal_id.as_str().into());
        }
        self.lifetime.authorizer = now.instant.checked_add(granted.disconnect_after);
        self.ends_at = self.lifetime.ends_at(now);
        self.take_answer(granted, now);
    }

    /// The authorizer was asked again, and what it allows has changed. How long the connection lasts has not.
    pub(crate) fn refreshed(&mut self, granted: Granted, now: Now) {
        self.take_answer(granted, now);
    }

    fn take_answer(&mut self, granted: Granted, now: Now) {
        if let Some(custom) = &mut self.custom {
            custom.answered(&granted, now);
        }
        match &self.principal.allowance {
            Some(allowance) => allowance.replace(granted.policies),
            None => self.principal.allowance = Some(Arc::new(Allowance::new(granted.policies))),
        }
    }

    fn gone(&mut self, core: &Rc<Core>) {
        if let Some(asked) = self.pinged.take() {
            core.log_ping(self, asked, None);
        }
        self.custom = None;
        if let Some(farewell) = self.transport.close(self.lingers) {
            core.shut_down(farewell);
        }
        self.phase = Phase::Gone;
        self.blocked = None;
        self.asked.iter_mut().for_each(|asked| asked.give_directs_up());
        self.place = None;
        self.retained = None;
        self.wake();
    }

    /// Has the task run again.
    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Has the task run again if it stopped reading and may go on.
    pub(crate) fn resume_input(&mut self, core: &Core) {
        if self.input_paused && !core.congested.get() && self.wants_input() {
            self.input_paused = false;
            self.wake();
        }
    }

    pub(crate) fn close_when_written(&mut self, core: &Core, now: Now) {
        if self.is_open() {
            self.phase = Phase::Closing;
            self.subscribing = None;
            self.closing_by = Some(now.instant + core.close_within.get());
            self.mark_dirty(core);
            core.arm(self);
        }
    }

    /// The listener's address.
    pub(crate) fn local_address(&self) -> Option<SocketAddr> {
        self.local.or_else(|| self.transport.local_address())
    }

    pub(crate) fn session_id(&self) -> SessionId {
        self.session.session_id()
    }
}

/// What a packet costs, about. Acknowledgements cost little and make room: one client that gets what a hundred publish sends as
/// many packets as they all do, and must not have only one turn beside a hundred.
fn weight(packet: &Packet) -> usize {
    match packet {
        Packet::Puback(_) | Packet::Pubcomp(_) => 1,
        _ => 128,
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_mqtt::{Ack, Publish};

    use super::*;

    #[test]
    fn a_turn_has_room_for_as_many_acknowledgements_as_many_publishers_cause() {
        let acknowledgement = Packet::Puback(Ack::ok(PacketId::MIN));
        let publish = Packet::Publish(Publish::new("t", "x"));
        assert!(WEIGHT_PER_POLL / weight(&acknowledgement) >= 100 * (WEIGHT_PER_POLL / weight(&publish)));
    }
}
