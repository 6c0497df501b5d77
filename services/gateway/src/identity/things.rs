//! The things of a certificate: which one a connection stands for, and whom a change of a thing concerns.

use std::borrow::Cow;
use std::sync::Weak;

use fleethaven_fabric::Metadata;
use fleethaven_registry::shapes::AttachedThing;
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::Scope;

use super::{Entry, Key, Live, Snapshot};

impl Entry {
    /// The thing a connection stands for: the certificate's exclusive one, or the attached one that is named as the client
    /// id.
    pub(crate) fn thing<'s>(
        &self,
        snapshot: &'s Snapshot,
        client_id: &str,
    ) -> Option<Cow<'s, AttachedThing>> {
        let exclusive = snapshot.things.iter().find(|thing| thing.exclusive);
        let named = || snapshot.things.iter().find(|thing| thing.thing_name == client_id);
        match (exclusive.or_else(named), &snapshot.more_things) {
            (Some(thing), _) => Some(Cow::Borrowed(thing)),
            (None, Some(metadata)) => self.thing_beyond(&**metadata, client_id).map(Cow::Owned),
            (None, None) => None,
        }
    }

    /// A thing beyond those of the snapshot. It is followed before it is read, so that no change falls in between.
    fn thing_beyond(&self, metadata: &dyn Metadata, name: &str) -> Option<AttachedThing> {
        let (scope, id) = self.key?;
        self.followed.lock().insert(name.to_owned());
        let kind = QueryKind::PrincipalThing { certificate_id: id.to_string(), thing_name: name.to_owned() };
        match metadata.query_local(Query::new(scope, kind)) {
            Ok(QueryReply::PrincipalThing(Some(thing))) => Some(*thing),
            _ => {
                self.followed.lock().remove(name);
                None
            }
        }
    }
}

impl Live {
    /// The principals that depend on a thing.
    pub(super) fn of_thing(&self, scope: Scope, name: String) -> Vec<Key> {
        let follows = |key: &&Key| {
            let entry = self.entries.get(key).and_then(Weak::upgrade);
            key.0 == scope && entry.is_some_and(|entry| entry.followed.lock().contains(&name))
        };
        let mut keys: Vec<Key> = self.with_more_things.iter().filter(follows).copied().collect();
        let ids = self.by_thing.get(&(scope, name));
        keys.extend(ids.into_iter().flatten().map(|id| (scope, *id)));
        keys
    }
}
