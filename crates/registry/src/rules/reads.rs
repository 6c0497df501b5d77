//! GetTopicRule, ListTopicRules, and all rules at once for the rules engine.

use fleethaven_types::Timestamp;
use serde_json::Value;

use super::{KIND, required};
use crate::error::Error;
use crate::keys;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{Listed, PageRequest, RuleDescription, RuleSummary, TopicRulePayload};
use crate::store::Store;
use crate::syntax;

/// GetTopicRule.
pub(crate) fn get(store: &Store<'_>, name: &str) -> Result<QueryReply, Error> {
    syntax::rule_name(name)?;
    Ok(QueryReply::Rule(Box::new(description(store, name, required(store, name)?)?)))
}

/// Every rule, in name order: as many as the quota allows.
pub(crate) fn all(store: &Store<'_>) -> Result<QueryReply, Error> {
    let mut rules = Vec::new();
    for (key, value) in store.all(&keys::rules_prefix(store.scope)) {
        let name = keys::last_part(&key).unwrap_or_default();
        rules.push(description(store, name, record::decode(&value)?)?);
    }
    Ok(QueryReply::Rules(rules))
}

fn description(store: &Store<'_>, name: &str, rule: record::Rule) -> Result<RuleDescription, Error> {
    let actions = rule.actions.iter().map(|text| json(text)).collect::<Result<_, _>>()?;
    let error_action = rule.error_action.as_deref().map(json).transpose()?;
    let payload = TopicRulePayload {
        sql: rule.sql,
        description: rule.description,
        actions,
        rule_disabled: rule.disabled,
        aws_iot_sql_version: Some(rule.sql_version),
        error_action,
    };
    Ok(RuleDescription {
        rule_arn: store.arn(KIND, name),
        rule_name: name.to_owned(),
        payload,
        topic_pattern: rule.topic_pattern,
        created_at: Timestamp(rule.created_at),
    })
}

fn json(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text)
        .map_err(|error| Error::internal(format!("a stored action cannot be read: {error}")))
}

/// ListTopicRules, in name order; with filters, pages may be short.
pub(crate) fn list(
    store: &Store<'_>,
    topic: Option<&str>,
    disabled: Option<bool>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    let switched = match disabled {
        None => "",
        Some(true) => "disabled",
        Some(false) => "enabled",
    };
    let filters = [topic.map_or("", |_| "topic"), topic.unwrap_or_default(), switched];
    let listing =
        Listing { most: 10_000, ..Listing::new("ListTopicRules", &filters, keys::rules_prefix(store.scope)) };
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let mut items = Vec::with_capacity(pairs.len());
    for (key, value) in &pairs {
        let rule: record::Rule = record::decode(value)?;
        // As the rules engine matches: `a/#` does not match `a`.
        let hears = topic.is_none_or(|topic| fleethaven_topics::matches(&rule.topic_pattern, topic, false));
        if hears && disabled.is_none_or(|disabled| disabled == rule.disabled) {
            let name = keys::last_part(key).unwrap_or_default();
            items.push(summary(store, name, rule));
        }
    }
    Ok(QueryReply::RuleSummaries(Listed { items, next }))
}

fn summary(store: &Store<'_>, name: &str, rule: record::Rule) -> RuleSummary {
    RuleSummary {
        rule_arn: store.arn(KIND, name),
        rule_name: name.to_owned(),
        topic_pattern: rule.topic_pattern,
        created_at: Timestamp(rule.created_at),
        rule_disabled: rule.disabled,
    }
}
