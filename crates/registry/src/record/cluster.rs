//! The cluster: its members, and who owns which slot.

use prost::Message;

/// What there is once.
#[derive(Clone, PartialEq, Message)]
pub struct ClusterHead {
    /// Grows with each change of the cluster.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// The incarnation given last.
    #[prost(uint64, tag = "2")]
    pub last_incarnation: u64,
    /// How many levels of a topic choose its slot.
    #[prost(message, optional, tag = "3")]
    pub depths: Option<SlotDepths>,
    /// Those to come, while they are changed.
    #[prost(message, optional, tag = "4")]
    pub changing: Option<DepthsChanging>,
}

/// A change of the depths that is under way.
#[derive(Clone, PartialEq, Message)]
pub struct DepthsChanging {
    /// What is to come.
    #[prost(message, optional, tag = "1")]
    pub depths: Option<SlotDepths>,
    /// The version that told of it first.
    #[prost(uint64, tag = "2")]
    pub since: u64,
    /// Slots are being released.
    #[prost(bool, tag = "3")]
    pub switching: bool,
    /// Incarnations of routers that hold all that is to come.
    #[prost(uint64, repeated, tag = "4")]
    pub ready: Vec<u64>,
}

/// How many levels of a topic choose its slot.
#[derive(Clone, PartialEq, Message)]
pub struct SlotDepths {
    /// Of a topic below none of the prefixes.
    #[prost(uint64, tag = "1")]
    pub default_depth: u64,
    /// Of topics below one of these, the longest of them.
    #[prost(message, repeated, tag = "2")]
    pub prefixes: Vec<SlotPrefix>,
}

/// The depth of topics that begin alike.
#[derive(Clone, PartialEq, Message)]
pub struct SlotPrefix {
    /// The levels that they begin with.
    #[prost(string, tag = "1")]
    pub prefix: String,
    /// How many levels choose the slot, those of the prefix included.
    #[prost(uint64, tag = "2")]
    pub depth: u64,
}

/// A member; its incarnation stands in the key.
#[derive(Clone, PartialEq, Message)]
pub struct ClusterMember {
    /// 1: router, 2: gateway, 3: rules worker, 4: API; others are a later release's.
    #[prost(uint32, tag = "1")]
    pub role: u32,
    /// Where the others reach it: `host:port`.
    #[prost(string, tag = "2")]
    pub address: String,
    /// 1: loading, 2: serving, 3: leaving; others are a later release's.
    #[prost(uint32, tag = "3")]
    pub phase: u32,
    /// The release that it runs; empty when it has not said so.
    #[prost(string, tag = "4")]
    pub version: String,
}

/// The owners of all slots, column by column in the order of the slots: `fleethaven_membership::CompactSlots`.
#[derive(Clone, PartialEq, Message)]
pub struct ClusterSlots {
    /// What is added to every number of the columns but 0.
    #[prost(uint64, tag = "1")]
    pub base: u64,
    /// Owners, 0 where there is none.
    #[prost(uint64, repeated, tag = "2")]
    pub owners: Vec<u64>,
    /// Who is to own the slot next, 0 where nobody else is.
    #[prost(uint64, repeated, tag = "3")]
    pub nexts: Vec<u64>,
    /// Who holds the slot's filters too, 0 where nobody does.
    #[prost(uint64, repeated, tag = "4")]
    pub standbys: Vec<u64>,
    /// Epochs.
    #[prost(uint64, repeated, tag = "5")]
    pub epochs: Vec<u64>,
}
