//! The end of a connection: takeover, what is recorded, the will.
//!
//! Who publishes a will, exactly once: when the store recorded the end, the will waits there, and whoever publishes it takes it
//! out in the same batch: the connection itself when there is no delay, the process's housekeeping when it has passed. When
//! another connection takes the session over first, the will waits from that claim on, and the connection that was taken over
//! publishes it, or withdraws it because its client turns out to have sent DISCONNECT in time.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::membership::Incarnation;
use fleethaven_session::{Close, DisconnectReason, Now, published_will};
use fleethaven_storage::{
    Claimed, ConnectionEnd, Departure, DueWill, Error, Once, PreviousOwner, Request, Ticket,
};
use fleethaven_types::{Message, Utf8Bytes};

use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::lifecycle::{Client, Happened};
use crate::mailbox::{Control, TakenOver};
use crate::metering::Metered;
use crate::pending::{Ended, Pending, PendingClaim, PendingEnd};

/// How long a connection that took a session over may take to ask about the will of the one before.
pub(crate) const WITHDRAWN_KEPT: Duration = Duration::from_secs(60);

impl Core {
    /// A session was claimed: its previous connection ends, its will that is now due is published, and a wiped session is
    /// forgotten.
    pub(crate) fn take_over(&self, claimed: &Claimed, now: Now) {
        if let Some(previous) = &claimed.previous {
            self.displace(previous, now);
        }
        if let Some(session) = claimed.wiped {
            self.route(RoutingRequest::Forget { session });
        }
    }

    fn displace(&self, previous: &PreviousOwner, now: Now) {
        let will = previous.will.clone();
        let address = Address::from_u64(previous.address);
        let own = self.shared.is_own(previous.token);
        match self.shared.mailboxes.cores.get(usize::from(address.core())).filter(|_| own) {
            Some(mailbox) => mailbox.send(Control::TakenOver(TakenOver { address, will })),
            None => {
                let gateway = Incarnation(previous.token.incarnation);
                self.shared.neighbours.taken_over(gateway, address);
                will.iter().for_each(|will| self.publish_kept(will, now));
            }
        }
    }

    /// Another connection owns the session of the one at this address.
    pub(crate) fn taken_over(self: &Rc<Self>, taken: &TakenOver, now: Now) {
        if let Some(connection) = self.at(taken.address) {
            let mut connection = connection.borrow_mut();
            connection.catch_up(self, now);
            connection.close(self, Close::taken_over(), now);
        }
        let withdrawn = self.withdrawn.borrow_mut().remove(&taken.address).is_some();
        match &taken.will {
            Some(will) if withdrawn => self.ask_store(Request::WithdrawWill { will: will.number }),
            Some(will) => self.publish_kept(will, now),
            None => {}
        }
    }

    /// Publishes a will that waits in the store, which sees to it that nobody else does.
    fn publish_kept(&self, will: &DueWill, now: Now) {
        self.publish_will(&published_will(&will.message, now), Once::Will(will.number), now);
    }

    /// An accepted connection is over: its end is recorded, and the record decides whether the will is published.
    pub(crate) fn ended(self: &Rc<Self>, connection: &mut Connection, now: Now) {
        let owned = connection.phase;
        connection.close_when_written(self, now);
        let Some(ending) = connection.session.ended(now) else { return };
        let Phase::Owned(token) = owned else { return };
        connection.place = None;
        connection.metered.iter().for_each(Metered::end);
        self.log_end(connection, &ending.close);
        let (session, address) = (connection.session_id(), connection.address);
        let acknowledged = std::mem::take(&mut connection.progress.acknowledged);
        if !acknowledged.is_empty() {
            self.ask_store(Request::Trim { session, token, entries: acknowledged });
        }
        // Even a session that ends here is only taken offline: another connection may have resumed it already. It is
        // forgotten when the store has recorded the end.
        self.route(RoutingRequest::Detach { session, address, persistent: true });
        self.return_left_shares(connection);
        let (session_expiry, sent, first_sent) = (ending.session_expiry, ending.sent, ending.first_sent);
        if ending.will.is_none() && connection.will.is_some() {
            self.withdrawn.borrow_mut().insert(address, now.instant);
        }
        let departure = Some(departure(connection, ending.close.reason, now));
        let ended = Some(Ended {
            client: connection.client(token, connection.session.client_id().clone()),
            happened: Happened::disconnected(ending.close.reason, connection.version_number),
            waiting: connection.waiting_for_end(),
        });
        let will_delay = ending.will.as_ref().map(|(_, delay)| *delay);
        let at_once = ending.will.filter(|(_, delay)| *delay == 0).map(|(message, _)| message);
        let will = at_once.zip(connection.will);
        let end = Box::new(ConnectionEnd {
            ticket: Ticket(0),
            session,
            token,
            session_expiry,
            sent,
            first_sent,
            will_delay,
            departure,
            now: now.wall,
        });
        self.record(address, PendingEnd { end, again: false, persistent: session_expiry > 0, will, ended });
    }

    /// Has the store record an end.
    pub(crate) fn record(&self, address: Address, pending: PendingEnd) {
        let mut end = pending.end.clone();
        end.ticket = self.expect(address, Pending::End(Box::new(pending)));
        self.ask_store(Request::End(end));
    }

    fn log_end(&self, connection: &mut Connection, close: &Close) {
        let by_client = close.reason == DisconnectReason::ClientInitiatedDisconnect;
        connection.lingers = !by_client && close.reason != DisconnectReason::ConnectionLost;
        self.shared.metrics.connections.dec();
        self.shared.metrics.disconnect.with_label_values(&[close.reason.as_str()]).inc();
        self.log_disconnected(connection, close);
        tracing::info!(
            account = %connection.principal.scope.account, client_id = %connection.session.client_id(),
            principal_id = connection.principal.identifier().map(tracing::field::display),
            source_ip = %connection.peer.ip(), trace_id = format_args!("{:016x}", connection.trace),
            event = "Disconnect", reason = close.reason.as_str(), details = close.detail, "disconnected"
        );
    }

    /// The connection was gone before its session was claimed: the session ends as if it had been lost right after.
    pub(crate) fn give_up(&self, address: Address, pending: &PendingClaim, claimed: &Claimed, now: Now) {
        let session_expiry = pending.request.session_expiry;
        let end = Box::new(ConnectionEnd {
            ticket: Ticket(0),
            session: claimed.session,
            token: pending.token,
            session_expiry,
            sent: claimed.sent,
            first_sent: claimed.first_sent.clone(),
            will_delay: None,
            departure: None,
            now: now.wall,
        });
        let persistent = session_expiry > 0;
        self.record(address, PendingEnd { end, again: false, persistent, will: None, ended: None });
    }

    /// The end is recorded. When another connection owns the session by now (or wiped it), will and subscriptions are its.
    pub(crate) fn end_recorded(&self, address: Address, pending: PendingEnd, result: &Result<(), Error>) {
        let taken_over = matches!(result, Err(Error::NotOwner | Error::NoSession));
        let session = pending.end.session;
        if let Err(error) = result
            && !taken_over
        {
            if !pending.persistent {
                self.route(RoutingRequest::Forget { session });
            }
            return self.unrecorded.failed(address, pending, error);
        }
        if result == &Err(Error::NoSession) {
            // Whoever wiped it has it forgotten, unless it died first.
            self.route(RoutingRequest::Forget { session });
        }
        if !taken_over {
            self.withdrawn.borrow_mut().remove(&address);
            self.route(match pending.persistent {
                // The store has given its shares back to their groups.
                true => RoutingRequest::Ready { session, returned: true },
                false => RoutingRequest::Forget { session },
            });
        }
        for (address, pending) in self.unrecorded.succeeded(pending.again) {
            self.record(address, pending);
        }
        if let Some(ended) = pending.ended {
            let Client { scope, client_id, .. } = &ended.client;
            self.tell(|| ended.client.clone(), *scope, client_id, &ended.happened);
            // Whoever asked for the end may have gone away.
            for waiting in ended.waiting {
                let _ = waiting.send(());
            }
        }
        // Whoever has taken the session over sees to the will.
        if let Some((will, number)) = pending.will.filter(|_| result.is_ok()) {
            self.publish_will(&will, Once::Will(number), self.now());
        }
    }

    /// Publishes a will; at QoS ≥ 1 nobody waits for its acknowledgement.
    fn publish_will(&self, will: &Arc<Message>, once: Once, now: Now) {
        let message = Arc::new(Message { received_at: now.wall, ..(**will).clone() });
        tracing::debug!(topic = %message.topic, "will published");
        self.route(RoutingRequest::Publish {
            ticket: None,
            message,
            from: None,
            once: Some(once),
            fence: None,
        });
    }
}

/// How the client leaves, for the connections API.
fn departure(connection: &Connection, reason: DisconnectReason, now: Now) -> Departure {
    let session = &connection.session;
    Departure {
        at: now.wall,
        reason: Utf8Bytes::from_static(reason.as_str()),
        thing_name: connection.principal.thing(session.client_id()).map(Utf8Bytes::from),
        session_expiry: session.session_expiry(),
        keep_alive: Some(session.keep_alive_seconds()),
    }
}
