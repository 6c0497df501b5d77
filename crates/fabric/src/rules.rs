//! Following the topic rules: what routers (which messages match) and rules workers (what then happens) both need.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_registry::change::{self, Change};
use fleethaven_registry::shapes::RuleDescription;
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::Scope;

use crate::metadata::{AppliedMarker, Error, Metadata, WatchEvent, WatchStream};

/// A rule that was created or changed (`Some`, with the revision of the change) or is gone.
#[derive(Debug, Clone)]
pub struct RuleChange {
    /// Account and region.
    pub scope: Scope,
    /// Rule name.
    pub name: String,
    /// The rule as it is now.
    pub rule: Option<(Box<RuleDescription>, u64)>,
}

/// Follows all rules of all accounts.
pub struct RuleFollower {
    metadata: Arc<dyn Metadata>,
    watch: WatchStream,
    marker: AppliedMarker,
    known: BTreeSet<(Scope, String)>,
    /// Rules known before a reset that the new listing has not named yet.
    unconfirmed: BTreeSet<(Scope, String)>,
    changed: BTreeMap<(Scope, String), u64>,
}

impl RuleFollower {
    /// A follower that is known to the metastore as `name`: a change of a rule is in force once it has acted on it.
    pub fn new(metadata: Arc<dyn Metadata>, name: &'static str) -> Self {
        let watch = metadata.watch(vec![Bytes::new()], None);
        let marker = metadata.register(name);
        Self {
            metadata,
            watch,
            marker,
            known: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            changed: BTreeMap::new(),
        }
    }

    /// Waits for the next batch of changes (possibly empty) and the revision it brings its reader to. The reader calls
    /// [`RuleFollower::acted`] with that revision when it has acted on them. `None`: the metastore has shut down.
    pub async fn next(&mut self) -> Option<(Vec<RuleChange>, u64)> {
        loop {
            let position = match poll_fn(|cx| self.watch.as_mut().poll_next(cx)).await? {
                WatchEvent::Reset => {
                    self.unconfirmed = self.known.clone();
                    continue;
                }
                WatchEvent::Put { key, revision, .. } | WatchEvent::Delete { key, revision } => {
                    self.note(&key, revision);
                    continue;
                }
                WatchEvent::Synced(position) => {
                    let gone = std::mem::take(&mut self.unconfirmed);
                    self.changed.extend(gone.into_iter().map(|rule| (rule, position.revision)));
                    position
                }
                WatchEvent::Progress(position) => position,
            };
            // What cannot be read yet is read at the next progress, at most 200 ms from now.
            if let Some(changes) = self.batch() {
                return Some((changes, position.revision));
            }
        }
    }

    /// The changes up to `revision` have been acted on.
    pub fn acted(&self, revision: u64) {
        (self.marker)(revision);
    }

    fn note(&mut self, key: &Bytes, revision: u64) {
        if let Some(Change::Rule { scope, name }) = change::classify(key) {
            let rule = (scope, name);
            self.unconfirmed.remove(&rule);
            self.changed.insert(rule, revision);
        }
    }

    /// The rules that changed, as they are now; `None` while one of them cannot be read.
    fn batch(&mut self) -> Option<Vec<RuleChange>> {
        let changed = self.changed.iter();
        let changes: Option<Vec<_>> =
            changed.map(|((scope, name), revision)| self.read(*scope, name, *revision)).collect();
        let changes = changes?;
        self.changed.clear();
        for change in &changes {
            let key = (change.scope, change.name.clone());
            if change.rule.is_some() {
                self.known.insert(key)
            } else {
                self.known.remove(&key)
            };
        }
        Some(changes)
    }

    /// The watch comes after the change is applied, so this node's state is at least as new as the event. `None`: it
    /// cannot be read, which does not mean that the rule is gone.
    fn read(&self, scope: Scope, name: &str, revision: u64) -> Option<RuleChange> {
        let query = Query::new(scope, QueryKind::GetTopicRule(name.to_owned()));
        let rule = match self.metadata.query_local(query) {
            Ok(QueryReply::Rule(rule)) => Some((rule, revision)),
            // An unknown rule is refused.
            Ok(_) | Err(Error::Refused(_)) => None,
            Err(Error::Unavailable(_) | Error::Unknown) => return None,
        };
        Some(RuleChange { scope, name: name.to_owned(), rule })
    }
}

#[cfg(test)]
mod tests;
