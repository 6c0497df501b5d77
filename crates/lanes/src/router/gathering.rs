//! What a router's lanes tell of the gateways at their other ends.

use fleethaven_fabric::membership::Incarnation;

/// A lane as the router tells it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// The process at the other end.
    pub gateway: Incarnation,
    /// Its core.
    pub core: u16,
    /// Of this process: a lane that is opened again has another.
    pub number: u64,
}

/// Who is told how far gateways have told their sessions: a slot is served when all have.
pub trait Gathering: Send + Sync {
    /// A lane is open; its gateway opens one for each of `cores` cores.
    fn opened(&self, lane: LaneId, cores: u16);

    /// Everything that must be held of the core's sessions by this version of the table has come.
    fn level(&self, lane: LaneId, version: u64);

    /// A lane is over.
    fn closed(&self, lane: LaneId);
}
