//! Which log entries are written (operations.md section 6).

use fleethaven_registry::shapes::{
    LogEventConfiguration, LogLevel, LogTarget, LogTargetConfiguration, LoggingOptions, SetV2LoggingOptions,
};
use fleethaven_registry::{Action, QueryKind, QueryReply};
use serde_json::{Value, json};

use super::expect_reply;
use crate::answer::{self, Answer, Outcome, members_of};
use crate::call::Call;
use crate::error::Error;
use crate::members::{Members, missing};

pub(super) async fn set_options(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let has_events = body.list("eventConfigurations")?.is_some();
    let events = || body.objects("eventConfigurations")?.iter().map(event).collect::<Result<_, Error>>();
    let disable = body.value("disableAllLogs").is_some();
    let options = SetV2LoggingOptions {
        role_arn: body.string("roleArn")?,
        default_log_level: body.enumeration("defaultLogLevel")?,
        disable_all_logs: disable.then(|| body.boolean("disableAllLogs")).transpose()?,
        event_configurations: has_events.then(events).transpose()?,
    };
    call.carry_out(Action::SetV2LoggingOptions(Box::new(options))).await?;
    Ok(Answer::Empty)
}

fn event(members: &Members<'_>) -> Result<LogEventConfiguration, Error> {
    Ok(LogEventConfiguration {
        event_type: members.required_string("eventType")?,
        log_level: members.enumeration("logLevel")?,
        log_destination: members.string("logDestination")?,
    })
}

pub(super) async fn get_options(call: &Call<'_>) -> Outcome {
    let verbose = call.input.query_boolean("verbose")?;
    let reply = call.query(QueryKind::GetV2LoggingOptions { verbose }).await?;
    let options = expect_reply!(reply, QueryReply::V2LoggingOptions(options) => *options);
    let event = |event: LogEventConfiguration| {
        members_of([
            ("eventType", event.event_type.into()),
            ("logLevel", event.log_level.map(LogLevel::as_str).into()),
            ("logDestination", event.log_destination.into()),
        ])
    };
    Ok(Answer::of([
        ("roleArn", options.role_arn.into()),
        ("defaultLogLevel", options.default_log_level.as_str().into()),
        ("disableAllLogs", options.disable_all_logs.into()),
        ("eventConfigurations", answer::list(options.event_configurations, event)),
    ]))
}

pub(super) async fn set_level(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let target = body.object("logTarget")?.ok_or_else(|| missing("logTarget"))?;
    let args = LogTargetConfiguration {
        log_target: LogTarget {
            target_type: target.enumeration("targetType")?.ok_or_else(|| missing("logTarget.targetType"))?,
            target_name: target.string("targetName")?,
        },
        log_level: body.enumeration("logLevel")?.ok_or_else(|| missing("logLevel"))?,
    };
    call.carry_out(Action::SetV2LoggingLevel(Box::new(args))).await?;
    Ok(Answer::Empty)
}

pub(super) async fn list_levels(call: &Call<'_>) -> Outcome {
    let target_type = call.input.query_enumeration("targetType")?;
    let query = QueryKind::ListV2LoggingLevels { target_type, page: call.input.next_token_page()? };
    let page = expect_reply!(call.query(query).await?, QueryReply::V2LoggingLevels(page) => page);
    let item = |item: LogTargetConfiguration| -> Value {
        let LogTarget { target_type, target_name } = item.log_target;
        let target =
            members_of([("targetType", target_type.as_str().into()), ("targetName", target_name.into())]);
        json!({"logTarget": target, "logLevel": item.log_level.as_str()})
    };
    Ok(Answer::of([
        ("logTargetConfigurations", answer::list(page.items, item)),
        ("nextToken", page.next.into()),
    ]))
}

pub(super) async fn delete_level(call: &Call<'_>) -> Outcome {
    let target_type = call.input.query_enumeration("targetType")?;
    let target = LogTarget {
        target_type: target_type.ok_or_else(|| missing("targetType"))?,
        target_name: Some(call.input.query_string("targetName").ok_or_else(|| missing("targetName"))?),
    };
    call.carry_out(Action::DeleteV2LoggingLevel(Box::new(target))).await?;
    Ok(Answer::Empty)
}

/// Version 1. AWS's model has its members as the body itself.
pub(super) async fn set_first_options(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let options = LoggingOptions {
        role_arn: Some(body.required_string("roleArn")?),
        log_level: body.enumeration("logLevel")?.unwrap_or(LogLevel::Error),
    };
    call.carry_out(Action::SetLoggingOptions(Box::new(options))).await?;
    Ok(Answer::Empty)
}

pub(super) async fn get_first_options(call: &Call<'_>) -> Outcome {
    let reply = call.query(QueryKind::GetLoggingOptions).await?;
    let options = expect_reply!(reply, QueryReply::LoggingOptions(options) => *options);
    Ok(Answer::of([("roleArn", options.role_arn.into()), ("logLevel", options.log_level.as_str().into())]))
}
