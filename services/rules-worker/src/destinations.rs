//! The addresses that `http` actions may call, as they change in the metastore.

use std::future::poll_fn;
use std::sync::Arc;

use fleethaven_fabric::{Metadata, WatchEvent};
use fleethaven_registry::shapes::RuleDestination;
use fleethaven_registry::{keys, rule_destinations};
use fleethaven_types::Scope;
use parking_lot::RwLock;
use rustc_hash::{FxHashMap, FxHashSet};

type Key = (Scope, String);

/// All topic rule destinations.
#[derive(Default)]
pub struct Destinations(RwLock<FxHashMap<Scope, FxHashMap<String, RuleDestination>>>);

impl Destinations {
    /// Whether rules of a scope may call `url`.
    pub fn let_through(&self, scope: Scope, url: &str) -> bool {
        let all = self.0.read();
        all.get(&scope).is_some_and(|of_scope| of_scope.values().any(|one| one.lets(url)))
    }

    /// Takes a destination over as it is now.
    pub fn put(&self, scope: Scope, destination: RuleDestination) {
        self.0.write().entry(scope).or_default().insert(destination.arn.clone(), destination);
    }

    fn retain(&self, keep: impl Fn(&Key) -> bool) {
        let mut all = self.0.write();
        for (scope, of_scope) in all.iter_mut() {
            of_scope.retain(|arn, _| keep(&(*scope, arn.clone())));
        }
        all.retain(|_, of_scope| !of_scope.is_empty());
    }

    fn remove(&self, scope: Scope, id: &str) {
        let ending = format!("/{id}");
        if let Some(of_scope) = self.0.write().get_mut(&scope) {
            of_scope.retain(|arn, _| !arn.ends_with(&ending));
        }
    }
}

/// Follows the metadata store until it shuts down. Changes wait for it from this call on.
pub fn follow(
    destinations: Arc<Destinations>,
    metadata: Arc<dyn Metadata>,
) -> impl Future<Output = ()> + Send {
    let marker = metadata.register("rule destinations");
    let mut watch = metadata.watch(vec![keys::rule_destinations_prefix()], None);
    async move {
        // What a listing does not name is gone.
        let mut listing: Option<FxHashSet<Key>> = None;
        while let Some(event) = poll_fn(|cx| watch.as_mut().poll_next(cx)).await {
            match event {
                WatchEvent::Reset => listing = Some(FxHashSet::default()),
                WatchEvent::Put { key, value, .. } => match rule_destinations::decode(&key, &value) {
                    Some((scope, destination)) => {
                        let key = (scope, destination.arn.clone());
                        listing.iter_mut().for_each(|listing| _ = listing.insert(key.clone()));
                        destinations.put(scope, destination);
                    }
                    None => tracing::error!("a rule destination in the metadata store cannot be read"),
                },
                WatchEvent::Delete { key, .. } => {
                    if let Some((scope, id)) = rule_destinations::key_of(&key) {
                        destinations.remove(scope, &id);
                    }
                }
                WatchEvent::Synced(position) => {
                    if let Some(listing) = listing.take() {
                        destinations.retain(|key| listing.contains(key));
                    }
                    marker(position.revision);
                }
                WatchEvent::Progress(position) => marker(position.revision),
            }
        }
    }
}
