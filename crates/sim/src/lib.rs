//! The routing plane of a cluster, simulated: gateways, routers, the control group's logic and a session store in one thread,
//! on a virtual clock, with all that is random drawn from one seed. What decides in production decides here, too: the lanes of
//! both sides, the keeper of a router's slots, the router with its tables, members, slots and leases. Simulated are what they
//! stand on: network, store, clients, and the tasks that drive them.
//!
//! - [`run`]: one run under random faults; then all is mended, and what must hold is checked
//! - [`Bug`]: mistakes that can be made on purpose, to show that the checks find them
//! - `world`: clock, events, network, faults
//! - `metastore`, `store`, `router`, `gateway` with its `connections`, `clients` (`publishers`, `subscribers`, `members`, `wills`): who lives
//!   in it
//! - `history`: what clients saw, and what must have come of it
#![warn(missing_docs)]
#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "a test bench: what goes wrong in it ends the run, and can be watched"
)]

mod clients;
mod connections;
mod faults;
mod gateway;
mod history;
mod members;
mod metastore;
mod publishers;
mod random;
mod router;
mod store;
mod subscribers;
mod wills;
mod world;

/// A mistake made on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The session store takes publishes of epochs that are over.
    FencesIgnored,
    /// A router acknowledges before the store has answered.
    EarlyAcknowledgement,
    /// A router acts as if its lease never ended.
    EndlessLease,
    /// A gateway's lane sends the first two messages of a replay in the wrong order.
    ReplayOutOfOrder,
    /// A gateway's lane takes for done what was sent on a stream that broke.
    ReplayForgotten,
    /// A router serves slots without having loaded their subscriptions.
    NothingLoaded,
    /// A gateway tells its client that it is subscribed before the routers have said so.
    EarlySuback,
    /// A router says that it has a subscription before it has raised the fences of what it owns.
    SubackUnfenced,
    /// A router takes what a gateway with an older table lists of a session for all that it must hold of it.
    TablesUnordered,
    /// A gateway takes pushes for the truth: it does not look into the store's queues where some may have got lost.
    PushesTrusted,
    /// The store answers what it was asked to write before its replica has it.
    ReplicaNotAwaited,
    /// The store answers a read with what its replica does not have.
    ReadsNotAwaited,
    /// A replica that takes over gives out numbers that the primary had given out before.
    NumbersReused,
    /// Routers take what any owner of a session says for what the youngest says.
    OwnersUnordered,
    /// Other depths are in force as soon as somebody wants them.
    DepthsAtOnce,
    /// The store does not tell a router what it holds of groups, so that what was given out in a lost answer stays there.
    HeldUntold,
    /// What a router that is gone held of groups stays held.
    HoldersRemembered,
    /// The store gives out shares that are given out already.
    SharesGivenTwice,
    /// A will waits under its session's number, as that of the session's next connection does.
    WillsOfSessions,
    /// Wills are published without a look whether somebody has published them.
    WillsRepeated,
    /// The store drops the wills of gateways that are gone.
    WillsDropped,
    /// The store retains also what it refuses.
    RetainedAnyway,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Messages that clients published.
    pub published: usize,
    /// Those at QoS 1 and 2 that were acknowledged.
    pub acknowledged: usize,
    /// Faults that happened.
    pub faults: usize,
    /// Versions of the routing table.
    pub tables: u64,
    /// Events that were carried out.
    pub events: u64,
    /// Of all that happened, in order: equal for equal runs.
    pub digest: u64,
}

/// What must not have happened, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// Lets the cluster that `seed` describes live through the faults that `seed` draws.
///
/// # Errors
/// The first [`Violation`] that was seen.
pub fn run(seed: u64, bug: Option<Bug>) -> Result<Summary, Violation> {
    world::World::new(seed, bug).run()
}
