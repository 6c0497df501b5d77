//! The things of a certificate: which one a connection stands for, what its groups allow, and whom a change of a thing
//! concerns.

use std::borrow::Cow;
use std::sync::Weak;

use fleethaven_fabric::Metadata;
use fleethaven_policy::{Policy, PolicySet};
use fleethaven_registry::shapes::{AttachedThing, StandingThing};
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::Scope;

use super::{Entry, Key, Live, Snapshot, parsed};

/// What a connection stands for.
pub(crate) struct Standing<'s> {
    /// The certificate's exclusive thing, or the attached one that is named as the client id.
    pub(crate) thing: Option<Cow<'s, AttachedThing>>,
    /// The certificate's policies and those of the thing's groups.
    pub(crate) policies: Cow<'s, PolicySet>,
}

impl Entry {
    /// What a client of this id stands for.
    pub(crate) fn standing<'s>(&self, snapshot: &'s Snapshot, client_id: &str) -> Standing<'s> {
        let exclusive = snapshot.things.iter().find(|thing| thing.exclusive);
        let named = || snapshot.things.iter().find(|thing| thing.thing_name == client_id);
        match (exclusive.or_else(named), &snapshot.more_things) {
            (Some(thing), _) => {
                let inherited = thing.group_policies.iter();
                let inherited = inherited.filter_map(|name| snapshot.group_policies.get(name)).cloned();
                Standing { thing: Some(Cow::Borrowed(thing)), policies: snapshot.with(inherited.collect()) }
            }
            (None, Some(metadata)) => match self.thing_beyond(&**metadata, client_id) {
                Some(found) => snapshot.standing_beyond(found),
                None => snapshot.alone(),
            },
            (None, None) => snapshot.alone(),
        }
    }

    /// A thing beyond those of the snapshot. It is followed before it is read, so that no change falls in between.
    fn thing_beyond(&self, metadata: &dyn Metadata, name: &str) -> Option<StandingThing> {
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

impl Snapshot {
    /// Without a thing.
    fn alone(&self) -> Standing<'_> {
        Standing { thing: None, policies: Cow::Borrowed(&self.policies) }
    }

    /// For a thing that is not in the snapshot.
    fn standing_beyond(&self, found: StandingThing) -> Standing<'_> {
        let policies = match found.policies.iter().map(parsed).collect() {
            Ok(inherited) => self.with(inherited),
            Err(error) => {
                tracing::error!(thing = found.thing.thing_name, %error, "the policies of its groups cannot be read");
                Cow::Owned(PolicySet::default())
            }
        };
        Standing { thing: Some(Cow::Owned(found.thing)), policies }
    }

    /// The certificate's policies and `inherited` ones; none when the certificate may do nothing.
    fn with(&self, inherited: Vec<Policy>) -> Cow<'_, PolicySet> {
        if inherited.is_empty() || !self.is_active() {
            return Cow::Borrowed(&self.policies);
        }
        let all = self.policies.policies().iter().cloned().chain(inherited);
        Cow::Owned(PolicySet::new(all.collect(), self.policies.settings()))
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

    /// The principals that depend on a thing group. One that has more things than its snapshot holds depends on any group.
    pub(super) fn of_thing_group(&self, scope: Scope, name: String) -> Vec<Key> {
        let mut keys: Vec<Key> = self.with_more_things.iter().filter(|key| key.0 == scope).copied().collect();
        let ids = self.by_thing_group.get(&(scope, name));
        keys.extend(ids.into_iter().flatten().map(|id| (scope, *id)));
        keys
    }

    /// The principals that a policy's document concerns. The same holds for them.
    pub(super) fn of_policy(&self, scope: Scope, name: String) -> Vec<Key> {
        let mut keys: Vec<Key> = self.with_more_things.iter().filter(|key| key.0 == scope).copied().collect();
        let ids = self.by_policy.get(&(scope, name));
        keys.extend(ids.into_iter().flatten().map(|id| (scope, *id)));
        keys
    }
}
