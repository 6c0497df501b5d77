//! Who is in the cluster, and which router owns which slot (protocols B1 and B4).
//!
//! The metastore's control group keeps both. A process joins under an incarnation that is new at each of its starts, renews
//! its lease, and says when it has done what it must have done before it may own slots, or is to own them no more. What comes of
//! it is the [`RoutingTable`], the same for all that read one version of it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_topics::{DepthRules, Slot};
use futures_core::Stream;

use crate::metadata::{BoxFuture, Error};

/// How long a lease lasts after the renewal that was asked for last, by the asker's clock.
pub const LEASE: Duration = Duration::from_secs(2);

/// How often it is renewed.
pub const RENEW_EVERY: Duration = Duration::from_millis(400);

/// One start of one process. Never used again, and never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Owns slots.
    Router,
    /// Holds connections.
    Gateway,
    /// Executes rules.
    RulesWorker,
}

/// How far a member has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Hears of changes and is not to be relied upon yet: a router owns no slot.
    Loading,
    /// In service.
    Serving,
    /// On its way out: what it owns goes to others.
    Leaving,
}

/// A process of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which start of which process.
    pub incarnation: Incarnation,
    /// What it does.
    pub role: Role,
    /// Where the others reach it: `host:port` of its gRPC listener.
    pub address: String,
    /// How far it is.
    pub phase: Phase,
}

/// Who serves a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotOwner {
    /// The router; `None` while the one before has not released it and its lease has not run out.
    pub owner: Option<Incarnation>,
    /// Who is to own it next, while that is another: the owner stops and releases the slot.
    pub next: Option<Incarnation>,
    /// Who holds the slot's filters too, so as to take over at once.
    pub standby: Option<Incarnation>,
    /// Grows with each new owner: the fence.
    pub epoch: u64,
}

/// Slots and their owners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingTable {
    /// Grows with each change; a frame made by one version is refused by a router that has another depth rule or owner for its
    /// slot.
    pub version: u64,
    /// How many levels of a topic choose its slot.
    pub depth: DepthRules,
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

    /// The member of this incarnation.
    pub fn member(&self, incarnation: Incarnation) -> Option<&Member> {
        self.members.iter().find(|member| member.incarnation == incarnation)
    }

    /// The routers, whatever their phase: each holds the spread filters.
    pub fn routers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.role == Role::Router)
    }
}

/// Tables, newer ones later; ends with the process.
pub type TableStream = Pin<Box<dyn Stream<Item = Arc<RoutingTable>> + Send>>;

/// The cluster as its members see it.
pub trait Membership: Send + Sync + 'static {
    /// Joins, [`Loading`](Phase::Loading), under a new incarnation.
    fn join(&self, role: Role, address: String) -> BoxFuture<'_, Result<Incarnation, Error>>;

    /// Renews the lease: it lasts for [`LEASE`] from when this was called, if it is answered. An error that is not
    /// `Unavailable` says that the incarnation is out: it must stop, and may join again as another.
    fn renew(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>>;

    /// Says how far the member is. Leaving ends when nothing is owned any more; then [`leave`](Self::leave).
    fn set_phase(&self, incarnation: Incarnation, phase: Phase) -> BoxFuture<'_, Result<(), Error>>;

    /// The owner of these slots has stopped serving them, each under the epoch given with it: whoever is to own them may begin,
    /// under a new epoch. What the member does not own under that epoch is left as it is, so asking again does no harm.
    fn release(&self, incarnation: Incarnation, slots: Vec<(Slot, u64)>) -> BoxFuture<'_, Result<(), Error>>;

    /// The member is gone, and owns nothing.
    fn leave(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>>;

    /// The table as it is, and then as it changes; versions that were overtaken may be left out.
    fn table(&self) -> TableStream;
}
