//! The rules, compiled once, as they change in the metastore.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::{Metadata, RuleChange, RuleFollower};
use fleethaven_registry::shapes::RuleDescription;
use fleethaven_rulesql::{SqlVersion, Statement};
use fleethaven_topics::name;
use fleethaven_types::Scope;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use crate::actions::{self, Action};

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

/// How long a message waits for the version of a rule that it was matched with.
const LAG_MAX: Duration = Duration::from_secs(5);

/// All enabled rules.
#[derive(Default)]
pub struct Rules {
    table: RwLock<Table>,
    /// Changes up to this revision are in the table.
    applied: watch::Sender<u64>,
}

impl Rules {
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
        let enabled = rule.filter(|(rule, _)| !rule.payload.rule_disabled);
        let compiled = enabled.and_then(|(rule, revision)| compile(scope, &rule, revision));
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
fn compile(scope: Scope, rule: &RuleDescription, revision: u64) -> Option<CompiledRule> {
    let version = rule.payload.aws_iot_sql_version.as_deref().map(str::parse::<SqlVersion>);
    let version = version.and_then(Result::ok).unwrap_or_default();
    let statement = match Statement::parse(&rule.payload.sql, version) {
        Ok(statement) => statement,
        Err(error) => {
            tracing::error!(account = %scope.account, rule = rule.rule_name, %error, "a stored rule cannot be compiled");
            return None;
        }
    };
    let build = |action| actions::build(action, &statement);
    Some(CompiledRule {
        scope,
        name: rule.rule_name.clone(),
        revision,
        actions: rule.payload.actions.iter().map(build).collect(),
        error_action: rule.payload.error_action.as_ref().map(build),
        statement,
    })
}
