//! Follows the topic rules in the metastore: which messages each rule sees.

use std::sync::Arc;

use fleethaven_fabric::{Metadata, RuleChange, RuleFollower};
use fleethaven_storage::RuleRef;
use fleethaven_types::Utf8Bytes;

use crate::router::Router;

/// Keeps the router's rules up to date until the metastore shuts down.
pub async fn follow(router: Arc<Router>, metadata: Arc<dyn Metadata>) {
    let mut follower = RuleFollower::new(metadata, "router");
    while let Some((changes, revision)) = follower.next().await {
        for change in changes {
            apply(&router, change);
        }
        follower.acted(revision);
    }
}

fn apply(router: &Router, change: RuleChange) {
    let name: Utf8Bytes = change.name.into();
    let enabled = change.rule.filter(|(rule, _)| !rule.payload.rule_disabled);
    let rule = enabled.map(|(rule, revision)| {
        let filter = (!rule.topic_pattern.is_empty()).then(|| rule.topic_pattern.as_str().into());
        (RuleRef { name: name.clone(), revision }, filter)
    });
    router.set_rule(change.scope, &name, rule);
}
