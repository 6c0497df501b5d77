//! Watchers of every group, which go from node to node: what they know must be what is, and nothing may be left out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_fabric::metadata::{BoxFuture, Position, WatchEvent};
use futures_util::StreamExt;
use parking_lot::Mutex;

use super::Mistake;
use crate::Metastore;

type Told = Arc<Mutex<Vec<(u64, WatchEvent)>>>;

/// A watcher of all keys of a group.
pub(super) struct Watcher {
    pub(super) group: u32,
    /// The node that it watches at, and which of its processes.
    pub(super) at: (u64, u64),
    /// How often it began; what earlier watches tell is not heard.
    begun: u64,
    told: Told,
    heard: u64,
    mistake: Option<Mistake>,
    /// What it believes.
    known: BTreeMap<Bytes, Bytes>,
    listing: Option<BTreeMap<Bytes, Bytes>>,
    position: Option<Position>,
    /// Stretches of revisions that it followed without a reset: above the first, up to the second.
    stretches: Vec<(u64, u64)>,
    /// Revisions of which it was told a change.
    seen: BTreeSet<u64>,
}

impl Watcher {
    pub(super) fn new(group: u32, mistake: Option<Mistake>) -> Self {
        Self {
            group,
            at: (0, 0),
            begun: 0,
            told: Arc::default(),
            heard: 0,
            mistake,
            known: BTreeMap::new(),
            listing: None,
            position: None,
            stretches: Vec::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Goes on at another node, or at the same one anew.
    pub(super) fn begin(
        &mut self,
        at: (u64, u64),
    ) -> impl FnOnce(Arc<Metastore>) -> BoxFuture<'static, ()> + use<> {
        self.at = at;
        self.begun += 1;
        self.listing = None;
        self.told.lock().clear();
        let (group, position, begun, told) = (self.group, self.position, self.begun, self.told.clone());
        move |node| {
            Box::pin(async move {
                let Some(group) = node.group(group) else { return };
                let mut events = node.watch_in(group, vec![Bytes::new()], position);
                // The node ends when it crashes: a watch must not keep it.
                drop(node);
                while let Some(event) = events.next().await {
                    told.lock().push((begun, event));
                }
            })
        }
    }

    /// Takes in what it was told since.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        let told = std::mem::take(&mut *self.told.lock());
        for (begun, event) in told {
            if begun != self.begun {
                continue;
            }
            self.heard += 1;
            if self.mistake == Some(Mistake::ChangeLeftOut)
                && self.heard.is_multiple_of(50)
                && self.listing.is_none()
                && matches!(event, WatchEvent::Put { .. })
            {
                continue;
            }
            self.hears(event)?;
        }
        Ok(())
    }

    fn hears(&mut self, event: WatchEvent) -> Result<(), String> {
        match event {
            WatchEvent::Reset => self.listing = Some(BTreeMap::new()),
            WatchEvent::Put { key, value, revision } => {
                if self.listing.is_none() {
                    self.seen.insert(revision);
                }
                self.listing.as_mut().unwrap_or(&mut self.known).insert(key, value);
            }
            WatchEvent::Delete { key, revision } => {
                if self.listing.is_none() {
                    self.seen.insert(revision);
                }
                self.listing.as_mut().unwrap_or(&mut self.known).remove(&key);
            }
            WatchEvent::Synced(position) => {
                self.known = self.listing.take().ok_or("a watch ended a listing that it had not begun")?;
                self.stretches.push((position.revision, position.revision));
                self.position = Some(position);
            }
            WatchEvent::Progress(position) => {
                let before = self.position.map_or(0, |before| before.revision);
                if position.revision < before {
                    return Err(format!("a watch went back from {before} to {}", position.revision));
                }
                self.position = Some(position);
                if let Some((_, through)) = self.stretches.last_mut() {
                    *through = position.revision;
                }
            }
        }
        Ok(())
    }

    /// How far it has come.
    pub(super) fn revision(&self) -> u64 {
        self.position.map_or(0, |position| position.revision)
    }

    /// Whether it knows what is, and was told of all that was written at `revisions`.
    pub(super) fn check(
        &self,
        state: &BTreeMap<Bytes, Bytes>,
        revisions: &BTreeSet<(u32, u64)>,
    ) -> Result<(), String> {
        let of_group =
            revisions.range((self.group, 0)..=(self.group, u64::MAX)).map(|(_, revision)| *revision);
        for revision in of_group {
            let is_followed = self.stretches.iter().any(|(above, to)| *above < revision && revision <= *to);
            if is_followed && !self.seen.contains(&revision) {
                return Err(format!("a watch of group {} left out revision {revision}", self.group));
            }
        }
        match *state == self.known {
            true => Ok(()),
            false => Err(format!("a watch of group {} believes what is not so", self.group)),
        }
    }
}
