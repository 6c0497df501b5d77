//! Sessions and their subscriptions: who has to be told of them, and when that is done.

use std::cell::LazyCell;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::membership::RoutingTable;
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_storage::{SessionId, Subscription, Ticket};
use fleethaven_topics::{Depths, Placement, Places, Slot, slot::slot, split_shared};
use fleethaven_types::Utf8Bytes;
use rustc_hash::FxHashMap;

use super::Lanes;
use super::announcing::{attach, introduce};
use super::link::{Asked, Link};
use super::requests::{Request, What};
use super::sessions::Attached;
use super::slot_lane::Outstanding;
use crate::frame::Control;

impl Lanes {
    pub(super) fn handle(&mut self, request: RoutingRequest, table: &RoutingTable) {
        match request {
            RoutingRequest::Publish { ticket, message, from, once, .. } => {
                self.publish(Outstanding { ticket, message, from, once }, table);
            }
            RoutingRequest::Attach { session, scope, persistent, address, credit, owner } => {
                let previous = self.sessions.remove(&session);
                let subscriptions = previous.map(|previous| previous.subscriptions).unwrap_or_default();
                let attached = Attached { scope, persistent, address, credit, owner, subscriptions };
                for link in self.links.values_mut() {
                    if let Some(received) = link.attached.get_mut(&session) {
                        *received = 0;
                        link.control.push_back(attach(session, &attached));
                    }
                }
                self.sessions.insert(session, attached);
            }
            RoutingRequest::Detach { session, address, persistent } => {
                if self.sessions.get(&session).is_none_or(|attached| attached.address != address) {
                    return;
                }
                self.remove(session);
                for link in self.links.values_mut() {
                    if link.attached.remove(&session).is_some() {
                        link.control.push_back(Control::Detach { session, address, persistent });
                    }
                }
            }
            RoutingRequest::Forget { session } => {
                self.remove(session);
                self.tell_all(|link| {
                    link.attached.remove(&session);
                    Control::Forget { session }
                });
            }
            RoutingRequest::Ready { session, returned } => self.ready(session, returned),
            RoutingRequest::Return { session, shares, refused } => {
                self.returned.extend(shares.into_iter().map(|share| (session, share, refused)));
                self.give_back(table);
            }
            RoutingRequest::Subscribe { ticket, session, subscriptions, owner, .. } => {
                self.subscribe(ticket, (session, owner), subscriptions, &table.depths);
            }
            RoutingRequest::Unsubscribe { ticket, session, filters, owner } => {
                self.unsubscribe(ticket, (session, owner), filters, &table.depths);
            }
        }
    }

    /// Hands shares back to the owners of their topics' slots, as far as these can be reached.
    pub(super) fn give_back(&mut self, table: &RoutingTable) {
        for (session, share, refused) in std::mem::take(&mut self.returned) {
            let message = &share.message;
            let owner = table.slot(slot(&message.publisher.scope, &message.topic, &table.depths.now)).owner;
            let link = owner.and_then(|router| self.links.get_mut(&router)).filter(|link| link.open);
            let Some(link) = link else {
                self.returned.push((session, share, refused));
                continue;
            };
            match link.control.back_mut() {
                // Those that come together are put back in their order.
                Some(Control::Return { session: of, shares, refused: too })
                    if (*of, *too) == (session, refused) =>
                {
                    shares.push(share);
                }
                _ => link.control.push_back(Control::Return { session, shares: vec![share], refused }),
            }
        }
    }

    pub(super) fn remove(&mut self, session: SessionId) {
        if let Some(attached) = self.sessions.remove(&session)
            && let Some(count) = self.subscriptions.get_mut(&attached.scope)
        {
            *count = count.saturating_sub(attached.subscriptions.len() as u64);
        }
    }

    pub(super) fn tell_all(&mut self, control: impl Fn(&mut Link) -> Control) {
        for link in self.links.values_mut().filter(|link| link.open) {
            let control = control(link);
            link.control.push_back(control);
        }
    }

    pub(super) fn ready(&mut self, session: SessionId, returned: bool) {
        let told = |link: &Link| link.open && link.attached.contains_key(&session);
        let count = self.links.values().filter(|link| told(link)).count().max(1) as i32;
        let room = self.sessions.get(&session).map(Attached::room);
        for link in self.links.values_mut().filter(|link| told(link) || (link.open && returned)) {
            let received = link.attached.get(&session).copied();
            // Rounded up: where there is less room than routers, each may use it. What is too much comes back, or waits.
            let share = room.filter(|_| received.is_some()).map(|room| (room + count - 1).div_euclid(count));
            let received = received.unwrap_or_default();
            link.control.push_back(Control::Ready { session, returned, room: share, received });
        }
    }

    pub(super) fn subscribe(
        &mut self,
        ticket: Ticket,
        (session, owner): (SessionId, OwnerNumber),
        subscriptions: Vec<Subscription>,
        depths: &Depths,
    ) {
        let mut filters = Vec::with_capacity(subscriptions.len());
        let mut new = Vec::with_capacity(subscriptions.len());
        let attached = &mut owned_by(&mut self.sessions, session, owner);
        for subscription in &subscriptions {
            let filter = subscription.filter.clone();
            // A session that is gone by now is offline: whoever knows it is told.
            let Some(attached) = attached else {
                filters.push((filter, Places::SPREAD));
                new.push(true);
                continue;
            };
            filters.push((filter, depths.places(&attached.scope, &subscription.filter)));
            let held = attached.subscribe(subscription, depths);
            new.push(!held);
            *self.subscriptions.entry(attached.scope).or_default() += u64::from(!held);
        }
        let joins = filters.iter().any(|(filter, _)| split_shared(filter).is_some());
        let over_quota = vec![false; new.len()];
        let what = What::Subscribe { subscriptions, new, over_quota };
        let (confirmed, asked) = (Vec::new(), Vec::new());
        self.ask(Request { ticket, session, owner, filters, what, confirmed, asked });
        if joins {
            // Routers that know the session have not asked what it has room for.
            self.ready(session, false);
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        ticket: Ticket,
        (session, owner): (SessionId, OwnerNumber),
        filters: Vec<Utf8Bytes>,
        depths: &Depths,
    ) {
        let existed = self.withdraw((session, owner), &filters);
        let attached = self.sessions.get(&session);
        let place = |filter: Utf8Bytes| {
            let places = attached.map_or(Places::SPREAD, |attached| depths.places(&attached.scope, &filter));
            (filter, places)
        };
        let filters = filters.into_iter().map(place).collect();
        let what = What::Unsubscribe { existed };
        let (confirmed, asked) = (Vec::new(), Vec::new());
        self.ask(Request { ticket, session, owner, filters, what, confirmed, asked });
    }

    /// Takes subscriptions out of the session's own record.
    pub(super) fn withdraw(
        &mut self,
        (session, owner): (SessionId, OwnerNumber),
        filters: &[Utf8Bytes],
    ) -> Vec<bool> {
        let Some(attached) = owned_by(&mut self.sessions, session, owner) else {
            return vec![false; filters.len()];
        };
        let removed = filters.iter().map(|filter| attached.subscriptions.remove(filter).is_some());
        let removed: Vec<bool> = removed.collect();
        if let Some(count) = self.subscriptions.get_mut(&attached.scope) {
            *count = count.saturating_sub(removed.iter().filter(|removed| **removed).count() as u64);
        }
        removed
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.last_number += 1;
        let number = self.last_number;
        self.requests.insert(number, request);
        self.pursue(number);
    }

    pub(super) fn pursue_all(&mut self) {
        let all: Vec<u64> = self.requests.keys().copied().collect();
        all.into_iter().for_each(|request| self.pursue(request));
    }

    /// Asks the routers that are still to be asked, and answers when all have done their part that must.
    pub(super) fn pursue(&mut self, number: u64) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        let Some(table) = self.table.as_deref() else { return };
        // Looked at once, however many filters concern all of them.
        let all_owned = LazyCell::new(|| Slot::all().all(|slot| table.slot(slot).owner.is_some()));
        let mut waits = request.filters.iter().any(|(_, places)| !have_owners(table, *places, || *all_owned));
        let subscribes = matches!(request.what, What::Subscribe { .. });
        for (router, link) in &mut self.links {
            // Until it has fenced what it owns, the owner before may acknowledge what it matches without.
            let required = if subscribes { link.owns_since } else { 0 };
            if request.confirmed.iter().any(|(of, version)| of == router && *version >= required) {
                continue;
            }
            // What is removed is removed wherever it may be, also where it need not be any more.
            let removes = !subscribes && link.attached.contains_key(&request.session);
            let part = request.part(|places| removes || link.must_hold(places));
            if part.is_empty() {
                continue;
            }
            // A router that will serve, and was not told while it loaded, would know nothing of what is promised now.
            waits = true;
            if !link.open {
                continue;
            }
            let stream = (*router, link.generation);
            if request.asked.iter().any(|(on, version)| *on == stream && *version >= required) {
                continue;
            }
            let again = request.asked.iter().any(|(on, _)| on.0 == *router);
            request.asked.push((stream, table.version));
            self.last_number += 1;
            let ticket = self.last_number;
            let attached = self.sessions.get(&request.session).filter(|_| subscribes);
            let unknown = attached.filter(|_| !link.attached.contains_key(&request.session));
            let places = match unknown {
                // With the first of its subscriptions the router is told of the session, and of all that it must hold.
                Some(attached) => {
                    let told = introduce(link, request.session, attached, (ticket, table.version));
                    let place = |filter: &Utf8Bytes| told.iter().position(|told| told == filter);
                    let found = part.iter().filter_map(|index| {
                        let (filter, _) = request.filters.get(*index)?;
                        Some((*index, place(filter)?))
                    });
                    found.collect()
                }
                None => {
                    link.control.push_back(request.control((ticket, table.version), &part));
                    part.into_iter().enumerate().map(|(place, index)| (index, place)).collect()
                }
            };
            let version = table.version;
            link.asked.insert(ticket, Asked { request: number, places, version, again });
        }
        if !waits {
            self.complete(number);
        }
    }

    pub(super) fn complete(&mut self, number: u64) {
        let Some(request) = self.requests.remove(&number) else { return };
        let over = request.over_quota();
        if !over.is_empty() {
            let (session, owner) = (request.session, request.owner);
            self.withdraw((session, owner), &over);
            for link in self.links.values_mut().filter(|link| link.attached.contains_key(&session)) {
                // Nobody waits for the answer.
                let filters = over.clone();
                link.control.push_back(Control::Unsubscribe { ticket: 0, session, filters, owner });
            }
        }
        self.events.push(request.event());
    }
}

/// The session's own record, unless a younger owner has it by now.
fn owned_by(
    sessions: &mut FxHashMap<SessionId, Attached>,
    session: SessionId,
    owner: OwnerNumber,
) -> Option<&mut Attached> {
    sessions.get_mut(&session).filter(|attached| !owner.is_older_than(attached.owner))
}

/// Whether there is somebody who can be told of such a subscription, for each slot that it may concern: where there is not, the
/// owner before, whose lease is over, may still acknowledge what the store lets through, and match it without.
fn have_owners(table: &RoutingTable, places: Places, all_owned: impl Fn() -> bool) -> bool {
    places.iter().all(|place| match place {
        Placement::Pinned(slot) => table.slot(slot).owner.is_some(),
        Placement::Spread => all_owned(),
    })
}
