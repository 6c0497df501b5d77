//! Who is connected: certificates with their status, policies and things, kept fresh by a watch on the metastore.
//!
//! A connection holds an [`Entry`] of the cache and reads its current [`Snapshot`]; a change replaces the snapshot and raises
//! the entry's generation, so that each connection decides anew with its next packet. No metadata call is made on the
//! publish path.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use fleethaven_authorizers::{Blocked, Endpoint, NotTaken};
use fleethaven_fabric::{Functions, Metadata};
use fleethaven_logging::Logs;
use fleethaven_pki::{Certificate, CertificateId};
use fleethaven_policy::{
    CertificateAttributes, CustomKeys, Policy, PolicyDocument, PolicySet, Settings as PolicySettings,
};
use fleethaven_registry::shapes::{
    AttachedPolicy, AttachedThing, CertificateMode, CertificateStatus, PrincipalView,
};
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::{Scope, Timestamp, Utf8Bytes};
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::Semaphore;

mod allowance;
mod callbacks;
mod endpoints;
mod first_connect;
mod follow;
mod gate;
mod operators;
mod things;

pub(crate) use allowance::Allowance;
pub use endpoints::Admitted;
pub use follow::follow;
pub use gate::on_behalf_of;
pub(crate) use things::Standing;

/// What is confirmed so recently has all that the API has answered for.
const COMPLETE: Duration = Duration::from_secs(1);
/// Certificates that stay cached without a connection.
const CACHED: u64 = 100_000;

/// Why a client certificate is not accepted, in AWS's words (`Connection.AuthNError` reasons).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No account knows the certificate.
    #[error("DEVICE_CERTIFICATE_NOT_REGISTERED")]
    NotRegistered,
    /// Registered, but neither active nor revoked.
    #[error("DEVICE_CERTIFICATE_INACTIVE")]
    Inactive,
    /// Revoked.
    #[error("DEVICE_CERTIFICATE_REVOKED")]
    Revoked,
    /// It has just registered itself, and waits for its activation.
    #[error("DEVICE_CERTIFICATE_PENDING_ACTIVATION: it has registered itself")]
    Registered,
    /// It was just provisioned: the device is to connect again.
    #[error("DEVICE_CERTIFICATE_PENDING_ACTIVATION: the device was provisioned, and is to connect again")]
    Provisioned,
    /// It waits for its activation, as its CA's template could not be carried out.
    #[error("DEVICE_CERTIFICATE_PENDING_ACTIVATION: the device could not be provisioned")]
    NotProvisioned,
    /// Its validity period is over.
    #[error("DEVICE_CERTIFICATE_EXPIRED")]
    Expired,
    /// Its validity period has not begun.
    #[error("DEVICE_CERTIFICATE_NOT_YET_VALID")]
    NotYetValid,
    /// In SNI_ONLY mode, and the client asked for no server name.
    #[error("SNI_MISUSED: a certificate in SNI_ONLY mode needs a server name")]
    NoServerName,
    /// The endpoint takes no such clients.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The function that its domain asks about certificates does not let it go on.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// Not a certificate that can be read.
    #[error("DEVICE_CERTIFICATE_MALFORMED: {0}")]
    Malformed(String),
    /// The metastore did not answer.
    #[error("INTERNAL_SERVER_ERROR: {0}")]
    Unavailable(String),
}

/// Who a connection acts as.
#[derive(Clone)]
pub struct Principal {
    /// Account and region.
    pub scope: Scope,
    /// `None` for anonymous clients of the plain listener.
    pub certificate_id: Option<CertificateId>,
    /// The user of a signed request, or whom a custom authorizer took the client for; `None` for certificates and anonymous
    /// clients.
    pub user: Option<Utf8Bytes>,
    pub(crate) entry: Arc<Entry>,
    /// What a custom authorizer allows beside that.
    pub(crate) allowance: Option<Arc<Allowance>>,
}

impl Principal {
    /// Certificate id, or the user; `None` for anonymous clients.
    pub(crate) fn identifier(&self) -> Option<Utf8Bytes> {
        self.certificate_id.map(|id| id.to_string().into()).or_else(|| self.user.clone())
    }

    /// The first moment at which the certificate is not valid any more. A deleted one is dealt with as such.
    pub(crate) fn expires(&self) -> Option<Timestamp> {
        let (_, not_after) = self.entry.snapshot().validity?;
        Some(Timestamp(not_after.saturating_add(1).saturating_mul(1000)))
    }

    /// An operator whose user, role or access key is gone.
    pub(crate) fn is_operator_gone(&self) -> bool {
        self.entry.connected.get().is_some() && !self.entry.snapshot().is_active()
    }

    /// When the temporary credentials end that the client signed with.
    pub(crate) fn credentials_end(&self) -> Option<Timestamp> {
        self.entry.snapshot().credentials_end
    }

    /// The thing that the certificate is attached to exclusively.
    pub(crate) fn exclusive_thing(&self) -> Option<String> {
        let snapshot = self.entry.snapshot();
        snapshot.things.iter().find(|thing| thing.exclusive).map(|thing| thing.thing_name.clone())
    }

    /// The thing that a client of this id stands for: the exclusive one, or the attached one of that name.
    pub(crate) fn thing(&self, client_id: &str) -> Option<String> {
        let named = || {
            let snapshot = self.entry.snapshot();
            snapshot.things.iter().any(|thing| thing.thing_name == client_id).then(|| client_id.to_owned())
        };
        self.exclusive_thing().or_else(named)
    }
}

/// A principal in the cache.
pub(crate) struct Entry {
    key: Option<Key>,
    generation: AtomicU64,
    current: ArcSwap<Snapshot>,
    /// Things beyond those of the snapshot that connections stand for.
    followed: Mutex<FxHashSet<String>>,
    /// Of an operator how it is read again.
    connected: OnceLock<Arc<operators::Connected>>,
}

type Key = (Scope, CertificateId);

/// What is known of a principal at one moment.
pub(crate) struct Snapshot {
    pub(crate) status: CertificateStatus,
    pub(crate) policies: Arc<PolicySet>,
    pub(crate) attributes: CertificateAttributes,
    pub(crate) things: Vec<AttachedThing>,
    /// Where to look for a thing by its name, when the certificate has more than `things` holds.
    more_things: Option<Arc<dyn Metadata>>,
    validity: Option<(u64, u64)>,
    /// The policies that `things` have by their groups, by name.
    group_policies: FxHashMap<String, Policy>,
    policy_names: FxHashSet<String>,
    /// The account is found by the server name: registered without a CA, or with one in this mode.
    sni_only: bool,
    /// Of a session with a policy of its own: what has to allow as well.
    pub(crate) boundary: Option<Arc<PolicySet>>,
    /// Condition keys of an operator.
    pub(crate) keys: CustomKeys,
    /// When the temporary credentials end that the client signed with.
    pub(crate) credentials_end: Option<Timestamp>,
    /// Its policies speak of the time, so that they are looked at again as it goes on.
    timed: bool,
}

impl Entry {
    fn new(key: Option<Key>, snapshot: Snapshot) -> Self {
        Self {
            key,
            generation: AtomicU64::new(1),
            current: ArcSwap::from_pointee(snapshot),
            followed: Mutex::default(),
            connected: OnceLock::new(),
        }
    }

    /// Lives as long as the entry does.
    fn keep(&self, connected: Arc<operators::Connected>) {
        let _ = self.connected.set(connected);
    }

    /// Raised with each change.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    fn replace(&self, snapshot: Snapshot) {
        self.current.store(Arc::new(snapshot));
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// The cache of principals.
pub struct IdentityCache {
    metadata: Arc<dyn Metadata>,
    default_scope: Scope,
    recent: moka::sync::Cache<Key, Arc<Entry>>,
    live: Mutex<Live>,
    anonymous: Arc<Entry>,
    nobody: Arc<Entry>,
    max_staleness: Option<Duration>,
    names_required: bool,
    operators: operators::Live,
    logs: Logs,
    /// Bounds the first connections that are seen to at a time.
    first_connects: Semaphore,
    callbacks: callbacks::Callbacks,
}

/// Entries that anyone holds, and what each depends on.
#[derive(Default)]
struct Live {
    entries: FxHashMap<Key, Weak<Entry>>,
    by_policy: FxHashMap<(Scope, String), FxHashSet<CertificateId>>,
    by_thing: FxHashMap<(Scope, String), FxHashSet<CertificateId>>,
    by_thing_group: FxHashMap<(Scope, String), FxHashSet<CertificateId>>,
    /// Those with more things than their snapshot holds.
    with_more_things: FxHashSet<Key>,
    /// Entries at which dead ones are swept out next.
    sweep_at: usize,
}

/// The policy that anonymous clients of the plain listener are evaluated under.
const ANONYMOUS_POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"}]}"#;

impl IdentityCache {
    /// A cache over `metadata`; certificates are first looked for in `default_scope`.
    pub fn new(metadata: Arc<dyn Metadata>, default_scope: Scope) -> Self {
        Self {
            metadata,
            default_scope,
            recent: moka::sync::Cache::new(CACHED),
            live: Mutex::new(Live { sweep_at: 1024, ..Live::default() }),
            anonymous: Arc::new(anonymous()),
            nobody: Arc::new(allowance::nobody()),
            max_staleness: None,
            names_required: false,
            operators: operators::Live::default(),
            logs: Logs::off(),
            first_connects: Semaphore::new(first_connect::AT_A_TIME),
            callbacks: callbacks::Callbacks::default(),
        }
    }

    /// The same cache, which can ask the functions that domain configurations name about client certificates.
    pub fn with_functions(self, functions: Arc<dyn Functions>) -> Self {
        Self { callbacks: callbacks::Callbacks::by(functions), ..self }
    }

    /// The same cache, for which certificates in SNI_ONLY mode count only with a server name, as at AWS.
    pub fn with_names_required(self, names_required: bool) -> Self {
        Self { names_required, ..self }
    }

    /// The same cache, which is not to be relied upon when the metastore has not confirmed it for longer than this.
    pub fn with_max_staleness(self, max: Duration) -> Self {
        Self { max_staleness: Some(max), ..self }
    }

    /// The same cache, which keeps AWS's log entries about clients that are not let in.
    pub fn with_logs(self, logs: Logs) -> Self {
        Self { logs, ..self }
    }

    pub(crate) fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Whether the metastore has not confirmed what is here for longer than is allowed: clients are refused, and connections
    /// end (protocols C3).
    pub fn is_stale(&self) -> bool {
        self.max_staleness.is_some_and(|max| self.metadata.staleness() > max)
    }

    /// Whether what is not known here does not exist, either: the API has answered for no change that is not here.
    fn is_complete(&self) -> bool {
        self.max_staleness.is_none() || self.metadata.staleness() <= COMPLETE
    }

    /// The principal of clients without a certificate on the plain listener.
    pub fn anonymous(&self) -> Principal {
        Principal {
            scope: self.default_scope,
            certificate_id: None,
            user: None,
            entry: self.anonymous.clone(),
            allowance: None,
        }
    }

    /// The principal of a client that proved to hold this certificate (DER), at `now` (seconds since the epoch), and came to
    /// `endpoint`. `named`: it asked for a server name (SNI). One that nobody knows, and whose CA lets devices register themselves, is registered or
    /// provisioned; this connection is refused all the same.
    pub async fn certificate(
        &self,
        der: &[u8],
        endpoint: &Endpoint,
        named: bool,
        now: u64,
    ) -> Result<Principal, Error> {
        match self.admitted(der, endpoint, named, now).await {
            Err(refused @ (Error::NotRegistered | Error::Inactive)) => {
                Err(self.first_connect(der, endpoint, now, refused).await)
            }
            admitted => admitted,
        }
    }

    async fn admitted(
        &self,
        der: &[u8],
        endpoint: &Endpoint,
        named: bool,
        now: u64,
    ) -> Result<Principal, Error> {
        let id = CertificateId::of_der(der);
        let scope = self.owner(id, endpoint).await?;
        let key = (scope, id);
        let entry = match self.cached(&key) {
            Some(entry) => entry,
            None => self.load(key).await?,
        };
        let mut verdict = entry.snapshot().admit(now);
        if verdict.is_err() {
            // A cached denial is never final: ask the leader once (docs/architecture.md, "revocation").
            let fresh = self.query(key).await?;
            entry.replace(self.snapshot(&fresh)?);
            verdict = entry.snapshot().admit(now);
        }
        if verdict.is_ok() && self.names_required && !named && entry.snapshot().sni_only {
            return Err(Error::NoServerName);
        }
        verdict.map(|()| Principal { scope, certificate_id: Some(id), user: None, entry, allowance: None })
    }

    /// Reads a principal again at the leader's revision, after a denial.
    pub(crate) async fn refresh(&self, entry: &Entry) -> Result<(), Error> {
        let Some(key) = entry.key else { return Ok(()) };
        let view = self.query(key).await?;
        entry.replace(self.snapshot(&view)?);
        Ok(())
    }

    /// The account and region that a certificate belongs to, of those whose endpoint it is: the endpoint's own if it is
    /// registered there, otherwise the only one that has it.
    async fn owner(&self, id: CertificateId, endpoint: &Endpoint) -> Result<Scope, Error> {
        let preferred = if endpoint.named { endpoint.scope } else { self.default_scope };
        if self.registered(&(preferred, id)).is_some() {
            return Ok(preferred);
        }
        let query =
            Query::new(self.default_scope, QueryKind::CertificateOwners { certificate_id: id.to_string() });
        let owner = |reply| {
            let QueryReply::Scopes(scopes) = reply else { return Err(unexpected()) };
            let scopes: Vec<Scope> = scopes.into_iter().filter(|scope| endpoint.is_of(*scope)).collect();
            match scopes.as_slice() {
                scopes if scopes.contains(&preferred) => Ok(preferred),
                [only] => Ok(*only),
                _ => Err(Error::NotRegistered),
            }
        };
        let known = self.metadata.query_local(query.clone()).map_err(unavailable).and_then(owner);
        match known {
            Ok(scope) => Ok(scope),
            // What is not known here may be known by now.
            Err(_) => owner(self.metadata.query(query).await.map_err(unavailable)?),
        }
    }

    /// The thing that a certificate is attached to exclusively, by what this node knows.
    pub fn exclusive_thing(&self, scope: Scope, certificate_id: &str) -> Option<String> {
        let kind = QueryKind::Principal { certificate_id: certificate_id.to_owned() };
        let view = principal_view(self.metadata.query_local(Query::new(scope, kind)).ok()?).ok()?;
        view.things.into_iter().find(|thing| thing.exclusive).map(|thing| thing.thing_name)
    }

    fn cached(&self, key: &Key) -> Option<Arc<Entry>> {
        self.recent.get(key).or_else(|| self.live.lock().entries.get(key).and_then(Weak::upgrade))
    }

    /// A cached certificate, unless it is gone: another account may have it by now.
    fn registered(&self, key: &Key) -> Option<Arc<Entry>> {
        self.cached(key).filter(|entry| entry.snapshot().validity.is_some())
    }

    async fn query(&self, key: Key) -> Result<PrincipalView, Error> {
        let kind = QueryKind::Principal { certificate_id: key.1.to_string() };
        let reply = self.metadata.query(Query::new(key.0, kind)).await.map_err(unavailable)?;
        principal_view(reply)
    }

    fn query_local(&self, key: Key) -> Result<PrincipalView, Error> {
        let kind = QueryKind::Principal { certificate_id: key.1.to_string() };
        self.metadata.query_local(Query::new(key.0, kind)).map_err(unavailable).and_then(principal_view)
    }

    fn snapshot(&self, view: &PrincipalView) -> Result<Snapshot, Error> {
        let more_things = view.more_things.then(|| self.metadata.clone());
        Ok(Snapshot { more_things, ..Snapshot::of(view)? })
    }

    /// What this node knows counts as the cache does; what it does not know, the leader is asked for.
    async fn load(&self, key: Key) -> Result<Arc<Entry>, Error> {
        let view = match self.query_local(key) {
            Ok(view) => view,
            Err(_) => self.query(key).await?,
        };
        let entry = Arc::new(Entry::new(Some(key), self.snapshot(&view)?));
        let entry = self.live.lock().insert(key, entry);
        self.recent.insert(key, entry.clone());
        // A change between the read and the insertion would have found no entry to update: read once more, locally.
        self.reload(&key);
        Ok(entry)
    }

    /// Reads an entry's state again from this node; tells whether it may stay connected. Entries nobody holds are skipped.
    fn reload(&self, key: &Key) -> bool {
        let Some(entry) = self.cached(key) else { return true };
        let view = self.query_local(*key);
        let snapshot = match view.and_then(|view| self.snapshot(&view)) {
            Ok(snapshot) => snapshot,
            Err(Error::NotRegistered) => Snapshot::deleted(),
            Err(error) => {
                tracing::error!(certificate_id = %key.1, %error, "a principal could not be read again");
                Snapshot::deleted()
            }
        };
        let active = snapshot.is_active();
        self.live.lock().depend(*key, &snapshot);
        entry.replace(snapshot);
        active
    }

    /// Reloads all certificates that depend on something; returns those that are no longer active.
    fn reload_all(&self, keys: impl IntoIterator<Item = Key>) -> HashSet<CertificateId> {
        keys.into_iter().filter(|key| !self.reload(key)).map(|(_, id)| id).collect()
    }
}

impl Snapshot {
    fn of(view: &PrincipalView) -> Result<Self, Error> {
        let certificate = Certificate::parse_pem(&view.certificate_pem)
            .map_err(|error| Error::Malformed(error.to_string()))?;
        // A certificate that is not active may do nothing, also in the moment before its connections are closed.
        let active = view.status == CertificateStatus::Active;
        let counting = |policies: &[AttachedPolicy]| {
            policies.iter().filter(|_| active).map(parsed).collect::<Result<Vec<Policy>, Error>>()
        };
        let inherited = counting(&view.group_policies)?.into_iter();
        let names = view.policies.iter().chain(&view.group_policies).map(|policy| policy.policy_name.clone());
        Ok(Self {
            status: view.status,
            policies: Arc::new(PolicySet::new(counting(&view.policies)?, PolicySettings::default())),
            group_policies: inherited.map(|policy| (policy.name.to_string(), policy)).collect(),
            attributes: CertificateAttributes::from(&certificate),
            things: view.things.clone(),
            more_things: None,
            validity: Some((view.validity.not_before.as_secs(), view.validity.not_after.as_secs())),
            policy_names: names.collect(),
            sni_only: view.certificate_mode == CertificateMode::SniOnly,
            ..Self::deleted()
        })
    }

    /// A certificate that is gone: nothing is allowed.
    fn deleted() -> Self {
        Self {
            status: CertificateStatus::Revoked,
            policies: Arc::new(PolicySet::new(Vec::new(), PolicySettings::default())),
            attributes: CertificateAttributes::new(),
            things: Vec::new(),
            more_things: None,
            validity: None,
            group_policies: FxHashMap::default(),
            policy_names: FxHashSet::default(),
            sni_only: false,
            boundary: None,
            keys: CustomKeys::new(),
            credentials_end: None,
            timed: false,
        }
    }

    fn is_active(&self) -> bool {
        self.status == CertificateStatus::Active
    }

    fn admit(&self, now: u64) -> Result<(), Error> {
        match self.status {
            CertificateStatus::Active => {}
            CertificateStatus::Revoked => return Err(Error::Revoked),
            _ => return Err(Error::Inactive),
        }
        match self.validity {
            Some((from, _)) if now < from => Err(Error::NotYetValid),
            Some((_, to)) if now > to => Err(Error::Expired),
            _ => Ok(()),
        }
    }
}

impl Live {
    /// Adds an entry unless one is there that somebody holds, which is returned instead.
    fn insert(&mut self, key: Key, entry: Arc<Entry>) -> Arc<Entry> {
        if let Some(known) = self.entries.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        self.entries.insert(key, Arc::downgrade(&entry));
        self.depend(key, &entry.snapshot());
        if self.entries.len() >= self.sweep_at {
            self.sweep();
        }
        entry
    }

    fn depend(&mut self, (scope, id): Key, snapshot: &Snapshot) {
        for policy in &snapshot.policy_names {
            self.by_policy.entry((scope, policy.clone())).or_default().insert(id);
        }
        for thing in &snapshot.things {
            self.by_thing.entry((scope, thing.thing_name.clone())).or_default().insert(id);
            for group in &thing.thing_groups {
                self.by_thing_group.entry((scope, group.clone())).or_default().insert(id);
            }
        }
        if snapshot.more_things.is_some() {
            self.with_more_things.insert((scope, id));
        }
    }

    fn sweep(&mut self) {
        self.entries.retain(|_, entry| entry.strong_count() > 0);
        let entries = &self.entries;
        self.with_more_things.retain(|key| entries.contains_key(key));
        for index in [&mut self.by_policy, &mut self.by_thing, &mut self.by_thing_group] {
            index.retain(|(scope, _), ids| {
                ids.retain(|id| entries.contains_key(&(*scope, *id)));
                !ids.is_empty()
            });
        }
        self.sweep_at = (self.entries.len() * 2).max(1024);
    }
}

/// Stored documents were checked when they were created; one that no longer parses denies everything rather than be left
/// out, as it may hold a Deny.
fn parsed(attached: &AttachedPolicy) -> Result<Policy, Error> {
    let document = PolicyDocument::parse(&attached.document, &fleethaven_policy::Limits::default());
    let malformed = |error| Error::Malformed(format!("policy {}: {error}", attached.policy_name));
    Ok(Policy::new(attached.policy_name.as_str(), document.map_err(malformed)?))
}

fn anonymous() -> Entry {
    let document = PolicyDocument::parse(ANONYMOUS_POLICY, &fleethaven_policy::Limits::default());
    let policies = document.map(|document| vec![Policy::new("anonymous", document)]).unwrap_or_default();
    let snapshot = Snapshot {
        status: CertificateStatus::Active,
        policies: Arc::new(PolicySet::new(policies, PolicySettings::default())),
        ..Snapshot::deleted()
    };
    Entry::new(None, snapshot)
}

fn principal_view(reply: QueryReply) -> Result<PrincipalView, Error> {
    match reply {
        QueryReply::Principal(Some(view)) => Ok(*view),
        QueryReply::Principal(None) => Err(Error::NotRegistered),
        _ => Err(unexpected()),
    }
}

fn unavailable(error: fleethaven_fabric::metadata::Error) -> Error {
    Error::Unavailable(error.to_string())
}

fn unexpected() -> Error {
    Error::Unavailable("an answer of another kind".to_owned())
}
