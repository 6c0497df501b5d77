//! What each account maps its function ARNs to, as it changes.

use std::future::poll_fn;
use std::sync::Arc;

use fleethaven_fabric::{Metadata, WatchEvent};
use fleethaven_registry::shapes::FunctionTarget;
use fleethaven_registry::{functions, keys};
use fleethaven_types::AccountId;
use parking_lot::RwLock;
use rustc_hash::{FxHashMap, FxHashSet};

type Key = (AccountId, String);

/// What is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where and how.
    pub target: FunctionTarget,
}

/// ARNs and what they stand for: those of this process's settings first, then those of the metadata store.
#[derive(Default)]
pub struct Catalogue {
    settings: FxHashMap<Key, Arc<Target>>,
    stored: RwLock<FxHashMap<Key, Arc<Target>>>,
}

impl Catalogue {
    /// With the functions of the settings.
    pub fn new(settings: impl IntoIterator<Item = (AccountId, String, FunctionTarget)>) -> Self {
        let entry = |(account, arn, target)| ((account, arn), Arc::new(Target { target }));
        Self { settings: settings.into_iter().map(entry).collect(), ..Self::default() }
    }

    /// What an ARN stands for; one with a version or alias that nothing is said of stands for its function.
    pub fn find(&self, account: AccountId, arn: &str) -> Option<Arc<Target>> {
        let whole = self.exact((account, arn.to_owned()));
        whole.or_else(|| self.exact((account, unqualified(arn)?.to_owned())))
    }

    fn exact(&self, key: Key) -> Option<Arc<Target>> {
        self.settings.get(&key).cloned().or_else(|| self.stored.read().get(&key).cloned())
    }
}

/// `arn:aws:lambda:<region>:<account>:function:<name>` without what follows.
fn unqualified(arn: &str) -> Option<&str> {
    let (at, _) = arn.match_indices(':').nth(6)?;
    arn.get(..at)
}

/// Follows the metadata store until it shuts down. Changes wait for it from this call on.
pub fn follow(catalogue: Arc<Catalogue>, metadata: Arc<dyn Metadata>) -> impl Future<Output = ()> + Send {
    let marker = metadata.register("functions");
    let mut watch = metadata.watch(vec![keys::functions_prefix()], None);
    async move {
        // What a listing does not name is gone.
        let mut listing: Option<FxHashSet<Key>> = None;
        while let Some(event) = poll_fn(|cx| watch.as_mut().poll_next(cx)).await {
            match event {
                WatchEvent::Reset => listing = Some(FxHashSet::default()),
                WatchEvent::Put { key, value, .. } => match functions::decode(&key, &value) {
                    Some((account, function)) => {
                        let key = (account, function.function_arn);
                        listing.iter_mut().for_each(|listing| _ = listing.insert(key.clone()));
                        catalogue.stored.write().insert(key, Arc::new(Target { target: function.target }));
                    }
                    None => tracing::error!("a function in the metadata store cannot be read"),
                },
                WatchEvent::Delete { key, .. } => {
                    functions::key_of(&key)
                        .into_iter()
                        .for_each(|key| _ = catalogue.stored.write().remove(&key));
                }
                WatchEvent::Synced(position) => {
                    if let Some(listing) = listing.take() {
                        catalogue.stored.write().retain(|key, _| listing.contains(key));
                    }
                    marker(position.revision);
                }
                WatchEvent::Progress(position) => marker(position.revision),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_registry::shapes::FunctionKind;

    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:210987654321:function:hook";

    fn target(url: &str) -> FunctionTarget {
        FunctionTarget { url: url.to_owned(), kind: FunctionKind::Lambda { credentials: None } }
    }

    #[test]
    fn a_version_stands_for_its_function_unless_it_is_mapped() {
        let account: AccountId = "123456789012".parse().unwrap();
        let entries = [(account, ARN.to_owned(), target("a")), (account, format!("{ARN}:live"), target("b"))];
        let catalogue = Catalogue::new(entries);
        let url = |account, arn: &str| catalogue.find(account, arn).map(|found| found.target.url.clone());
        assert_eq!(url(account, ARN).as_deref(), Some("a"));
        assert_eq!(url(account, &format!("{ARN}:live")).as_deref(), Some("b"));
        assert_eq!(url(account, &format!("{ARN}:7")).as_deref(), Some("a"));
        assert_eq!(url(account, "arn:aws:lambda:eu-west-1:210987654321:function:other"), None);
        assert_eq!(url("210987654321".parse().unwrap(), ARN), None, "an account's own");
    }
}
