//! Which router makes and deletes the queue of a group, where several hold its members: the owner of the group's slot. For a
//! pinned filter that is the slot of its topics, for a spread one a slot by the group's name. The others find the queue in the
//! store; until then, what they give to a persistent member is that member's for good.
//!
//! One of the others may append to a queue that its home is just closing. Nothing acknowledged is lost by that. The home closes a queue whose
//! group had no member for two sweeps, so that what the other appends to it *before* is for members who have left, or for one that joins now:
//! its SUBACK waits for a queue that the home opens, which it gets only when the old one is gone (`Router::is_closing`), and so comes after the
//! append. What is appended *after* is answered with "gone", is kept and not acknowledged, and goes to the group's next queue
//! (`Lane::lose_queues`, `rehouse`), or nowhere when the group has ended here as well.

use std::sync::Arc;

use fleethaven_fabric::membership::{Incarnation, RoutingTable};
use fleethaven_lanes::router::{Serving, Slots};
use fleethaven_storage::{Error, Fence, GroupId, Ticket};
use fleethaven_topics::slot::slot;
use fleethaven_topics::{Depths, Placement, Slot};
use fleethaven_types::{Scope, Utf8Bytes};
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use crate::group::Group;
use crate::router::Router;

/// The slots of a router in a cluster.
pub(crate) struct Homes {
    slots: Arc<Slots>,
    depths: RwLock<Depths>,
}

impl Homes {
    pub(crate) fn new(slots: Arc<Slots>) -> Self {
        Self { slots, depths: RwLock::default() }
    }

    pub(crate) fn follow(&self, table: &RoutingTable) {
        if *self.depths.read() != table.depths {
            *self.depths.write() = table.depths.clone();
        }
    }

    /// The group's slot and its epoch, if that is this router's.
    fn fence(&self, group: &Group) -> Option<Fence> {
        let depths = self.depths.read();
        let slot = match Placement::of(&group.scope, &group.filter, &depths.now) {
            Placement::Pinned(slot) => slot,
            Placement::Spread => slot(&group.scope, &group.key(), &depths.now),
        };
        let (serving, epoch) = self.slots.get(slot);
        (serving != Serving::No).then(|| Fence { slot: slot.index(), epoch })
    }

    fn serves(&self, fence: Fence) -> bool {
        let serves = |slot| self.slots.get(slot) == (Serving::Yes, fence.epoch);
        Slot::new(fence.slot).is_some_and(serves)
    }

    /// Whether a filter must be held here since a later version of the table than `version`.
    fn holds_since_later(&self, scope: &Scope, filter: &str, version: u64) -> bool {
        let places = self.depths.read().places(scope, filter);
        places.iter().any(|place| self.slots.held_since(place) > version)
    }
}

impl Router {
    /// It is one of several from now on: `me`, with these slots.
    pub fn in_cluster(&self, me: Incarnation, slots: Arc<Slots>) {
        // A router is kept by one keeper.
        let _ = self.homes.set(Homes::new(slots));
        self.groups.name_apart(me);
    }

    /// The routing table has changed.
    pub fn follow(&self, table: &RoutingTable) {
        self.homes.get().iter().for_each(|homes| homes.follow(table));
    }

    /// Whether somebody who knows the table up to `version` cannot know that this router must hold a filter.
    pub(crate) fn is_unknown_at(&self, version: u64, scope: &Scope, filter: &str) -> bool {
        self.homes.get().is_some_and(|homes| homes.holds_since_later(scope, filter, version))
    }

    /// Whether publishes to a slot are taken in an epoch.
    pub(crate) fn serves(&self, fence: Fence) -> bool {
        self.homes.get().is_none_or(|homes| homes.serves(fence))
    }

    /// Whether this router makes and deletes the queue of a group.
    pub(crate) fn is_home(&self, group: &Group) -> bool {
        self.homes.get().is_none_or(|homes| homes.fence(group).is_some())
    }

    /// Of the group's slot, where it has one.
    pub(crate) fn home_fence(&self, group: &Group) -> Option<Fence> {
        self.homes.get().and_then(|homes| homes.fence(group))
    }

    /// Gives groups that have no queue the one that the store has. Those with persistent members get one that is made, where that
    /// is this router's to do; whether all of them have one now.
    pub fn find_queues(&self) -> Result<bool, Error> {
        let without = self.groups_without_queue();
        if without.is_empty() {
            return Ok(true);
        }
        let mut queues: FxHashMap<(Scope, Utf8Bytes), GroupId> = FxHashMap::default();
        for record in self.store.groups()? {
            queues.entry((record.scope, record.key)).or_insert(record.group);
        }
        let mut all = true;
        for group in without {
            let home = self.home_fence(&group);
            let queue = match queues.get(&(group.scope, group.key())) {
                Some(queue) => Some(*queue),
                None if !group.is_durable() => None,
                None if home.is_some() => Some(self.store.open_group(group.open(Ticket(0)))?),
                None => {
                    all = false;
                    continue;
                }
            };
            if queue.is_some_and(|queue| self.is_closing(&group, queue)) {
                all = false;
                continue;
            }
            group.sought_by(home);
            queue.into_iter().for_each(|queue| self.set_queue(&group, queue));
        }
        Ok(all)
    }
}
