//! AssumeRole: temporary credentials for who a role trusts.

use fleethaven_operators::{Identity, LONGEST_SECS, Ruling, Session};
use fleethaven_policy::{
    Context, CustomKeys, Limits, PolicyDocument, Request, RequestedAction, Resource, Services, Trust,
    TrustPolicy, Verdict,
};
use fleethaven_registry::shapes::RoleDescription;
use fleethaven_registry::{Error as Refusal, ErrorCode, Query, QueryKind, QueryReply};
use fleethaven_types::{AccountId, Scope};
use uuid::Uuid;

use super::role_of_arn;
use crate::answer::Outcome;
use crate::authentication::{Signed, session_keys};
use crate::call::Call;
use crate::error::Error;
use crate::operations::Service;
use crate::permissions;
use crate::query_protocol::{self, Form, Xml, signer};

const ACTION: &str = "sts:AssumeRole";
const DEFAULT_SECS: u64 = 3600;
const SHORTEST_SECS: u64 = 900;
/// Whoever is a session already gets no longer ones: AWS's limit of role chaining.
const CHAINED_SECS: u64 = 3600;
/// Parameters that would change what is given out, and that nothing here heeds.
const UNHEEDED: &[&str] = &[
    "PolicyArns.",
    "ProvidedContexts.",
    "SerialNumber",
    "SourceIdentity",
    "Tags.",
    "TokenCode",
    "TransitiveTagKeys.",
];

/// What is asked for.
struct Asked {
    role_arn: String,
    session_name: String,
    seconds: Option<u64>,
    policy: String,
    external_id: Option<String>,
}

pub(super) async fn assume(call: &Call<'_>) -> Outcome {
    let asked = Asked::read(&Form::read(&call.input)?)?;
    let signed = signer(call)?;
    if signed.operator.is_root() {
        let message = "Roles may not be assumed by root accounts.".to_owned();
        return Err(Error::AccessDenied { message, by: None });
    }
    let role = match role_of_arn(&asked.role_arn) {
        Some((account, name)) => find(call, account, name).await?,
        None => None,
    };
    // What is not there is refused as what is not allowed.
    let role = role.ok_or_else(|| refused(signed, &asked.role_arn, None))?;
    authorize(call, signed, &role, &asked)?;
    let seconds = asked.seconds(&role, matches!(signed.operator.identity, Identity::Session(_)))?;
    let session =
        Session::of(&role, &asked.session_name, call.now.as_secs(), seconds).with_policy(&asked.policy);
    let keys = session_keys(call.state, false).await?;
    let key = keys.last().ok_or_else(|| Error::Unavailable("there is no key for sessions yet".to_owned()))?;
    let issued = session.issue(key, Uuid::new_v4().into_bytes());
    let credentials = Xml::default()
        .text("AccessKeyId", &issued.access_key_id)
        .text("SecretAccessKey", &issued.secret_access_key.0)
        .text("SessionToken", &issued.token.0)
        .text("Expiration", &issued.expiration);
    let user = Xml::default().text("AssumedRoleId", &session.user_id()).text("Arn", &session.arn());
    let result = Xml::default().within("Credentials", credentials).within("AssumedRoleUser", user);
    Ok(query_protocol::answer(Service::Sts, call, "AssumeRole", Some(result)))
}

impl Asked {
    fn read(form: &Form) -> Result<Self, Error> {
        if let Some(name) = form.beginning(UNHEEDED) {
            return Err(Error::invalid(format!("AssumeRole with '{name}' is not built")));
        }
        let role_arn = form.required("RoleArn")?.to_owned();
        let session_name = form.required("RoleSessionName")?.to_owned();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        if !(2..=64).contains(&session_name.len()) || !session_name.bytes().all(is_name) {
            return Err(Error::invalid("RoleSessionName must be 2 to 64 of \\w+=,.@-"));
        }
        let external_id = form.optional("ExternalId").map(str::to_owned);
        if external_id.as_ref().is_some_and(|id| !(2..=1224).contains(&id.len())) {
            return Err(Error::invalid("ExternalId must be 2 to 1224 characters"));
        }
        let seconds = form.number("DurationSeconds")?;
        let policy = form.optional("Policy").unwrap_or_default().to_owned();
        if !policy.is_empty() {
            let limits = Limits { services: Services::Any, total_characters: 2048, ..Limits::default() };
            let malformed = |error: fleethaven_policy::Error| {
                Refusal::new(ErrorCode::MalformedPolicyException, error.to_string())
            };
            PolicyDocument::parse(&policy, &limits).map_err(malformed)?;
        }
        Ok(Self { role_arn, session_name, seconds, policy, external_id })
    }

    fn seconds(&self, role: &RoleDescription, chained: bool) -> Result<u64, Error> {
        let longest = role.max_session_duration.min(LONGEST_SECS);
        let longest = if chained { longest.min(CHAINED_SECS) } else { longest };
        let seconds = self.seconds.unwrap_or(DEFAULT_SECS);
        if (SHORTEST_SECS..=longest).contains(&seconds) {
            return Ok(seconds);
        }
        Err(Error::invalid(format!(
            "DurationSeconds must be {SHORTEST_SECS} to {longest} for this role and caller"
        )))
    }
}

async fn find(call: &Call<'_>, account: AccountId, name: &str) -> Result<Option<RoleDescription>, Error> {
    let scope = Scope { account, region: call.scope.region };
    let query = Query::new(scope, QueryKind::GetRole(name.to_owned()));
    match call.state.metadata.query(query).await? {
        QueryReply::Role(role) => Ok(role.map(|role| *role)),
        _ => Err(Error::unexpected_reply()),
    }
}

/// The role must trust the caller, and the caller's own policies must allow it, too, unless the role's account is the caller's
/// and the trust policy names it.
fn authorize(call: &Call<'_>, signed: &Signed, role: &RoleDescription, asked: &Asked) -> Result<(), Error> {
    let operator = &signed.operator;
    let mut keys = permissions::keys(call, operator);
    keys.insert("sts:RoleSessionName", asked.session_name.as_str());
    keys.insert("aws:ResourceAccount", role.account.to_string());
    if let Some(id) = &asked.external_id {
        keys.insert("sts:ExternalId", id.as_str());
    }
    let context = context(call, &keys);
    // It was checked when it was stored.
    let limits = Limits { characters: usize::MAX, ..Limits::default() };
    let trust = TrustPolicy::parse(&role.assume_role_policy_document, &limits)
        .map_err(|error| Error::Internal(format!("the trust policy of a role cannot be read: {error}")))?;
    let trust = operator.identity.as_assumer(|who| trust.decide(who, ACTION, &context));
    let arn = role.arn();
    let request =
        Request { action: RequestedAction::named(ACTION), resource: Resource::Text(&arn), context: &context };
    let ruling = operator.decide(&request);
    let is_own = role.account == operator.identity.account();
    let allowed = match trust {
        Trust::Refused(_) => return Err(refused(signed, &arn, None)),
        Trust::Named if is_own => {
            ruling.verdict.is_allowed() || ruling.verdict == Verdict::ImplicitDeny && !ruling.by_boundary
        }
        Trust::Named | Trust::Delegated => ruling.verdict.is_allowed(),
    };
    if allowed { Ok(()) } else { Err(refused(signed, &arn, Some(&ruling))) }
}

fn context<'a>(call: &'a Call<'_>, keys: &'a CustomKeys) -> Context<'a> {
    Context { source_ip: Some(call.source_ip), custom: Some(keys), ..Context::default() }
}

fn refused(signed: &Signed, role_arn: &str, ruling: Option<&Ruling>) -> Error {
    let who = signed.operator.identity.arn();
    let shown: String = role_arn.chars().take(160).collect();
    let message = format!("User: {who} is not authorized to perform: {ACTION} on resource: {shown}");
    Error::AccessDenied { message, by: ruling.and_then(|ruling| ruling.by.clone()) }
}
