//! Subscriptions that are being made or removed: asked of every router that must hold them, answered once.

use fleethaven_fabric::RoutingEvent;
use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_storage::{SessionId, Subscription, Ticket};
use fleethaven_topics::Places;
use fleethaven_types::Utf8Bytes;

use super::slot_lane::LinkId;
use crate::frame::Control;

/// A request whose answer is waited for.
pub(crate) struct Request {
    pub(crate) ticket: Ticket,
    pub(crate) session: SessionId,
    /// Which of the session's owners asks.
    pub(crate) owner: OwnerNumber,
    pub(crate) filters: Vec<(Utf8Bytes, Places)>,
    pub(crate) what: What,
    /// Routers that have done their part, and the versions of the table by which they were asked to.
    pub(crate) confirmed: Vec<(Incarnation, u64)>,
    /// Streams on which routers were asked to, and by which versions of the table.
    pub(crate) asked: Vec<(LinkId, u64)>,
}

/// What is done with the filters, and what is known of each so far.
pub(crate) enum What {
    /// Subscribed to.
    Subscribe {
        subscriptions: Vec<Subscription>,
        /// The filter was new to the session, as far as all know that were asked.
        new: Vec<bool>,
        over_quota: Vec<bool>,
    },
    /// Unsubscribed from.
    Unsubscribe {
        /// Some router had the subscription.
        existed: Vec<bool>,
    },
}

impl Request {
    /// The filters (by index) that a router has to do with.
    pub(crate) fn part(&self, concerns: impl Fn(Places) -> bool) -> Vec<usize> {
        let all = self.filters.iter().enumerate();
        all.filter(|(_, (_, places))| concerns(*places)).map(|(index, _)| index).collect()
    }

    /// What one router is asked.
    pub(crate) fn control(&self, (ticket, version): (u64, u64), part: &[usize]) -> Control {
        let (session, owner) = (self.session, self.owner);
        match &self.what {
            What::Subscribe { subscriptions, .. } => {
                let subscriptions = part.iter().filter_map(|index| subscriptions.get(*index).cloned());
                let subscriptions = subscriptions.collect();
                Control::Subscribe { ticket, session, subscriptions, exact: false, version, owner }
            }
            What::Unsubscribe { .. } => {
                let filters = part.iter().filter_map(|index| self.filters.get(*index));
                let filters = filters.map(|(filter, _)| filter.clone()).collect();
                Control::Unsubscribe { ticket, session, filters, owner }
            }
        }
    }

    /// One router says which filters were new, or too many. One that is asked `again` has them from the first time.
    pub(crate) fn subscribed(
        &mut self,
        (places, again): (&[(usize, usize)], bool),
        new: &[bool],
        over_quota: &[usize],
    ) {
        let What::Subscribe { new: all_new, over_quota: over, .. } = &mut self.what else { return };
        for (index, place) in places {
            if let (Some(known), Some(false), false) = (all_new.get_mut(*index), new.get(*place), again) {
                *known = false;
            }
            if let Some(over) = over.get_mut(*index) {
                *over |= over_quota.contains(place);
            }
        }
    }

    /// One router says which subscriptions there were.
    pub(crate) fn unsubscribed(&mut self, places: &[(usize, usize)], existed: &[bool]) {
        let What::Unsubscribe { existed: any_existed } = &mut self.what else { return };
        for (index, place) in places {
            if let (Some(known), Some(true)) = (any_existed.get_mut(*index), existed.get(*place)) {
                *known = true;
            }
        }
    }

    /// The filters that are one too many somewhere.
    pub(crate) fn over_quota(&self) -> Vec<Utf8Bytes> {
        let What::Subscribe { over_quota, .. } = &self.what else { return Vec::new() };
        let over = self.filters.iter().zip(over_quota).filter(|(_, over)| **over);
        over.map(|((filter, _), _)| filter.clone()).collect()
    }

    /// The answer.
    pub(crate) fn event(self) -> RoutingEvent {
        let ticket = self.ticket;
        match self.what {
            What::Subscribe { new, over_quota, .. } => {
                let over = over_quota.iter().enumerate().filter(|(_, over)| **over);
                RoutingEvent::Subscribed { ticket, new, over_quota: over.map(|(index, _)| index).collect() }
            }
            What::Unsubscribe { existed } => RoutingEvent::Unsubscribed { ticket, existed },
        }
    }
}
