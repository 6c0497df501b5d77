//! Operating this node: how it is, which nodes the metastore has (changed by `nodes`), who leads. Backups are in `backup`.

use std::collections::BTreeSet;

use fleethaven_fabric::Admin;
use fleethaven_fabric::admin::{FileStream, GroupStatus, Node, NodeRole, Status};
use fleethaven_fabric::metadata::{BoxFuture, Error};
use fleethaven_fabric::raft::NodeChange;
use futures_util::FutureExt;
use futures_util::future::join_all;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;

use crate::blocking::blocking;
use crate::group::Group;
use crate::leadership;
use crate::metastore::Metastore;

impl Group {
    /// The group as this node sees it now.
    pub(crate) fn status(&self) -> GroupStatus {
        let metrics = self.raft.metrics();
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
        GroupStatus {
            role: role(metrics.state),
            leader: metrics.current_leader,
            term: metrics.current_term,
            last: metrics.last_log_index.unwrap_or(0),
            committed: metrics.local_committed.map_or(0, |id| id.index),
            applied: metrics.last_applied.map_or(0, |id| id.index),
            snapshot: metrics.snapshot.map_or(0, |id| id.index),
            confirmed: self.compass.is_confirmed(),
            nodes: nodes.collect(),
        }
    }

    /// Refuses what only the leader can do.
    pub(crate) fn leading(&self) -> Result<&Self, Error> {
        let status = self.status();
        match status.leader {
            Some(leader) if leader == self.node => Ok(self),
            Some(leader) => {
                let address =
                    status.nodes.iter().find(|node| node.node == leader).map(|n| n.address.as_str());
                let address = address.unwrap_or_default();
                Err(Error::Unavailable(format!("node {leader} at '{address}' leads: ask that one")))
            }
            None => Err(Error::Unavailable("no node leads".into())),
        }
    }
}

impl Metastore {
    /// The metastore as this node sees it now, without what is to be read from its disk: its master keys.
    pub fn status_now(&self) -> Status {
        Status {
            node: self.control.node,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            disk_bytes: self.disk.bytes(),
            master_keys: Vec::new(),
            issuing_keys: self.sealing.ids(),
            control: self.control.status(),
            state: self.states.iter().map(Group::status).collect(),
        }
    }

    async fn pass_on(&self) -> Result<(), Error> {
        let passing = self.groups().map(|group| leadership::pass_on(&group.raft, group.id));
        join_all(passing).await.into_iter().collect()
    }
}

impl Admin for Metastore {
    fn status(&self) -> BoxFuture<'_, Result<Status, Error>> {
        async move {
            let shelf = self.disk.snapshots.clone();
            let read = blocking(move || shelf.master_keys()).await.and_then(|read| read);
            let unreadable = |error| Error::Unavailable(format!("the keyring cannot be read: {error}"));
            Ok(Status { master_keys: read.map_err(unreadable)?, ..self.status_now() })
        }
        .boxed()
    }

    fn backup(&self) -> BoxFuture<'_, Result<FileStream, Error>> {
        self.make_backup().boxed()
    }

    fn add_node(&self, node: u64, address: String) -> BoxFuture<'_, Result<(), Error>> {
        self.change_everywhere(NodeChange::Add { node, address }).boxed()
    }

    fn remove_node(&self, node: u64) -> BoxFuture<'_, Result<(), Error>> {
        self.change_everywhere(NodeChange::Remove { node }).boxed()
    }

    fn replace_node(&self, old: u64, new: u64, address: String) -> BoxFuture<'_, Result<(), Error>> {
        self.change_everywhere(NodeChange::Replace { old, new, address }).boxed()
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
