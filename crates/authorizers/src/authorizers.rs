//! Asks the authorizer about a client.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_fabric::{FunctionError, Functions, Invocation, Metadata, Source, metadata};
use fleethaven_pki::TokenKey;
use fleethaven_policy::Policy;
use fleethaven_registry::error::ErrorCode;
use fleethaven_registry::shapes::{AuthorizerDescription, AuthorizerStatus, PageRequest};
use fleethaven_registry::{Query, QueryKind, QueryReply};
use fleethaven_types::{AccountLimits, Scope};

use crate::answer::{Answer, Invalid};
use crate::attempt::Attempt;
use crate::endpoint::Endpoint;
use crate::event::event;

/// How long a function may take.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Characters of a name that are looked at: one more than any authorizer's name has.
const NAME_SHOWN: usize = 129;

/// What an authorizer allows a client.
#[derive(Debug, Clone)]
pub struct Granted {
    /// Who the client is, as the function says.
    pub principal_id: String,
    /// What it may do.
    pub policies: Vec<Policy>,
    /// From the connection's begin to its end.
    pub disconnect_after: Duration,
    /// Until the function is to be asked again.
    pub refresh_after: Duration,
    /// Further requests of the same HTTP connection need not be asked about meanwhile.
    pub holds_for_http: bool,
}

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither the client nor its endpoint names an authorizer.
    #[error("CUSTOM_AUTHORIZER_NOT_FOUND: no authorizer is named, and there is no default one")]
    NoAuthorizer,
    /// The client names an authorizer where it may not.
    #[error("CUSTOM_AUTHORIZER_OVERRIDE: clients of this domain may name no authorizer, not even '{0}'")]
    Override(String),
    /// The authorizer that is named does not exist.
    #[error("CUSTOM_AUTHORIZER_NOT_FOUND: there is no authorizer '{0}'")]
    Unknown(String),
    /// The authorizer is not active.
    #[error("CUSTOM_AUTHORIZER_INACTIVE: the authorizer '{0}' is not active")]
    Inactive(String),
    /// The token or its signature is absent.
    #[error("CUSTOM_AUTHORIZER_TOKEN_MISSING: the authorizer '{0}' needs a token and its signature")]
    NoToken(String),
    /// None of the authorizer's keys has signed the token.
    #[error("CUSTOM_AUTHORIZER_SIGNATURE_INVALID: no key of the authorizer '{0}' has signed the token")]
    Signature(String),
    /// The function says no.
    #[error("CUSTOM_AUTHORIZER_REFUSED: the authorizer '{0}' does not authenticate the client")]
    NotAuthenticated(String),
    /// The function's answer cannot be used.
    #[error("CUSTOM_AUTHORIZER_RESPONSE_INVALID: {0}")]
    Answer(#[from] Invalid),
    /// There is no answer.
    #[error("CUSTOM_AUTHORIZER_FAILED: {0}")]
    Function(#[from] FunctionError),
    /// The metastore cannot be asked which authorizers there are.
    #[error("INTERNAL_SERVER_ERROR: {0}")]
    Unavailable(String),
}

impl Refusal {
    /// Whether what the client presented is to blame: CONNACK says "bad user name or password" rather than "not authorized".
    pub fn blames_credentials(&self) -> bool {
        matches!(self, Self::NoToken(_) | Self::Signature(_) | Self::NotAuthenticated(_))
    }
}

/// All authorizers, and the functions behind them.
pub struct Authorizers {
    metadata: Arc<dyn Metadata>,
    functions: Arc<dyn Functions>,
    limits: AccountLimits,
}

impl Authorizers {
    /// Authorizers of `metadata` whose functions `functions` calls. Of `limits`, the shortest interval that a function may name
    /// for a refresh or the end of a connection counts.
    pub fn new(metadata: Arc<dyn Metadata>, functions: Arc<dyn Functions>, limits: AccountLimits) -> Self {
        Self { metadata, functions, limits }
    }

    /// The endpoint that a server name means.
    pub fn endpoint(&self, server_name: Option<&str>, default: Scope) -> Endpoint {
        Endpoint::of(&*self.metadata, server_name, default)
    }

    /// Whether any authorizer could decide about clients of this account, by what this node knows.
    pub fn are_there(&self, scope: Scope) -> bool {
        let (status, page) = (Some(AuthorizerStatus::Active), PageRequest { token: None, limit: Some(1) });
        let query = QueryKind::ListAuthorizers { status, ascending: true, page };
        match self.metadata.query_local(Query::new(scope, query)) {
            Ok(QueryReply::Authorizers(found)) => !found.items.is_empty(),
            _ => false,
        }
    }

    /// Asks about a client. A bad signature is refused without asking.
    ///
    /// # Errors
    ///
    /// Why the client is not let in.
    pub async fn authorize(&self, attempt: &Attempt) -> Result<Granted, Refusal> {
        let authorizer = self.select(attempt).await?;
        let name = &authorizer.authorizer_name;
        let (token, verified) = token(&authorizer, attempt)?;
        let event = event(attempt, token.as_deref(), verified);
        let certificate_id =
            attempt.certificate.as_ref().map(|certificate| certificate.certificate_id.as_str());
        let answer = self
            .ask(attempt.endpoint.scope, &authorizer, event, certificate_id, &attempt.connection_id)
            .await?;
        if !answer.is_authenticated {
            return Err(Refusal::NotAuthenticated(name.clone()));
        }
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
        let (disconnect_after, refresh_after) =
            (seconds(answer.disconnect_secs()), seconds(answer.refresh_secs()));
        let documents = answer.policy_documents.into_iter().enumerate();
        let named = |(index, document)| Policy::new(format!("{name}#{}", index + 1), document);
        Ok(Granted {
            principal_id: answer.principal_id,
            policies: documents.map(named).collect(),
            disconnect_after,
            refresh_after,
            holds_for_http: authorizer.enable_caching_for_http,
        })
    }

    /// Asks the authorizer's function whatever its status is: what TestInvokeAuthorizer does. `signature` is base64.
    ///
    /// # Errors
    ///
    /// Why there is no answer, or none that can be used.
    pub async fn test(
        &self,
        authorizer: &AuthorizerDescription,
        attempt: &Attempt,
        (given, signature): (Option<&str>, Option<&str>),
    ) -> Result<Answer, Refusal> {
        let verified = match authorizer.signing_disabled {
            true => false,
            false => verify(authorizer, given, signature)?,
        };
        let event = event(attempt, given, verified);
        self.ask(attempt.endpoint.scope, authorizer, event, None, &attempt.connection_id).await
    }

    async fn ask(
        &self,
        scope: Scope,
        authorizer: &AuthorizerDescription,
        payload: Bytes,
        certificate_id: Option<&str>,
        connection_id: &str,
    ) -> Result<Answer, Refusal> {
        let call = Invocation {
            scope,
            function_arn: authorizer.authorizer_function_arn.clone(),
            payload,
            source: Source::Authorizer,
            source_arn: authorizer.authorizer_arn.clone(),
            trace_id: Some(connection_id.to_owned()),
            below: None,
            deadline: DEADLINE,
        };
        let answer = self.functions.invoke(call).await?;
        let least_secs = self.limits.of(scope.account).authorizer_interval_min_secs;
        Ok(Answer::read(&answer, certificate_id, least_secs)?)
    }

    /// The authorizer that the client names, or the domain's default one, or the account's.
    async fn select(&self, attempt: &Attempt) -> Result<AuthorizerDescription, Refusal> {
        let domain = attempt.endpoint.domain.as_deref();
        let named = attempt.authorizer_name().map(|name| name.chars().take(NAME_SHOWN).collect::<String>());
        if let (Some(name), Some(false)) = (&named, domain.map(|domain| domain.allow_authorizer_override)) {
            return Err(Refusal::Override(name.clone()));
        }
        let named = named.or_else(|| domain?.default_authorizer_name.clone());
        let query = match &named {
            Some(name) => QueryKind::DescribeAuthorizer(name.clone()),
            None => QueryKind::DescribeDefaultAuthorizer,
        };
        let query = Query::new(attempt.endpoint.scope, query);
        let known = self.metadata.query_local(query.clone()).ok().and_then(active);
        if let Some(authorizer) = known {
            return Ok(authorizer);
        }
        // What is not known here may be known by now, or may be active.
        match self.metadata.query(query).await {
            Ok(QueryReply::Authorizer(found)) if found.status == AuthorizerStatus::Active => Ok(*found),
            Ok(QueryReply::Authorizer(found)) => Err(Refusal::Inactive(found.authorizer_name)),
            Ok(_) => Err(Refusal::Unavailable("an answer of another kind".to_owned())),
            Err(metadata::Error::Refused(error)) if is_absence(error.code) => Err(match named {
                Some(name) => Refusal::Unknown(name),
                None => Refusal::NoAuthorizer,
            }),
            Err(error) => Err(Refusal::Unavailable(error.to_string())),
        }
    }
}

/// A name that none can have is as good as one that none has.
fn is_absence(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::ResourceNotFoundException | ErrorCode::InvalidRequestException)
}

fn active(reply: QueryReply) -> Option<AuthorizerDescription> {
    match reply {
        QueryReply::Authorizer(found) if found.status == AuthorizerStatus::Active => Some(*found),
        _ => None,
    }
}

type Token = (Option<String>, bool);

/// The token that the function gets, and whether its signature was checked.
fn token(authorizer: &AuthorizerDescription, attempt: &Attempt) -> Result<Token, Refusal> {
    let key_name = authorizer.token_key_name.as_deref();
    let token = key_name.and_then(|name| attempt.value(name));
    let verified = match authorizer.signing_disabled {
        true => false,
        false => verify(authorizer, token.as_deref(), attempt.signature().as_deref())?,
    };
    Ok((token.map(std::borrow::Cow::into_owned), verified))
}

/// Whether one of the keys has signed the token; anything else is a refusal.
fn verify(
    authorizer: &AuthorizerDescription,
    token: Option<&str>,
    signature: Option<&str>,
) -> Result<bool, Refusal> {
    let name = || authorizer.authorizer_name.clone();
    let (Some(token), Some(signature)) = (token, signature) else { return Err(Refusal::NoToken(name())) };
    let signature = STANDARD.decode(signature.trim()).map_err(|_| Refusal::Signature(name()))?;
    let keys = authorizer.token_signing_public_keys.values();
    let signed =
        |pem: &String| TokenKey::parse_pem(pem).is_ok_and(|key| key.has_signed(token.as_bytes(), &signature));
    if keys.into_iter().any(signed) { Ok(true) } else { Err(Refusal::Signature(name())) }
}

#[cfg(test)]
pub(crate) mod tests;
