//! Brings the leadership of state groups back to where it belongs (`leadership`), gently: a node must have been there and level
//! for some time, and one group moves at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::group::Group;
use crate::leadership;
use crate::types::Raft;

/// How often it is looked where leadership is.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The task of a node that gives leadership to whom it belongs.
pub(crate) struct Balancer {
    task: AbortHandle,
}

impl Balancer {
    /// Begins to look after the groups; a node is given what it should lead when it was ready for it during `settle`.
    pub(crate) fn start(groups: &[Group], settle: Duration) -> Self {
        let groups: Vec<_> = groups.iter().map(|group| (group.id, group.raft.clone())).collect();
        Self { task: tokio::spawn(run(groups, settle)).abort_handle() }
    }

    /// Ends the task.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(groups: Vec<(u32, Raft)>, settle: Duration) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Group → who could lead it, and since when.
    let mut ready: BTreeMap<u32, (u64, Instant)> = BTreeMap::new();
    loop {
        looks.tick().await;
        for (group, raft) in &groups {
            let successor = leadership::successor(&raft.metrics().borrow_watched(), *group);
            match (successor, ready.get(group)) {
                (None, _) => drop(ready.remove(group)),
                (Some(node), Some((same, _))) if node == *same => {}
                (Some(node), _) => drop(ready.insert(*group, (node, Instant::now()))),
            }
        }
        let due = groups.iter().find_map(|(group, raft)| {
            let (node, since) = ready.get(group)?;
            (since.elapsed() >= settle).then_some((*group, *node, raft))
        });
        let Some((group, node, raft)) = due else { continue };
        tracing::info!(group, node, "leadership of a state group goes to the node that it belongs to");
        // Whether it succeeds or not, the next time is a whole `settle` away.
        ready.remove(&group);
        if let Err(error) = raft.trigger().transfer_leader(node).await {
            // The group stops.
            tracing::debug!(%error, group, "leadership cannot be given away");
        }
    }
}
