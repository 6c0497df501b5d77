//! Reading JSON objects of requests: members by name, with errors that name the member.
//!
//! A null counts as absent and unknown members are ignored, as AWS does.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::Error;

/// A JSON object and where it stands in the body.
#[derive(Debug, Clone)]
pub(crate) struct Members<'a> {
    /// `""`, or the path with a final dot: `attributePayload.`.
    path: String,
    object: &'a Map<String, Value>,
}

impl<'a> Members<'a> {
    /// The body's own members.
    pub(crate) fn of_body(object: &'a Map<String, Value>) -> Self {
        Self { path: String::new(), object }
    }

    /// The object `value`, found at `path`.
    pub(crate) fn of_value(path: &str, value: &'a Value) -> Result<Self, Error> {
        let object = value.as_object().ok_or_else(|| wrong_type(path, "an object"))?;
        Ok(Self { path: format!("{path}."), object })
    }

    /// The names of all members that are not null.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.object.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    /// The value of a member; `None` when it is absent or null.
    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn read<T>(
        &self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.value(name) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| wrong_type(&self.at(name), kind))
    }

    fn at(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<String>, Error> {
        self.read(name, "a string", |value| value.as_str().map(str::to_owned))
    }

    pub(crate) fn required_string(&self, name: &str) -> Result<String, Error> {
        self.string(name)?.ok_or_else(|| missing(&self.at(name)))
    }

    /// `false` when absent.
    pub(crate) fn boolean(&self, name: &str) -> Result<bool, Error> {
        Ok(self.read(name, "a boolean", Value::as_bool)?.unwrap_or(false))
    }

    pub(crate) fn integer(&self, name: &str) -> Result<Option<u64>, Error> {
        self.read(name, "a whole number that is not negative", Value::as_u64)
    }

    /// A value of an enumeration.
    pub(crate) fn enumeration<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.string(name)? else { return Ok(None) };
        enumerated(&self.at(name), &text).map(Some)
    }

    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>, Error> {
        self.value(name).map(|value| Self::of_value(&self.at(name), value)).transpose()
    }

    pub(crate) fn list(&self, name: &str) -> Result<Option<&'a Vec<Value>>, Error> {
        self.read(name, "a list", Value::as_array)
    }

    /// The objects of a list; none when it is absent.
    pub(crate) fn objects(&self, name: &str) -> Result<Vec<Self>, Error> {
        let items = self.list(name)?.map_or(&[] as &[Value], Vec::as_slice).iter().enumerate();
        items.map(|(index, item)| Self::of_value(&format!("{}[{index}]", self.at(name)), item)).collect()
    }

    /// The strings of a list; `None` when it is absent.
    pub(crate) fn strings(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        self.read(name, "a list of strings", |value| {
            value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        })
    }

    /// A map of strings; `None` when it is absent.
    pub(crate) fn string_map(&self, name: &str) -> Result<Option<BTreeMap<String, String>>, Error> {
        self.read(name, "a map of strings", |value| {
            let pairs = value.as_object()?.iter();
            pairs.map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        })
    }
}

/// The value of an enumeration that `text` names.
pub(crate) fn enumerated<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Error> {
    let shown: String = text.chars().take(128).collect();
    serde_json::from_value(Value::from(text))
        .map_err(|_| Error::invalid(format!("'{shown}' is not a value that '{name}' may have")))
}

/// A required member is absent.
pub(crate) fn missing(name: &str) -> Error {
    Error::invalid(format!("'{name}' is required"))
}

fn wrong_type(name: &str, kind: &str) -> Error {
    Error::invalid(format!("'{name}' must be {kind}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_name_the_member() {
        let body = json!({"a": 1, "o": {"l": ["x", 2]}, "m": {"k": null}, "n": null, "neg": -1});
        let members = Members::of_body(body.as_object().unwrap());
        let message = |result: Result<(), Error>| result.unwrap_err().to_string();
        assert_eq!(message(members.string("a").map(drop)), "'a' must be a string");
        assert_eq!(message(members.required_string("n").map(drop)), "'n' is required");
        assert_eq!(
            message(members.integer("neg").map(drop)),
            "'neg' must be a whole number that is not negative"
        );
        let object = members.object("o").unwrap().unwrap();
        assert_eq!(message(object.strings("l").map(drop)), "'o.l' must be a list of strings");
        assert_eq!(message(object.objects("l").map(drop)), "'o.l[0]' must be an object");
        assert_eq!(message(members.string_map("m").map(drop)), "'m' must be a map of strings");
        assert_eq!(message(members.boolean("a").map(drop)), "'a' must be a boolean");
    }

    #[test]
    fn null_is_absent() {
        let body = json!({"n": null});
        let members = Members::of_body(body.as_object().unwrap());
        assert_eq!(members.string("n").unwrap(), None);
        assert!(!members.boolean("n").unwrap());
        assert!(members.objects("n").unwrap().is_empty());
    }
}
