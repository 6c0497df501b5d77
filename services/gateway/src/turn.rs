//! The end of a turn: everything gathered goes out in one batch each, everything that came back is handled, and every socket
//! with output is written once.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use fleethaven_fabric::delivery::{Address, Push, Target};
use fleethaven_fabric::{RoutingEvent, RoutingRequest};
use fleethaven_mqtt::ReasonCode;
use fleethaven_session::{Close, Delivery, Encoded, Now, Session, Shared};
use fleethaven_storage::{Completion, EntryId, Error, QueuedMessage, Request, SessionId, Share, Ticket};
use fleethaven_types::{Message, QoS};

use crate::budget::after_the_sockets;
use crate::connection::{Connection, Phase, Progress};
use crate::core::Core;
use crate::lifecycle::Happened;
use crate::mailbox::{Control, Taken};
use crate::pending::Pending;
use crate::requests::ack_of;
use crate::transport::Transport;

/// How often answers that lead to new requests are followed up within one turn.
const ROUNDS: usize = 4;

/// Vectors that keep their capacity from turn to turn.
#[derive(Default)]
pub(crate) struct Turn {
    routing: Vec<RoutingRequest>,
    store: Vec<Request>,
    events: Vec<RoutingEvent>,
    completions: Vec<Completion>,
    taken: Taken,
}

/// The core's turn task: one turn whenever one was asked for.
pub(crate) async fn run(core: Rc<Core>) {
    let mut turn = Turn::default();
    poll_fn(|cx| {
        // Bounded, so that sockets are looked at between turns under any load.
        for _ in 0..ROUNDS {
            if !core.mailbox.poll_turn(cx.waker()) {
                return Poll::<()>::Pending;
            }
            if turn.run(&core) {
                core.mailbox.ask_again();
            }
        }
        core.mailbox.ask_again();
        after_the_sockets(cx);
        Poll::Pending
    })
    .await;
}

impl Turn {
    /// One turn; whether another one is needed.
    fn run(&mut self, core: &Rc<Core>) -> bool {
        let now = core.begin_turn();
        for _ in 0..ROUNDS {
            self.submit(core);
            core.mailbox.take(&mut self.taken);
            for message in self.taken.control.drain(..) {
                control(core, message, now);
            }
            self.deliver(core, now);
            self.answers(core, now);
            let staging = core.staging.borrow();
            if staging.routing.is_empty() && staging.store.is_empty() {
                break;
            }
        }
        self.tell_progress(core);
        flush(core, now);
        core.trace_written();
        relieve(core);
        core.metrics.flush();
        core.end_turn()
    }

    fn submit(&mut self, core: &Rc<Core>) {
        let mut staging = core.staging.borrow_mut();
        std::mem::swap(&mut staging.routing, &mut self.routing);
        std::mem::swap(&mut staging.store, &mut self.store);
        drop(staging);
        let mut lanes = core.lanes.borrow_mut();
        if !self.routing.is_empty() {
            core.trace_submitting(&self.routing);
            lanes.routing.submit(&mut self.routing);
            core.trace_submitted();
        }
        if !self.store.is_empty() {
            lanes.store.submit(&mut self.store);
        }
    }

    fn deliver(&mut self, core: &Rc<Core>, now: Now) {
        core.trace_pushes(&self.taken.pushes);
        if let Some(message) = self.taken.pushes.iter().find_map(just_published) {
            core.metrics.end_to_end.observe(now.wall.since(message.received_at).as_secs_f64());
        }
        for push in self.taken.pushes.drain(..) {
            match push {
                Push::Direct { message, targets, from } => {
                    let mut encoded = Encoded::new(message, now.wall);
                    for target in targets.iter() {
                        deliver_direct(core, &mut encoded, target, from, now);
                    }
                }
                Push::Tail { address, session, tail } => {
                    let Some(connection) = core.at(address) else { continue };
                    let mut connection = connection.borrow_mut();
                    if connection.session_id() == session {
                        connection.session.queue_tail(tail);
                        connection.act(core, now);
                    }
                }
                Push::Shared { message, address, session, qos, retain, identifiers, share, held } => {
                    let mut encoded = Encoded::new(message.clone(), now.wall);
                    let delivery = Delivery { qos, retain, identifiers: &identifiers };
                    let shared = Shared { message, share, held };
                    core.deliver_shared((address, session), &mut encoded, &delivery, shared, now);
                }
                Push::Queued { message, address, session, qos, retain, identifiers, share, position } => {
                    let Some(connection) = core.at(address) else { continue };
                    let mut connection = connection.borrow_mut();
                    if connection.session_id() == session {
                        connection.shares_received += i32::from(share.is_some());
                        let mut encoded = Encoded::new(message, now.wall);
                        let delivery = Delivery { qos, retain, identifiers: &identifiers };
                        deliver_queued(
                            core,
                            &mut connection,
                            &mut encoded,
                            &delivery,
                            (position.entry, position.previous),
                            share,
                            now,
                        );
                    }
                }
            }
        }
        if std::mem::take(&mut self.taken.lost_pushes) {
            for connection in core.all() {
                let mut connection = connection.borrow_mut();
                connection.session.resync();
                connection.recount_room();
                connection.act(core, now);
                connection.settle(core, now);
            }
        }
    }

    fn answers(&mut self, core: &Rc<Core>, now: Now) {
        let mut lanes = core.lanes.borrow_mut();
        lanes.routing.drain(&mut self.events);
        lanes.store.drain(&mut self.completions);
        core.congested.set(lanes.routing.is_congested() || lanes.store.is_congested());
        drop(lanes);
        core.trace_answers(&self.events);
        for event in self.events.drain(..) {
            routed(core, event, now);
        }
        for completion in self.completions.drain(..) {
            if let Some(completion) = core.postpone(completion) {
                stored(core, completion, now);
            }
        }
    }

    /// Tells the store how far clients got in this turn, one request per session and kind.
    fn tell_progress(&mut self, core: &Rc<Core>) {
        let addresses = std::mem::take(&mut core.staging.borrow_mut().progress);
        for address in addresses {
            let Some(connection) = core.at(address) else { continue };
            let mut connection = connection.borrow_mut();
            let Progress { acknowledged, released, forgotten } = std::mem::take(&mut connection.progress);
            let Phase::Owned(token) = connection.phase else { continue };
            let session = connection.session_id();
            if !acknowledged.is_empty() {
                self.store.push(Request::Trim { session, token, entries: acknowledged });
            }
            if !released.is_empty() {
                let ticket = core.expect(address, Pending::Released(released.clone()));
                self.store.push(Request::Release { ticket, session, token, entries: released });
            }
            if !forgotten.is_empty() {
                let ticket = core.expect(address, Pending::Forgotten(forgotten.clone()));
                self.store.push(Request::ForgetReceived { ticket, session, token, packet_ids: forgotten });
            }
        }
        core.shares_to_forget(&mut self.store);
        if !self.store.is_empty() {
            core.lanes.borrow_mut().store.submit(&mut self.store);
        }
    }
}

fn control(core: &Rc<Core>, message: Control, now: Now) {
    match message {
        Control::Accepted(tcp, peer, listener, place) => {
            crate::accept::accepted(core, tcp, peer, listener, place);
        }
        Control::Adopt(adopted) => crate::accept::adopt(core, *adopted),
        Control::AdoptStream(stream, arrival, place) => {
            core.open(Transport::Stream(stream), arrival, place);
        }
        Control::Ask(ask) => core.asked(ask, now),
        Control::SessionEnded { session } => core.session_ended(session),
        Control::TakenOver(taken) => core.take_over_later(taken),
        Control::CloseCertificates(ids, close) => {
            for connection in core.all() {
                let mut connection = connection.borrow_mut();
                if connection.principal.certificate_id.is_some_and(|id| ids.contains(&id)) {
                    connection.close(core, close.clone(), now);
                }
            }
        }
        Control::CloseOperators(close) => {
            for connection in core.all() {
                let mut connection = connection.borrow_mut();
                if connection.principal.is_operator_gone() {
                    connection.close(core, close.clone(), now);
                }
            }
        }
        Control::Drain { over, within } => core.begin_drain(over, within, now),
    }
}

/// The message of a push that has waited for nobody: those of groups may have.
fn just_published(push: &Push) -> Option<&Message> {
    match push {
        Push::Direct { message, .. } | Push::Queued { message, .. } => Some(message),
        Push::Shared { .. } | Push::Tail { .. } => None,
    }
}

fn deliver_direct(
    core: &Rc<Core>,
    encoded: &mut Encoded,
    target: &Target,
    from: Option<SessionId>,
    now: Now,
) {
    let Some(connection) = core.at(target.address) else { return };
    let mut connection = connection.borrow_mut();
    if connection.session_id() != target.session || !target.origin.accepts(from == Some(target.session)) {
        return;
    }
    let message = encoded.message();
    connection.went_live(message);
    let retain = message.retain && target.retain_as_published;
    let qos = target.qos.min(message.qos);
    if !connection.may_receive(core, encoded.message(), now) || !connection.may_deliver(core, qos, now) {
        return;
    }
    let delivery = Delivery { qos, retain, identifiers: &target.identifiers };
    let dropped = connection.session.dropped();
    connection.session.deliver(encoded, &delivery, now);
    core.log_delivery(&connection, encoded.message(), dropped);
    connection.mark_dirty(core);
}

/// A delivery that stands in the session's queue; one that policy forbids is taken out of it, a share for another member.
fn deliver_queued(
    core: &Rc<Core>,
    connection: &mut Connection,
    encoded: &mut Encoded,
    delivery: &Delivery<'_>,
    position: (EntryId, EntryId),
    share: Option<Share>,
    now: Now,
) {
    if share.is_none() {
        connection.went_live(encoded.message());
    }
    if connection.may_receive(core, encoded.message(), now) {
        connection.may_deliver(core, delivery.qos.max(QoS::AtLeastOnce), now);
        let delivered = connection.session.delivered();
        connection.session.deliver_queued(encoded, delivery, position, now);
        // Otherwise it is read from the queue.
        if connection.session.delivered() > delivered {
            core.log_publish_out(connection, encoded.message(), None);
        }
    } else if share.is_some() {
        let Delivery { qos, retain, identifiers } = delivery;
        let (message, identifiers) = (encoded.message().clone(), identifiers.to_vec());
        let queued =
            QueuedMessage { entry: position.0, qos: *qos, retain: *retain, identifiers, share, message };
        connection.session.pass_queued(position);
        core.refuse_queued(connection.session_id(), vec![queued]);
    } else {
        connection.session.skip_queued(position);
    }
    connection.act(core, now);
    connection.settle(core, now);
}

fn routed(core: &Rc<Core>, event: RoutingEvent, now: Now) {
    match event {
        RoutingEvent::Published { ticket, matched, result } => published(core, ticket, matched, result, now),
        RoutingEvent::Answered { ticket, answer } => answered(core, ticket, answer, now),
        RoutingEvent::Subscribed { ticket, new, over_quota } => {
            let Some((address, Pending::Subscribe { packet_id, granted, .. })) = core.expected(ticket) else {
                return;
            };
            let Some(connection) = core.at(address) else { return };
            let mut connection = connection.borrow_mut();
            let all = granted.into_iter().zip(new).enumerate();
            let (refused, installed): (Vec<_>, Vec<_>) = all.partition(|(at, _)| over_quota.contains(at));
            let installed: Vec<_> = installed.into_iter().map(|(_, installed)| installed).collect();
            let refused = refused.into_iter().map(|(_, (subscription, _))| subscription.filter).collect();
            connection.installed(core, packet_id, refused);
            if !installed.is_empty() {
                let topics = installed.iter().map(|(subscription, _)| subscription.filter.clone()).collect();
                core.tell_of(&connection, &Happened::Subscribed { topics });
            }
            core.read_retained(&mut connection, &installed);
            connection.act(core, now);
            connection.settle(core, now);
        }
        RoutingEvent::Unsubscribed { ticket, existed } => {
            let Some((address, Pending::Unsubscribe { packet_id, filters, .. })) = core.expected(ticket)
            else {
                return;
            };
            let Some(connection) = core.at(address) else { return };
            let mut connection = connection.borrow_mut();
            core.tell_of(&connection, &Happened::Unsubscribed { topics: filters.clone() });
            if let Ok(packet_id) = packet_id.try_into() {
                connection.session.unsubscribe_done(packet_id, filters.into_iter().zip(existed).collect());
            }
            connection.act(core, now);
            connection.settle(core, now);
        }
    }
}

/// An answer for the one client that asked.
fn answered(core: &Rc<Core>, ticket: Ticket, answer: Arc<Message>, now: Now) {
    let Some(connection) = core.ticket_owner(ticket) else { return };
    let mut connection = connection.borrow_mut();
    if !matches!(connection.phase, Phase::Owned(_))
        || !connection.may_receive(core, &answer, now)
        || !connection.may_deliver(core, answer.qos, now)
    {
        return;
    }
    let (mut encoded, dropped) = (Encoded::new(answer, now.wall), connection.session.dropped());
    connection.session.deliver_answer(&mut encoded, core.next_direct(), now);
    core.log_delivery(&connection, encoded.message(), dropped);
    connection.act(core, now);
    connection.mark_dirty(core);
}

fn published(core: &Rc<Core>, ticket: Ticket, matched: bool, result: Result<(), Error>, now: Now) {
    let Some(connection) = core.ticket_owner(ticket) else { return };
    let mut connection = connection.borrow_mut();
    connection.outstanding = connection.outstanding.saturating_sub(1);
    if connection.phase == Phase::Gone {
        return core.remove_finished(&mut connection);
    }
    match result {
        // A QoS 2 message that is recorded already is taken like the first time.
        Ok(()) | Err(Error::AlreadyDone) => {
            let unmatched = !matched && result.is_ok();
            let report = core.settings.behaviour.report_no_matching_subscribers && unmatched;
            let code = if report { ReasonCode::NoMatchingSubscribers } else { ReasonCode::Success };
            connection.session.publish_done(ack_of(ticket), code);
            connection.act(core, now);
            connection.resume_input(core);
            connection.mark_dirty(core);
        }
        Err(Error::NotOwner | Error::NoSession) => connection.close(core, Close::taken_over(), now),
        // Not durable: no acknowledgement. The client sends it again on its next connection.
        Err(error) => connection.close(core, Close::server_error(error.to_string()), now),
    }
}

pub(crate) fn stored(core: &Rc<Core>, completion: Completion, now: Now) {
    match completion {
        Completion::Claimed { ticket, result } => {
            if let Some((address, Pending::Claim(pending))) = core.expected(ticket) {
                core.claimed(address, *pending, result, now);
            }
        }
        Completion::Done { ticket, result } => match core.expected(ticket) {
            Some((address, Pending::End(pending))) => core.end_recorded(address, *pending, &result),
            Some((address, pending)) => done(core, address, pending, result, now),
            None => {}
        },
        Completion::QueueRead { ticket, result } => {
            if let Some((address, Pending::Queue)) = core.expected(ticket) {
                queue_read(core, address, result, now);
            }
        }
        Completion::RetainedFound { ticket, result } => core.retained_found(ticket, result, now),
        Completion::Retained { ticket, result } => core.retained_read(ticket, result, now),
        Completion::Tails { ticket, result } => core.tails_compared(ticket, result, now),
        Completion::Owners { ticket, result } => core.owners_checked(ticket, result, now),
        // Only routers ask for these.
        Completion::GroupOpened { .. } | Completion::SharesClaimed { .. } | Completion::SharesHeld { .. } => {
        }
        // Clients' publishes go through the router's lane; this is a retained message that went through a queue.
        Completion::Published { ticket, message, result, .. } => {
            core.retained_queued(ticket, message, result, now);
        }
    }
}

/// Something is durable: what follows from it.
fn done(core: &Rc<Core>, address: Address, pending: Pending, result: Result<(), Error>, now: Now) {
    if let Err(error) = result {
        let Some(connection) = core.at(address) else { return };
        let close = match error {
            Error::NotOwner | Error::NoSession => Close::taken_over(),
            error => Close::server_error(error.to_string()),
        };
        return connection.borrow_mut().close(core, close, now);
    }
    // Subscriptions also when the connection is gone by now: what the store holds of a session, the router holds, too.
    match pending {
        Pending::Subscribe { session, owner, packet_id, granted } => {
            let (subscriptions, exact) = (granted.clone(), None);
            let ticket = core.expect(address, Pending::Subscribe { session, owner, packet_id, granted });
            core.route(RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner });
        }
        Pending::Unsubscribe { session, owner, packet_id, filters } => {
            let pending = Pending::Unsubscribe { session, owner, packet_id, filters: filters.clone() };
            let ticket = core.expect(address, pending);
            core.route(RoutingRequest::Unsubscribe { ticket, session, filters, owner });
        }
        Pending::Released(entries) => go_on(core, address, now, |session| session.released(&entries)),
        Pending::Forgotten(ids) => go_on(core, address, now, |session| session.forgotten(&ids)),
        _ => {}
    }
}

/// A QoS 2 exchange goes on.
fn go_on(core: &Rc<Core>, address: Address, now: Now, step: impl FnOnce(&mut Session)) {
    let Some(connection) = core.at(address) else { return };
    let mut connection = connection.borrow_mut();
    step(&mut connection.session);
    connection.act(core, now);
    connection.settle(core, now);
}

type QueueRead = Result<(Vec<QueuedMessage>, EntryId), Error>;

fn queue_read(core: &Rc<Core>, address: Address, result: QueueRead, now: Now) {
    if let Ok((entries, _)) = &result {
        core.trace_queue(address, entries);
    }
    let Some(connection) = core.at(address) else { return };
    let mut connection = connection.borrow_mut();
    let connection = &mut *connection;
    let (entries, tail) = match result {
        Ok(read) => read,
        Err(Error::NotOwner | Error::NoSession) => return connection.close(core, Close::taken_over(), now),
        Err(error) => return connection.close(core, Close::server_error(error.to_string()), now),
    };
    // What the client may no longer receive is taken out of its queue.
    let may_receive = |entry: &QueuedMessage| connection.may_receive(core, &entry.message, now);
    let (entries, forbidden): (Vec<_>, Vec<_>) = entries.into_iter().partition(may_receive);
    let deliveries = entries.iter().map(|queued| {
        let delivery = Delivery { qos: queued.qos, retain: queued.retain, identifiers: &queued.identifiers };
        (queued.entry, queued.message.clone(), delivery)
    });
    // When nothing of what was read may be delivered, what was read is all that is known to be behind the session.
    let read_to = forbidden.last().filter(|_| entries.is_empty()).map_or(tail, |last| last.entry);
    let delivered = connection.session.delivered();
    connection.session.queue_read(deliveries, read_to, now);
    // In order, as far as there was room; the rest is read again.
    let fresh = usize::try_from(connection.session.delivered() - delivered).unwrap_or(usize::MAX);
    for entry in entries.iter().take(fresh) {
        core.log_publish_out(connection, &entry.message, None);
    }
    connection.session.queue_tail(tail);
    let (shares, forbidden): (Vec<_>, Vec<_>) =
        forbidden.into_iter().partition(|queued| queued.share.is_some());
    core.refuse_queued(connection.session_id(), shares);
    for queued in forbidden {
        connection.note(core, |progress| progress.acknowledged.push(queued.entry));
    }
    connection.act(core, now);
    connection.settle(core, now);
}

fn flush(core: &Rc<Core>, now: Now) {
    let mut write = std::mem::take(&mut core.staging.borrow_mut().write);
    for address in write.drain(..) {
        let Some(connection) = core.at(address) else { continue };
        let mut connection = connection.borrow_mut();
        match connection.phase {
            Phase::Closing => core.close_later(address),
            _ => connection.flush(core, now),
        }
    }
    // Writing may have led to more output (a queue read on): that is for the next turn. Keep the capacity.
    let mut staging = core.staging.borrow_mut();
    if staging.write.is_empty() {
        staging.write = write;
    }
}

/// The store has caught up: connections that were held back read on.
fn relieve(core: &Core) {
    if core.congested.get() {
        return;
    }
    let paused = std::mem::take(&mut core.staging.borrow_mut().paused);
    for address in paused {
        if let Some(connection) = core.at(address) {
            let mut connection = connection.borrow_mut();
            connection.held = false;
            connection.resume_input(core);
        }
    }
}
