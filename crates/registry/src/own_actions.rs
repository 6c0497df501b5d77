//! Actions that AWS has not (rules-actions.md section 7). AWS's clients know no members for them, so that they travel as `http`
//! actions, in and out unchanged: the address is `x-action://<type>/<connection>?<setting>=<value>&…`, and what takes substitution
//! templates is in the headers. `label.site: ${site}` is an entry of a field that has names of the rule's own.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::error::Error;
use crate::syntax;

/// How the address of such an action begins.
pub const SCHEME: &str = "x-action://";

/// Most bytes of a statement for a database.
const MAX_STATEMENT: usize = 8192;

/// What a setting in the address must be.
enum Setting {
    /// `true` or `false`.
    Switch,
    /// A whole number in this range.
    Number(u64, u64),
}

/// What a header is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// It must be there, and takes templates.
    Required,
    /// It takes templates.
    Optional,
    /// It must be there, and takes none.
    Plain,
}

/// A type of action.
pub struct Kind {
    /// Its name in the address.
    pub name: &'static str,
    /// The kind of connection that it uses.
    pub connection: &'static str,
    settings: &'static [(&'static str, Setting)],
    fields: &'static [(&'static str, Field)],
    /// How fields begin that have names of the rule's own.
    map: Option<&'static str>,
}

/// All of them.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "amqp",
        connection: "amqp",
        settings: &[("persistent", Setting::Switch), ("mandatory", Setting::Switch)],
        fields: &[("exchange", Field::Optional), ("routingKey", Field::Required)],
        map: Some("header."),
    },
    Kind {
        name: "redisStream",
        connection: "redis",
        settings: &[("maxLen", Setting::Number(1, u32::MAX as u64))],
        fields: &[("key", Field::Required)],
        map: Some("field."),
    },
    Kind {
        name: "redisSet",
        connection: "redis",
        settings: &[],
        fields: &[("key", Field::Required), ("ttl", Field::Optional)],
        map: None,
    },
    Kind {
        name: "redisPublish",
        connection: "redis",
        settings: &[],
        fields: &[("channel", Field::Required)],
        map: None,
    },
    Kind {
        name: "postgres",
        connection: "postgres",
        settings: &[],
        fields: &[("sql", Field::Plain)],
        map: Some("param."),
    },
    Kind {
        name: "nats",
        connection: "nats",
        settings: &[("jetstream", Setting::Switch)],
        fields: &[("subject", Field::Required)],
        map: Some("header."),
    },
    Kind {
        name: "mqttBridge",
        connection: "mqtt",
        settings: &[("qos", Setting::Number(0, 1)), ("retain", Setting::Switch)],
        fields: &[("topic", Field::Required)],
        map: None,
    },
    Kind { name: "lokiPush", connection: "loki", settings: &[], fields: &[], map: Some("label.") },
    Kind {
        name: "prometheusRemoteWrite",
        connection: "prometheus",
        settings: &[],
        fields: &[("metric", Field::Required), ("value", Field::Required), ("timestamp", Field::Optional)],
        map: Some("label."),
    },
];

/// One action of a rule.
pub struct OwnAction<'a> {
    /// Its type.
    pub kind: &'static Kind,
    /// The name of the connection that it uses.
    pub connection: String,
    /// What the address sets.
    settings: BTreeMap<String, String>,
    /// The headers: names and values, as the rule has them.
    fields: Vec<(&'a str, &'a str)>,
}

impl<'a> OwnAction<'a> {
    /// A field, as the rule has it.
    pub fn field(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
    }

    /// The fields that have names of the rule's own, with these names.
    pub fn map(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        let prefix = self.kind.map.unwrap_or_default();
        let named = move |(name, value): &(&'a str, &'a str)| Some((name.strip_prefix(prefix)?, *value));
        self.fields.iter().filter(move |_| !prefix.is_empty()).filter_map(named)
    }

    /// Whether a setting of the address is `true`.
    pub fn switch(&self, name: &str) -> bool {
        self.switch_or(name, false)
    }

    /// The same, where the setting is something else unless it is given.
    pub fn switch_or(&self, name: &str, default: bool) -> bool {
        self.settings.get(name).map_or(default, |value| value == "true")
    }

    /// A setting of the address that is a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.settings.get(name)?.parse().ok()
    }

    /// The fields that take templates.
    pub(crate) fn templates(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        let plain = |name: &str| {
            self.kind.fields.iter().any(|(known, field)| *known == name && *field == Field::Plain)
        };
        self.fields.iter().copied().filter(move |(name, _)| !plain(name))
    }
}

/// Whether an `http` action is one of these.
pub fn is_own(http: &Value) -> bool {
    http.get("url").and_then(Value::as_str).is_some_and(|url| url.starts_with(SCHEME))
}

/// Reads an `http` action that [is one of these](is_own).
///
/// # Errors
/// What is wrong with it, with what is expected.
pub fn read(http: &Value) -> Result<OwnAction<'_>, String> {
    let url = http.get("url").and_then(Value::as_str).unwrap_or_default();
    let rest = url.strip_prefix(SCHEME).ok_or_else(|| format!("the address does not begin with {SCHEME}"))?;
    let (target, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (name, connection) = target.split_once('/').unwrap_or((target, ""));
    let kind = KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let all: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        format!("'{}' is no type of action: {}", syntax::shortened(name), all.join(", "))
    })?;
    if syntax::registry_name("connection name", connection).is_err() {
        return Err(format!("the address names no connection: {SCHEME}{name}/<connection>"));
    }
    if let Some(other) = ["confirmationUrl", "auth", "enableBatching", "batchConfig"]
        .into_iter()
        .find(|member| !matches!(http.get(member), None | Some(Value::Null | Value::Bool(false))))
    {
        return Err(format!("{name} has no {other}: its settings are in the address and the headers"));
    }
    Ok(OwnAction {
        kind,
        connection: connection.to_owned(),
        settings: settings(kind, query)?,
        fields: fields(kind, http)?,
    })
}

fn settings(kind: &Kind, query: &str) -> Result<BTreeMap<String, String>, String> {
    let mut settings = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = percent_decode_str(value).decode_utf8();
        let value = decoded.map_err(|_| format!("the setting {name} is no UTF-8"))?.into_owned();
        let known = kind.settings.iter().find(|(known, _)| *known == name);
        let (name, setting) =
            known.ok_or_else(|| format!("{} has no setting '{}'", kind.name, syntax::shortened(name)))?;
        match setting {
            Setting::Switch if value != "true" && value != "false" => {
                return Err(format!("the setting {name} must be true or false"));
            }
            Setting::Number(low, high) if !value.parse().is_ok_and(|n: u64| (*low..=*high).contains(&n)) => {
                return Err(format!("the setting {name} must be a whole number from {low} to {high}"));
            }
            Setting::Switch | Setting::Number(..) => {}
        }
        if settings.insert((*name).to_owned(), value).is_some() {
            return Err(format!("the setting {name} is given twice"));
        }
    }
    Ok(settings)
}

fn fields<'a>(kind: &Kind, http: &'a Value) -> Result<Vec<(&'a str, &'a str)>, String> {
    let mut fields: Vec<(&str, &str)> = Vec::new();
    for header in http.get("headers").and_then(Value::as_array).into_iter().flatten() {
        let member = |name: &str| header.get(name).and_then(Value::as_str);
        let (Some(name), Some(value)) = (member("key"), member("value")) else {
            return Err("a header has a key and a value".to_owned());
        };
        let named =
            kind.map.and_then(|prefix| name.strip_prefix(prefix)).is_some_and(|name| !name.is_empty());
        if !named && !kind.fields.iter().any(|(known, _)| *known == name) {
            return Err(format!("{} has no field '{}'", kind.name, syntax::shortened(name)));
        }
        if fields.iter().any(|(known, _)| *known == name) {
            return Err(format!("the field '{}' is given twice", syntax::shortened(name)));
        }
        fields.push((name, value));
    }
    for (name, field) in kind.fields {
        let given = fields.iter().find(|(known, _)| known == name);
        if *field != Field::Optional && given.is_none_or(|(_, value)| value.is_empty()) {
            return Err(format!("{} needs the field {name}", kind.name));
        }
        if *field == Field::Plain && given.is_some_and(|(_, value)| value.len() > MAX_STATEMENT) {
            return Err(format!("the field {name} has more than {MAX_STATEMENT} bytes"));
        }
    }
    Ok(fields)
}

/// Checks what [`read`] reads, as an exception of the API.
pub(crate) fn checked<'a>(http: &'a Value, path: &str) -> Result<OwnAction<'a>, Error> {
    read(http).map_err(|reason| Error::invalid(format!("{path}: {reason}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn action(url: &str, headers: &[(&str, &str)]) -> Value {
        let headers: Vec<_> =
            headers.iter().map(|(key, value)| json!({"key": key, "value": value})).collect();
        json!({"url": url, "headers": headers})
    }

    fn refused(url: &str, headers: &[(&str, &str)]) -> String {
        read(&action(url, headers)).err().unwrap_or_default()
    }

    #[test]
    fn the_address_and_the_headers_say_everything() {
        let headers = [("key", "s/${topic()}"), ("field.t", "${t}"), ("field.u.v", "u")];
        let action = action("x-action://redisStream/cache?maxLen=1000", &headers);
        assert!(is_own(&action) && !is_own(&json!({"url": "https://a.example"})));
        let read = read(&action).unwrap();
        assert_eq!((read.kind.connection, read.connection.as_str()), ("redis", "cache"));
        assert_eq!((read.number("maxLen"), read.switch("maxLen")), (Some(1000), false));
        assert_eq!(read.field("key"), Some("s/${topic()}"));
        assert_eq!(read.map().collect::<Vec<_>>(), [("t", "${t}"), ("u.v", "u")]);
        assert_eq!(read.templates().count(), 3);
    }

    #[test]
    fn a_statement_is_no_template() {
        let sql = "INSERT INTO t VALUES (:a)";
        let action = action("x-action://postgres/db", &[("sql", sql), ("param.a", "${a}")]);
        let read = read(&action).unwrap();
        assert_eq!(read.templates().collect::<Vec<_>>(), [("param.a", "${a}")]);
    }

    #[test]
    fn mistakes_are_named() {
        let key = [("key", "k")];
        for (url, headers, part) in [
            ("x-action://smoke/a", &key[..], "'smoke' is no type of action: amqp, redisStream"),
            ("x-action://redisSet", &key, "names no connection"),
            ("x-action://redisSet/", &key, "names no connection"),
            ("x-action://redisSet/a b", &key, "names no connection"),
            ("x-action://redisSet/a?ttl=5", &key, "no setting 'ttl'"),
            ("x-action://redisStream/a?maxLen=0", &key, "from 1 to"),
            ("x-action://redisStream/a?maxLen=1&maxLen=2", &key, "given twice"),
            ("x-action://nats/a?jetstream=yes", &[("subject", "s")], "true or false"),
            ("x-action://redisSet/a", &[], "needs the field key"),
            ("x-action://redisSet/a", &[("key", "")], "needs the field key"),
            ("x-action://redisSet/a", &[("key", "a"), ("key", "b")], "given twice"),
            ("x-action://redisSet/a", &[("key", "a"), ("field.b", "b")], "no field 'field.b'"),
            ("x-action://redisStream/a", &[("key", "a"), ("field.", "b")], "no field 'field.'"),
        ] {
            let reason = refused(url, headers);
            assert!(reason.contains(part), "{url}: {reason}");
        }
        let mut batched = action("x-action://redisSet/a", &key);
        batched["enableBatching"] = json!(true);
        assert!(read(&batched).err().unwrap().contains("enableBatching"));
    }
}
