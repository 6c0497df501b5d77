//! From CONNECT to the end of a connection, and to its will.

use std::sync::Arc;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::routing::{OwnerNumber, SharedDelivery};
use fleethaven_mqtt::ReasonCode;
use fleethaven_session::{Accepted, ConnectRequest, LeftShares, Now, QueueState, Shared, published_will};
use fleethaven_storage::request::DueWill;
use fleethaven_storage::{
    Claim, Claimed, ConnectionEnd, EntryId, Error, Held, Once, OwnerToken, Request, SessionId, StoredWill,
};
use fleethaven_types::{Message, Publisher};

use super::{NOBODY, Pending};
use crate::clients::{LASTS, claim, scope};
use crate::gateway::GatewayProcess;
use crate::wills;

/// From CONNECT to the end.
impl GatewayProcess {
    pub(super) fn claim(&mut self, slot: u32, request: &ConnectRequest, now: Now) {
        let Some(me) = self.me else { return };
        self.last_token += 1;
        let token = OwnerToken { incarnation: me.0, counter: self.last_token };
        let persistent = request.session_expiry > 0;
        let ticket = self.expect(Pending::Claim { slot, token, persistent });
        let Some(connection) = self.connections.by_slot.get_mut(&slot) else { return };
        connection.will = wills::of_request(request, connection.client, connection.number);
        let will = connection.will.clone().map(|message| StoredWill { message, delay: 0 });
        self.connections.store.push(Request::Claim(Box::new(Claim {
            ticket,
            owner_address: Address::new(0, slot, 1).to_u64(),
            clean_start: request.clean_start,
            session_expiry: request.session_expiry,
            will,
            ..claim(&request.client_id, token, now.wall)
        })));
    }

    pub(super) fn claimed(
        &mut self,
        (slot, token, persistent): (u32, OwnerToken, bool),
        result: Result<Box<Claimed>, Error>,
        now: Now,
    ) {
        let claimed = match result {
            Ok(claimed) => *claimed,
            Err(error) => {
                if let Some(connection) = self.at(slot) {
                    connection.session.refuse(ReasonCode::ServerUnavailable, error.to_string());
                    self.act(slot, now);
                }
                return;
            }
        };
        if let Some(previous) = &claimed.previous {
            let address = Address::from_u64(previous.address);
            match self.me.is_some_and(|me| me.0 == previous.token.incarnation) {
                true => {
                    self.taken_over(address, now);
                    let withdrawn = self.connections.withdrawn.remove(&address.slot());
                    match &previous.will {
                        Some(DueWill { number, .. }) if withdrawn => {
                            self.connections.store.push(Request::WithdrawWill { will: *number });
                        }
                        Some(will) => self.publish_will(published_will(&will.message, now), will.number),
                        None => {}
                    }
                }
                false => {
                    self.connections.leaving.taken_over.push((previous.token, address));
                    if let Some(will) = &previous.will {
                        self.publish_will(published_will(&will.message, now), will.number);
                    }
                }
            }
        }
        if let Some(session) = claimed.wiped {
            self.connections.routing.push(RoutingRequest::Forget { session });
        }
        match self.at(slot).is_some() {
            true => self.accept(slot, token, persistent, claimed, now),
            // It was gone before: the session ends as if the connection had been lost right after.
            false => {
                let expiry = if persistent { LASTS } else { 0 };
                let address = Address::new(0, slot, 1);
                self.record_end((claimed.session, address, token), (expiry, claimed.sent), None, now);
            }
        }
    }

    pub(super) fn accept(
        &mut self,
        slot: u32,
        token: OwnerToken,
        persistent: bool,
        claimed: Claimed,
        now: Now,
    ) {
        let Some(connection) = self.connections.by_slot.get_mut(&slot) else { return };
        let persistent = persistent || claimed.session_present;
        let (session, address, credit) = (claimed.session, connection.address, connection.credit.clone());
        connection.owned = Some(token);
        let owner = OwnerNumber(claimed.version_number);
        connection.owner = owner;
        connection.will_number = claimed.will;
        connection.has_queue = persistent;
        let (scope, subscriptions) = (scope(), claimed.subscriptions.clone());
        let routing = &mut self.connections.routing;
        routing.push(RoutingRequest::Attach { session, scope, persistent, address, credit, owner });
        if !subscriptions.is_empty() {
            let (ticket, exact) = (NOBODY, None);
            routing.push(RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner });
        }
        let queue = persistent.then_some(QueueState {
            trimmed: claimed.trimmed,
            tail: claimed.tail,
            sent: if claimed.previous.is_some() { claimed.tail } else { claimed.sent },
        });
        let client_id = Some(connection.session.client_id().clone());
        let publisher = Publisher { scope, client_id, principal: None, source_ip: None, trace: 0 };
        let held = claimed.subscriptions.into_iter().map(|held| (held.filter, held.qos));
        let accepted = Accepted {
            session,
            session_present: claimed.session_present,
            assigned_client_id: None,
            publisher: Arc::new(publisher),
            queue,
            first_sent: claimed.first_sent,
            released: claimed.released,
            received: claimed.received,
            subscriptions: held.collect(),
        };
        connection.session.accept(accepted, connection.will.clone(), now);
        self.act(slot, now);
    }

    /// An accepted connection is over: its end is recorded.
    pub(super) fn ended(&mut self, slot: u32, now: Now) {
        let Some(connection) = self.connections.by_slot.get_mut(&slot) else { return };
        let (Some(ending), Some(token)) = (connection.session.ended(now), connection.owned) else {
            return self.gone(slot);
        };
        let (session, address) = (connection.session.session_id(), connection.address);
        let (had_will, number) = (connection.will.is_some(), connection.will_number);
        let entries = std::mem::take(&mut connection.progress.acknowledged);
        let LeftShares { unacknowledged, finished } = connection.session.take_shares();
        if !entries.is_empty() {
            self.connections.store.push(Request::Trim { session, token, entries });
        }
        self.connections.routing.push(RoutingRequest::Detach { session, address, persistent: true });
        finished.into_iter().for_each(|(group, entry)| self.share_done(group, entry));
        self.return_shares(session, unacknowledged);
        if ending.will.is_none() && had_will {
            self.connections.withdrawn.insert(slot);
        }
        let will = ending.will.map(|(message, _)| message).zip(number);
        self.record_end((session, address, token), (ending.session_expiry, ending.sent), will, now);
        self.gone(slot);
    }

    pub(super) fn return_shares(&mut self, session: SessionId, shares: Vec<Shared>) {
        if shares.is_empty() {
            return;
        }
        let shared = |shared: Shared| SharedDelivery {
            message: shared.message,
            share: shared.share,
            held: shared.held.map(Held::Group),
        };
        let shares = shares.into_iter().map(shared).collect();
        self.connections.routing.push(RoutingRequest::Return { session, shares, refused: false });
    }

    pub(super) fn record_end(
        &mut self,
        (session, address, token): (SessionId, Address, OwnerToken),
        (session_expiry, sent): (u32, EntryId),
        will: Option<(Arc<Message>, SessionId)>,
        now: Now,
    ) {
        let will_delay = will.is_some().then_some(0);
        let ticket = self.expect(Pending::End { session, persistent: session_expiry > 0, address, will });
        self.connections.store.push(Request::End(Box::new(ConnectionEnd {
            ticket,
            session,
            token,
            session_expiry,
            sent,
            first_sent: Vec::new(),
            will_delay,
            departure: None,
            now: now.wall,
        })));
    }

    /// Another connection has it by now, or the session may be forgotten, or its shares are there for others.
    pub(super) fn end_recorded(
        &mut self,
        (session, address): (SessionId, Address),
        persistent: bool,
        will: Option<(Arc<Message>, SessionId)>,
        result: &Result<(), Error>,
    ) {
        if !matches!(result, Err(Error::NotOwner | Error::NoSession)) {
            self.connections.withdrawn.remove(&address.slot());
            self.connections.routing.push(match persistent {
                true => RoutingRequest::Ready { session, returned: true },
                false => RoutingRequest::Forget { session },
            });
        }
        // Without a record of the end, the store still has the will with the connection.
        if let Some((will, number)) = will.filter(|_| result.is_ok()) {
            self.publish_will(will, number);
        }
    }

    /// The store sees to it that nobody else publishes it.
    pub(super) fn publish_will(&mut self, message: Arc<Message>, will: SessionId) {
        let once = Some(Once::Will(will));
        self.connections.routing.push(RoutingRequest::Publish {
            ticket: None,
            message,
            from: None,
            once,
            fence: None,
        });
    }
}
