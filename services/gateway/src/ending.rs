//! The end of a connection: takeover, what is recorded, the will.
//!
//! Who publishes a will, exactly once: the connection itself, when the store recorded its end; or the connection that took
//! the session over, when that came first, unless the client turns out to have sent DISCONNECT in time.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::connections::Departure;
use fleethaven_fabric::delivery::Address;
use fleethaven_session::{Close, DisconnectReason, Ending, Now, published_will};
use fleethaven_storage::{Claimed, ConnectionEnd, Error, OwnerToken, PreviousOwner, Request, StoredWill};
use fleethaven_types::{Message, Publisher, Scope, SessionId, Utf8Bytes};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::departures::Left;
use crate::lifecycle::{Client, Happened};
use crate::mailbox::{Control, TakenOver};
use crate::pending::{Ended, EndedWill, Pending, PendingClaim, PendingEnd};

/// How long a connection that took a session over may take to ask about the will of the one before.
pub(crate) const WITHDRAWN_KEPT: Duration = Duration::from_secs(60);

/// Names a will that waits for its delay.
#[derive(Debug, Clone)]
pub(crate) struct DelayedWillId {
    scope: Scope,
    client_id: Utf8Bytes,
    token: OwnerToken,
}

struct DelayedWill {
    token: OwnerToken,
    session: SessionId,
    message: Arc<Message>,
}

/// The wills of all cores whose connection has ended and whose delay has not passed.
#[derive(Default)]
pub(crate) struct DelayedWills(Mutex<FxHashMap<(Scope, Utf8Bytes), DelayedWill>>);

impl DelayedWills {
    fn insert(&self, id: &DelayedWillId, session: SessionId, message: Arc<Message>) {
        let will = DelayedWill { token: id.token, session, message };
        self.0.lock().insert((id.scope, id.client_id.clone()), will);
    }

    /// Takes the will out, if it is still there.
    fn take(&self, id: &DelayedWillId) -> Option<Arc<Message>> {
        let mut wills = self.0.lock();
        let key = (id.scope, id.client_id.clone());
        wills.get(&key).filter(|will| will.token == id.token)?;
        wills.remove(&key).map(|will| will.message)
    }

    /// Takes out the will of a client whose session ends, or whose will is prevented.
    pub(crate) fn withdraw(&self, scope: Scope, client_id: &Utf8Bytes) -> Option<Arc<Message>> {
        self.0.lock().remove(&(scope, client_id.clone())).map(|will| will.message)
    }

    /// The client is back. A will of the session that goes on is not sent [MQTT-3.1.3-9]; one of a session that this ended
    /// is due, and returned.
    fn claimed(&self, scope: Scope, client_id: &Utf8Bytes, session: SessionId) -> Option<Arc<Message>> {
        let will = self.0.lock().remove(&(scope, client_id.clone()))?;
        (will.session != session).then_some(will.message)
    }
}

impl Core {
    /// A session was claimed: its previous connection ends, a will that is now due is published, and a wiped session is
    /// forgotten.
    pub(crate) fn take_over(&self, claimed: &Claimed, publisher: &Publisher, clean_start: bool, now: Now) {
        match &claimed.previous {
            Some(previous) => {
                // A delayed will is not sent when the session goes on before its delay has passed [MQTT-3.1.3-9].
                let due = |will: &StoredWill| will.delay == 0 || clean_start || !claimed.session_present;
                self.displace(previous, due, now);
            }
            None => {
                let client_id = publisher.client_id.clone().unwrap_or_default();
                let wills = &self.shared.delayed_wills;
                if let Some(will) = wills.claimed(publisher.scope, &client_id, claimed.session) {
                    self.publish_delayed(&will, now);
                }
            }
        }
        if let Some(session) = claimed.wiped {
            self.route(RoutingRequest::Forget { session });
        }
    }

    fn displace(&self, previous: &PreviousOwner, due: impl Fn(&StoredWill) -> bool, now: Now) {
        let will = previous.will.as_ref().filter(|will| due(will));
        let will = will.map(|will| published_will(&will.message, now));
        let address = Address::from_u64(previous.address);
        let own = self.shared.is_own(previous.token);
        match self.shared.mailboxes.cores.get(usize::from(address.core())).filter(|_| own) {
            Some(mailbox) => mailbox.send(Control::TakenOver(TakenOver { address, will })),
            None => will.iter().for_each(|will| self.publish_will(will, now)),
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
        if let Some(will) = taken.will.as_ref().filter(|_| !withdrawn) {
            self.publish_will(will, now);
        }
    }

    /// An accepted connection is over: its end is recorded, and the record decides whether the will is published.
    pub(crate) fn ended(self: &Rc<Self>, connection: &mut Connection, now: Now) {
        let owned = connection.phase;
        connection.close_when_written(self, now);
        let Some(ending) = connection.session.ended(now) else { return };
        let Phase::Owned(token) = owned else { return };
        connection.place = None;
        self.log_end(connection, &ending.close);
        let (session, address) = (connection.session_id(), connection.address);
        let acknowledged = std::mem::take(&mut connection.acknowledged);
        if !acknowledged.is_empty() {
            self.ask_store(Request::Trim { session, token, entries: acknowledged });
        }
        // Even a session that ends here is only taken offline: another connection may have resumed it already. It is
        // forgotten when the store has recorded the end.
        self.route(RoutingRequest::Detach { session, address, persistent: true });
        self.return_left_shares(connection);
        if self.draining.get() && ending.will.as_ref().is_some_and(|(_, delay)| *delay > 0) {
            // The store keeps the will with the connection; the next process finds both, and waits.
            return;
        }
        let (session_expiry, sent) = (ending.session_expiry, ending.sent);
        let ended = Some(self.departed(connection, token, ending.close.reason, now));
        let will = self.ended_will(connection, token, ending, now);
        let pending = PendingEnd { session, persistent: session_expiry > 0, will, ended };
        let ticket = self.expect(address, Pending::End(Box::new(pending)));
        let end = ConnectionEnd { ticket, session, token, session_expiry, sent, now: now.wall };
        self.ask_store(Request::End(Box::new(end)));
    }

    /// Notes how the client left, and what is to be told of it once that is recorded.
    fn departed(
        &self,
        connection: &mut Connection,
        token: OwnerToken,
        reason: DisconnectReason,
        now: Now,
    ) -> Ended {
        let session = &connection.session;
        let client_id = session.client_id().clone();
        let left = Left {
            departure: Departure { at: now.wall, reason: reason.as_str() },
            thing_name: connection.principal.thing(&client_id),
            session_expiry: session.session_expiry(),
            keep_alive: session.keep_alive_seconds(),
        };
        self.shared.departures.note(connection.principal.scope, &client_id, left);
        Ended {
            client: connection.client(token, client_id),
            happened: Happened::disconnected(reason, connection.version_number),
            waiting: std::mem::take(&mut connection.when_ended),
        }
    }

    fn log_end(&self, connection: &mut Connection, close: &Close) {
        let by_client = close.reason == DisconnectReason::ClientInitiatedDisconnect;
        connection.lingers = !by_client && close.reason != DisconnectReason::ConnectionLost;
        self.shared.metrics.connections.dec();
        self.shared.metrics.disconnect.with_label_values(&[close.reason.as_str()]).inc();
        tracing::info!(
            account = %connection.principal.scope.account, client_id = %connection.session.client_id(),
            principal_id = connection.principal.certificate_id.map(tracing::field::display),
            source_ip = %connection.peer.ip(), trace_id = format_args!("{:016x}", connection.trace),
            event = "Disconnect", reason = close.reason.as_str(), details = close.detail, "disconnected"
        );
    }

    fn ended_will(&self, connection: &Connection, token: OwnerToken, ending: Ending, now: Now) -> EndedWill {
        match ending.will {
            // Whoever took the session over publishes it.
            _ if ending.close.reason == DisconnectReason::DuplicateClientId => EndedWill::None,
            Some((message, 0)) => EndedWill::Now(message),
            Some((message, delay)) => {
                let client_id = connection.session.client_id().clone();
                let id = DelayedWillId { scope: connection.principal.scope, client_id, token };
                self.shared.delayed_wills.insert(&id, connection.session_id(), message);
                EndedWill::Delayed(id, delay)
            }
            None => {
                if connection.has_will {
                    self.withdrawn.borrow_mut().insert(connection.address, now.instant);
                }
                EndedWill::None
            }
        }
    }

    /// The connection was gone before its session was claimed: the session ends as if it had been lost right after.
    pub(crate) fn give_up(&self, address: Address, pending: &PendingClaim, claimed: &Claimed, now: Now) {
        let session_expiry = pending.request.session_expiry;
        let session = claimed.session;
        let end = PendingEnd { session, persistent: session_expiry > 0, will: EndedWill::None, ended: None };
        let ticket = self.expect(address, Pending::End(Box::new(end)));
        let (token, sent, now) = (pending.token, claimed.sent, now.wall);
        let end = ConnectionEnd { ticket, session, token, session_expiry, sent, now };
        self.ask_store(Request::End(Box::new(end)));
    }

    /// The end is recorded. When another connection owns the session by now (or wiped it), will and subscriptions are its.
    pub(crate) fn end_recorded(
        self: &Rc<Self>,
        address: Address,
        pending: PendingEnd,
        result: &Result<(), Error>,
    ) {
        let taken_over = matches!(result, Err(Error::NotOwner | Error::NoSession));
        if !taken_over {
            self.withdrawn.borrow_mut().remove(&address);
            let session = pending.session;
            self.route(match pending.persistent {
                // The store has given its shares back to their groups.
                true => RoutingRequest::Ready { session, returned: true },
                false => RoutingRequest::Forget { session },
            });
        }
        if let Some(ended) = pending.ended.filter(|_| taken_over || result.is_ok()) {
            let Client { scope, client_id, .. } = &ended.client;
            self.tell(|| ended.client.clone(), *scope, client_id, &ended.happened);
            // Whoever asked for the end may have gone away.
            for waiting in ended.waiting {
                let _ = waiting.send(());
            }
        }
        match pending.will {
            EndedWill::Now(will) if result.is_ok() => self.publish_will(&will, self.now()),
            EndedWill::Delayed(id, delay) if result.is_ok() => self.wait_with_will(id, delay),
            EndedWill::Delayed(id, _) => drop(self.shared.delayed_wills.take(&id)),
            // Without a record of the end, the store still has the will, and the next process publishes it.
            EndedWill::Now(_) | EndedWill::None => {}
        }
    }

    /// Publishes a will when its delay has passed, or the core drains, unless the client came back before.
    fn wait_with_will(self: &Rc<Self>, id: DelayedWillId, delay: u32) {
        let core = self.clone();
        self.waiting_wills.set(self.waiting_wills.get() + 1);
        tokio::task::spawn_local(async move {
            if !core.draining.get() {
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs(u64::from(delay))) => {}
                    () = core.drain_begun.notified() => {}
                }
            }
            if let Some(will) = core.shared.delayed_wills.take(&id) {
                core.publish_delayed(&will, core.tick());
            }
            core.waiting_wills.set(core.waiting_wills.get() - 1);
        });
    }

    /// A will that waited: its Message Expiry Interval counts from now [MQTT5 section 3.1.3.2.4].
    pub(crate) fn publish_delayed(&self, will: &Arc<Message>, now: Now) {
        let waited = now.wall.since(will.received_at);
        let expires_at = will.expires_at.map(|at| at.after(waited));
        self.publish_will(&Arc::new(Message { expires_at, ..(**will).clone() }), now);
    }

    /// Publishes a will; at QoS ≥ 1 nobody waits for its acknowledgement.
    pub(crate) fn publish_will(&self, will: &Arc<Message>, now: Now) {
        let message = Arc::new(Message { received_at: now.wall, ..(**will).clone() });
        tracing::debug!(topic = %message.topic, "will published");
        self.route(RoutingRequest::Publish { ticket: None, message, from: None });
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_types::{QoS, Timestamp};

    use super::*;

    fn message(scope: Scope) -> Arc<Message> {
        let publisher = Publisher { scope, client_id: None, principal: None, source_ip: None, trace: 0 };
        Arc::new(Message {
            topic: "will".into(),
            payload: "gone".into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            received_at: Timestamp(0),
            expires_at: None,
            sequence: 0,
            hops: 0,
            publisher: Arc::new(publisher),
        })
    }

    #[test]
    fn a_delayed_will_goes_once_to_whoever_comes_first() {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        let id = |counter| DelayedWillId {
            scope,
            client_id: "device".into(),
            token: OwnerToken { incarnation: 1, counter },
        };
        let (session, client) = (SessionId(7), "device".into());
        let wills = DelayedWills::default();
        wills.insert(&id(1), session, message(scope));
        assert!(wills.claimed(scope, &client, session).is_none(), "the session goes on");
        assert!(wills.take(&id(1)).is_none(), "so the will is not sent after its delay either");
        wills.insert(&id(2), session, message(scope));
        assert!(wills.claimed(scope, &client, SessionId(8)).is_some(), "the session ended");
        wills.insert(&id(3), session, message(scope));
        assert!(wills.take(&id(2)).is_none(), "another connection's will");
        assert!(wills.take(&id(3)).is_some());
        assert!(wills.take(&id(3)).is_none());
    }
}
