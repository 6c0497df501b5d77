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

use super::{NAMESPACE, escaped, role_of_arn, signer};
use crate::answer::{Answer, Outcome};
use crate::authentication::{Signed, session_keys};
use crate::call::Call;
use crate::error::Error;
use crate::permissions;

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
    let asked = Asked::read(&call.input.form()?)?;
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
    let (arn, id) = (escaped(&session.arn()), escaped(&session.user_id()));
    let (access_key, secret, token) = (&issued.access_key_id, &issued.secret_access_key.0, &issued.token.0);
    Ok(Answer::Xml(format!(
        "<AssumeRoleResponse xmlns=\"{NAMESPACE}\"><AssumeRoleResult><Credentials><AccessKeyId>{access_key}</AccessKeyId>\
         <SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{}</Expiration>\
         </Credentials><AssumedRoleUser><AssumedRoleId>{id}</AssumedRoleId><Arn>{arn}</Arn></AssumedRoleUser>\
         </AssumeRoleResult><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></AssumeRoleResponse>",
        issued.expiration, call.request_id
    )))
}

impl Asked {
    fn read(form: &[(String, String)]) -> Result<Self, Error> {
        let unheeded = |name: &str| UNHEEDED.iter().any(|known| name.starts_with(known));
        if let Some((name, _)) = form.iter().find(|(name, _)| unheeded(name)) {
            return Err(Error::invalid(format!("AssumeRole with '{name}' is not built")));
        }
        let value = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let required = |name: &str| {
            value(name)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| Error::invalid(format!("'{name}' is required")))
        };
        let (role_arn, session_name) = (required("RoleArn")?, required("RoleSessionName")?);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        if !(2..=64).contains(&session_name.len()) || !session_name.bytes().all(is_name) {
            return Err(Error::invalid("RoleSessionName must be 2 to 64 of \\w+=,.@-"));
        }
        let external_id = value("ExternalId");
        if external_id.as_ref().is_some_and(|id| !(2..=1224).contains(&id.len())) {
            return Err(Error::invalid("ExternalId must be 2 to 1224 characters"));
        }
        let not_a_number = |_| Error::invalid("DurationSeconds must be a number");
        let seconds = value("DurationSeconds").map(|text| text.parse().map_err(not_a_number)).transpose()?;
        let policy = value("Policy").unwrap_or_default();
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
