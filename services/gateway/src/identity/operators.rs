//! Operators who connect over WebSocket with a signature: what their policies allow, as long as the connection lasts.
//!
//! Each connection has an entry of its own. A change of its user, role or access key, or the end of one, counts from the next
//! packet on, as with certificates; what is gone ends its connections.

use std::sync::{Arc, Weak};

use fleethaven_daemon::clock;
use fleethaven_operators::{Identity, Operator, RequestKeys, mentions};
use fleethaven_policy::{Limits, Policy, PolicyDocument, PolicySet, Services};
use fleethaven_registry::shapes::CertificateStatus;
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::{AccountId, Scope, Timestamp};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::{Entry, Error, IdentityCache, Principal, Snapshot, unavailable, unexpected};

/// Condition keys that have another value a second later.
const OF_THE_CLOCK: [&str; 2] = ["aws:CurrentTime", "aws:EpochTime"];

/// The operators that are connected.
#[derive(Default)]
pub(super) struct Live(Mutex<Vec<Weak<Connected>>>);

/// An operator's entry, and how it is read again.
pub(crate) struct Connected {
    scope: Scope,
    access_key_id: String,
    identity: Identity,
    entry: Weak<Entry>,
}

impl Connected {
    /// Whether a change of `what` concerns it.
    fn depends_on(&self, what: &Source<'_>) -> bool {
        match (what, &self.identity) {
            (Source::Anything, _) => true,
            (Source::Account(of), identity) => *of == identity.account(),
            (Source::AccessKey(id), Identity::Root { .. } | Identity::User { .. }) => {
                self.access_key_id == *id
            }
            (Source::User(of, named), Identity::User { account, name, .. }) => of == account && named == name,
            (Source::Role(of, named), Identity::Session(session)) => {
                *of == session.account && *named == session.role_name
            }
            _ => false,
        }
    }
}

/// What has changed.
pub(super) enum Source<'c> {
    AccessKey(&'c str),
    User(AccountId, &'c str),
    Role(AccountId, &'c str),
    /// Policies that its users and roles share.
    Account(AccountId),
    /// Nobody knows.
    Anything,
}

/// Documents that were read in one go: those of one role are the same for all of its sessions.
type Compiled = FxHashMap<String, Arc<PolicyDocument>>;

impl IdentityCache {
    /// The principal of an operator, whose signature was checked.
    pub fn operator(&self, scope: Scope, access_key_id: &str, operator: &Operator) -> Principal {
        let snapshot = self.of_operator(scope, operator);
        let entry = Arc::new(Entry::new(None, snapshot));
        let connected = Arc::new(Connected {
            scope,
            access_key_id: access_key_id.to_owned(),
            identity: operator.identity.clone(),
            entry: Arc::downgrade(&entry),
        });
        entry.keep(connected.clone());
        self.operators.insert(&connected);
        // A change between the check and the insertion would have found nothing to update.
        self.read_again(&connected, &mut Compiled::default());
        let user = format!("{}/{access_key_id}", scope.account).into();
        Principal { scope, certificate_id: None, user: Some(user), entry, allowance: None }
    }

    fn of_operator(&self, scope: Scope, operator: &Operator) -> Snapshot {
        let now = clock::now();
        let mut keys = operator.identity.keys();
        let request = RequestKeys { now, region: scope.region.as_str(), user_agent: None, referer: None };
        request.add_to(&mut keys);
        let shared = |set: &PolicySet| Arc::new(set.clone());
        let sets = || operator.policies().into_iter().chain(operator.boundary());
        Snapshot {
            status: CertificateStatus::Active,
            policies: operator.policies().map_or_else(|| self.anonymous.snapshot().policies.clone(), shared),
            boundary: operator.boundary().map(shared),
            keys,
            timed: OF_THE_CLOCK.iter().any(|key| mentions(sets(), key)),
            credentials_end: operator.expires_at().map(|at| Timestamp(at.saturating_mul(1000))),
            ..Snapshot::deleted()
        }
    }

    /// Reads the operators again that a change concerns; tells whether one of them may not stay connected.
    pub(super) fn reload_operators(&self, changes: &[Source<'_>]) -> bool {
        if changes.is_empty() {
            return false;
        }
        let (mut compiled, mut ended) = (Compiled::default(), false);
        for connected in self.operators.all() {
            if changes.iter().any(|change| connected.depends_on(change)) {
                ended |= !self.read_again(&connected, &mut compiled);
            }
        }
        ended
    }

    /// Takes up the time for those whose policies speak of it.
    pub(super) fn tick_operators(&self) {
        let mut compiled = Compiled::default();
        for connected in self.operators.all() {
            let Some(entry) = connected.entry.upgrade() else { continue };
            if entry.snapshot().timed {
                self.read_again(&connected, &mut compiled);
            }
        }
    }

    /// Whether it may stay connected.
    fn read_again(&self, connected: &Connected, compiled: &mut Compiled) -> bool {
        let Some(entry) = connected.entry.upgrade() else { return true };
        match self.current(connected, compiled) {
            Ok(Some(operator)) => {
                entry.replace(self.of_operator(connected.scope, &operator));
                true
            }
            Ok(None) => {
                entry.replace(Snapshot::deleted());
                false
            }
            Err(error) => {
                let access_key_id = &connected.access_key_id;
                tracing::error!(access_key_id, %error, "an operator could not be read again");
                entry.replace(Snapshot::deleted());
                false
            }
        }
    }

    /// As this node knows it now; `None`: it is not there any more.
    fn current(&self, connected: &Connected, compiled: &mut Compiled) -> Result<Option<Operator>, Error> {
        let compile = |name: &str, text: &str| parsed(name, text, compiled);
        match &connected.identity {
            Identity::Root { .. } | Identity::User { .. } => {
                let kind = QueryKind::AccessKey(connected.access_key_id.clone());
                let owner = match self.query_now(connected.scope, kind)? {
                    QueryReply::AccessKey(owner) => owner.filter(|owner| owner.active),
                    _ => return Err(unexpected()),
                };
                let Some(owner) = owner else { return Ok(None) };
                match &owner.user {
                    Some(user) => Operator::user(user, compile).map(Some),
                    None => Ok(Some(Operator::root(owner.account))),
                }
            }
            Identity::Session(session) => {
                let scope = Scope { account: session.account, region: connected.scope.region };
                match self.query_now(scope, QueryKind::GetRole(session.role_name.clone()))? {
                    QueryReply::Role(Some(role)) if role.role_id == session.role_id => {
                        Operator::session(session.clone(), &role, compile).map(Some)
                    }
                    QueryReply::Role(_) => Ok(None),
                    _ => Err(unexpected()),
                }
            }
        }
    }

    fn query_now(&self, scope: Scope, kind: QueryKind) -> Result<QueryReply, Error> {
        self.metadata.query_local(Query::new(scope, kind)).map_err(unavailable)
    }
}

impl Live {
    fn insert(&self, connected: &Arc<Connected>) {
        let mut live = self.0.lock();
        // Before it would grow.
        if live.len() == live.capacity() {
            live.retain(|connected| connected.strong_count() > 0);
        }
        live.push(Arc::downgrade(connected));
    }

    fn all(&self) -> Vec<Arc<Connected>> {
        self.0.lock().iter().filter_map(Weak::upgrade).collect()
    }
}

/// Stored documents were checked; one that does not parse any more denies everything, as it may hold a Deny.
fn parsed(name: &str, text: &str, compiled: &mut Compiled) -> Result<Policy, Error> {
    if let Some(document) = compiled.get(text) {
        return Ok(Policy::new(name, document.clone()));
    }
    let limits = Limits { characters: usize::MAX, services: Services::Any, ..Limits::default() };
    let malformed = |error| Error::Malformed(format!("policy {name}: {error}"));
    let document = Arc::new(PolicyDocument::parse(text, &limits).map_err(malformed)?);
    compiled.insert(text.to_owned(), document.clone());
    Ok(Policy::new(name, document))
}
