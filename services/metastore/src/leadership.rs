//! Who should lead a group: where leadership goes when this node gives it up, and which state group belongs to which node.
//!
//! State groups are counted off over the nodes that vote, in the order of their ids, so that each node leads as many as any other.
//! The control group has no favourite: a new leader of it begins all leases anew.

use std::collections::BTreeSet;
use std::time::Duration;

use fleethaven_fabric::metadata::Error;
use openraft::Instant as _;
use openraft::RaftMetrics;
use openraft::async_runtime::WatchReceiver;

use crate::group::CONTROL;
use crate::types::{Raft, Types};

/// How long handing over leadership may take.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(2);
/// A follower that has answered within so long is there: two heartbeats, and a little.
const THERE: Duration = Duration::from_millis(600);
/// A follower that lacks no more entries than this is level.
const LEVEL: u64 = 1024;

/// The node that should lead a state group whose voters are `voters`; `None` for the control group.
pub(crate) fn favourite(group: u32, voters: &BTreeSet<u64>) -> Option<u64> {
    let place = usize::try_from(group.checked_sub(CONTROL + 1)?).ok()?;
    voters.iter().nth(place % voters.len().max(1)).copied()
}

/// The other node that should lead the group which this one leads, if it could take over now.
pub(crate) fn successor(metrics: &RaftMetrics<Types>, group: u32) -> Option<u64> {
    let voters = metrics.membership_config.voter_ids().collect();
    let favourite = favourite(group, &voters).filter(|node| *node != metrics.id)?;
    let leads = metrics.current_leader == Some(metrics.id);
    (leads && is_there(metrics, favourite) && is_level(metrics, favourite)).then_some(favourite)
}

/// Lets another node lead the group, if this one does and there is another one.
pub(crate) async fn pass_on(raft: &Raft, group: u32) -> Result<(), Error> {
    let next = next(&raft.metrics().borrow_watched(), group);
    let Some(next) = next else { return Ok(()) };
    raft.trigger().transfer_leader(next).await.map_err(unavailable)?;
    let wait = raft.wait(Some(HAND_OVER_WITHIN));
    let passed = wait.metrics(|m| m.current_leader.is_some_and(|id| id != m.id), "a new leader");
    passed.await.map(drop).map_err(unavailable)
}

/// Who is to lead instead of this node: one that is there, among those the one that has most, and among equals another one for
/// each group.
fn next(metrics: &RaftMetrics<Types>, group: u32) -> Option<u64> {
    if metrics.current_leader != Some(metrics.id) {
        return None;
    }
    let others = metrics.membership_config.voter_ids().filter(|node| *node != metrics.id);
    let rank = |node: &u64| (is_there(metrics, *node), is_level(metrics, *node));
    let others: Vec<u64> = others.collect();
    let best = others.iter().map(rank).max()?;
    let equals: Vec<u64> = others.into_iter().filter(|node| rank(node) == best).collect();
    let place = usize::try_from(group).unwrap_or_default();
    equals.get(place % equals.len().max(1)).copied()
}

fn is_there(metrics: &RaftMetrics<Types>, node: u64) -> bool {
    let answered = metrics.heartbeat.as_ref().and_then(|nodes| nodes.get(&node).copied().flatten());
    answered.is_some_and(|at| at.elapsed() < THERE)
}

fn is_level(metrics: &RaftMetrics<Types>, node: u64) -> bool {
    let matched = metrics.replication.as_ref().and_then(|nodes| nodes.get(&node).copied().flatten());
    let lacks = |matched: u64| metrics.last_log_index.unwrap_or(0).saturating_sub(matched);
    matched.is_some_and(|id| lacks(id.index) <= LEVEL)
}

fn unavailable(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_groups_are_counted_off_over_the_voters() {
        let voters = BTreeSet::from([2, 5, 7]);
        let favourites: Vec<_> = (0..=4).map(|group| favourite(group, &voters)).collect();
        assert_eq!(favourites, [None, Some(2), Some(5), Some(7), Some(2)]);
        assert_eq!(favourite(3, &BTreeSet::new()), None);
    }
}
