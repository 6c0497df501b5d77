//! The rules, compiled once, as they change in the metastore.

use std::sync::Arc;

use fleethaven_fabric::{Metadata, RuleChange, RuleFollower};
use fleethaven_registry::shapes::RuleDescription;
use fleethaven_rulesql::{SqlVersion, Statement};
use fleethaven_types::Scope;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use crate::actions::{self, Action};

/// A rule ready to run.
pub struct CompiledRule {
    /// Account and region.
    pub scope: Scope,
    /// Name.
    pub name: String,
    /// The statement.
    pub statement: Statement,
    /// The actions, in the rule's order.
    pub actions: Vec<Box<dyn Action>>,
    /// What runs when an action fails.
    pub error_action: Option<Box<dyn Action>>,
}

type Table = FxHashMap<Scope, FxHashMap<String, Arc<CompiledRule>>>;

/// All enabled rules.
#[derive(Default)]
pub struct Rules(RwLock<Table>);

impl Rules {
    /// The rule of this name, if there is one and it is enabled.
    pub fn get(&self, scope: Scope, name: &str) -> Option<Arc<CompiledRule>> {
        self.0.read().get(&scope)?.get(name).cloned()
    }

    fn apply(&self, change: RuleChange) {
        let RuleChange { scope, name, rule } = change;
        let enabled = rule.filter(|(rule, _)| !rule.payload.rule_disabled);
        let compiled = enabled.and_then(|(rule, _)| compile(scope, &rule));
        let mut table = self.0.write();
        let of_scope = table.entry(scope).or_default();
        match compiled {
            Some(rule) => of_scope.insert(name, Arc::new(rule)),
            None => of_scope.remove(&name),
        };
    }
}

/// Keeps the rules up to date until the metastore shuts down.
pub async fn follow(rules: Arc<Rules>, metadata: Arc<dyn Metadata>) {
    let mut follower = RuleFollower::new(metadata, "rules-worker");
    while let Some((changes, revision)) = follower.next().await {
        for change in changes {
            rules.apply(change);
        }
        follower.acted(revision);
    }
}

/// Rules were checked when they were created, so this fails only when a later version of the broker reads less than an
/// earlier one wrote; the rule then stays off, and says so.
fn compile(scope: Scope, rule: &RuleDescription) -> Option<CompiledRule> {
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
        actions: rule.payload.actions.iter().map(build).collect(),
        error_action: rule.payload.error_action.as_ref().map(build),
        statement,
    })
}
