//! A node that is started beside an existing metadata store asks its leader to be added: pods that a StatefulSet gets when it
//! is scaled up need no hand.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use fleethaven_fabric::Admin;
use fleethaven_fabric::admin::GroupStatus;
use fleethaven_fabric_grpc::tls::Tls;

use crate::operate::Store;

/// Pause before the store is asked again. Others may be joining: the leader adds one at a time.
const PAUSE: Duration = Duration::from_secs(1);

/// Returns when `node`, which the others reach at `address`, is one of the store that `peers` are of, and votes.
pub(crate) async fn join(tls: Arc<Tls>, peers: Vec<String>, node: u64, address: String) {
    let store = Store::new(tls, peers);
    let mut told = String::new();
    while let Err(error) = ask(&store, node, &address).await {
        let reason = format!("{error:#}");
        // Once for each reason: there may be no store for as long as its first nodes take to start.
        if reason != told {
            tracing::info!(reason, "not added to the metadata store yet");
            told = reason;
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::info!(node, address, "a node of the metadata store");
}

async fn ask(store: &Store, node: u64, address: &str) -> Result<()> {
    let leader = store.leader().await?;
    let status = leader.status().await?;
    let votes = |group: &GroupStatus| group.nodes.iter().any(|known| known.node == node && known.votes);
    // In all groups: what failed half-way goes on.
    if !status.groups().all(votes) {
        leader.add_node(node, address.to_owned()).await?;
    }
    Ok(())
}
