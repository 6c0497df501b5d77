//! A gateway's turn: what was asked for is handed over, what is answered is heard.

use fleethaven_fabric::{RoutingEvent, RoutingRequest};
use fleethaven_session::Now;
use fleethaven_storage::{Completion, Error, Request};

use super::{Pending, Progress, written};
use crate::Bug;
use crate::gateway::GatewayProcess;

/// The turn.
impl GatewayProcess {
    /// Hands over what was asked for; hears what is answered. Whether that led to more.
    pub(crate) fn turn(&mut self, bug: Option<Bug>, now: Now) -> bool {
        self.lanes.submit(&mut self.connections.routing);
        self.store.submit(&mut self.connections.store);
        let (mut events, mut completions) = (Vec::new(), Vec::new());
        self.lanes.drain(&mut events);
        self.store.drain(&mut completions);
        events.into_iter().for_each(|event| self.routed(event, now));
        completions.into_iter().for_each(|completion| self.stored(completion, bug, now));
        !self.connections.routing.is_empty() || !self.connections.store.is_empty()
    }

    pub(super) fn routed(&mut self, event: RoutingEvent, now: Now) {
        match event {
            RoutingEvent::Published { ticket, result, .. } => {
                if let Some(Pending::Publish { publisher, number, connection }) = self.pending.remove(&ticket)
                {
                    self.connections.leaving.published.push((publisher, number, connection, result));
                }
            }
            // No service is beside these routers.
            RoutingEvent::Answered { .. } => {}
            RoutingEvent::Subscribed { ticket, .. } => {
                if let Some(Pending::Subscribe { slot, packet_id, subscriptions, .. }) =
                    self.pending.remove(&ticket)
                {
                    self.subscribed(slot, packet_id, &subscriptions, now);
                }
            }
            RoutingEvent::Unsubscribed { ticket, existed } => {
                if let Some(Pending::Unsubscribe { slot, packet_id, filters, .. }) =
                    self.pending.remove(&ticket)
                    && let Some(connection) = self.at(slot)
                {
                    connection
                        .session
                        .unsubscribe_done(packet_id, filters.into_iter().zip(existed).collect());
                    self.act(slot, now);
                }
            }
        }
    }

    pub(super) fn stored(&mut self, completion: Completion, bug: Option<Bug>, now: Now) {
        match completion {
            Completion::Claimed { ticket, result } => {
                if let Some(Pending::Claim { slot, token, persistent }) = self.pending.remove(&ticket) {
                    self.claimed((slot, token, persistent), result, now);
                }
            }
            Completion::QueueRead { ticket, result } => {
                if let Some(Pending::Queue { slot }) = self.pending.remove(&ticket) {
                    self.queue_read(slot, result, now);
                }
            }
            Completion::Tails { ticket, result } => {
                if let Some(Pending::Tails(slots)) = self.pending.remove(&ticket) {
                    self.tails_compared(&slots, result, now);
                }
            }
            Completion::Done { ticket, result } => {
                if let Some(pending) = self.pending.remove(&ticket) {
                    self.done(pending, &result, bug, now);
                }
            }
            // Only routers ask for these.
            Completion::Published { .. }
            | Completion::GroupOpened { .. }
            | Completion::SharesClaimed { .. }
            | Completion::SharesHeld { .. }
            | Completion::RetainedFound { .. }
            | Completion::Retained { .. }
            | Completion::Owners { .. } => {}
        }
    }

    pub(super) fn done(&mut self, pending: Pending, result: &Result<(), Error>, bug: Option<Bug>, now: Now) {
        match (pending, result) {
            (Pending::End { session, persistent, address, will }, result) => {
                self.end_recorded((session, address), persistent, will, result)
            }
            (
                Pending::Subscribe { slot, .. }
                | Pending::Unsubscribe { slot, .. }
                | Pending::Released { slot, .. },
                Err(error),
            ) => self.failed(slot, error, now),
            // Routed though the connection may be gone by now: what the store holds of a session, routers hold, too.
            (Pending::Subscribe { slot, session, owner, packet_id, subscriptions }, Ok(())) => {
                if bug == Some(Bug::EarlySuback) {
                    self.subscribed(slot, packet_id, &subscriptions, now);
                }
                let pending = Pending::Subscribe {
                    slot,
                    session,
                    owner,
                    packet_id,
                    subscriptions: subscriptions.clone(),
                };
                let ticket = self.expect(pending);
                let subscribe =
                    RoutingRequest::Subscribe { ticket, session, subscriptions, exact: None, owner };
                self.connections.routing.push(subscribe);
            }
            (Pending::Unsubscribe { slot, session, owner, packet_id, filters }, Ok(())) => {
                let pending =
                    Pending::Unsubscribe { slot, session, owner, packet_id, filters: filters.clone() };
                let ticket = self.expect(pending);
                self.connections.routing.push(RoutingRequest::Unsubscribe {
                    ticket,
                    session,
                    filters,
                    owner,
                });
            }
            (Pending::Released { slot, entries }, Ok(())) => {
                if let Some(connection) = self.at(slot) {
                    connection.session.released(&entries);
                    self.act(slot, now);
                }
            }
            _ => {}
        }
    }

    /// The end of a turn: the store is told how far clients got, and clients get what was written for them.
    pub(crate) fn end_turn(&mut self) {
        let mut released = Vec::new();
        for (slot, connection) in &mut self.connections.by_slot {
            let Some(token) = connection.owned else { continue };
            let session = connection.session.session_id();
            let Progress { acknowledged: entries, released: begun } =
                std::mem::take(&mut connection.progress);
            if !entries.is_empty() {
                self.connections.store.push(Request::Trim { session, token, entries });
            }
            if !begun.is_empty() {
                released.push((*slot, session, token, begun));
            }
        }
        for (slot, session, token, entries) in released {
            let ticket = self.expect(Pending::Released { slot, entries: entries.clone() });
            self.connections.store.push(Request::Release { ticket, session, token, entries });
        }
        let done = std::mem::take(&mut self.connections.shares_done);
        let done = done.into_iter().map(|(group, entries)| Request::AcknowledgeShares { group, entries });
        self.connections.store.extend(done);
        self.store.submit(&mut self.connections.store);
        for connection in self.connections.by_slot.values_mut() {
            let written = written(&mut connection.session);
            if !written.is_empty() {
                self.connections.leaving.output.push((connection.client, connection.number, written));
            }
        }
    }

    /// Whether something that was asked for is not answered yet.
    pub(crate) fn waits(&self) -> bool {
        !self.pending.is_empty() || !self.connections.store.is_empty() || !self.connections.routing.is_empty()
    }
}
