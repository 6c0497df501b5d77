//! The rules, compiled once, as they change in the metastore.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::{Metadata, RuleChange, RuleFollower};
use fleethaven_registry::shapes::RuleDescription;
use fleethaven_rulesql::{SqlVersion, Statement};
use fleethaven_topics::name;
use fleethaven_types::{AccountId, Region, Scope};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use crate::actions::{self, Action};
use crate::metrics::Metrics;
use crate::series::Series;

/// A rule ready to run.
pub struct CompiledRule {
    /// Account and region.
    pub scope: Scope,
    /// Name.
    pub name: String,
    /// Metastore revision of this version.
    pub revision: u64,
    /// The statement.
    pub statement: Statement,
    /// The actions, in the rule's order.
    pub actions: Vec<Box<dyn Action>>,
    /// What runs when an action fails.
    pub error_action: Option<Box<dyn Action>>,
    /// What is counted of it.
    #[expect(dead_code, reason = "it is held: the series last for as long as a version does")]
    pub(crate) series: Arc<Series>,
}

impl CompiledRule {
    /// Whether a message on `topic` (Basic Ingest prefix included) is still for this rule. It was when the router matched
    /// it, but that may have been an earlier version.
    pub fn sees(&self, topic: &str) -> bool {
        match name::basic_ingest(topic) {
            Some((_, rest)) => self.statement.matches(rest),
            None => self.statement.topic_filter().is_some() && self.statement.matches(topic),
        }
    }
}

type Table = FxHashMap<Scope, FxHashMap<String, Arc<CompiledRule>>>;

/// What is counted of a rule, in all regions that have one of this name: counters do not tell them apart.
type InRegions = (Arc<Series>, BTreeSet<Region>);

/// How long a message waits for the version of a rule that it was matched with.
const LAG_MAX: Duration = Duration::from_secs(5);

/// All enabled rules.
pub struct Rules {
    metrics: Metrics,
    table: RwLock<Table>,
    /// What is counted of rules, also of those that are disabled.
    series: Mutex<FxHashMap<(AccountId, String), InRegions>>,
    /// Changes up to this revision are in the table.
    applied: watch::Sender<u64>,
}

impl Rules {
    /// None yet. What they count in `metrics` ends with them.
    pub fn new(metrics: Metrics) -> Self {
        let (table, series) = Default::default();
        Self { metrics, table, series, applied: watch::Sender::default() }
    }

    /// The rule of this name, if there is one and it is enabled.
    pub fn get(&self, scope: Scope, name: &str) -> Option<Arc<CompiledRule>> {
        self.table.read().get(&scope)?.get(name).cloned()
    }

    /// Waits until changes up to `revision` are known: the router, which matched a message with that version of a rule, may
    /// have heard of it first. Goes on without it after some seconds.
    pub(crate) async fn at_least(&self, revision: u64) {
        if *self.applied.borrow() >= revision {
            return;
        }
        let mut applied = self.applied.subscribe();
        let known = applied.wait_for(|applied| *applied >= revision);
        if tokio::time::timeout(LAG_MAX, known).await.is_err() {
            tracing::warn!(revision, "a rule was matched in a version that is not known here");
        }
    }

    /// Takes over the changes up to `revision`.
    pub(crate) fn apply_all(&self, changes: Vec<RuleChange>, revision: u64) {
        changes.into_iter().for_each(|change| self.apply(change));
        self.applied.send_replace(revision);
    }

    fn apply(&self, change: RuleChange) {
        let RuleChange { scope, name, rule } = change;
        let series = self.series(scope, &name, rule.is_some());
        let enabled = rule.filter(|(rule, _)| !rule.payload.rule_disabled);
        let compiled = enabled.and_then(|(rule, revision)| compile(scope, &rule, revision, series?));
        let mut table = self.table.write();
        match compiled {
            Some(rule) => {
                table.entry(scope).or_default().insert(name, Arc::new(rule));
            }
            None => {
                table.get_mut(&scope).and_then(|rules| rules.remove(&name));
            }
        }
    }
}

impl Rules {
    /// What is counted of a rule, if there is one.
    fn series(&self, scope: Scope, name: &str, is_there: bool) -> Option<Arc<Series>> {
        let mut all = self.series.lock();
        let key = (scope.account, name.to_owned());
        if is_there {
            let new = || (Arc::new(Series::new(&self.metrics, scope.account, name)), BTreeSet::new());
            let (series, regions) = all.entry(key).or_insert_with(new);
            regions.insert(scope.region);
            return Some(series.clone());
        }
        let (_, regions) = all.get_mut(&key)?;
        regions.remove(&scope.region);
        if regions.is_empty() {
            all.remove(&key);
        }
        None
    }
}

/// Keeps the rules up to date until the metastore shuts down. Changes wait for it from this call on.
pub fn follow(rules: Arc<Rules>, metadata: Arc<dyn Metadata>) -> impl Future<Output = ()> + Send {
    let mut follower = RuleFollower::new(metadata, "rules-worker");
    async move {
        while let Some((changes, revision)) = follower.next().await {
            rules.apply_all(changes, revision);
            follower.acted(revision);
        }
    }
}

/// Rules were checked when they were created, so this fails only when a later version of the broker reads less than an
/// earlier one wrote; the rule then stays off, and says so.
fn compile(scope: Scope, rule: &RuleDescription, revision: u64, series: Arc<Series>) -> Option<CompiledRule> {
    let version = rule.payload.aws_iot_sql_version.as_deref().map(str::parse::<SqlVersion>);
    let version = version.and_then(Result::ok).unwrap_or_default();
    let statement = match Statement::parse(&rule.payload.sql, version) {
        Ok(statement) => statement,
        Err(error) => {
            tracing::error!(account = %scope.account, rule = rule.rule_name, %error, "a stored rule cannot be compiled");
            return None;
        }
    };
    for pattern in statement.unusable_patterns() {
        tracing::warn!(
            account = %scope.account, rule = rule.rule_name, pattern,
            "a regular expression cannot be used: calls with it are Undefined"
        );
    }
    let build = |action| actions::build(action, &statement);
    let actions: Vec<_> = rule.payload.actions.iter().map(build).collect();
    let error_action = rule.payload.error_action.as_ref().map(build);
    series.will_count(actions.iter().chain(&error_action).map(|action| action.name()));
    Some(CompiledRule {
        scope,
        name: rule.rule_name.clone(),
        revision,
        actions,
        error_action,
        statement,
        series,
    })
}

#[cfg(test)]
mod tests {
    use fleethaven_registry::shapes::TopicRulePayload;

    use super::*;
    use crate::testing::{change, republish, rule};

    /// How many series of rules there are.
    fn series(registry: &prometheus::Registry) -> usize {
        let of_rules = |family: &prometheus::proto::MetricFamily| {
            let labelled = |metric: &&prometheus::proto::Metric| {
                metric.get_label().iter().any(|label| label.name() == "rule")
            };
            family.get_metric().iter().filter(labelled).count()
        };
        registry.gather().iter().map(of_rules).sum()
    }

    #[test]
    fn what_is_counted_of_a_rule_ends_with_it() {
        let registry = prometheus::Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let rules = Rules::new(metrics.clone());
        let payload = || rule("SELECT * FROM 'a'", vec![republish("b")], Some(republish("c")));
        let (account, home) = ("123456789012", change("R1", 1, payload()).scope);
        let abroad = Scope { region: "us-east-1".parse().unwrap(), ..home };
        let gone = |scope| RuleChange { scope, name: "R1".to_owned(), rule: None };
        let there = RuleChange { scope: abroad, ..change("R1", 1, payload()) };
        rules.apply_all(vec![change("R1", 1, payload()), there], 1);
        metrics.executed.with_label_values(&[account, "R1"]).inc();
        metrics.function.with_label_values(&[account, "R1", "aws_lambda", "failure"]).inc();
        for family in [&metrics.action, &metrics.error_action] {
            family.with_label_values(&[account, "R1", "RepublishAction", "success"]).inc();
        }
        metrics.executed.with_label_values(&[account, "R2"]).inc();
        assert_eq!(series(&registry), 5);

        let disabled = TopicRulePayload { rule_disabled: true, ..payload() };
        rules.apply_all(vec![change("R1", 2, disabled), gone(abroad)], 2);
        assert_eq!(series(&registry), 5, "it is only disabled");
        rules.apply_all(vec![change("R1", 3, payload())], 3);
        let in_flight = rules.get(home, "R1");
        rules.apply_all(vec![gone(home)], 4);
        assert_eq!(series(&registry), 5, "a message still counts");
        drop(in_flight);
        assert_eq!(series(&registry), 1, "that of the other rule");
    }
}
