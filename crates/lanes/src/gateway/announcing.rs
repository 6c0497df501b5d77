//! Which routers there are, and what one is told when its stream begins or it has to hold more.

use std::collections::BTreeMap;
use std::time::Instant;

use fleethaven_fabric::membership::{Incarnation, RoutingTable};
use fleethaven_storage::SessionId;
use fleethaven_topics::{Placement, Places, Slot};
use fleethaven_types::Utf8Bytes;

use super::link::{Announcement, Link};
use super::sessions::Attached;
use super::slot_set::SlotSet;
use super::{ANNOUNCED_AT_ONCE, Lanes};
use crate::frame::Control;

impl Lanes {
    pub(super) fn set_links(&mut self, table: &RoutingTable, previous: Option<&RoutingTable>, now: Instant) {
        let gone = |router: &Incarnation| !table.routers().any(|member| member.incarnation == *router);
        let gone: Vec<_> = self.links.iter().filter(|(router, _)| gone(router)).collect();
        let gone: Vec<_> = gone.into_iter().map(|(router, link)| (*router, link.generation)).collect();
        for (router, generation) in gone {
            self.closed(router, generation, now);
            self.links.remove(&router);
        }
        let mut holds = BTreeMap::<Incarnation, SlotSet>::new();
        for slot in Slot::all() {
            let at = table.slot(slot);
            let stays = previous.is_some_and(|previous| {
                let before = previous.slot(slot);
                (before.owner, before.epoch) == (at.owner, at.epoch)
            });
            if let (Some(owner), false) = (at.owner, stays) {
                self.links.entry(owner).or_default().owns_since = table.version;
            }
            for router in [at.owner, at.next, at.standby].into_iter().flatten() {
                holds.entry(router).or_default().insert(slot);
            }
        }
        let routers: Vec<_> = table.routers().map(|member| (member.incarnation, &member.address)).collect();
        for (router, address) in routers {
            let link = self.links.entry(router).or_default();
            link.address.clone_from(address);
            let holds = holds.get(&router).copied().unwrap_or_default();
            let gained = holds.without(&link.holds);
            link.holds = holds;
            if link.open {
                self.announce(router, Some(gained));
            }
        }
    }

    /// Tells a router of what it has to hold from now on; `None`: of everything.
    pub(super) fn announce(&mut self, router: Incarnation, gained: Option<SlotSet>) {
        let Some(link) = self.links.get_mut(&router) else { return };
        let gained = match (link.announcement.take(), gained) {
            (Some(Announcement { gained: Some(mut before), .. }), Some(gained)) => {
                before.extend(&gained);
                Some(before)
            }
            (Some(_), _) => None,
            (None, gained) => gained,
        };
        let nothing = gained.as_ref().is_some_and(SlotSet::is_empty);
        let sessions = if nothing { Vec::new() } else { self.sessions.keys().copied().collect() };
        link.announcement = Some(Announcement { sessions, gained });
    }

    pub(super) fn poll_announcement(&mut self, router: Incarnation) {
        let Some(link) = self.links.get_mut(&router) else { return };
        let Some(mut announcement) = link.announcement.take() else { return };
        let version = self.table.as_ref().map_or(0, |table| table.version);
        for _ in 0..ANNOUNCED_AT_ONCE {
            let Some(session) = announcement.sessions.pop() else { break };
            let Some(attached) = self.sessions.get(&session) else { continue };
            let concerns = |places: Places| match &announcement.gained {
                None => link.must_hold(places),
                Some(gained) => places.iter().any(|place| match place {
                    Placement::Pinned(slot) => gained.contains(slot),
                    Placement::Spread => false,
                }),
            };
            let wanted = attached.subscriptions.values().filter(|placed| concerns(placed.places));
            let subscriptions: Vec<_> = wanted.map(|placed| placed.subscription.clone()).collect();
            if subscriptions.is_empty() {
                continue;
            }
            if link.attached.contains_key(&session) {
                // Nobody waits for the answer.
                link.control.push_back(Control::Subscribe {
                    ticket: 0,
                    session,
                    subscriptions,
                    exact: false,
                    version,
                    owner: attached.owner,
                });
            } else {
                introduce(link, session, attached, (0, version));
            }
        }
        if announcement.sessions.is_empty() {
            link.control.push_back(Control::Level { version });
        } else {
            link.announcement = Some(announcement);
        }
    }
}

pub(super) fn attach(session: SessionId, attached: &Attached) -> Control {
    let Attached { scope, persistent, address, owner, .. } = attached;
    Control::Attach {
        session,
        scope: *scope,
        persistent: *persistent,
        address: *address,
        room: attached.room(),
        owner: *owner,
    }
}

/// Tells a router of a session and all its subscriptions that it must hold; returns their filters in the order told.
pub(super) fn introduce(
    link: &mut Link,
    session: SessionId,
    attached: &Attached,
    (ticket, version): (u64, u64),
) -> Vec<Utf8Bytes> {
    let wanted = attached.subscriptions.values().filter(|placed| link.must_hold(placed.places));
    let subscriptions: Vec<_> = wanted.map(|placed| placed.subscription.clone()).collect();
    let filters = subscriptions.iter().map(|subscription| subscription.filter.clone()).collect();
    link.control.push_back(attach(session, attached));
    let owner = attached.owner;
    let exact = true;
    link.control.push_back(Control::Subscribe { ticket, session, subscriptions, exact, version, owner });
    link.attached.insert(session, 0);
    filters
}
