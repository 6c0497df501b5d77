//! The shadow service's MQTT topics (shadow.md section 3).

use crate::name::ShadowName;

/// What all of them begin with, and those of other services about things.
pub const PREFIX: &str = "$aws/things/";

/// What a client asks of a shadow, and on which topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `…/get`
    Get,
    /// `…/update`
    Update,
    /// `…/delete`
    Delete,
}

impl Operation {
    /// The last level of the topic on which it is asked for.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// What is asked on `topic`; `None` when it is no topic of a request, or names what cannot be.
pub fn request(topic: &str) -> Option<(ShadowName, Operation)> {
    let (thing, rest) = topic.strip_prefix(PREFIX)?.split_once('/')?;
    let rest = rest.strip_prefix("shadow/")?;
    let (shadow, operation) = match rest.strip_prefix("name/") {
        Some(named) => named.split_once('/').map(|(shadow, operation)| (Some(shadow), operation))?,
        None => (None, rest),
    };
    let operation = match operation {
        "get" => Operation::Get,
        "update" => Operation::Update,
        "delete" => Operation::Delete,
        _ => return None,
    };
    Some((ShadowName::new(thing, shadow)?, operation))
}

/// The topic on which something is told of a shadow: `last` is `update/delta`, say.
pub fn of(name: &ShadowName, last: &str) -> String {
    let thing = name.thing();
    match name.shadow() {
        Some(shadow) => format!("{PREFIX}{thing}/shadow/name/{shadow}/{last}"),
        None => format!("{PREFIX}{thing}/shadow/{last}"),
    }
}

/// The topic of the answer to `operation`.
pub fn accepted(name: &ShadowName, operation: Operation) -> String {
    of(name, &format!("{}/accepted", operation.as_str()))
}

/// The topic of the refusal of `operation`.
pub fn rejected(name: &ShadowName, operation: Operation) -> String {
    of(name, &format!("{}/rejected", operation.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_from_answers() {
        let classic = ShadowName::new("t-1", None).unwrap();
        let named = ShadowName::new("t-1", Some("$package")).unwrap();
        for operation in [Operation::Get, Operation::Update, Operation::Delete] {
            for name in [&classic, &named] {
                let topic = of(name, operation.as_str());
                assert_eq!(request(&topic), Some((name.clone(), operation)), "{topic}");
                assert_eq!(request(&accepted(name, operation)), None);
                assert_eq!(request(&rejected(name, operation)), None);
            }
        }
        assert_eq!(accepted(&named, Operation::Get), "$aws/things/t-1/shadow/name/$package/get/accepted");
        for other in [
            "$aws/things/t/shadow/list",
            "$aws/things/t/jobs/get",
            "$aws/things/t/shadow/get/",
            "$aws/things//shadow/get",
            "$aws/things/t/shadow/name/get",
            "$aws/things/t/shadow/name/a/b/get",
            "$aws/things/t t/shadow/get",
            "aws/things/t/shadow/get",
        ] {
            assert_eq!(request(other), None, "{other}");
        }
    }
}
