//! Operating this node: how it is, and which nodes the metastore has. Backups are in `backup`.

use std::collections::BTreeSet;
use std::time::Duration;

use fleethaven_fabric::Admin;
use fleethaven_fabric::admin::{FileStream, Node, NodeRole, Status};
use fleethaven_fabric::metadata::{BoxFuture, Error};
use futures_util::FutureExt;
use openraft::async_runtime::WatchReceiver;
use openraft::{BasicNode, ChangeMembers, ServerState};

use crate::evaluator::confirmed_term;
use crate::metastore::Metastore;

/// How long a node that is to be added may take to say that it is there.
const REACH_WITHIN: Duration = Duration::from_secs(5);
/// How long handing over leadership may take.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);

impl Metastore {
    /// The metastore as this node sees it now.
    pub fn status_now(&self) -> Status {
        let metrics = self.control.raft.metrics();
        let metrics = metrics.borrow_watched().clone();
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let matched = |node: &u64| {
            let replication = metrics.replication.as_ref()?;
            replication.get(node).and_then(|id| *id).map(|id| id.index)
        };
        let nodes = metrics.membership_config.nodes().map(|(node, basic)| Node {
            node: *node,
            address: basic.addr.clone(),
            votes: voters.contains(node),
            matched: matched(node),
        });
        Status {
            node: metrics.id,
            role: role(metrics.state),
            leader: metrics.current_leader,
            term: metrics.current_term,
            last: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.map_or(0, |id| id.index),
            applied: metrics.last_applied.map_or(0, |id| id.index),
            snapshot: metrics.snapshot.map_or(0, |id| id.index),
            confirmed: self.compass.is_confirmed(),
            disk_bytes: self.disk.bytes(),
            nodes: nodes.collect(),
        }
    }

    /// Refuses what only the leader can do.
    pub(crate) fn leading(&self) -> Result<&Self, Error> {
        let status = self.status_now();
        match status.leader {
            Some(leader) if leader == status.node => Ok(self),
            Some(leader) => {
                let address =
                    status.nodes.iter().find(|node| node.node == leader).map(|n| n.address.as_str());
                let address = address.unwrap_or_default();
                Err(Error::Unavailable(format!("node {leader} at '{address}' leads: ask that one")))
            }
            None => Err(Error::Unavailable("no node leads".into())),
        }
    }

    async fn change_nodes(&self, change: ChangeMembers<u64, BasicNode>) -> Result<(), Error> {
        let raft = &self.leading()?.control.raft;
        // Until an entry of its own term is committed, a leader refuses a change because of the one before it.
        confirmed_term(raft).await?;
        raft.change_membership(change, false).await.map(drop).map_err(unavailable)
    }

    /// Refuses a node that is not there, or is one of another store: it would be waited for, and counted, for nothing.
    async fn reach(&self, node: u64, address: &str) -> Result<(), Error> {
        let peer = self.compass.peers.peer(address);
        let reached = match tokio::time::timeout(REACH_WITHIN, peer.in_force_here(0)).await {
            Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        };
        reached.map_err(|error| {
            Error::Unavailable(format!("node {node} cannot be added: at '{address}': {error}"))
        })
    }

    /// Brings a node level that does not vote yet.
    async fn bring_level(&self, node: u64, address: &str) -> Result<(), Error> {
        let raft = &self.leading()?.control.raft;
        if self.voters().contains(&node) {
            return Err(Error::Unavailable(format!("there is a node {node} that votes")));
        }
        self.reach(node, address).await?;
        confirmed_term(raft).await?;
        raft.add_learner(node, BasicNode::new(address), true).await.map(drop).map_err(unavailable)
    }

    fn voters(&self) -> BTreeSet<u64> {
        self.control.raft.voter_ids().collect()
    }

    async fn pass_on(&self) -> Result<(), Error> {
        let status = self.status_now();
        if status.leader != Some(status.node) {
            return Ok(());
        }
        let others = status.nodes.iter().filter(|node| node.votes && node.node != status.node);
        let Some(next) = others.max_by_key(|node| node.matched) else { return Ok(()) };
        self.control.raft.trigger().transfer_leader(next.node).await.map_err(unavailable)?;
        let wait = self.control.raft.wait(Some(HAND_OVER_WITHIN));
        let passed = wait.metrics(|m| m.current_leader.is_some_and(|id| id != status.node), "a new leader");
        passed.await.map(drop).map_err(unavailable)
    }
}

impl Admin for Metastore {
    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        async move { Ok(self.status_now()) }.boxed()
    }

    fn backup(&self) -> BoxFuture<'_, Result<FileStream, Error>> {
        self.make_backup().boxed()
    }

    fn add_node(&self, node: u64, address: String) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.bring_level(node, &address).await?;
            self.change_nodes(ChangeMembers::AddVoterIds(BTreeSet::from([node]))).await
        }
        .boxed()
    }

    fn remove_node(&self, node: u64) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            if !self.leading()?.status_now().nodes.iter().any(|known| known.node == node) {
                return Err(Error::Unavailable(format!("there is no node {node}")));
            }
            if self.voters() == BTreeSet::from([node]) {
                return Err(Error::Unavailable(format!("node {node} is the last one that votes")));
            }
            let node = BTreeSet::from([node]);
            self.change_nodes(match self.voters().is_superset(&node) {
                true => ChangeMembers::RemoveVoters(node),
                // One that was never level.
                false => ChangeMembers::RemoveNodes(node),
            })
            .await
        }
        .boxed()
    }

    fn replace_node(&self, old: u64, new: u64, address: String) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            self.leading()?;
            if !self.voters().contains(&old) {
                return Err(Error::Unavailable(format!("there is no node {old} that votes")));
            }
            self.bring_level(new, &address).await?;
            let mut voters = self.voters();
            voters.remove(&old);
            voters.insert(new);
            self.change_nodes(ChangeMembers::ReplaceAllVoters(voters)).await
        }
        .boxed()
    }

    fn hand_over(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.pass_on().boxed()
    }
}

fn role(state: ServerState) -> NodeRole {
    match state {
        ServerState::Leader => NodeRole::Leader,
        ServerState::Candidate => NodeRole::Candidate,
        ServerState::Learner => NodeRole::Learner,
        // One that stops follows nobody any more, but has not given up its vote.
        ServerState::Follower | ServerState::Shutdown => NodeRole::Follower,
    }
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}
