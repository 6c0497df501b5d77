//! What accounts ask for, as it changes in the metadata store.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;

use fleethaven_fabric::{Metadata, WatchEvent};
use fleethaven_registry::keys;
use fleethaven_registry::logging::{Stored, decode};
use fleethaven_types::Scope;

use crate::levels::Levels;
use crate::logs::Logs;

/// What the store holds, by key.
#[derive(Default)]
struct Known(BTreeMap<Vec<u8>, (Scope, Stored)>);

impl Known {
    fn levels(&self) -> impl Iterator<Item = (Scope, Levels)> {
        let mut scopes: BTreeMap<Scope, Vec<&Stored>> = BTreeMap::new();
        for (scope, stored) in self.0.values() {
            scopes.entry(*scope).or_default().push(stored);
        }
        scopes.into_iter().map(|(scope, stored)| (scope, Levels::of(stored)))
    }
}

/// Follows the metadata store until it shuts down. Changes wait for it from this call on.
pub fn follow(logs: Logs, metadata: Arc<dyn Metadata>) -> impl Future<Output = ()> + Send {
    logs.ask(&metadata);
    let marker = metadata.register("logging");
    let mut watch = metadata.watch(vec![keys::logging_prefix()], None);
    async move {
        let mut known = Known::default();
        // What a listing does not name is gone.
        let mut listing: Option<BTreeSet<Vec<u8>>> = None;
        let mut changed = false;
        while let Some(event) = poll_fn(|cx| watch.as_mut().poll_next(cx)).await {
            match event {
                WatchEvent::Reset => listing = Some(BTreeSet::new()),
                WatchEvent::Put { key, value, .. } => {
                    listing.iter_mut().for_each(|listing| _ = listing.insert(key.to_vec()));
                    match decode(&key, &value) {
                        Some(stored) => _ = known.0.insert(key.to_vec(), stored),
                        None => tracing::error!("a logging level in the metadata store cannot be read"),
                    }
                    changed = true;
                }
                WatchEvent::Delete { key, .. } => changed |= known.0.remove(key.as_ref()).is_some(),
                WatchEvent::Synced(position) | WatchEvent::Progress(position) => {
                    if let Some(listing) = listing.take() {
                        known.0.retain(|key, _| listing.contains(key));
                        changed = true;
                    }
                    if std::mem::take(&mut changed) {
                        logs.replace(known.levels());
                    }
                    marker(position.revision);
                }
            }
        }
    }
}
