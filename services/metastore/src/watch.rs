//! One watch: a listing when needed, then changes in order, without gaps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::metadata::{Position, WatchEvent, WatchStream};
use fleethaven_registry::keys;
use futures_util::stream;
use tokio::sync::watch;

use crate::changes::{ChangeLog, Changed, Since, Tip};
use crate::state::{State, StateView};

/// Pairs read at once while listing.
const LISTING_PAGE: usize = 256;
/// Entries taken from the change log at once.
const CHANGE_PAGE: usize = 256;
/// How often an idle watch reports progress (protocols.md C3).
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// What a watcher does next.
enum Phase {
    /// Begins a listing.
    Unsynced,
    /// Lists the state as of `revision`.
    Listing { view: Box<StateView>, revision: u64, prefix: usize, after: Option<Bytes> },
    /// Sends what changes above `revision`.
    Following { revision: u64 },
}

/// The state of one watch.
struct Watcher {
    state: Arc<State>,
    changes: Arc<ChangeLog>,
    incarnation: u64,
    confirmed: Confirmed,
    prefixes: Vec<Bytes>,
    tip: watch::Receiver<Tip>,
    phase: Phase,
    /// Events to hand out before anything else is done.
    ready: VecDeque<WatchEvent>,
}

/// Says whether this node is in touch with a leader: a watch reports progress only while it is, so that a watcher of a node that
/// was cut off knows that it may have missed something (protocols.md C3).
pub(crate) type Confirmed = Box<dyn Fn() -> bool + Send>;

/// Watches keys of a group with one of `prefixes` from `from` on.
pub(crate) fn watch(
    state: Arc<State>,
    changes: Arc<ChangeLog>,
    (incarnation, confirmed): (u64, Confirmed),
    prefixes: Vec<Bytes>,
    from: Option<Position>,
) -> WatchStream {
    let known = from.filter(|p| p.incarnation == incarnation && p.group == state.group);
    let watcher = Watcher {
        tip: changes.tip(),
        state,
        changes,
        incarnation,
        confirmed,
        prefixes: without_overlaps(prefixes),
        phase: known.map_or(Phase::Unsynced, |p| Phase::Following { revision: p.revision }),
        ready: VecDeque::new(),
    };
    Box::pin(stream::unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((event, watcher))
    }))
}

/// Drops prefixes that another one covers, so that no key is listed twice.
fn without_overlaps(mut prefixes: Vec<Bytes>) -> Vec<Bytes> {
    prefixes.sort_unstable();
    let mut kept: Vec<Bytes> = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        if !kept.last().is_some_and(|shorter| prefix.starts_with(shorter)) {
            kept.push(prefix);
        }
    }
    kept
}

impl Watcher {
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            match &self.phase {
                Phase::Unsynced => self.reset().await?,
                Phase::Listing { .. } => self.list(),
                Phase::Following { revision } => self.follow(*revision).await?,
            }
        }
    }

    fn position(&self, revision: u64) -> Position {
        Position { incarnation: self.incarnation, group: self.state.group, revision }
    }

    /// Begins a listing of the state as it is now; after a failed read, tries again later.
    async fn reset(&mut self) -> Option<()> {
        if self.tip.borrow().closed {
            return None;
        }
        match self.state.now_with_position() {
            Ok((view, applied)) => {
                self.ready.push_back(WatchEvent::Reset);
                let revision = applied.revision();
                self.phase = Phase::Listing { view: Box::new(view), revision, prefix: 0, after: None };
            }
            Err(error) => {
                tracing::error!(%error, "a watch could not read the state");
                tokio::time::sleep(PROGRESS_EVERY).await;
            }
        }
        Some(())
    }

    /// Reads one page of the listing.
    fn list(&mut self) {
        let Phase::Listing { view, revision, prefix, after } = &mut self.phase else { return };
        let revision = *revision;
        let Some(current) = self.prefixes.get(*prefix) else {
            self.phase = Phase::Following { revision };
            self.ready.push_back(WatchEvent::Synced(self.position(revision)));
            return;
        };
        let page: Result<Vec<_>, _> = view.pairs(current, after.as_deref()).take(LISTING_PAGE).collect();
        match page {
            Ok(pairs) => {
                match pairs.last() {
                    Some((key, _)) if pairs.len() == LISTING_PAGE => *after = Some(key.clone()),
                    _ => (*prefix, *after) = (*prefix + 1, None),
                }
                // Messages that are to be published are nobody's state, and never told of again.
                let told = pairs.into_iter().filter(|(key, _)| keys::outbox_index(key).is_none());
                let puts = told.map(|(key, value)| WatchEvent::Put { key, value, revision });
                self.ready.extend(puts);
            }
            Err(error) => {
                tracing::error!(%error, "a watch could not list the state");
                self.phase = Phase::Unsynced;
            }
        }
    }

    /// Takes what is new above `revision`, waiting for it; `None` at the end of the watch.
    async fn follow(&mut self, revision: u64) -> Option<()> {
        let tip = *self.tip.borrow_and_update();
        if tip.closed {
            return None;
        }
        match self.changes.since(revision, CHANGE_PAGE) {
            Since::TooOld => self.phase = Phase::Unsynced,
            Since::Changes { changed, revision: now } if now > revision => {
                changed.iter().for_each(|entry| self.add(entry));
                self.phase = Phase::Following { revision: now };
                if (self.confirmed)() {
                    self.report(now);
                }
            }
            Since::Changes { .. } => {
                let changed = tokio::time::timeout(PROGRESS_EVERY, self.tip.changed()).await;
                // A position ahead of this replica gets no progress: it would go backwards.
                if changed.is_err() && tip.revision >= revision && (self.confirmed)() {
                    self.report(revision);
                }
            }
        }
        Some(())
    }

    fn report(&mut self, revision: u64) {
        self.ready.push_back(WatchEvent::Progress(self.position(revision)));
    }

    fn add(&mut self, entry: &Changed) {
        let revision = entry.revision;
        for change in &entry.changes {
            if !self.prefixes.iter().any(|prefix| change.key.starts_with(prefix)) {
                continue;
            }
            let key = change.key.clone();
            self.ready.push_back(match &change.value {
                Some(value) => WatchEvent::Put { key, value: value.clone(), revision },
                None => WatchEvent::Delete { key, revision },
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_covered_prefix_is_dropped() {
        let prefixes = ["b", "ab", "a", "b", "c/d", "c/"].map(Bytes::from).to_vec();
        assert_eq!(without_overlaps(prefixes), ["a", "b", "c/"].map(Bytes::from));
    }
}
