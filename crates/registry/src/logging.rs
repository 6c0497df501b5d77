//! Which log entries are written: AWS's logging, version 2 and what is left of version 1 (operations.md section 6).
//!
//! The level of everything that nothing else is said of is kept as that of the target DEFAULT, so that a listing of levels
//! is a scan.

use std::collections::BTreeSet;
use std::net::IpAddr;

use fleethaven_types::{Scope, Timestamp};
use prost::Message;

use crate::error::{Error, ErrorCode};
use crate::keys::{self, LoggingKey};
use crate::limits;
use crate::page::{self, Listing};
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{
    Listed, LogEvent, LogEventConfiguration, LogLevel, LogTarget, LogTargetConfiguration, LogTargetType,
    LoggingOptions, PageRequest, SetV2LoggingOptions, V2LoggingOptions,
};
use crate::store::{Outcome, Store, done};
use crate::syntax;
use crate::view::Effects;

/// Where entries are when nothing is said: AWS's log group.
pub const LOG_GROUP: &str = "AWSIotLogsV2";
/// Characters of a target's name.
const NAME: usize = 512;

/// SetV2LoggingOptions.
pub(crate) fn set_options(store: &Store<'_>, args: &SetV2LoggingOptions) -> Outcome {
    let key = keys::logging_options(store.scope);
    let before: Option<record::LoggingOptions> = store.record(&key)?;
    let is_first = before.is_none();
    let mut options = before.unwrap_or_default();
    if let Some(role) = &args.role_arn {
        check_role(role)?;
        options.role_arn.clone_from(role);
    }
    options.disabled = args.disable_all_logs.unwrap_or(options.disabled);
    if let Some(events) = &args.event_configurations {
        options.events = checked(events)?;
    }
    if options.role_arn.is_empty() && !options.disabled {
        return Err(Error::invalid("roleArn is required unless disableAllLogs is true"));
    }
    let mut effects = Effects::default();
    effects.put(key, options.encode_to_vec());
    let default = args.default_log_level.or_else(|| is_first.then_some(LogLevel::Disabled));
    if let Some(level) = default {
        put_level(store, &mut effects, (LogTargetType::Default, ""), level, Vec::new());
    }
    done(effects)
}

fn checked(events: &[LogEventConfiguration]) -> Result<Vec<record::LoggedEvent>, Error> {
    let mut seen = BTreeSet::new();
    let checked = events.iter().map(|event| {
        let name = &event.event_type;
        let shown = syntax::shortened(name);
        if LogEvent::named(name).is_none() {
            return Err(Error::invalid(format!("eventType '{shown}' is none that is logged")));
        }
        if !seen.insert(name) {
            return Err(Error::invalid(format!("eventType '{shown}' is configured twice")));
        }
        event.log_destination.as_deref().map(check_destination).transpose()?;
        Ok(record::LoggedEvent {
            event_type: name.clone(),
            level: event.log_level.map(|level| level.as_str().to_owned()),
            destination: event.log_destination.clone(),
        })
    });
    checked.collect()
}

fn check_destination(text: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_/#".contains(&b);
    if (1..=512).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    let shown = syntax::shortened(text);
    Err(Error::invalid(format!("logDestination '{shown}' must be 1 to 512 characters of .-_/#A-Za-z0-9")))
}

fn check_role(role: &str) -> Result<(), Error> {
    if role.starts_with("arn:") && role.contains(":role/") && (20..=2048).contains(&role.len()) {
        return Ok(());
    }
    Err(Error::invalid("roleArn must be the ARN of a role, of 20 to 2048 characters"))
}

/// GetV2LoggingOptions; `verbose`: with every event there is, and what holds for it.
pub(crate) fn options(store: &Store<'_>, verbose: bool) -> Result<QueryReply, Error> {
    let options = configured(store)?;
    let default_log_level = default_level(store)?;
    let said: Vec<_> = options.events.iter().map(told).collect();
    let event_configurations = if verbose { all(&said, default_log_level) } else { said };
    Ok(QueryReply::V2LoggingOptions(Box::new(V2LoggingOptions {
        role_arn: Some(options.role_arn).filter(|role| !role.is_empty()),
        default_log_level,
        disable_all_logs: options.disabled,
        event_configurations,
    })))
}

fn told(event: &record::LoggedEvent) -> LogEventConfiguration {
    LogEventConfiguration {
        event_type: event.event_type.clone(),
        log_level: event.level.as_deref().and_then(LogLevel::named),
        log_destination: event.destination.clone(),
    }
}

fn all(said: &[LogEventConfiguration], default: LogLevel) -> Vec<LogEventConfiguration> {
    let in_force = |event: LogEvent| {
        let said = said.iter().find(|said| said.event_type == event.as_str());
        let unsaid = if event.is_opt_in() { LogLevel::Disabled } else { default };
        let destination = said.and_then(|said| said.log_destination.clone());
        LogEventConfiguration {
            event_type: event.as_str().to_owned(),
            log_level: Some(said.and_then(|said| said.log_level).unwrap_or(unsaid)),
            log_destination: Some(destination.unwrap_or_else(|| LOG_GROUP.to_owned())),
        }
    };
    LogEvent::ALL.into_iter().map(in_force).collect()
}

/// SetV2LoggingLevel.
pub(crate) fn set_level(store: &Store<'_>, args: &LogTargetConfiguration) -> Outcome {
    configured(store)?;
    let target = named(&args.log_target)?;
    let ancestors = match target {
        (LogTargetType::ThingGroup, group) => ancestors(store, group)?,
        _ => Vec::new(),
    };
    let prefix = keys::logging_levels(store.scope);
    let is_new = !store.exists(&keys::logging_level(store.scope, target.0, target.1));
    // The default's is one of them.
    if is_new && store.count(&prefix, limits::LOGGING_LEVELS + 1) > limits::LOGGING_LEVELS {
        let most = limits::LOGGING_LEVELS;
        return Err(Error::limit(format!("there are {most} logging levels, which is the most allowed")));
    }
    let mut effects = Effects::default();
    put_level(store, &mut effects, target, args.log_level, ancestors);
    done(effects)
}

/// DeleteV2LoggingLevel. What is not there is no error.
pub(crate) fn delete_level(store: &Store<'_>, target: &LogTarget) -> Outcome {
    let (kind, name) = named(target)?;
    if kind == LogTargetType::Default {
        return Err(Error::invalid("the DEFAULT level cannot be deleted: set it to DISABLED"));
    }
    let mut effects = Effects::default();
    let key = keys::logging_level(store.scope, kind, name);
    if store.exists(&key) {
        effects.delete(key);
    }
    done(effects)
}

/// ListV2LoggingLevels, by type and name.
pub(crate) fn levels(
    store: &Store<'_>,
    kind: Option<LogTargetType>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<QueryReply, Error> {
    configured(store)?;
    let (filters, prefix) = match kind {
        None => ([""], keys::logging_levels(store.scope)),
        Some(kind) => ([kind.as_str()], keys::logging_level(store.scope, kind, "")),
    };
    let listing = Listing::new("ListV2LoggingLevels", &filters, prefix);
    let (pairs, next) = page::read(store, &listing, page, now)?;
    let item = |(key, value): &(bytes::Bytes, bytes::Bytes)| match decode(key, value) {
        Some((_, Stored::Level { target, level, .. })) => {
            Ok(LogTargetConfiguration { log_target: target, log_level: level })
        }
        _ => Err(Error::internal("a stored logging level cannot be read")),
    };
    let items = pairs.iter().map(item).collect::<Result<_, _>>()?;
    Ok(QueryReply::V2LoggingLevels(Listed { items, next }))
}

/// SetLoggingOptions.
pub(crate) fn set_first_options(store: &Store<'_>, args: &LoggingOptions) -> Outcome {
    let role = args.role_arn.as_deref().unwrap_or_default();
    check_role(role)?;
    let options =
        record::FirstLoggingOptions { role_arn: role.to_owned(), level: args.log_level.as_str().to_owned() };
    let mut effects = Effects::default();
    effects.put(keys::first_logging_options(store.scope), options.encode_to_vec());
    done(effects)
}

/// GetLoggingOptions.
pub(crate) fn first_options(store: &Store<'_>) -> Result<QueryReply, Error> {
    let stored: Option<record::FirstLoggingOptions> =
        store.record(&keys::first_logging_options(store.scope))?;
    let told = stored.map(|stored| LoggingOptions {
        log_level: LogLevel::named(&stored.level).unwrap_or(LogLevel::Disabled),
        role_arn: Some(stored.role_arn),
    });
    let none = LoggingOptions { role_arn: None, log_level: LogLevel::Disabled };
    Ok(QueryReply::LoggingOptions(Box::new(told.unwrap_or(none))))
}

fn configured(store: &Store<'_>) -> Result<record::LoggingOptions, Error> {
    let options = store.record(&keys::logging_options(store.scope))?;
    let code = ErrorCode::NotConfiguredException;
    options
        .ok_or_else(|| Error::new(code, "version 2 of logging is not configured: call SetV2LoggingOptions"))
}

fn default_level(store: &Store<'_>) -> Result<LogLevel, Error> {
    let key = keys::logging_level(store.scope, LogTargetType::Default, "");
    let stored: Option<record::LoggingLevel> = store.record(&key)?;
    Ok(stored.and_then(|stored| LogLevel::named(&stored.level)).unwrap_or(LogLevel::Disabled))
}

fn put_level(
    store: &Store<'_>,
    effects: &mut Effects,
    (kind, name): (LogTargetType, &str),
    level: LogLevel,
    ancestors: Vec<String>,
) {
    let record = record::LoggingLevel { level: level.as_str().to_owned(), ancestors };
    effects.put(keys::logging_level(store.scope, kind, name), record.encode_to_vec());
}

/// The target's name as it is kept.
fn named(target: &LogTarget) -> Result<(LogTargetType, &str), Error> {
    let kind = target.target_type;
    let name = target.target_name.as_deref().unwrap_or_default();
    if kind == LogTargetType::Default {
        let message = "a target of type DEFAULT has no targetName";
        return if name.is_empty() { Ok((kind, name)) } else { Err(Error::invalid(message)) };
    }
    if !(1..=NAME).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "targetName '{}' must be 1 to {NAME} characters, none of them a control character",
            syntax::shortened(name)
        )));
    }
    if kind == LogTargetType::SourceIp && name.parse::<IpAddr>().is_err() {
        let shown = syntax::shortened(name);
        return Err(Error::invalid(format!("targetName '{shown}' is no IP address")));
    }
    if kind == LogTargetType::RuleName {
        syntax::rule_name(name)?;
    }
    Ok((kind, name))
}

fn ancestors(store: &Store<'_>, group: &str) -> Result<Vec<String>, Error> {
    syntax::registry_name("targetName", group)?;
    let found: Option<record::ThingGroup> = store.record(&keys::thing_group(store.scope, group))?;
    let found = found.ok_or_else(|| Error::invalid(format!("thing group '{group}' does not exist")))?;
    Ok(found.ancestors.into_iter().map(|ancestor| ancestor.name).collect())
}

/// What a stored key says about an account and region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// The options of version 2.
    Options {
        /// Nothing is logged, whatever else is said.
        disabled: bool,
        /// Events of which something is said.
        events: Vec<LogEventConfiguration>,
    },
    /// The level of a target.
    Level {
        /// Which.
        target: LogTarget,
        /// How much.
        level: LogLevel,
        /// Of a thing group those above it.
        ancestors: Vec<String>,
    },
    /// The options of version 1.
    First(LogLevel),
}

/// What a key below [`keys::logging_prefix`] and its value say; `None`: they cannot be read.
pub fn decode(key: &[u8], value: &[u8]) -> Option<(Scope, Stored)> {
    let (scope, key) = keys::parse_logging(key)?;
    let stored = match key {
        LoggingKey::Options => {
            let options: record::LoggingOptions = record::decode(value).ok()?;
            let events = options.events.iter().map(told).collect();
            Stored::Options { disabled: options.disabled, events }
        }
        LoggingKey::Level(target_type, name) => {
            let level: record::LoggingLevel = record::decode(value).ok()?;
            let target = LogTarget { target_type, target_name: Some(name).filter(|name| !name.is_empty()) };
            Stored::Level { target, level: LogLevel::named(&level.level)?, ancestors: level.ancestors }
        }
        LoggingKey::FirstOptions => {
            let options: record::FirstLoggingOptions = record::decode(value).ok()?;
            Stored::First(LogLevel::named(&options.level)?)
        }
    };
    Some((scope, stored))
}

#[cfg(test)]
mod tests;
