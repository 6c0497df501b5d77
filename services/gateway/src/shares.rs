//! Shares of groups [MQTT5 section 4.8.2]: delivered, refused, or given back when the client goes.

use std::rc::Rc;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::routing::SharedDelivery;
use fleethaven_session::{Delivery, Encoded, LeftShares, Now, Shared};
use fleethaven_storage::{EntryId, GroupId, Held, QueuedMessage, Request, SessionId};
use fleethaven_types::QoS;

use crate::connection::Connection;
use crate::core::Core;

impl Core {
    /// Delivers a share to a client without a queue, or at QoS 0.
    pub(crate) fn deliver_shared(
        self: &Rc<Self>,
        (address, session): (Address, SessionId),
        encoded: &mut Encoded,
        delivery: &Delivery<'_>,
        shared: Shared,
        now: Now,
    ) {
        let connection = self.at(address).filter(|connection| connection.borrow().session_id() == session);
        let Some(connection) = connection else {
            return self.return_shares(session, vec![shared], false);
        };
        let mut connection = connection.borrow_mut();
        connection.shares_received += i32::from(delivery.qos != QoS::AtMostOnce);
        if !connection.session.is_connected() {
            self.return_shares(session, vec![shared], false);
        } else if !connection.may_receive(self, encoded.message(), now) {
            self.return_shares(session, vec![shared], true);
        } else if !connection.may_deliver(self, delivery.qos, now) {
            // QoS 0, above the account's rate: dropped and counted there.
        } else if let Err(shared) = connection.session.deliver_shared(encoded, delivery, shared, now) {
            self.return_shares(session, vec![shared], false);
        } else {
            self.log_publish_out(&connection, encoded.message(), None);
        }
        connection.act(self, now);
        connection.settle(self, now);
    }

    /// The client has what an entry of a group's queue held.
    pub(crate) fn share_done(&self, group: GroupId, entry: EntryId) {
        let mut staging = self.staging.borrow_mut();
        let staging = &mut *staging;
        match staging.shares_done.iter_mut().find(|(known, _)| *known == group) {
            Some((_, entries)) => entries.push(entry),
            None => staging.shares_done.push((group, vec![entry])),
        }
        self.want_turn();
    }

    /// Requests that forget what was done in this turn, one per group.
    pub(crate) fn shares_to_forget(&self, requests: &mut Vec<Request>) {
        let done = std::mem::take(&mut self.staging.borrow_mut().shares_done);
        requests
            .extend(done.into_iter().map(|(group, entries)| Request::AcknowledgeShares { group, entries }));
    }

    /// What a client that is gone has not acknowledged.
    pub(crate) fn return_left_shares(&self, connection: &mut Connection) {
        let LeftShares { unacknowledged, finished } = connection.session.take_shares();
        for (group, entry) in finished {
            self.share_done(group, entry);
        }
        if !unacknowledged.is_empty() {
            self.return_shares(connection.session_id(), unacknowledged, false);
        }
    }

    fn return_shares(&self, session: SessionId, shares: Vec<Shared>, refused: bool) {
        let delivery =
            |Shared { message, share, held }| SharedDelivery { message, share, held: held.map(Held::Group) };
        let shares = shares.into_iter().map(delivery).collect();
        self.route(RoutingRequest::Return { session, shares, refused });
    }

    /// Shares in a persistent session's queue that its client may not receive: they stay there until another member has them.
    pub(crate) fn refuse_queued(&self, session: SessionId, queued: Vec<QueuedMessage>) {
        let delivery = |queued: QueuedMessage| {
            let QueuedMessage { entry, share, message, .. } = queued;
            Some(SharedDelivery { message, share: share?, held: Some(Held::Member(session, entry)) })
        };
        let shares: Vec<_> = queued.into_iter().filter_map(delivery).collect();
        if !shares.is_empty() {
            self.route(RoutingRequest::Return { session, shares, refused: true });
        }
    }
}
