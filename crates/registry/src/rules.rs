//! Rules of topic rules (rules-sql.md section 13).

mod actions;
mod catalogue;
mod reads;

pub(crate) use reads::{all, get, list};

use fleethaven_rulesql::{SqlVersion, Statement};
use prost::Message;
use serde_json::Value;

use crate::command::Context;
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::record;
use crate::shapes::{TopicRule, TopicRulePayload};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::tags;
use crate::view::Effects;

const KIND: &str = "rule";

/// CreateTopicRule.
pub(crate) fn create(store: &Store<'_>, context: &Context, args: &TopicRule) -> Outcome {
    let name = &args.rule_name;
    syntax::rule_name(name)?;
    let record = checked(&args.payload, context)?;
    let arn = store.arn(KIND, name);
    if store.exists(&keys::rule(store.scope, name)) {
        return Err(Error::exists(format!("Rule '{name}' already exists"), name.as_str(), arn));
    }
    let most = context.limits.rules;
    let count = count(store)?;
    if usize::try_from(count).unwrap_or(usize::MAX) >= most {
        return Err(Error::limit(format!("there are {count} rules, which is the most allowed")));
    }
    let mut effects = Effects::default();
    put(store, &mut effects, name, &record);
    put_count(store, &mut effects, count.saturating_add(1));
    tags::put_initial(store, context, &mut effects, &arn, &args.tags)?;
    done(effects)
}

/// ReplaceTopicRule: everything but the date of creation.
pub(crate) fn replace(store: &Store<'_>, context: &Context, args: &TopicRule) -> Outcome {
    syntax::rule_name(&args.rule_name)?;
    let created_at = required(store, &args.rule_name)?.created_at;
    let record = record::Rule { created_at, ..checked(&args.payload, context)? };
    let mut effects = Effects::default();
    put(store, &mut effects, &args.rule_name, &record);
    done(effects)
}

/// EnableTopicRule and DisableTopicRule.
pub(crate) fn switch(store: &Store<'_>, name: &str, disabled: bool) -> Outcome {
    syntax::rule_name(name)?;
    let mut record = required(store, name)?;
    let mut effects = Effects::default();
    if record.disabled != disabled {
        record.disabled = disabled;
        put(store, &mut effects, name, &record);
    }
    done(effects)
}

/// DeleteTopicRule: a rule that is not there is deleted.
pub(crate) fn delete(store: &Store<'_>, name: &str) -> Outcome {
    syntax::rule_name(name)?;
    let mut effects = Effects::default();
    let key = keys::rule(store.scope, name);
    if store.exists(&key) {
        effects.delete(key);
        put_count(store, &mut effects, count(store)?.saturating_sub(1));
        tags::delete_all(store, &mut effects, &store.arn(KIND, name));
    }
    done(effects)
}

fn put(store: &Store<'_>, effects: &mut Effects, name: &str, record: &record::Rule) {
    effects.put(keys::rule(store.scope, name), record.encode_to_vec());
}

fn count(store: &Store<'_>) -> Result<u64, Error> {
    let record: Option<record::Count> = store.record(&keys::rule_count(store.scope))?;
    Ok(record.unwrap_or_default().count)
}

fn put_count(store: &Store<'_>, effects: &mut Effects, count: u64) {
    let key = keys::rule_count(store.scope);
    match count {
        0 => effects.delete(key),
        count => effects.put(key, record::Count { count }.encode_to_vec()),
    }
}

/// The stored rule. AWS hides whether a rule exists: `UnauthorizedException`.
fn required(store: &Store<'_>, name: &str) -> Result<record::Rule, Error> {
    store.record(&keys::rule(store.scope, name))?.ok_or_else(|| {
        let message = format!("Access to topic rule '{name}' was denied");
        Error::new(ErrorCode::UnauthorizedException, message)
    })
}

/// Checks a rule's statement and actions and makes the record, which is `createdAt` now.
fn checked(payload: &TopicRulePayload, context: &Context) -> Result<record::Rule, Error> {
    let version = payload.aws_iot_sql_version.as_deref();
    let version = version.map_or(Ok(SqlVersion::default()), str::parse);
    let version: SqlVersion = version.map_err(|error| Error::invalid(error.to_string()))?;
    let actions: Vec<String> = payload.actions.iter().map(Value::to_string).collect();
    let error_action = payload.error_action.as_ref().map(Value::to_string);
    let texts = actions.iter().chain(&error_action).chain(&payload.description).chain([&payload.sql]);
    let bytes: usize = texts.map(String::len).sum();
    if bytes > context.limits.rule_bytes {
        let most = context.limits.rule_bytes;
        return Err(Error::invalid(format!("the rule has {bytes} bytes, {most} are allowed")));
    }
    let statement = Statement::parse(&payload.sql, version).map_err(sql_error)?;
    let most = context.limits.actions_per_rule;
    if payload.actions.len() > most {
        return Err(Error::invalid(format!("{} actions: a rule may have {most}", payload.actions.len())));
    }
    for (index, action) in payload.actions.iter().enumerate() {
        actions::check(action, &format!("actions[{index}]"), &statement, false)?;
    }
    if let Some(action) = &payload.error_action {
        actions::check(action, "errorAction", &statement, true)?;
    }
    Ok(record::Rule {
        sql: payload.sql.clone(),
        description: payload.description.clone(),
        actions,
        disabled: payload.rule_disabled,
        sql_version: version.as_str().to_owned(),
        error_action,
        created_at: context.now.as_millis(),
        topic_pattern: statement.topic_filter().unwrap_or_default().to_owned(),
    })
}

fn sql_error(error: fleethaven_rulesql::Error) -> Error {
    Error::new(ErrorCode::SqlParseException, error.to_string())
}

#[cfg(test)]
mod tests;
