//! Which nodes the metastore has: those of its control group. Every other group has the same.
//!
//! The control group's leader has a change made in each state group by that group's leader, and makes it in its own group last,
//! so that a change is either complete or can be asked for again: what is so already is left as it is.

use std::collections::BTreeSet;
use std::time::Duration;

use fleethaven_fabric::metadata::Error;
use fleethaven_fabric::raft::{NodeChange, PeerError};
use openraft::{BasicNode, ChangeMembers};
use tokio::time::Instant;

use crate::evaluator::confirmed_term;
use crate::group::Group;
use crate::leader::Leader;
use crate::metastore::Metastore;

/// How long a node that is to be added may take to say that it is there.
const REACH_WITHIN: Duration = Duration::from_secs(5);
/// How long a group may take to have a leader that makes a change.
const LEADER_WITHIN: Duration = Duration::from_secs(10);
/// How long after a leader that could not make a change it is looked for again.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

impl Group {
    fn voters(&self) -> BTreeSet<u64> {
        self.raft.voter_ids().collect()
    }

    fn knows(&self, node: u64) -> bool {
        self.status().nodes.iter().any(|known| known.node == node)
    }

    async fn change_nodes(&self, change: ChangeMembers<u64, BasicNode>) -> Result<(), Error> {
        let raft = &self.leading()?.raft;
        // Until an entry of its own term is committed, a leader refuses a change because of the one before it.
        confirmed_term(raft).await?;
        raft.change_membership(change, false).await.map(drop).map_err(unavailable)
    }

    /// Brings a node level that does not vote yet.
    async fn bring_level(&self, node: u64, address: &str) -> Result<(), Error> {
        let raft = &self.leading()?.raft;
        confirmed_term(raft).await?;
        raft.add_learner(node, BasicNode::new(address), true).await.map(drop).map_err(unavailable)
    }

    async fn add(&self, node: u64, address: &str) -> Result<(), Error> {
        if self.voters().contains(&node) {
            return Ok(());
        }
        self.bring_level(node, address).await?;
        self.change_nodes(ChangeMembers::AddVoterIds(BTreeSet::from([node]))).await
    }

    async fn remove(&self, node: u64) -> Result<(), Error> {
        self.leading()?;
        if !self.knows(node) {
            return Ok(());
        }
        let voters = self.voters();
        if voters == BTreeSet::from([node]) {
            return Err(Error::Unavailable(format!("node {node} is the last one that votes")));
        }
        let nodes = BTreeSet::from([node]);
        self.change_nodes(match voters.contains(&node) {
            true => ChangeMembers::RemoveVoters(nodes),
            // One that was never level.
            false => ChangeMembers::RemoveNodes(nodes),
        })
        .await
    }

    async fn replace(&self, old: u64, new: u64, address: &str) -> Result<(), Error> {
        let mut voters = self.leading()?.voters();
        if !voters.contains(&new) {
            self.bring_level(new, address).await?;
            voters = self.voters();
        }
        let before = voters.clone();
        voters.remove(&old);
        voters.insert(new);
        match voters == before {
            true => Ok(()),
            false => self.change_nodes(ChangeMembers::ReplaceAllVoters(voters)).await,
        }
    }
}

impl Metastore {
    /// Makes a change in all groups; this node must lead the control group.
    pub(crate) async fn change_everywhere(&self, change: NodeChange) -> Result<(), Error> {
        self.check(&change)?;
        if let NodeChange::Add { node, address } | NodeChange::Replace { new: node, address, .. } = &change {
            self.reach(*node, address).await?;
        }
        for group in &self.states {
            let changed = self.change_at_leader(group, change.clone()).await;
            changed.map_err(|error| Error::Unavailable(format!("state group {}: {error}", group.id)))?;
        }
        self.change_here(&self.control, change).await
    }

    /// Makes a change in a group that this node leads.
    pub(crate) async fn change_here(&self, group: &Group, change: NodeChange) -> Result<(), Error> {
        match change {
            NodeChange::Add { node, address } => group.add(node, &address).await,
            NodeChange::Remove { node } => group.remove(node).await,
            NodeChange::Replace { old, new, address } => group.replace(old, new, &address).await,
        }
    }

    async fn change_at_leader(&self, group: &Group, change: NodeChange) -> Result<(), Error> {
        let deadline = Instant::now() + LEADER_WITHIN;
        loop {
            let changed = match tokio::time::timeout_at(deadline, group.compass.found()).await {
                Ok(Leader::Here) => self.change_here(group, change.clone()).await,
                Ok(Leader::Elsewhere(peer)) => {
                    peer.change_nodes_as_leader(group.id, change.clone()).await.map_err(|error| match error {
                        PeerError::Unreachable(reason) | PeerError::Refused(reason) => {
                            Error::Unavailable(reason)
                        }
                        PeerError::NoAnswer(_) => Error::Unknown,
                    })
                }
                Err(_) => return Err(Error::Unavailable("no node leads".into())),
            };
            match changed {
                // The leader is gone, or hands over: the group has another soon. What is done already stays as it is.
                Err(Error::Unavailable(_)) if Instant::now() < deadline => {
                    tokio::time::sleep(ASK_AGAIN_AFTER).await;
                }
                changed => return changed,
            }
        }
    }

    /// Refuses what can only be a mistake.
    fn check(&self, change: &NodeChange) -> Result<(), Error> {
        let voters = self.control.leading()?.voters();
        let mistake = match change {
            NodeChange::Add { node, .. } if voters.contains(node) => {
                format!("there is a node {node} that votes")
            }
            NodeChange::Remove { node } if voters == BTreeSet::from([*node]) => {
                format!("node {node} is the last one that votes")
            }
            // What broke off half-way can be in some of the groups.
            NodeChange::Remove { node } if !self.groups().any(|group| group.knows(*node)) => {
                format!("there is no node {node}")
            }
            NodeChange::Replace { old, .. } if !voters.contains(old) => {
                format!("there is no node {old} that votes")
            }
            NodeChange::Replace { new, .. } if voters.contains(new) => {
                format!("there is a node {new} that votes")
            }
            _ => return Ok(()),
        };
        Err(Error::Unavailable(mistake))
    }

    /// Refuses a node that is not there, or is one of another store: it would be waited for, and counted, for nothing.
    async fn reach(&self, node: u64, address: &str) -> Result<(), Error> {
        let peer = self.peers.peer(address);
        let reached = match tokio::time::timeout(REACH_WITHIN, peer.in_force_here(0)).await {
            Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        };
        reached.map_err(|error| {
            Error::Unavailable(format!("node {node} cannot be added: at '{address}': {error}"))
        })
    }
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}
