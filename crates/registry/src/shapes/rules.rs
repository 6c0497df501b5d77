//! Topic rules (rules-sql.md section 13).

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Tag, timestamp};

/// Arguments of CreateTopicRule and ReplaceTopicRule.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TopicRule {
    /// 1 to 128 of `a-zA-Z0-9_`.
    pub rule_name: String,
    /// The rule.
    pub payload: TopicRulePayload,
    /// Tags, from the header `x-amz-tagging`.
    pub tags: Vec<Tag>,
}

/// `topicRulePayload` with AWS's member names when serialised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicRulePayload {
    /// The statement.
    pub sql: String,
    /// Description.
    #[serde(default)]
    pub description: Option<String>,
    /// Actions: objects with exactly one member, the type of the action.
    pub actions: Vec<Value>,
    /// Whether it is switched off.
    #[serde(default)]
    pub rule_disabled: bool,
    /// `2015-10-08` (default), `2016-03-23` or `beta`.
    #[serde(default)]
    pub aws_iot_sql_version: Option<String>,
    /// What happens when an action fails.
    #[serde(default)]
    pub error_action: Option<Value>,
}

/// A rule as GetTopicRule and the rules engine read it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleDescription {
    /// ARN.
    pub rule_arn: String,
    /// Name.
    pub rule_name: String,
    /// The rule; `aws_iot_sql_version` is always given.
    pub payload: TopicRulePayload,
    /// The FROM clause's topic filter; empty when the statement has none.
    pub topic_pattern: String,
    /// `createdAt`.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
}

/// An item of ListTopicRules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSummary {
    /// ARN.
    pub rule_arn: String,
    /// Name.
    pub rule_name: String,
    /// The FROM clause's topic filter.
    pub topic_pattern: String,
    /// `createdAt`.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// Whether it is switched off.
    pub rule_disabled: bool,
}
