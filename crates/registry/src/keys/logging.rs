//! Which log entries are written.

use bytes::Bytes;
use fleethaven_types::Scope;

use super::{global, parse};
use crate::shapes::LogTargetType;

/// Which log entries are written, of all accounts and regions: [`logging::decode`](crate::logging::decode) reads it.
pub fn logging_prefix() -> Bytes {
    global("logging", &[])
}

fn logging(scope: Scope, parts: &[&str]) -> Bytes {
    let (account, region) = (scope.account.to_string(), scope.region);
    global("logging", &[&[account.as_str(), region.as_str()], parts].concat())
}

pub(crate) fn logging_options(scope: Scope) -> Bytes {
    logging(scope, &["options"])
}

pub(crate) fn first_logging_options(scope: Scope) -> Bytes {
    logging(scope, &["first"])
}

pub(crate) fn logging_levels(scope: Scope) -> Bytes {
    logging(scope, &["level", ""])
}

/// The level of a target; without a name all keys of the type, which of DEFAULT is the one there is.
pub(crate) fn logging_level(scope: Scope, kind: LogTargetType, name: &str) -> Bytes {
    logging(scope, &["level", kind.as_str(), name])
}

/// What a key below [`logging_prefix`] is of.
pub(crate) enum LoggingKey {
    Options,
    FirstOptions,
    Level(LogTargetType, String),
}

pub(crate) fn parse_logging(key: &[u8]) -> Option<(Scope, LoggingKey)> {
    let parsed = parse(key).filter(|parsed| parsed.collection == "logging")?;
    let [account, region, rest @ ..] = parsed.parts.as_slice() else { return None };
    let scope = Scope { account: account.parse().ok()?, region: region.parse().ok()? };
    let key = match rest {
        ["options"] => LoggingKey::Options,
        ["first"] => LoggingKey::FirstOptions,
        ["level", kind, name] => LoggingKey::Level(LogTargetType::named(kind)?, (*name).to_owned()),
        _ => return None,
    };
    Some((scope, key))
}
