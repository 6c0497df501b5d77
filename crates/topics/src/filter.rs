//! Topic filters [MQTT5 section 4.7.1], with the share name of `$share/{name}/{filter}` [MQTT5 section
//! 4.8.2].

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use fleethaven_types::Limits;

use crate::levels::{Levels, match_levels};
use crate::name;

/// Longest share name in characters (AWS: mqtt, shared subscriptions).
const SHARE_NAME_MAX: usize = 128;

/// Why a text is no topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Empty, with a null character, too long or too deep.
    #[error(transparent)]
    Text(#[from] name::Error),
    /// `#` stands last and alone in its level, `+` alone in its level [MQTT-4.7.1-1, MQTT-4.7.1-2].
    #[error("topic filter '{0}' has a misplaced wildcard")]
    Wildcard(String),
    /// `$share/` must be followed by a name of 1 to 128 characters without `+` and `#`, `/`, and a filter
    /// [MQTT-4.8.2-1, MQTT-4.8.2-2].
    #[error("'{0}' is not a shared subscription: $share/<name>/<filter> is expected")]
    Share(String),
}

/// A well-formed topic filter as a client sent it. Cloning shares the text.
#[derive(Clone)]
pub struct Filter {
    text: Arc<str>,
    /// Bytes of the share name, 0 when not shared; at most 4 × 128.
    share_len: u16,
}

const SHARE: &str = "$share/";

impl Filter {
    /// Checks the text of a SUBSCRIBE or UNSUBSCRIBE. The limits hold for the filter without
    /// `$share/{name}/`.
    pub fn parse(text: &str, limits: &Limits) -> Result<Self, Error> {
        name::check_text(text)?;
        let (share, inner) = match text.strip_prefix(SHARE) {
            Some(shared) => split_share(shared).ok_or_else(|| Error::Share(text.to_owned()))?,
            None => ("", text),
        };
        name::check_size(inner, limits)?;
        if !wildcards_are_placed(inner) {
            return Err(Error::Wildcard(text.to_owned()));
        }
        Ok(Self { text: text.into(), share_len: share.len() as u16 })
    }

    /// The whole text, `$share/{name}/` included.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name of the shared subscription; `None` when this is an ordinary one.
    pub fn share_name(&self) -> Option<&str> {
        let len = usize::from(self.share_len);
        (len > 0).then(|| self.text.get(SHARE.len()..SHARE.len() + len)).flatten()
    }

    /// The filter that topics are matched against: the text without `$share/{name}/`.
    pub fn topic_filter(&self) -> &str {
        let start = match usize::from(self.share_len) {
            0 => 0,
            len => SHARE.len() + len + 1,
        };
        self.text.get(start..).unwrap_or_default()
    }

    /// Whether it has a `+` or `#`; without one it matches exactly one topic.
    pub fn has_wildcard(&self) -> bool {
        has_wildcard(self.topic_filter())
    }

    /// Whether it matches `topic`, see [`matches()`].
    pub fn matches(&self, topic: &str, hash_matches_parent: bool) -> bool {
        matches(self.topic_filter(), topic, hash_matches_parent)
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

impl Hash for Filter {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether `filter` (without `$share/{name}/`) matches `topic` [MQTT5 section 4.7]. Wildcards in the first
/// level match no topic that starts with `$` [MQTT-4.7.2-1]; `hash_matches_parent` tells whether `a/#`
/// matches `a`.
pub fn matches(filter: &str, topic: &str, hash_matches_parent: bool) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (filter, topic) = (Levels::of(filter.as_bytes()), Levels::of(topic.as_bytes()));
    match_levels(filter, topic, hash_matches_parent)
}

/// Share name and topic filter of a well-formed `$share/{name}/{filter}`; `None` when it is an ordinary filter.
pub fn split_shared(filter: &str) -> Option<(&str, &str)> {
    split_share(filter.strip_prefix(SHARE)?)
}

/// Whether a well-formed filter has a `+` or `#`.
pub(crate) fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|b| b == b'+' || b == b'#')
}

/// Share name and filter of what follows `$share/`.
fn split_share(shared: &str) -> Option<(&str, &str)> {
    let (share, inner) = shared.split_once('/')?;
    let named = (1..=SHARE_NAME_MAX).contains(&share.chars().count()) && !share.contains(['+', '#']);
    (named && !inner.is_empty()).then_some((share, inner))
}

fn wildcards_are_placed(filter: &str) -> bool {
    let mut levels = Levels::of(filter.as_bytes());
    while let Some(level) = levels.next() {
        let placed = match level {
            b"+" => true,
            b"#" => levels.is_end(),
            plain => !plain.contains(&b'+') && !plain.contains(&b'#'),
        };
        if !placed {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
