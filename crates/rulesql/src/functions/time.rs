//! Time (spec section 8.4). Two pattern languages that look alike: Joda-Time writes, java.time reads.

mod java_time;
mod joda;
mod zone;

use jiff::Timestamp;

use crate::{
    evaluate::{Context, Failure},
    value::Value,
};

/// Longest pattern, in bytes.
const MAX_PATTERN: usize = 1024;
/// Price of working through a pattern, in steps.
const PATTERN: u64 = 50;

type Answer = Result<Option<Value>, Failure>;

/// `timestamp()`: ms since the epoch, the same for the whole message.
pub(super) fn timestamp(context: &Context<'_>, arguments: &[Value]) -> Answer {
    Ok(arguments.is_empty().then(|| Value::Int(i128::from(context.input.now_ms))))
}

/// `parse_time(pattern, ms[, zone])`: the instant written by a Joda-Time pattern.
pub(super) fn parse_time(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let (pattern, ms, zone) = match arguments {
        [pattern, ms] => (pattern, ms, None),
        [pattern, ms, zone] => (pattern, ms, Some(zone)),
        _ => return Ok(None),
    };
    let Some(pattern) = context.text(pattern)? else { return Ok(None) };
    let zone = match zone {
        Some(zone) => context.text(zone)?,
        None => Some("UTC".into()),
    };
    let Some(zone) = zone.and_then(|zone| zone::find(&zone)) else { return Ok(None) };
    let ms = ms.to_index().and_then(|ms| i64::try_from(ms).ok());
    let Some(instant) = ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()) else { return Ok(None) };
    context.spend(PATTERN)?;
    if pattern.len() > MAX_PATTERN {
        return Ok(None);
    }
    match joda::format(&pattern, instant, &zone) {
        Some(text) => context.made(text),
        None => Ok(None),
    }
}

/// `time_to_epoch(text, pattern)`: ms since the epoch of a text read by a java.time pattern.
pub(super) fn time_to_epoch(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let [text, pattern] = arguments else { return Ok(None) };
    let (Some(text), Some(pattern)) = (context.text(text)?, context.text(pattern)?) else { return Ok(None) };
    context.spend(PATTERN)?;
    if pattern.len() > MAX_PATTERN {
        return Ok(None);
    }
    let ms = java_time::parse(&text, &pattern);
    Ok(ms.map(|ms| Value::Int(i128::from(ms))))
}

/// English month and weekday names, and how far they are cut.
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A name in full or as its first three letters.
fn name(names: &[&'static str], from_one: i8, full: bool) -> Option<&'static str> {
    let name = names.get(usize::try_from(from_one.checked_sub(1)?).ok()?)?;
    if full { Some(name) } else { name.get(..3) }
}

#[cfg(test)]
mod tests;
