//! The JSON of answers (shadow.md section 4). Times are seconds since the epoch.

use fleethaven_types::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::document::{Metadata, State, json};
use crate::node::{MetadataOf, StateOf, members_of};
use crate::request::{Patch, Request, StatePatch};
use crate::shadow::{Shadow, Update};

/// What answers with a state have in common.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Frame<'a, S, M> {
    state: S,
    metadata: M,
    version: u64,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_token: Option<&'a str>,
}

/// `…/get/accepted`, and the body over HTTPS: the document, and what of desired is not as reported.
pub fn document(shadow: &Shadow, now: Timestamp, client_token: Option<&str>) -> String {
    let delta = shadow.document.delta();
    json(&Frame {
        state: State { document: &shadow.document, with_delta: Some(&delta) },
        metadata: Metadata(&shadow.document),
        version: shadow.version,
        timestamp: now.as_secs(),
        client_token,
    })
}

/// `…/update/accepted`: only what the request named.
pub(crate) fn accepted(update: &Update, request: &Request) -> String {
    let timestamp = update.at.as_secs();
    json(&Frame {
        state: Echo(&request.state),
        metadata: EchoMetadata(&request.state, timestamp),
        version: update.current.version,
        timestamp,
        client_token: request.client_token(),
    })
}

/// `…/update/delta`; `None` when desired is as reported.
pub(crate) fn delta(update: &Update, client_token: Option<&str>) -> Option<String> {
    let members = update.current.document.delta();
    let message = Frame {
        state: StateOf(&members),
        metadata: MetadataOf(&members),
        version: update.current.version,
        timestamp: update.at.as_secs(),
        client_token,
    };
    (!members.is_empty()).then(|| json(&message))
}

/// One side of `…/update/documents`.
#[derive(Serialize)]
struct Side<'a> {
    state: State<'a>,
    metadata: Metadata<'a>,
    version: u64,
}

impl<'a> Side<'a> {
    fn of(shadow: &'a Shadow) -> Self {
        let document = &shadow.document;
        Self {
            state: State { document, with_delta: None },
            metadata: Metadata(document),
            version: shadow.version,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Documents<'a> {
    previous: Side<'a>,
    current: Side<'a>,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_token: Option<&'a str>,
}

/// `…/update/documents`.
pub(crate) fn documents(update: &Update, client_token: Option<&str>) -> String {
    let Update { previous, current, at } = update;
    let (previous, current) = (Side::of(previous), Side::of(current));
    json(&Documents { previous, current, timestamp: at.as_secs(), client_token })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Deleted<'a> {
    version: u64,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_token: Option<&'a str>,
}

/// `…/delete/accepted`, and the body over HTTPS: the version that was deleted.
pub fn deleted(version: u64, now: Timestamp, client_token: Option<&str>) -> String {
    json(&Deleted { version, timestamp: now.as_secs(), client_token })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rejected<'a> {
    code: u16,
    message: &'a str,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_token: Option<&'a str>,
}

/// `…/rejected`.
pub fn rejected(code: u16, message: &str, now: Timestamp, client_token: Option<&str>) -> String {
    json(&Rejected { code, message, timestamp: now.as_secs(), client_token })
}

/// A request's state as it came.
struct Echo<'a>(&'a StatePatch);

/// The metadata of what a request has set.
struct EchoMetadata<'a>(&'a StatePatch, u64);

impl StatePatch {
    /// The sections by name; none when the state is null.
    fn sections(&self) -> impl Iterator<Item = (&'static str, &Patch)> {
        let sections = match self {
            Self::Clear => None,
            Self::Sections { desired, reported } => Some([("desired", desired), ("reported", reported)]),
        };
        sections.into_iter().flatten()
    }
}

impl Serialize for Echo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self.0 == StatePatch::Clear {
            return serializer.serialize_unit();
        }
        let mut state = serializer.serialize_map(None)?;
        for (name, patch) in self.0.sections() {
            match patch {
                Patch::Keep => {}
                Patch::Clear => state.serialize_entry(name, &())?,
                Patch::Merge(members) => state.serialize_entry(name, members)?,
            }
        }
        state.end()
    }
}

impl Serialize for EchoMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut metadata = serializer.serialize_map(None)?;
        for (name, patch) in self.0.sections() {
            if let Patch::Merge(members) = patch {
                let members = members_of(members, self.1);
                if !members.is_empty() {
                    metadata.serialize_entry(name, &MetadataOf(&members))?;
                }
            }
        }
        metadata.end()
    }
}
