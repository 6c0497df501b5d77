//! Operating the metastore: how its nodes are, which nodes it has, backups.

use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;

use crate::metadata::{BoxFuture, Error};

/// What a node is in its raft group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeRole {
    /// Commands are carried out here.
    Leader,
    /// Follows a leader, and votes.
    Follower,
    /// Wants to lead.
    Candidate,
    /// Does not vote: it is being brought level, or was taken out.
    Learner,
}

/// A node of the metastore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id.
    pub node: u64,
    /// Where the others reach it.
    pub address: String,
    /// Whether it votes; one that does not is catching up.
    pub votes: bool,
    /// How far its log is known to reach; only the leader knows.
    pub matched: Option<u64>,
}

/// The metastore as one of its nodes sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: u64,
    /// The release that it runs; empty from releases that do not say so.
    pub version: String,
    /// Bytes on disk, of all groups together.
    pub disk_bytes: u64,
    /// Ids of the master keys under which what is on disk is encrypted; empty where it is plain.
    pub master_keys: Vec<String>,
    /// Ids of the keys that seal and open the private keys of issuing CAs, the one that seals first.
    pub issuing_keys: Vec<String>,
    /// The control group, whose nodes are the metastore's.
    pub control: GroupStatus,
    /// The state groups, in order of their numbers, which begin with 1.
    pub state: Vec<GroupStatus>,
}

/// A raft group as one of its nodes sees it. Entries are told by their indexes in the log, 0 before the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// What this node is in it.
    pub role: NodeRole,
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// The last entry in the log here.
    pub last: u64,
    /// The last entry known here to be committed.
    pub committed: u64,
    /// The last entry applied here: the revision of what is read here.
    pub applied: u64,
    /// The last entry that the newest snapshot here covers.
    pub snapshot: u64,
    /// What this node has applied is known to be recent: it follows a leader, or leads and a quorum answers.
    pub confirmed: bool,
    /// Its nodes.
    pub nodes: Vec<Node>,
}

impl Status {
    /// All groups, the control group first.
    pub fn groups(&self) -> impl Iterator<Item = &GroupStatus> {
        std::iter::once(&self.control).chain(&self.state)
    }
}

impl GroupStatus {
    /// How many entries `node` is behind the leader, as far as this node knows.
    pub fn lag(&self, node: u64) -> Option<u64> {
        let matched = self.nodes.iter().find(|other| other.node == node)?.matched?;
        Some(self.last.saturating_sub(matched))
    }
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupInfo {
    /// Incarnation of the data that it was made of.
    pub incarnation: u64,
    /// The revision of each raft group, in order of their numbers: the control group's, then the state groups'.
    pub revisions: Vec<u64>,
    /// Wall time of its making, in milliseconds since 1970.
    pub made_at: u64,
}

/// The bytes of a file, in pieces.
pub type FileStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>> + Send>>;

/// Operating one node of the metastore.
pub trait Admin: Send + Sync + 'static {
    /// The metastore as this node sees it.
    fn status(&self) -> BoxFuture<'_, Result<Status, Error>>;

    /// A backup of everything that was committed in any group when it was asked for, as one file that carries its own checksum.
    /// To be asked of the control group's leader.
    fn backup(&self) -> BoxFuture<'_, Result<FileStream, Error>>;

    /// Adds a node that was started to join to all groups: it is brought level first and votes then. To be asked of the control
    /// group's leader, as all that follows; answered when the change is committed everywhere. One that failed half-way goes
    /// on where it stopped when it is asked for again.
    fn add_node(&self, node: u64, address: String) -> BoxFuture<'_, Result<(), Error>>;

    /// Takes a node out, whether it is alive or not.
    fn remove_node(&self, node: u64) -> BoxFuture<'_, Result<(), Error>>;

    /// Puts a node that was started to join in the place of another one, in one change.
    fn replace_node(&self, old: u64, new: u64, address: String) -> BoxFuture<'_, Result<(), Error>>;

    /// Lets other nodes lead the groups that this one leads, so that nobody waits for an election when it goes away.
    fn hand_over(&self) -> BoxFuture<'_, Result<(), Error>>;
}
