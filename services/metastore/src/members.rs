//! Who belongs to the cluster, and changing that.

use std::collections::BTreeSet;
use std::time::Duration;

use fleethaven_fabric::metadata::Error;
use openraft::async_runtime::WatchReceiver;
use openraft::{BasicNode, ChangeMembers};

use crate::metastore::Metastore;

/// How long handing over leadership may take.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub node: u64,
    /// Where the others reach it.
    pub address: String,
    /// Whether it votes; one that does not is catching up.
    pub votes: bool,
    /// How far its log is known to reach; only the leader knows.
    pub matched: Option<u64>,
}

/// The cluster as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node: u64,
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// The last entry applied here.
    pub applied: u64,
    /// What this node has applied is known to be recent: it follows a leader, or leads and a quorum answers.
    pub confirmed: bool,
    /// The members.
    pub members: Vec<Member>,
}

impl Metastore {
    /// The cluster as this node sees it.
    pub fn status(&self) -> Status {
        let metrics = self.control.raft.metrics();
        let metrics = metrics.borrow_watched().clone();
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let matched = |node: &u64| {
            let replication = metrics.replication.as_ref()?;
            replication.get(node).and_then(|id| *id).map(|id| id.index)
        };
        let members = metrics.membership_config.nodes();
        Status {
            node: metrics.id,
            leader: metrics.current_leader,
            term: metrics.current_term,
            applied: metrics.last_applied.map_or(0, |id| id.index),
            confirmed: self.compass.is_confirmed(),
            members: members
                .map(|(node, basic)| Member {
                    node: *node,
                    address: basic.addr.clone(),
                    votes: voters.contains(node),
                    matched: matched(node),
                })
                .collect(),
        }
    }

    /// Adds a node that was started with [`Start::Join`](crate::Start::Join): it is brought level first and votes then. To be
    /// asked of the leader; returns when the change is committed.
    pub async fn add_member(&self, node: u64, address: &str) -> Result<(), Error> {
        let raft = &self.leading()?.control.raft;
        raft.add_learner(node, BasicNode::new(address), true).await.map_err(unavailable)?;
        let add = ChangeMembers::AddVoterIds(BTreeSet::from([node]));
        raft.change_membership(add, false).await.map_err(unavailable)?;
        Ok(())
    }

    /// Takes a node out, whether it is alive or not. To be asked of the leader; returns when the change is committed.
    pub async fn remove_member(&self, node: u64) -> Result<(), Error> {
        let raft = &self.leading()?.control.raft;
        let status = self.status();
        if status.members.iter().filter(|member| member.votes).all(|member| member.node == node) {
            return Err(Error::Unavailable(format!("node {node} is the last voter")));
        }
        let remove = ChangeMembers::RemoveVoters(BTreeSet::from([node]));
        raft.change_membership(remove, false).await.map_err(unavailable)?;
        Ok(())
    }

    /// Before a node that leads goes away, lets the one that is furthest lead instead, so that nobody has to wait for an
    /// election timeout. Without effect on other nodes.
    pub async fn hand_over(&self) {
        let status = self.status();
        if status.leader != Some(status.node) {
            return;
        }
        let others = status.members.iter().filter(|member| member.votes && member.node != status.node);
        let Some(next) = others.max_by_key(|member| member.matched) else { return };
        if let Err(error) = self.control.raft.trigger().transfer_leader(next.node).await {
            return tracing::warn!(%error, "leadership could not be handed over");
        }
        let wait = self.control.raft.wait(Some(HAND_OVER_WITHIN));
        let passed =
            wait.metrics(|m| m.current_leader.is_some_and(|id| id != status.node), "a new leader").await;
        if passed.is_err() {
            tracing::warn!(to = next.node, "leadership was not taken over in time");
        }
    }

    fn leading(&self) -> Result<&Self, Error> {
        let status = self.status();
        match status.leader {
            Some(leader) if leader == status.node => Ok(self),
            Some(leader) => Err(Error::Unavailable(format!("ask node {leader}, which leads"))),
            None => Err(Error::Unavailable("no node leads".into())),
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}
