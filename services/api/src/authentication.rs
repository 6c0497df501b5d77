//! Whose request it is: the owner of the access key that signed it, or the client certificate of the
//! connection.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_authorizers::{Attempt, Certificate, Credentials, Endpoint, Granted, HttpRequest, Protocol};
use fleethaven_daemon::clock;
use fleethaven_operators::{Identity, Operator, Session, SessionError};
use fleethaven_registry::shapes::{Secret, SessionKey};
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_sigv4::{PayloadHash, Policy, Presented, RequestParts};
use fleethaven_types::{Region, Scope, Timestamp};
use http::request::Parts;
use tokio::time::Instant;
use uuid::Uuid;

use crate::api::State;
use crate::error::Error;
use crate::operations::{Operation, Service};
use crate::peer::{ClientCertificate, Peer};

/// For how long what is known of operators counts while the metadata store is out of reach, as for devices at a gateway.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// Who sends a request.
#[derive(Debug, Clone)]
pub(crate) enum Principal {
    /// An operator or application.
    Operator(Arc<Signed>),
    /// A device, by the id of its certificate.
    Certificate(String),
    /// Whom a custom authorizer has let in.
    Authorized(Arc<Granted>),
    /// A device, by the id of its certificate, whom a custom authorizer has let in as well.
    Both(String, Arc<Granted>),
}

impl Principal {
    /// As audit records tell it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Operator(signed) => signed.operator.identity.arn(),
            Self::Certificate(id) | Self::Both(id, _) => id.clone(),
            Self::Authorized(granted) => granted.principal_id.clone(),
        }
    }

    /// Custom authorizers decide about publishes only [custom-auth.md].
    pub(crate) fn may_ask_for(&self, operation: &Operation) -> Result<(), Error> {
        match self {
            Self::Authorized(granted) | Self::Both(_, granted) if operation.name != "Publish" => {
                Err(Error::Forbidden(format!(
                    "{} was let in by a custom authorizer, which goes for publishes only",
                    granted.principal_id
                )))
            }
            _ => Ok(()),
        }
    }
}

/// An operator, and the access key that it signs with.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) access_key_id: String,
    pub(crate) operator: Operator,
}

impl Signed {
    /// What messages and events call it: the account itself by its access key, others by their id, as at AWS.
    pub(crate) fn principal_id(&self) -> String {
        match &self.operator.identity {
            Identity::Root { .. } => self.access_key_id.clone(),
            other => other.user_id(),
        }
    }
}

/// What a request says of itself, before any of it is believed.
#[derive(Debug)]
pub(crate) enum Claim<'a> {
    /// Signed, in the header or the query.
    Signed(Box<Presented>),
    /// Not signed, on a connection with a client certificate.
    Certificate(&'a ClientCertificate),
    /// Neither, where a custom authorizer may decide; or where it is to decide about a certificate as well.
    Authorizer { endpoint: Endpoint, request: Box<HttpRequest>, certificate: Option<&'a ClientCertificate> },
}

impl<'a> Claim<'a> {
    /// A signature goes before a certificate.
    pub(crate) fn read(
        state: &State,
        head: &Parts,
        peer: &'a Peer,
        endpoint: &Endpoint,
    ) -> Result<Self, Error> {
        match (fleethaven_sigv4::parse(&parts(head)), &peer.certificate) {
            (Ok(presented), _) => Ok(Self::Signed(Box::new(presented))),
            (Err(fleethaven_sigv4::Error::Missing), Some(certificate))
                if endpoint.asks_about_certificates() =>
            {
                let request = Box::new(HttpRequest::of(head));
                Ok(Self::Authorizer { endpoint: endpoint.clone(), request, certificate: Some(certificate) })
            }
            (Err(fleethaven_sigv4::Error::Missing), Some(certificate)) => Ok(Self::Certificate(certificate)),
            (Err(fleethaven_sigv4::Error::Missing), None) => {
                let request = Box::new(HttpRequest::of(head));
                let decides = || request.names_authorizer() || state.authorizers.are_there(endpoint.scope);
                match head.uri.path().starts_with("/topics/") && decides() {
                    true => Ok(Self::Authorizer { endpoint: endpoint.clone(), request, certificate: None }),
                    false => Err(fleethaven_sigv4::Error::Missing.into()),
                }
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// The access key that is said to have signed.
    pub(crate) fn access_key_id(&self) -> Option<&str> {
        match self {
            Self::Signed(presented) => Some(&presented.access_key_id),
            Self::Certificate(_) | Self::Authorizer { .. } => None,
        }
    }

    /// Whether the endpoint takes such a request. What is not for devices has no endpoint.
    pub(crate) fn check(&self, endpoint: &Endpoint, protocol: Protocol) -> Result<(), Error> {
        let of_devices = |service| matches!(service, &Service::Data | &Service::Jobs);
        if !self.services().iter().any(of_devices) {
            return Ok(());
        }
        let taken = match self {
            Self::Signed(_) => endpoint.take(Credentials::Signature, protocol),
            Self::Certificate(_) | Self::Authorizer { certificate: Some(_), .. } => {
                endpoint.take(Credentials::Certificate, protocol)
            }
            Self::Authorizer { certificate: None, .. } => endpoint.take(Credentials::Neither, protocol),
        };
        taken.map_err(|reason| Error::Forbidden(reason.to_string()))
    }

    /// The services that the request may mean: the one it was signed for; a certificate's are those of
    /// devices.
    pub(crate) fn services(&self) -> &'static [Service] {
        match self {
            Self::Signed(presented) => match Service::signed_as(&presented.service) {
                Some(Service::Control) => &[Service::Control],
                Some(Service::Data) => &[Service::Data],
                Some(Service::Jobs) => &[Service::Jobs],
                Some(Service::Sts) => &[Service::Sts],
                Some(Service::Iam) => &[Service::Iam],
                Some(Service::Credentials) | None => &[],
            },
            Self::Certificate(_) => &[Service::Data, Service::Jobs, Service::Credentials],
            Self::Authorizer { .. } => &[Service::Data],
        }
    }
}

/// A claim whose account is known, waiting for the body that a signature covers.
#[derive(Debug)]
pub(crate) enum Candidate {
    Signed { presented: Box<Presented>, signed: Arc<Signed>, secret: Secret },
    Certificate { scope: Scope, certificate_id: String },
    Authorized { scope: Scope, granted: Arc<Granted>, certificate_id: Option<String> },
}

/// Looks up the access key or certificate, so that strangers are refused before their body is read.
pub(crate) async fn look_up(state: &State, claim: Claim<'_>, peer: &Peer) -> Result<Candidate, Error> {
    match claim {
        Claim::Signed(presented) => {
            let (operator, secret) = match &presented.session_token {
                Some(token) => session(state, &presented.access_key_id, token).await?,
                None => key_owner(state, &presented.access_key_id).await?,
            };
            let signed = Arc::new(Signed { access_key_id: presented.access_key_id.clone(), operator });
            Ok(Candidate::Signed { presented, signed, secret })
        }
        Claim::Certificate(certificate) => {
            let scope = certificate_scope(state, certificate, peer).await?;
            Ok(Candidate::Certificate { scope, certificate_id: certificate.certificate_id.clone() })
        }
        Claim::Authorizer { endpoint, request, certificate } => {
            let scope = match certificate {
                Some(certificate) => certificate_scope(state, certificate, peer).await?,
                None => endpoint.scope,
            };
            let granted = authorized(state, endpoint, *request, certificate, peer).await?;
            let certificate_id = certificate.map(|certificate| certificate.certificate_id.clone());
            Ok(Candidate::Authorized { scope, granted, certificate_id })
        }
    }
}

/// What a custom authorizer allows the sender of a request: its last answer on this connection where that still holds.
async fn authorized(
    state: &State,
    endpoint: Endpoint,
    request: HttpRequest,
    certificate: Option<&ClientCertificate>,
    peer: &Peer,
) -> Result<Arc<Granted>, Error> {
    if let Some(granted) = peer.remembered.find(&request, Instant::now()) {
        return Ok(granted);
    }
    let attempt = Attempt {
        endpoint,
        connection_id: Uuid::new_v4().to_string(),
        server_name: peer.server_name.as_deref().map(Into::into),
        http: Some(request),
        mqtt: None,
        certificate: certificate.map(|proved| Certificate {
            pem: proved.pem.clone().unwrap_or_default(),
            certificate_id: proved.certificate_id.clone(),
        }),
    };
    let asked = tokio::time::timeout(fleethaven_authorizers::DEADLINE, state.authorizers.authorize(&attempt));
    let answered =
        asked.await.map_err(|_| Error::Forbidden("the authorizer did not answer in time".to_owned()))?;
    let granted = Arc::new(answered.map_err(|refusal| Error::Forbidden(refusal.to_string()))?);
    if let Some(request) = &attempt.http {
        peer.remembered.keep(request, &granted, Instant::now());
    }
    Ok(granted)
}

/// What this process knows, unless it has been out of touch with the metadata store for too long: then it may have missed that a key
/// was deactivated, or a policy changed.
fn known_here(state: &State, query: &Query) -> Option<QueryReply> {
    let current = state.metadata.staleness() <= STALE_AFTER;
    current.then(|| state.metadata.query_local(query.clone()).ok()).flatten()
}

/// The owner of a long-term key, and its secret. An inactive key is as good as none.
async fn key_owner(state: &State, id: &str) -> Result<(Operator, Secret), Error> {
    let unknown = || Error::from(fleethaven_sigv4::Error::UnknownAccessKey(id.to_owned()));
    let query = Query::new(state.config.default_scope, QueryKind::AccessKey(id.to_owned()));
    // What this node has applied is enough to know a key; that there is none must come from the leader.
    let known = match known_here(state, &query) {
        Some(QueryReply::AccessKey(Some(owner))) if owner.active => Some(owner),
        _ => match state.metadata.query(query).await? {
            QueryReply::AccessKey(owner) => owner.filter(|owner| owner.active),
            _ => return Err(Error::unexpected_reply()),
        },
    };
    let owner = *known.ok_or_else(unknown)?;
    let operator = match &owner.user {
        Some(user) => Operator::user(user, |name, text| state.policies.compiled(name, text))?,
        None => Operator::root(owner.account),
    };
    Ok((operator, owner.secret_access_key))
}

/// Who has assumed a role, and the secret of its temporary credentials. Its role must be there still.
async fn session(state: &State, access_key_id: &str, token: &str) -> Result<(Operator, Secret), Error> {
    let id = || access_key_id.to_owned();
    let unknown = || Error::from(fleethaven_sigv4::Error::UnknownAccessKey(id()));
    let now = clock::now().as_secs();
    let open = |keys: &[SessionKey]| Session::open(token, access_key_id, keys, now);
    let mut opened = open(&session_keys(state, true).await?);
    if let Err(SessionError::UnknownKey(_)) = opened {
        opened = open(&session_keys(state, false).await?);
    }
    let (session, secret) = opened.map_err(|error| match error {
        SessionError::Expired => fleethaven_sigv4::Error::TokenExpired(id()).into(),
        SessionError::Invalid | SessionError::UnknownKey(_) => unknown(),
    })?;
    let scope = Scope { account: session.account, region: state.config.default_scope.region };
    let query = Query::new(scope, QueryKind::GetRole(session.role_name.clone()));
    let is_its = |reply: &QueryReply| match reply {
        QueryReply::Role(Some(role)) => role.role_id == session.role_id,
        _ => false,
    };
    let reply = match known_here(state, &query) {
        Some(reply) if is_its(&reply) => reply,
        _ => state.metadata.query(query).await?,
    };
    match reply {
        QueryReply::Role(Some(role)) if role.role_id == session.role_id => {
            let operator =
                Operator::session(session, &role, |name, text| state.policies.compiled(name, text))?;
            Ok((operator, secret))
        }
        _ => Err(unknown()),
    }
}

/// The keys of sessions; what this node knows of them may be enough.
pub(crate) async fn session_keys(state: &State, local_will_do: bool) -> Result<Vec<SessionKey>, Error> {
    let query = Query::new(state.config.default_scope, QueryKind::SessionKeys);
    if local_will_do && let Some(QueryReply::SessionKeys(keys)) = known_here(state, &query) {
        return Ok(keys);
    }
    match state.metadata.query(query).await? {
        QueryReply::SessionKeys(keys) => Ok(keys),
        _ => Err(Error::unexpected_reply()),
    }
}

/// The account and region of a certificate: what the listener found out, or the owner that the server name
/// tells, or the default one, or the only one.
async fn certificate_scope(
    state: &State,
    certificate: &ClientCertificate,
    peer: &Peer,
) -> Result<Scope, Error> {
    if let Some(scope) = certificate.scope {
        return Ok(scope);
    }
    let certificate_id = certificate.certificate_id.clone();
    let default = state.config.default_scope;
    let query = Query::new(default, QueryKind::CertificateOwners { certificate_id });
    let QueryReply::Scopes(owners) = state.metadata.query(query).await? else {
        return Err(Error::unexpected_reply());
    };
    let label = peer.server_name.as_deref().and_then(|name| name.split('.').next());
    let named = label.and_then(|label| label.parse().ok());
    let account = named.unwrap_or(default.account);
    let of_account: Vec<Scope> = owners.iter().copied().filter(|owner| owner.account == account).collect();
    let preferred = Scope { account, region: default.region };
    match (of_account.as_slice(), owners.as_slice()) {
        (mine, _) if mine.contains(&preferred) => Ok(preferred),
        ([only], _) => Ok(*only),
        ([], [only]) if named.is_none() => Ok(*only),
        _ => Err(Error::Forbidden(format!(
            "the certificate {} is not registered in one account and region that the connection tells",
            certificate.certificate_id
        ))),
    }
}

/// Believes the candidate or not. `body` is the whole body as received.
pub(crate) fn verify(
    state: &State,
    candidate: &Candidate,
    head: &Parts,
    body: &Bytes,
    now: Timestamp,
) -> Result<(Scope, Principal), Error> {
    match candidate {
        Candidate::Certificate { scope, certificate_id } => {
            Ok((*scope, Principal::Certificate(certificate_id.clone())))
        }
        Candidate::Authorized { scope, granted, certificate_id } => {
            let granted = granted.clone();
            Ok((
                *scope,
                match certificate_id {
                    Some(id) => Principal::Both(id.clone(), granted),
                    None => Principal::Authorized(granted),
                },
            ))
        }
        Candidate::Signed { presented, signed, secret } => {
            let default_region = state.config.default_scope.region;
            // `iam` has no regions: its clients sign for us-east-1 wherever they are.
            let is_regional = Service::signed_as(&presented.service) != Some(Service::Iam);
            let is_bound = state.config.single_region && is_regional;
            let region = is_bound.then_some(default_region.as_str());
            let services = accepted_services(&presented.service);
            let policy = Policy { region, ..Policy::new(&services) };
            let payload = PayloadHash::of(body);
            let request = parts(head);
            fleethaven_sigv4::verify(presented, &request, &secret.0, payload, now.as_secs(), &policy)?;
            let region: Region = presented
                .region
                .parse()
                .map_err(|_| fleethaven_sigv4::Error::Region(presented.region.clone()))?;
            let scope = Scope { account: signed.operator.identity.account(), region };
            Ok((scope, Principal::Operator(signed.clone())))
        }
    }
}

/// The names of the service that was signed for, or of all when it is none of ours, for the error to list.
fn accepted_services(service: &str) -> Vec<&'static str> {
    match Service::signed_as(service) {
        Some(service) => service.signing_names().to_vec(),
        None => Service::ALL.iter().flat_map(|service| service.signing_names()).copied().collect(),
    }
}

/// Whether there is a signature, rightly made or not.
pub(crate) fn is_signed(head: &Parts) -> bool {
    !matches!(fleethaven_sigv4::parse(&parts(head)), Err(fleethaven_sigv4::Error::Missing))
}

/// A domain configuration's name is for its own account.
pub(crate) fn check_account(endpoint: &Endpoint, scope: Scope) -> Result<(), Error> {
    match endpoint.named && endpoint.scope.account != scope.account {
        true => Err(Error::Forbidden("the endpoint is another account's".to_owned())),
        false => Ok(()),
    }
}

/// What a signature covers. HTTP/2 has the host in the URI.
fn parts(head: &Parts) -> RequestParts<'_> {
    let mut headers: Vec<(&str, &[u8])> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    if !head.headers.contains_key(http::header::HOST)
        && let Some(authority) = head.uri.authority()
    {
        headers.push(("host", authority.as_str().as_bytes()));
    }
    let path = if head.uri.path().is_empty() { "/" } else { head.uri.path() };
    let query = head.uri.query().unwrap_or_default();
    RequestParts { method: head.method.as_str(), path, query, headers }
}

/// The peer's address as policies see it.
pub(crate) fn source_ip(peer: &Peer) -> IpAddr {
    peer.address.ip().to_canonical()
}
