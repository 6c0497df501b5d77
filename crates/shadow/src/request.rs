//! What a client asks for, read and checked (shadow.md sections 2.2 and 5).

use serde_json::{Map, Value};

use crate::error::{Error, Rejection};
use crate::limits::{CLIENT_TOKEN_BYTES, Limits};

/// An update.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What it changes.
    pub(crate) state: StatePatch,
    /// The version that the shadow must have; `None`: any.
    pub(crate) version: Option<u64>,
    /// Echoed in every answer.
    pub(crate) client_token: Option<String>,
}

/// What a request says of the state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StatePatch {
    /// `null`: both sections go.
    Clear,
    /// What happens to each section.
    Sections { desired: Patch, reported: Patch },
}

/// What a request says of a section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Patch {
    /// Nothing.
    Keep,
    /// `null`: it goes.
    Clear,
    /// It is merged with this.
    Merge(Map<String, Value>),
}

impl Request {
    /// Reads the body of an update.
    ///
    /// # Errors
    /// The first thing wrong with it, in this order: encoding, JSON, `clientToken`, `version`, `state`, sections, depth, nulls
    /// in arrays.
    pub fn read(body: &[u8], limits: &Limits) -> Result<Self, Rejection> {
        let anonymous = |error| Rejection { error, client_token: None };
        let mut root = root(body, limits).map_err(anonymous)?;
        let client_token = take_client_token(&mut root).map_err(anonymous)?;
        let version = take_version(&mut root);
        let read = version.and_then(|version| Ok((version, take_state(&mut root, limits)?)));
        match read {
            Ok((version, state)) => Ok(Self { state, version, client_token }),
            Err(error) => Err(Rejection { error, client_token }),
        }
    }

    /// The request's `clientToken`.
    pub fn client_token(&self) -> Option<&str> {
        self.client_token.as_deref()
    }
}

/// The `clientToken` of a get or delete, whose body says nothing else and may be anything.
///
/// # Errors
/// When there is one that cannot be taken.
pub fn client_token(body: &[u8]) -> Result<Option<String>, Error> {
    root(body, &Limits::default()).map_or(Ok(None), |mut root| take_client_token(&mut root))
}

fn root(body: &[u8], limits: &Limits) -> Result<Map<String, Value>, Error> {
    let text = std::str::from_utf8(body).map_err(|_| Error::NotUtf8)?;
    match serde_json::from_str(text) {
        Ok(Value::Object(root)) => Ok(root),
        // The reader has a bound of its own, 128, and no other way to tell that it was met.
        Err(error) if error.to_string().starts_with("recursion limit") => Err(Error::TooDeep(limits.depth)),
        _ => Err(Error::InvalidJson),
    }
}

fn take_client_token(root: &mut Map<String, Value>) -> Result<Option<String>, Error> {
    match root.remove("clientToken") {
        None => Ok(None),
        Some(Value::String(token)) if token.len() <= CLIENT_TOKEN_BYTES => Ok(Some(token)),
        Some(_) => Err(Error::InvalidClientToken),
    }
}

fn take_version(root: &mut Map<String, Value>) -> Result<Option<u64>, Error> {
    let Some(version) = root.remove("version") else { return Ok(None) };
    version.as_u64().map(Some).ok_or(Error::InvalidVersion)
}

fn take_state(root: &mut Map<String, Value>, limits: &Limits) -> Result<StatePatch, Error> {
    let mut state = match root.remove("state") {
        None => return Err(Error::MissingState),
        Some(Value::Null) => return Ok(StatePatch::Clear),
        Some(Value::Object(state)) => state,
        Some(_) => return Err(Error::StateNotObject),
    };
    let desired = patch(state.remove("desired"), Error::DesiredNotObject)?;
    let reported = patch(state.remove("reported"), Error::ReportedNotObject)?;
    if !state.is_empty() {
        return Err(Error::InvalidNode);
    }
    let sections = [&desired, &reported];
    if sections.iter().any(|section| section.depth() > limits.depth) {
        return Err(Error::TooDeep(limits.depth));
    }
    if sections.iter().any(|section| section.has_null_in_array()) {
        return Err(Error::InvalidNode);
    }
    Ok(StatePatch::Sections { desired, reported })
}

fn patch(section: Option<Value>, not_object: Error) -> Result<Patch, Error> {
    match section {
        None => Ok(Patch::Keep),
        Some(Value::Null) => Ok(Patch::Clear),
        Some(Value::Object(members)) => Ok(Patch::Merge(members)),
        Some(_) => Err(not_object),
    }
}

impl Patch {
    fn depth(&self) -> usize {
        match self {
            Self::Keep | Self::Clear => 0,
            Self::Merge(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        }
    }

    fn has_null_in_array(&self) -> bool {
        match self {
            Self::Keep | Self::Clear => false,
            Self::Merge(members) => members.values().any(|member| has_null(member, false)),
        }
    }
}

/// Levels of objects and arrays. The JSON reader bounds them, and with them this recursion.
fn depth(value: &Value) -> usize {
    match value {
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Whether a null stands inside an array, at any depth.
fn has_null(value: &Value, in_array: bool) -> bool {
    match value {
        Value::Null => in_array,
        Value::Array(elements) => elements.iter().any(|element| has_null(element, true)),
        Value::Object(members) => members.values().any(|member| has_null(member, in_array)),
        _ => false,
    }
}
