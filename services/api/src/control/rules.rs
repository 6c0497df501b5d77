//! Topic rules (rules-sql.md section 13).

use fleethaven_registry::shapes::{RuleDescription, RuleSummary, TopicRule, TopicRulePayload};
use fleethaven_registry::{Action, QueryKind, QueryReply};
use serde_json::{Value, json};

use super::{expect_reply, rule_destinations};
use crate::answer::{self, Answer, Outcome, members_of, seconds};
use crate::call::Call;
use crate::error::Error;
use crate::members::{Members, missing};

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let rule = TopicRule { tags: call.input.header_tags()?, ..rule(call)? };
    let actions = all_actions(&rule.payload);
    call.carry_out(Action::CreateTopicRule(Box::new(rule))).await?;
    rule_destinations::make_named(call, &actions).await;
    Ok(Answer::Empty)
}

pub(super) async fn replace(call: &Call<'_>) -> Outcome {
    let rule = rule(call)?;
    let actions = all_actions(&rule.payload);
    call.carry_out(Action::ReplaceTopicRule(Box::new(rule))).await?;
    rule_destinations::make_named(call, &actions).await;
    Ok(Answer::Empty)
}

/// The actions, and the error action.
fn all_actions(payload: &TopicRulePayload) -> Vec<Value> {
    payload.actions.iter().chain(&payload.error_action).cloned().collect()
}

/// The body is the member `topicRulePayload` itself.
fn rule(call: &Call<'_>) -> Result<TopicRule, Error> {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    body.objects("actions")?;
    body.object("errorAction")?;
    let payload = TopicRulePayload {
        sql: body.required_string("sql")?,
        description: body.string("description")?,
        actions: body.list("actions")?.ok_or_else(|| missing("actions"))?.clone(),
        rule_disabled: body.boolean("ruleDisabled")?,
        aws_iot_sql_version: body.string("awsIotSqlVersion")?,
        error_action: body.value("errorAction").cloned(),
    };
    Ok(TopicRule { rule_name: call.input.label("ruleName")?, payload, tags: Vec::new() })
}

pub(super) async fn get(call: &Call<'_>) -> Outcome {
    let query = QueryKind::GetTopicRule(call.input.label("ruleName")?);
    let described = expect_reply!(call.query(query).await?, QueryReply::Rule(described) => *described);
    Ok(described_answer(described))
}

fn described_answer(described: RuleDescription) -> Answer {
    let payload = described.payload;
    let rule = members_of([
        ("ruleName", described.rule_name.into()),
        ("sql", payload.sql.into()),
        ("description", payload.description.into()),
        ("createdAt", seconds(described.created_at)),
        ("actions", payload.actions.into()),
        ("ruleDisabled", payload.rule_disabled.into()),
        ("awsIotSqlVersion", payload.aws_iot_sql_version.into()),
        ("errorAction", payload.error_action.unwrap_or_default()),
    ]);
    Answer::of([("ruleArn", described.rule_arn.into()), ("rule", rule)])
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListTopicRules {
        topic: call.input.query_string("topic"),
        rule_disabled: call.input.query_optional_boolean("ruleDisabled")?,
        page: call.input.next_token_page()?,
    };
    let page = expect_reply!(call.query(query).await?, QueryReply::RuleSummaries(page) => page);
    Ok(Answer::of([("rules", answer::list(page.items, summary)), ("nextToken", page.next.into())]))
}

fn summary(rule: RuleSummary) -> Value {
    json!({
        "ruleArn": rule.rule_arn,
        "ruleName": rule.rule_name,
        "topicPattern": rule.topic_pattern,
        "createdAt": seconds(rule.created_at),
        "ruleDisabled": rule.rule_disabled,
    })
}

pub(super) async fn enable(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::EnableTopicRule(call.input.label("ruleName")?)).await?;
    Ok(Answer::Empty)
}

pub(super) async fn disable(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DisableTopicRule(call.input.label("ruleName")?)).await?;
    Ok(Answer::Empty)
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeleteTopicRule(call.input.label("ruleName")?)).await?;
    Ok(Answer::Empty)
}
