//! Who is in the cluster, and which router owns which slot (protocols B1 and B4).
//!
//! The metastore's control group keeps both. A process joins under an incarnation that is new at each of its starts, renews
//! its lease, and says when it has done what it must have done before it may own slots, or is to own them no more. What comes of
//! it is the [`RoutingTable`], the same for all that read one version of it.

use std::pin::Pin;
use std::sync::Arc;

use fleethaven_topics::Slot;
use futures_core::Stream;

pub use fleethaven_membership::{
    DepthChange, Incarnation, LEASE, Member, Phase, RENEW_EVERY, Role, RoutingTable, SlotOwner,
};

use crate::metadata::{BoxFuture, Error};

/// Tables, newer ones later; ends with the process.
pub type TableStream = Pin<Box<dyn Stream<Item = Arc<RoutingTable>> + Send>>;

/// The cluster as its members see it.
pub trait Membership: Send + Sync + 'static {
    /// Joins, [`Loading`](Phase::Loading), under a new incarnation; `version` is the release that the process runs.
    fn join(&self, role: Role, address: String, version: String)
    -> BoxFuture<'_, Result<Incarnation, Error>>;

    /// Renews the lease: it lasts for [`LEASE`] from when this was called, if it is answered. `Refused` says that the
    /// incarnation is out: it must stop, and may join again as another. The only other error is `Unavailable`.
    fn renew(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>>;

    /// Says how far the member is. Leaving ends when nothing is owned any more; then [`leave`](Self::leave).
    fn set_phase(&self, incarnation: Incarnation, phase: Phase) -> BoxFuture<'_, Result<(), Error>>;

    /// The owner of these slots has stopped serving them, each under the epoch given with it: whoever is to own them may begin,
    /// under a new epoch. What the member does not own under that epoch is left as it is, so asking again does no harm.
    fn release(&self, incarnation: Incarnation, slots: Vec<(Slot, u64)>) -> BoxFuture<'_, Result<(), Error>>;

    /// A router holds all that the depths to come want, as this version of the table told of them.
    fn ready_for_depth(&self, incarnation: Incarnation, version: u64) -> BoxFuture<'_, Result<(), Error>>;

    /// Asks that so many levels choose the slot of topics below `prefix`, or of all that are below none; without `depth`, as many as
    /// if nobody had asked. Answered when that is noted: the table tells when it is in force. Refused when there cannot be such
    /// depths, or while another change is under way.
    fn set_depth(&self, prefix: String, depth: Option<u64>) -> BoxFuture<'_, Result<(), Error>>;

    /// The member is gone, and owns nothing.
    fn leave(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>>;

    /// The table as it is, and then as it changes; versions that were overtaken may be left out.
    fn table(&self) -> TableStream;
}
