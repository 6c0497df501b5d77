//! How a node comes into the metadata store without a hand: pods that a StatefulSet gets when it is installed or scaled up, and those
//! whose volume was lost.
//!
//! A node whose directory is empty may be one of a store that has never been, or one that has lost what it knew: what it voted for
//! and what it said that it had is counted on by the others, and it could undo what they committed. It answers none of its peers
//! until either is told apart. Is there a store, the node is taken out of it first, and added as one that never was; it brings back
//! its number and its address only. Otherwise all those that form the store must have said that they have nothing either.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_fabric::Admin;
use fleethaven_fabric::admin::{GroupStatus, Status};
use fleethaven_fabric_grpc::tls::Tls;
use fleethaven_metastore::Metastore;

use crate::operate::Store;

/// Pause before the store is asked again. Others may be joining: the leader adds one at a time.
const PAUSE: Duration = Duration::from_secs(1);
/// How long after all have said that they have nothing the store is begun: each of them has asked by then, and none finds a store that the
/// others have begun without it.
const HEARD: Duration = Duration::from_millis(2500);

/// A node on its way into the store.
pub(crate) struct Joining {
    pub(crate) metastore: Arc<Metastore>,
    pub(crate) node: u64,
    /// Where the others reach it.
    pub(crate) address: String,
    /// Those that form the store when there is none.
    pub(crate) founders: BTreeMap<u64, String>,
    pub(crate) tls: Arc<Tls>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There is no store, and this is one of those that begin it.
    Begin,
    /// It is still counted as what it was.
    Leave,
    Add,
    Done,
}

impl Joining {
    /// Returns when the node is one of the store, and votes.
    pub(crate) async fn join(self) {
        let others = self.founders.iter().filter(|(node, _)| **node != self.node);
        let store = Store::new(self.tls.clone(), others.map(|(_, address)| address.clone()).collect());
        let mut told = String::new();
        loop {
            match self.go_on(&store).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => {
                    let reason = format!("{error:#}");
                    // Once for each reason: there may be no store for as long as its first nodes take to start.
                    if reason != told {
                        tracing::info!(reason, "not a node of the metadata store yet");
                        told = reason;
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        tracing::info!(node = self.node, address = self.address, "a node of the metadata store");
    }

    /// Takes the next step; whether it was the last one.
    async fn go_on(&self, store: &Store) -> Result<bool> {
        let standing = store.standing().await;
        let takes_part = self.metastore.takes_part();
        match step(self.node, &self.founders, takes_part, &standing)? {
            Step::Begin => {
                tokio::time::sleep(HEARD).await;
                self.metastore.begin(&self.founders).await.context("the store cannot be begun")?;
                return Ok(true);
            }
            Step::Leave => {
                tracing::warn!(
                    node = self.node,
                    "counted in a metadata store that it knows nothing of: it comes back as a new node"
                );
                store.leader_of(&standing)?.remove_node(self.node).await?;
            }
            Step::Add => {
                self.metastore.take_part();
                store.leader_of(&standing)?.add_node(self.node, self.address.clone()).await?;
            }
            Step::Done => return Ok(true),
        }
        Ok(false)
    }
}

/// What `node` does when the others stand so.
fn step(
    node: u64,
    founders: &BTreeMap<u64, String>,
    takes_part: bool,
    standing: &[(String, Result<Status>)],
) -> Result<Step> {
    if let Some(leader) = Store::leading(standing) {
        let known = |group: &GroupStatus| group.nodes.iter().any(|known| known.node == node);
        let votes = |group: &GroupStatus| group.nodes.iter().any(|known| known.node == node && known.votes);
        // In all groups: what failed half-way goes on.
        return Ok(match takes_part {
            false if leader.groups().any(known) => Step::Leave,
            true if leader.groups().all(votes) => Step::Done,
            _ => Step::Add,
        });
    }
    let mut others = standing.iter().filter_map(|(_, status)| status.as_ref().ok());
    let is_store = others.any(|status| status.node != node && !status.groups().all(has_nothing));
    if is_store || takes_part || !founders.contains_key(&node) {
        bail!("{}", Store::why_none_leads(standing));
    }
    for (other, address) in founders.iter().filter(|(founder, _)| **founder != node) {
        let asked = standing.iter().find(|(asked, _)| asked == address);
        match asked {
            Some((_, Ok(_))) => {}
            Some((_, Err(error))) => {
                bail!("node {other} at {address} has not said that it has nothing: {error:#}")
            }
            None => bail!("node {other} at {address} was not asked"),
        }
    }
    Ok(Step::Begin)
}

/// Whether nothing was ever committed in the group as far as its node knows: a store begins with an entry of its nodes, the first one.
fn has_nothing(group: &GroupStatus) -> bool {
    group.last == 0 && group.snapshot == 0
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use fleethaven_fabric::admin::{Node, NodeRole};

    use super::*;

    fn group(role: NodeRole, last: u64, nodes: &[u64]) -> GroupStatus {
        let nodes = nodes.iter().map(|node| Node {
            node: *node,
            address: node.to_string(),
            votes: true,
            matched: None,
        });
        GroupStatus {
            role,
            leader: None,
            term: 1,
            last,
            committed: last,
            applied: last,
            snapshot: 0,
            confirmed: last > 0,
            nodes: nodes.collect(),
        }
    }

    fn status(node: u64, control: GroupStatus, state: GroupStatus) -> (String, Result<Status>) {
        let (master_keys, issuing_keys) = (Vec::new(), Vec::new());
        let status = Status {
            node,
            version: String::new(),
            disk_bytes: 0,
            master_keys,
            issuing_keys,
            control,
            state: vec![state],
        };
        (node.to_string(), Ok(status))
    }

    fn fresh(node: u64) -> (String, Result<Status>) {
        status(node, group(NodeRole::Learner, 0, &[]), group(NodeRole::Learner, 0, &[]))
    }

    fn leads(control: &[u64], state: &[u64]) -> (String, Result<Status>) {
        status(2, group(NodeRole::Leader, 7, control), group(NodeRole::Leader, 7, state))
    }

    fn founders() -> BTreeMap<u64, String> {
        (1..=3).map(|node| (node, node.to_string())).collect()
    }

    #[test]
    fn a_store_is_begun_when_all_its_nodes_have_nothing() {
        let of = |standing: &[_]| step(1, &founders(), false, standing).ok();
        assert_eq!(of(&[fresh(2), fresh(3)]), Some(Step::Begin));
        // Begun by the others already, and nothing has happened since.
        let begun = status(3, group(NodeRole::Candidate, 0, &[1, 2, 3]), group(NodeRole::Learner, 0, &[]));
        assert_eq!(of(&[fresh(2), begun]), Some(Step::Begin));
        assert_eq!(of(&[fresh(2)]), None);
        assert_eq!(of(&[fresh(2), ("3".to_owned(), Err(anyhow!("silent")))]), None);
        let follows = status(3, group(NodeRole::Follower, 9, &[1, 2, 3]), group(NodeRole::Follower, 0, &[]));
        assert_eq!(of(&[fresh(2), follows]), None, "its leader is waited for");
        assert_eq!(
            step(4, &founders(), false, &[fresh(1), fresh(2), fresh(3)]).ok(),
            None,
            "it begins nothing"
        );
    }

    #[test]
    fn a_node_that_has_lost_what_it_knew_leaves_before_it_comes_back() {
        let of = |takes_part, leader| step(1, &founders(), takes_part, &[leader, fresh(3)]).ok();
        assert_eq!(of(false, leads(&[1, 2, 3], &[1, 2, 3])), Some(Step::Leave));
        assert_eq!(of(false, leads(&[2, 3], &[1, 2, 3])), Some(Step::Leave), "out of some groups only");
        assert_eq!(of(false, leads(&[2, 3], &[2, 3])), Some(Step::Add));
        assert_eq!(of(true, leads(&[2, 3], &[1, 2, 3])), Some(Step::Add), "in some groups already");
        assert_eq!(of(true, leads(&[1, 2, 3], &[1, 2, 3])), Some(Step::Done));
    }
}
