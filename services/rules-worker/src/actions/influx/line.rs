//! The line protocol: `measurement,tag=value field=value,… time`.

use fleethaven_rulesql::Template;
use serde_json::Value as Json;

use super::Version;

/// The member that is the time.
const TIME: &str = "timestamp";

/// Where the value of a tag comes from.
pub(super) enum Tag {
    Template(Template),
    /// A member of each element.
    OfElement(Vec<String>),
}

/// The value of a tag for a message.
pub(super) enum Value<'a> {
    Text(String),
    OfElement(&'a [String]),
}

/// The path in `@{a.b}`, when that is all of the text.
pub(super) fn of_element(text: &str) -> Option<Vec<String>> {
    let path = text.strip_prefix("@{")?.strip_suffix('}')?;
    let parts: Vec<_> = path.split('.').map(|part| part.trim().to_owned()).collect();
    parts.iter().all(|part| !part.is_empty() && !part.contains(['{', '}'])).then_some(parts)
}

/// Of what a time is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

impl Unit {
    pub(super) fn of(name: &str) -> Result<Self, String> {
        match name {
            "s" => Ok(Self::Seconds),
            "ms" => Ok(Self::Milliseconds),
            "us" => Ok(Self::Microseconds),
            "ns" => Ok(Self::Nanoseconds),
            other => Err(format!("timestampUnit '{other}' is not s, ms, us or ns")),
        }
    }

    /// A time in milliseconds in this unit.
    pub(super) fn of_milliseconds(self, milliseconds: u64) -> i64 {
        let number = i64::try_from(milliseconds).unwrap_or(i64::MAX);
        match self {
            Self::Seconds => number / 1000,
            Self::Milliseconds => number,
            Self::Microseconds => number.saturating_mul(1000),
            Self::Nanoseconds => number.saturating_mul(1_000_000),
        }
    }

    /// How a version of InfluxDB names it.
    pub(super) fn precision(self, version: Version) -> &'static str {
        match (self, version) {
            (Self::Seconds, Version::V3) => "second",
            (Self::Milliseconds, Version::V3) => "millisecond",
            (Self::Microseconds, Version::V3) => "microsecond",
            (Self::Nanoseconds, Version::V3) => "nanosecond",
            (Self::Seconds, _) => "s",
            (Self::Milliseconds, _) => "ms",
            (Self::Microseconds, Version::V1) => "u",
            (Self::Microseconds, _) => "us",
            (Self::Nanoseconds, _) => "ns",
        }
    }
}

/// Appends an element as a line. `now`: its time, if it need not bring one; then nested members are left out too.
pub(super) fn write(
    out: &mut String,
    table: &str,
    tags: &[(String, Value<'_>)],
    element: &Json,
    now: Option<i64>,
) -> Result<(), String> {
    let members = element.as_object().ok_or("a point is no JSON object")?;
    escaped(out, table, &[',', ' '])?;
    for (name, value) in tags {
        let value = match value {
            Value::Text(text) => text.clone(),
            Value::OfElement(path) => at(element, path),
        };
        if !value.is_empty() {
            out.push(',');
            escaped(out, name, &[',', '=', ' '])?;
            out.push('=');
            escaped(out, &value, &[',', '=', ' '])?;
        }
    }
    let mut first = true;
    for (name, value) in members.iter().filter(|(name, _)| now.is_some() || *name != TIME) {
        let Some(value) = field(value, now.is_some()) else { continue };
        out.push(if first { ' ' } else { ',' });
        escaped(out, name, &[',', '=', ' '])?;
        out.push('=');
        out.push_str(&value);
        first = false;
    }
    if first {
        return Err("a point has no fields".to_owned());
    }
    let time = now.or_else(|| members.get(TIME)?.as_i64());
    let time = time.ok_or("a point has no member 'timestamp' that is a whole number")?;
    out.push_str(&format!(" {time}"));
    Ok(())
}

/// The text of a member of an element; what is not there is empty.
fn at(element: &Json, path: &[String]) -> String {
    match path.iter().try_fold(element, |value, name| value.get(name)) {
        None | Some(Json::Null) => String::new(),
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A value of a field, if it has one.
fn field(value: &Json, scalars_only: bool) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Bool(value) => Some(value.to_string()),
        Json::Number(number) if number.is_i64() => Some(format!("{number}i")),
        Json::Number(number) => Some(number.to_string()),
        Json::String(text) => Some(quoted(text)),
        Json::Array(_) | Json::Object(_) if scalars_only => None,
        nested => Some(quoted(&nested.to_string())),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A name or the value of a tag. A line cannot hold a line end there, nor a backslash before what parts it from the rest.
fn escaped(out: &mut String, text: &str, special: &[char]) -> Result<(), String> {
    if text.contains(['\n', '\r']) || text.ends_with('\\') {
        return Err(format!("'{}' has a line end, or ends with a backslash", text.escape_debug()));
    }
    for c in text.chars() {
        if special.contains(&c) {
            out.push('\\');
        }
        out.push(c);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(table: &str, tags: &[(&str, &str)], element: Json, now: Option<i64>) -> Result<String, String> {
        let paths: Vec<_> = tags.iter().map(|(_, value)| of_element(value)).collect();
        let tags: Vec<_> = tags
            .iter()
            .zip(&paths)
            .map(|((name, value), path)| {
                let value = match path {
                    Some(path) => Value::OfElement(path),
                    None => Value::Text((*value).to_owned()),
                };
                ((*name).to_owned(), value)
            })
            .collect();
        let mut out = String::new();
        write(&mut out, table, &tags, &element, now).map(|()| out)
    }

    #[test]
    fn members_are_fields_and_the_timestamp_is_the_time() {
        let element = json!({"timestamp": 5, "i": 1, "f": 1.5, "g": 2.0, "b": true, "s": "a \"b\" \\", "n": null, "o": {"x": 1}});
        let line = line("room 1", &[("site", "a,b=c d")], element, None).unwrap();
        let (head, rest) = line.split_once("d ").unwrap();
        assert_eq!(head, r"room\ 1,site=a\,b\=c\ ");
        let (fields, time) = rest.rsplit_once(' ').unwrap();
        assert_eq!(time, "5");
        for part in ["i=1i", "f=1.5", "g=2.0", "b=true", r#"s="a \"b\" \\""#, r#"o="{\"x\":1}""#] {
            assert!(fields.contains(part), "{fields}: {part}");
        }
        assert!(!fields.contains("n="));
    }

    #[test]
    fn a_tag_may_be_a_member_of_each_element() {
        let element = json!({"timestamp": 1, "v": 1, "device": {"id": "d1"}});
        let tags = [("id", "@{device.id}"), ("absent", "@{x}")];
        let line = line("t", &tags, element, None).unwrap();
        assert!(line.starts_with("t,id=d1 "), "{line}");
        assert_eq!(of_element("@{a} and more"), None);
        assert_eq!(of_element("${a}"), None);
    }

    #[test]
    fn an_error_document_brings_no_time_and_its_scalars_are_enough() {
        let element = json!({"ruleName": "r", "timestamp": "x", "failures": [{"a": 1}]});
        let line = line("t", &[], element, Some(7)).unwrap();
        assert!(line.contains("ruleName=\"r\"") && line.contains("timestamp=\"x\"") && line.ends_with(" 7"));
        assert!(!line.contains("failures"));
    }

    #[test]
    fn what_is_no_point_is_refused() {
        for (table, element) in [
            ("t", json!([1])),
            ("t", json!({"timestamp": 1})),
            ("t", json!({"v": 1})),
            ("t", json!({"v": 1, "timestamp": 1.5})),
            ("t\n", json!({"v": 1, "timestamp": 1})),
            ("t\\", json!({"v": 1, "timestamp": 1})),
        ] {
            assert!(line(table, &[], element.clone(), None).is_err(), "{table:?} {element}");
        }
    }
}
