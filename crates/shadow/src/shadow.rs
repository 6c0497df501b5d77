//! A shadow's life: created by its first update, versions that rise with each, deleted and remembered for a while
//! (shadow.md section 2.5).

use std::time::Duration;

use fleethaven_types::Timestamp;

use crate::answer;
use crate::document::Document;
use crate::error::Error;
use crate::limits::Limits;
use crate::name::ShadowName;
use crate::request::Request;

/// How long a deleted shadow's version is remembered: one made again within this time goes on counting.
pub const REMEMBERED: Duration = Duration::from_secs(48 * 60 * 60);

/// A document and how often it was updated.
#[derive(Debug, Clone, PartialEq)]
pub struct Shadow {
    /// Its state.
    pub document: Document,
    /// Rises by one with each update.
    pub version: u64,
}

/// What is kept under a shadow's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// The shadow.
    Live(Shadow),
    /// It was deleted.
    Deleted {
        /// The version it had.
        version: u64,
        /// When.
        at: Timestamp,
    },
}

/// An update that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// What was there before: an empty document where there was no shadow.
    pub previous: Shadow,
    /// What is there now.
    pub current: Shadow,
    /// When.
    pub at: Timestamp,
}

impl Entry {
    /// The shadow, if it was not deleted.
    pub fn live(&self) -> Option<&Shadow> {
        match self {
            Self::Live(shadow) => Some(shadow),
            Self::Deleted { .. } => None,
        }
    }

    /// Whether there is nothing more to remember at `now`.
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        matches!(self, Self::Deleted { at, .. } if now.since(*at) > REMEMBERED)
    }
}

/// Carries out `request` on what is stored under its shadow's name.
///
/// # Errors
/// [`Error::VersionConflict`], [`Error::TooLarge`]; nothing changes then.
pub fn update(
    entry: Option<Entry>,
    request: &Request,
    now: Timestamp,
    limits: &Limits,
) -> Result<Update, Error> {
    let (previous, is_live) = match entry.filter(|entry| !entry.is_forgotten(now)) {
        Some(Entry::Live(shadow)) => (shadow, true),
        Some(Entry::Deleted { version, .. }) => (Shadow { document: Document::default(), version }, false),
        None => (Shadow { document: Document::default(), version: 0 }, false),
    };
    let expected = if is_live { previous.version } else { 0 };
    if request.version.is_some_and(|version| version != expected) {
        return Err(Error::VersionConflict);
    }
    let mut document = previous.document.clone();
    document.apply(&request.state, now.as_secs());
    if document.state_bytes() > limits.state_bytes {
        return Err(Error::TooLarge);
    }
    let current = Shadow { document, version: previous.version.saturating_add(1) };
    Ok(Update { previous, current, at: now })
}

/// Deletes the shadow: what is kept of it, and the version that it had.
///
/// # Errors
/// [`Error::NoShadow`].
pub fn delete(entry: Option<&Entry>, name: &ShadowName, now: Timestamp) -> Result<Entry, Error> {
    let shadow = live(entry, name)?;
    Ok(Entry::Deleted { version: shadow.version, at: now })
}

/// The shadow that is stored under `name`.
///
/// # Errors
/// [`Error::NoShadow`].
pub fn live<'a>(entry: Option<&'a Entry>, name: &ShadowName) -> Result<&'a Shadow, Error> {
    entry.and_then(Entry::live).ok_or_else(|| Error::NoShadow(name.told().to_owned()))
}

impl Update {
    /// The answer: `…/update/accepted`, and the body over HTTPS.
    pub fn accepted(&self, request: &Request) -> String {
        answer::accepted(self, request)
    }

    /// `…/update/delta`: what is to be done, wherever it comes from; `None` when nothing is.
    pub fn delta(&self, client_token: Option<&str>) -> Option<String> {
        answer::delta(self, client_token)
    }

    /// `…/update/documents`: the whole document before and after.
    pub fn documents(&self, client_token: Option<&str>) -> String {
        answer::documents(self, client_token)
    }
}
