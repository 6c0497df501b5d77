//! The client's copy of the watched keys. One watch of the metastore feeds it; local reads and any number of local watches
//! are served from it, so that a local watcher that sees a change and then reads never reads an older state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::WatchEvent;
use fleethaven_fabric::metadata::{Position, WatchStream};
use fleethaven_registry::View;
use futures_util::stream;
use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// Events that a local watcher may be behind; beyond it the watcher gets a reset and a listing instead.
const WATCHER_BOUND: usize = 4096;

/// The copy, shared by the follower that feeds it and all who read it.
#[derive(Default)]
pub(crate) struct Replica {
    state: RwLock<State>,
    /// Notified when the state becomes level or is closed.
    pub(crate) turned: Notify,
}

/// The keys and those who watch them.
#[derive(Default)]
pub(crate) struct State {
    entries: BTreeMap<Bytes, Bytes>,
    /// While a listing arrives: keys from before that it has not named yet.
    unconfirmed: Option<BTreeSet<Bytes>>,
    /// Where to resume; `None` before the first listing is complete and while one arrives.
    position: Option<Position>,
    /// When progress was last reported: then this was what a quorum had committed.
    confirmed: Option<Instant>,
    level: bool,
    closed: bool,
    watchers: Vec<Watcher>,
}

struct Watcher {
    prefixes: Vec<Bytes>,
    events: mpsc::Sender<WatchEvent>,
}

impl Replica {
    /// Reads the state; `None` before it was level with the metastore for the first time.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> Option<T> {
        let state = self.state.read();
        state.level.then(|| read(&state))
    }

    /// Where to resume the watch.
    pub(crate) fn position(&self) -> Option<Position> {
        self.state.read().position
    }

    /// The next listing must come in full: what arrived could not be read.
    pub(crate) fn distrust(&self) {
        self.state.write().position = None;
    }

    /// How long ago progress was last reported; the end of a listing is none, for the node may have been cut off when it made it.
    pub(crate) fn staleness(&self) -> Duration {
        self.state.read().confirmed.map_or(Duration::MAX, |at| at.elapsed())
    }

    /// Whether a first listing is complete.
    pub(crate) fn is_level(&self) -> bool {
        self.state.read().level
    }

    /// Ends all local watches.
    pub(crate) fn close(&self) {
        let mut state = self.state.write();
        state.closed = true;
        state.watchers.clear();
        drop(state);
        self.turned.notify_waiters();
    }

    /// Takes in one event of the metastore's watch and tells the local watchers.
    pub(crate) fn accept(&self, event: WatchEvent) {
        let mut state = self.state.write();
        match &event {
            WatchEvent::Reset => state.begin_listing(),
            WatchEvent::Put { key, value, .. } => state.put(key, value),
            WatchEvent::Delete { key, .. } => drop(state.entries.remove(key)),
            WatchEvent::Synced(position) => state.end_listing(*position),
            WatchEvent::Progress(position) => {
                state.position = Some(*position);
                state.confirmed = Some(Instant::now());
            }
        }
        state.tell(&event);
        let level = state.level;
        drop(state);
        if level {
            self.turned.notify_waiters();
        }
    }

    /// A local watch. Positions other than the present one are answered with a reset and a listing: the copy keeps no
    /// history.
    pub(crate) fn watch(self: &Arc<Self>, prefixes: Vec<Bytes>, from: Option<Position>) -> WatchStream {
        let local = Local { replica: self.clone(), prefixes, from, ready: VecDeque::new(), events: None };
        Box::pin(stream::unfold(local, |mut local| async move {
            let event = local.next().await?;
            Some((event, local))
        }))
    }

    /// Adds a watcher; what it has to be told first, and where the rest will come from. `None` when closed.
    fn subscribe(
        &self,
        prefixes: &[Bytes],
        from: Option<Position>,
    ) -> Option<(VecDeque<WatchEvent>, mpsc::Receiver<WatchEvent>)> {
        let mut state = self.state.write();
        if state.closed {
            return None;
        }
        let (events, receiver) = mpsc::channel(WATCHER_BOUND);
        let known = from.is_some() && from == state.position;
        let first = if known { VecDeque::new() } else { state.listing(prefixes) };
        state.watchers.push(Watcher { prefixes: prefixes.to_vec(), events });
        Some((first, receiver))
    }
}

impl State {
    fn begin_listing(&mut self) {
        self.unconfirmed = Some(self.entries.keys().cloned().collect());
        self.position = None;
    }

    fn put(&mut self, key: &Bytes, value: &Bytes) {
        if let Some(unconfirmed) = &mut self.unconfirmed {
            unconfirmed.remove(key);
        }
        self.entries.insert(key.clone(), value.clone());
    }

    /// What the listing did not name is gone. Watchers that joined during the listing were told of it, so they are told
    /// that it is gone.
    fn end_listing(&mut self, position: Position) {
        for key in self.unconfirmed.take().unwrap_or_default() {
            self.entries.remove(&key);
            self.tell(&WatchEvent::Delete { key, revision: position.revision });
        }
        self.position = Some(position);
        self.level = true;
    }

    /// Hands an event to the watchers that want it. One that is too far behind is let go: it will list anew.
    fn tell(&mut self, event: &WatchEvent) {
        self.watchers.retain(|watcher| match event {
            WatchEvent::Put { key, .. } | WatchEvent::Delete { key, .. } if !watcher.wants(key) => true,
            event => watcher.events.try_send(event.clone()).is_ok(),
        });
    }

    /// A reset and everything below `prefixes`; complete unless a listing of the metastore is arriving, which then
    /// completes it.
    fn listing(&self, prefixes: &[Bytes]) -> VecDeque<WatchEvent> {
        let revision = self.position.map_or(0, |position| position.revision);
        let wanted = self.entries.iter().filter(|(key, _)| has_prefix(prefixes, key));
        let puts =
            wanted.map(|(key, value)| WatchEvent::Put { key: key.clone(), value: value.clone(), revision });
        let synced = self.position.map(WatchEvent::Synced);
        [WatchEvent::Reset].into_iter().chain(puts).chain(synced).collect()
    }
}

impl View for State {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.entries.get(key).cloned()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let start = match after {
            Some(key) if key >= prefix => Bound::Excluded(key),
            _ => Bound::Included(prefix),
        };
        let from_start = self.entries.range::<[u8], _>((start, Bound::Unbounded));
        let below = from_start.take_while(|(key, _)| key.starts_with(prefix));
        below.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

impl Watcher {
    fn wants(&self, key: &[u8]) -> bool {
        has_prefix(&self.prefixes, key)
    }
}

fn has_prefix(prefixes: &[Bytes], key: &[u8]) -> bool {
    prefixes.iter().any(|prefix| key.starts_with(prefix))
}

/// The state of one local watch.
struct Local {
    replica: Arc<Replica>,
    prefixes: Vec<Bytes>,
    from: Option<Position>,
    ready: VecDeque<WatchEvent>,
    /// `None` before the first event is asked for, and after the watch was too far behind.
    events: Option<mpsc::Receiver<WatchEvent>>,
}

impl Local {
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let Some(events) = &mut self.events else {
                let (first, events) = self.replica.subscribe(&self.prefixes, self.from.take())?;
                (self.ready, self.events) = (first, Some(events));
                continue;
            };
            match events.recv().await {
                Some(event) => return Some(event),
                None => self.events = None,
            }
        }
    }
}

#[cfg(test)]
mod tests;
