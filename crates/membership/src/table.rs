//! What everybody sees of the cluster.

use std::sync::Arc;

use fleethaven_topics::{Depths, Slot};

use crate::depth::DepthChange;
use crate::member::{Incarnation, Member, Role};

/// Who serves a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotOwner {
    /// The router; `None` while no router serves at all, or none may because depths are switched.
    pub owner: Option<Incarnation>,
    /// Who is to own it next, while that is another: the owner stops and releases the slot.
    pub next: Option<Incarnation>,
    /// Who holds the slot's filters too, so as to take over at once: the router that would own the slot without its owner.
    /// While a router is loading it may be that one, which then owns nothing before it serves.
    pub standby: Option<Incarnation>,
    /// Grows with each new owner, and when an owner that released the slot gets it back: the fence.
    pub epoch: u64,
}

/// Slots and their owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingTable {
    /// Grows with each change; a frame made by one version is refused by a router that has another depth rule or owner for its
    /// slot.
    pub version: u64,
    /// How many levels of a topic choose its slot.
    pub depths: Depths,
    /// Those are being changed.
    pub change: Option<DepthChange>,
    /// By [`Slot::index`]; as many as there are slots.
    pub slots: Arc<[SlotOwner]>,
    /// All members, in order of their incarnations.
    pub members: Arc<[Member]>,
}

impl RoutingTable {
    /// Who serves `slot`.
    pub fn slot(&self, slot: Slot) -> SlotOwner {
        self.slots.get(usize::from(slot.index())).copied().unwrap_or_default()
    }

    /// Whether every slot is to be released, for other depths.
    pub fn is_switching(&self) -> bool {
        self.change.is_some_and(|change| change.switching)
    }

    /// The member of this incarnation.
    pub fn member(&self, incarnation: Incarnation) -> Option<&Member> {
        let found = self.members.binary_search_by_key(&incarnation, |member| member.incarnation);
        found.ok().and_then(|at| self.members.get(at))
    }

    /// The routers, whatever their phase: each holds the spread filters.
    pub fn routers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role == Role::Router)
    }
}
