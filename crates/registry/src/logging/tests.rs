//! operations.md section 6.

use super::*;
use crate::command::Action;
use crate::error::ErrorCode::*;
use crate::query::QueryKind;
use crate::requests::*;
use crate::testing::Registry;

const ROLE: &str = "arn:aws:iam::123456789012:role/logs";

fn set(options: SetV2LoggingOptions) -> Action {
    Action::SetV2LoggingOptions(Box::new(options))
}

fn level(target_type: LogTargetType, name: Option<&str>, log_level: LogLevel) -> Action {
    let log_target = LogTarget { target_type, target_name: name.map(str::to_owned) };
    Action::SetV2LoggingLevel(Box::new(LogTargetConfiguration { log_target, log_level }))
}

fn configured_registry() -> Registry {
    let mut registry = registry();
    let options = SetV2LoggingOptions {
        role_arn: Some(ROLE.to_owned()),
        default_log_level: Some(LogLevel::Error),
        ..SetV2LoggingOptions::default()
    };
    registry.run(set(options)).unwrap();
    registry
}

fn told_options(registry: &Registry, verbose: bool) -> V2LoggingOptions {
    match registry.ask(QueryKind::GetV2LoggingOptions { verbose }).unwrap() {
        QueryReply::V2LoggingOptions(options) => *options,
        other => panic!("{other:?}"),
    }
}

fn told_levels(registry: &Registry, kind: Option<LogTargetType>) -> Vec<(String, Option<String>, LogLevel)> {
    let page = PageRequest { token: None, limit: None };
    match registry.ask(QueryKind::ListV2LoggingLevels { target_type: kind, page }).unwrap() {
        QueryReply::V2LoggingLevels(page) => page
            .items
            .into_iter()
            .map(|item| {
                let LogTarget { target_type, target_name } = item.log_target;
                (target_type.as_str().to_owned(), target_name, item.log_level)
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_configured_at_first() {
    let mut registry = registry();
    let page = PageRequest { token: None, limit: None };
    for query in [
        QueryKind::GetV2LoggingOptions { verbose: false },
        QueryKind::ListV2LoggingLevels { target_type: None, page },
    ] {
        assert_eq!(refusal(registry.ask(query)), (NotConfiguredException, 404));
    }
    let set = level(LogTargetType::ClientId, Some("a"), LogLevel::Debug);
    assert_eq!(refusal(registry.run(set)), (NotConfiguredException, 404));
}

#[test]
fn a_role_is_needed_unless_everything_is_off() {
    let mut registry = registry();
    let bare =
        SetV2LoggingOptions { default_log_level: Some(LogLevel::Info), ..SetV2LoggingOptions::default() };
    assert_eq!(refusal(registry.run(set(bare.clone()))), (InvalidRequestException, 400));
    let no_role = SetV2LoggingOptions { role_arn: Some("arn:aws:iam::1:user/x".to_owned()), ..bare.clone() };
    assert_eq!(refusal(registry.run(set(no_role))), (InvalidRequestException, 400));
    registry.run(set(SetV2LoggingOptions { disable_all_logs: Some(true), ..bare })).unwrap();
    let told = told_options(&registry, false);
    assert_eq!((told.role_arn, told.disable_all_logs), (None, true));
    assert_eq!(told.default_log_level, LogLevel::Info);
    let on = SetV2LoggingOptions { disable_all_logs: Some(false), ..SetV2LoggingOptions::default() };
    assert_eq!(refusal(registry.run(set(on.clone()))), (InvalidRequestException, 400));
    registry.run(set(SetV2LoggingOptions { role_arn: Some(ROLE.to_owned()), ..on })).unwrap();
    assert_eq!(told_options(&registry, false).role_arn.as_deref(), Some(ROLE));
}

#[test]
fn what_is_not_said_stays() {
    let mut registry = configured_registry();
    let event = |name: &str, log_level, log_destination: Option<&str>| LogEventConfiguration {
        event_type: name.to_owned(),
        log_level,
        log_destination: log_destination.map(str::to_owned),
    };
    let events = vec![event("Ping", Some(LogLevel::Debug), None), event("Connect", None, Some("/dev/in"))];
    let said = SetV2LoggingOptions { event_configurations: Some(events.clone()), ..Default::default() };
    registry.run(set(said)).unwrap();
    let told = told_options(&registry, false);
    assert_eq!((told.role_arn.as_deref(), told.default_log_level), (Some(ROLE), LogLevel::Error));
    assert_eq!(told.event_configurations, events);
    let all = told_options(&registry, true).event_configurations;
    assert_eq!(all.len(), LogEvent::ALL.len());
    let of = |name: &str| all.iter().find(|event| event.event_type == name).unwrap().clone();
    assert_eq!(of("Ping"), event("Ping", Some(LogLevel::Debug), Some(LOG_GROUP)));
    assert_eq!(of("Connect"), event("Connect", Some(LogLevel::Error), Some("/dev/in")));
    assert_eq!(of("Connection.AuthNError").log_level, Some(LogLevel::Disabled), "only where it is asked for");
    for bad in [
        vec![event("Nonsense", None, None)],
        vec![event("Ping", None, None), event("Ping", None, None)],
        vec![event("Ping", None, Some("a b"))],
    ] {
        let said = SetV2LoggingOptions { event_configurations: Some(bad), ..Default::default() };
        assert_eq!(refusal(registry.run(set(said))), (InvalidRequestException, 400));
    }
}

#[test]
fn levels_of_targets() {
    let mut registry = configured_registry();
    registry.run(create_group("parent", None)).unwrap();
    registry.run(create_group("child", Some("parent"))).unwrap();
    for (kind, name) in [
        (LogTargetType::ThingGroup, "child"),
        (LogTargetType::ClientId, "a b"),
        (LogTargetType::SourceIp, "2001:db8::1"),
        (LogTargetType::PrincipalId, "ab"),
        (LogTargetType::RuleName, "alert_1"),
    ] {
        registry.run(level(kind, Some(name), LogLevel::Debug)).unwrap();
    }
    registry.run(level(LogTargetType::Default, None, LogLevel::Warn)).unwrap();
    let default = ("DEFAULT".to_owned(), None, LogLevel::Warn);
    assert_eq!(told_levels(&registry, None).len(), 6);
    assert!(told_levels(&registry, None).contains(&default));
    let groups = told_levels(&registry, Some(LogTargetType::ThingGroup));
    assert_eq!(groups, [("THING_GROUP".to_owned(), Some("child".to_owned()), LogLevel::Debug)]);
    assert_eq!(told_options(&registry, false).default_log_level, LogLevel::Warn);
    for (kind, name) in [
        (LogTargetType::ThingGroup, Some("nowhere")),
        (LogTargetType::SourceIp, Some("host")),
        (LogTargetType::ClientId, None),
        (LogTargetType::ClientId, Some("a\0b")),
        (LogTargetType::Default, Some("x")),
        (LogTargetType::RuleName, Some("no rule's name")),
        (LogTargetType::RuleName, None),
    ] {
        let refused = registry.run(level(kind, name, LogLevel::Debug));
        assert_eq!(refusal(refused), (InvalidRequestException, 400), "{kind:?} {name:?}");
    }
    let delete = |target_type, name: &str| {
        let target_name = Some(name.to_owned()).filter(|name| !name.is_empty());
        Action::DeleteV2LoggingLevel(Box::new(LogTarget { target_type, target_name }))
    };
    registry.run(delete(LogTargetType::ClientId, "a b")).unwrap();
    registry.run(delete(LogTargetType::ClientId, "a b")).unwrap();
    assert_eq!(told_levels(&registry, Some(LogTargetType::ClientId)), []);
    let refused = registry.run(delete(LogTargetType::Default, ""));
    assert_eq!(refusal(refused), (InvalidRequestException, 400));
}

#[test]
fn the_first_version_is_kept_apart() {
    let mut registry = registry();
    let told = |registry: &Registry| match registry.ask(QueryKind::GetLoggingOptions).unwrap() {
        QueryReply::LoggingOptions(options) => *options,
        other => panic!("{other:?}"),
    };
    assert_eq!(told(&registry), LoggingOptions { role_arn: None, log_level: LogLevel::Disabled });
    let options = LoggingOptions { role_arn: Some(ROLE.to_owned()), log_level: LogLevel::Info };
    registry.run(Action::SetLoggingOptions(Box::new(options.clone()))).unwrap();
    assert_eq!(told(&registry), options);
    let refused = registry.ask(QueryKind::GetV2LoggingOptions { verbose: false });
    assert_eq!(refusal(refused), (NotConfiguredException, 404));
    let none = LoggingOptions { role_arn: None, log_level: LogLevel::Info };
    let refused = registry.run(Action::SetLoggingOptions(Box::new(none)));
    assert_eq!(refusal(refused), (InvalidRequestException, 400));
}

#[test]
fn there_is_a_most() {
    let mut registry = configured_registry();
    for n in 0..limits::LOGGING_LEVELS {
        registry.run(level(LogTargetType::ClientId, Some(&n.to_string()), LogLevel::Debug)).unwrap();
    }
    let more = level(LogTargetType::ClientId, Some("more"), LogLevel::Debug);
    assert_eq!(refusal(registry.run(more)), (LimitExceededException, 410));
    registry.run(level(LogTargetType::ClientId, Some("7"), LogLevel::Info)).unwrap();
}
