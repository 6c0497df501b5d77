//! Follows the topic rules in the metastore: which messages each rule sees.

use std::sync::Arc;

use fleethaven_fabric::{Metadata, RuleChange, RuleFollower};
use fleethaven_storage::RuleRef;
use fleethaven_types::Utf8Bytes;

use crate::router::Router;

/// Keeps the router's rules up to date until the metastore shuts down. Changes wait for it from this call on.
pub fn follow(router: Arc<Router>, metadata: Arc<dyn Metadata>) -> impl Future<Output = ()> + Send {
    let mut follower = RuleFollower::new(metadata, "router");
    async move {
        while let Some((changes, revision)) = follower.next().await {
            for change in changes {
                apply(&router, change);
            }
            follower.acted(revision);
        }
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

#[cfg(test)]
mod tests {
    use fleethaven_registry::shapes::{RuleDescription, TopicRulePayload};
    use fleethaven_types::QoS::AtLeastOnce;
    use fleethaven_types::Timestamp;

    use super::*;
    use crate::testing::{Bench, message, scope};

    fn change(topic_pattern: &str, rule_disabled: bool, revision: u64) -> RuleChange {
        let description = RuleDescription {
            rule_arn: String::new(),
            rule_name: "one".to_owned(),
            payload: TopicRulePayload { rule_disabled, ..TopicRulePayload::default() },
            topic_pattern: topic_pattern.to_owned(),
            created_at: Timestamp(0),
        };
        RuleChange { scope: scope(), name: "one".to_owned(), rule: Some((Box::new(description), revision)) }
    }

    #[test]
    fn only_enabled_rules_see_messages() {
        let mut bench = Bench::new();
        apply(&bench.router, change("a", false, 3));
        assert!(bench.publish(message("a", AtLeastOnce)));
        assert_eq!(bench.store.kept.lock().rules[0].1[0].revision, 3);
        apply(&bench.router, change("a", true, 4));
        assert!(!bench.publish(message("a", AtLeastOnce)));
        assert!(!bench.publish(message("$aws/rules/one/a", AtLeastOnce)));
        assert_eq!(bench.router.metrics.rule_not_found.get(), 1, "a disabled rule is not found");
        apply(&bench.router, change("", false, 5));
        assert!(!bench.publish(message("a", AtLeastOnce)), "without FROM only Basic Ingest reaches it");
        assert!(bench.publish(message("$aws/rules/one/a", AtLeastOnce)));
        apply(&bench.router, RuleChange { rule: None, ..change("", false, 6) });
        assert!(!bench.publish(message("$aws/rules/one/a", AtLeastOnce)));
    }
}
