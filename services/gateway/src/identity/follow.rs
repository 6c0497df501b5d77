//! Keeps the cache fresh: acts on what changed in the metastore, in batches, and reports how far it has come.

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::WatchEvent;
use fleethaven_fabric::metadata::{AppliedMarker, WatchStream};
use fleethaven_mqtt::ReasonCode;
use fleethaven_pki::CertificateId;
use fleethaven_registry::change::{self, Change};
use fleethaven_session::Close;

use super::operators::Source;
use super::{IdentityCache, Key};
use crate::mailbox::{Control, Mailboxes};

/// How often policies that speak of the time are looked at again.
const TICK: Duration = Duration::from_secs(1);

/// Follows the metastore until it shuts down. Each batch of changes first updates the cache, then ends the connections of
/// certificates that are no longer active, and only then counts as acted on. Changes wait for it from this
/// call on.
pub fn follow(cache: Arc<IdentityCache>, mailboxes: Arc<Mailboxes>) -> impl Future<Output = ()> + Send {
    let marker = cache.metadata.register("gateway");
    let mut watch = cache.metadata.watch(vec![Bytes::new()], None);
    async move {
        let mut affected = Affected::default();
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                event = next(&mut watch) => match event {
                    Some(event) => handle(&cache, &mailboxes, &marker, &mut affected, event),
                    None => return,
                },
                _ = ticks.tick() => cache.tick_operators(),
            }
        }
    }
}

/// What a batch of changes concerns.
#[derive(Default)]
struct Affected {
    certificates: HashSet<Key>,
    /// Of operators.
    changes: Vec<Change>,
    everyone: bool,
}

async fn next(watch: &mut WatchStream) -> Option<WatchEvent> {
    poll_fn(|cx| watch.as_mut().poll_next(cx)).await
}

fn handle(
    cache: &IdentityCache,
    mailboxes: &Mailboxes,
    marker: &AppliedMarker,
    affected: &mut Affected,
    event: WatchEvent,
) {
    match event {
        // After a reset anything may have changed; what is not cached is read when it is needed.
        WatchEvent::Reset => {
            affected.certificates.extend(cache.live.lock().entries.keys().copied());
            affected.everyone = true;
        }
        WatchEvent::Put { key, .. } => affected.add(cache, &key, false),
        WatchEvent::Delete { key, .. } => affected.add(cache, &key, true),
        WatchEvent::Synced(position) | WatchEvent::Progress(position) => {
            if cache.reload_operators(&affected.operators()) {
                let detail = "the operator's credentials are no longer good";
                mailboxes.broadcast(|| {
                    Control::CloseOperators(Close::server(ReasonCode::AdministrativeAction, detail))
                });
            }
            (affected.changes, affected.everyone) = (Vec::new(), false);
            let ended = cache.reload_all(affected.certificates.drain());
            if !ended.is_empty() {
                let ended = Arc::new(ended);
                let detail = "the certificate is no longer active";
                let close = || Close::server(ReasonCode::AdministrativeAction, detail);
                mailboxes.broadcast(|| Control::CloseCertificates(ended.clone(), close()));
            }
            marker(position.revision);
        }
    }
}

impl Affected {
    fn add(&mut self, cache: &IdentityCache, key: &Bytes, deleted: bool) {
        match change::classify(key) {
            Some(
                change @ (Change::AccessKey { .. }
                | Change::User { .. }
                | Change::Role { .. }
                | Change::ManagedPolicy(_)),
            ) => self.changes.push(change),
            _ => self.certificates.extend(cache.affected_by(key, deleted)),
        }
    }

    fn operators(&self) -> Vec<Source<'_>> {
        let mut sources: Vec<_> = self.everyone.then_some(Source::Anything).into_iter().collect();
        sources.extend(self.changes.iter().filter_map(|change| match change {
            Change::AccessKey { id } => Some(Source::AccessKey(id)),
            Change::User { account, name } => Some(Source::User(*account, name)),
            Change::Role { account, name } => Some(Source::Role(*account, name)),
            Change::ManagedPolicy(account) => Some(Source::Account(*account)),
            _ => None,
        }));
        sources
    }
}

impl IdentityCache {
    /// The cached principals that a change of `key`, or its end, concerns.
    fn affected_by(&self, key: &Bytes, deleted: bool) -> Vec<Key> {
        let by_id =
            |scope, id: &str| id.parse::<CertificateId>().ok().map(|id| (scope, id)).into_iter().collect();
        let by_arn =
            |scope, arn: &str| arn.rsplit_once("cert/").map_or_else(Vec::new, |(_, id)| by_id(scope, id));
        let live = self.live.lock();
        match change::classify(key) {
            Some(Change::Certificate { scope, id }) => by_id(scope, &id),
            Some(Change::PolicyAttachment { scope, target, .. }) => {
                match target.rsplit_once(":thinggroup/") {
                    Some((_, name)) => live.of_thing_group(scope, name.to_owned()),
                    None => by_arn(scope, &target),
                }
            }
            Some(Change::ThingPrincipal { scope, principal, .. }) => by_arn(scope, &principal),
            Some(Change::PolicyDocument { scope, name }) => live.of_policy(scope, name),
            Some(Change::Thing { scope, name } | Change::ThingGroupMembership { scope, thing: name, .. }) => {
                live.of_thing(scope, name)
            }
            // A group that is there never changes its place, and nothing else about it counts here; with one that is
            // gone, its things lose what they inherited through it.
            Some(Change::ThingGroup { scope, name }) if deleted => live.of_thing_group(scope, name),
            // A type's propagating attributes concern every thing of the type.
            Some(Change::ThingType { scope, .. }) => {
                live.entries.keys().filter(|(owner, _)| *owner == scope).copied().collect()
            }
            _ => Vec::new(),
        }
    }
}
