//! Custom authorizers, the default one, and asking one for a test (security.md section 6).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_authorizers::{Answer as Decision, Attempt, Connect, Endpoint, HttpRequest, Refusal};
use fleethaven_fabric::FunctionError;
use fleethaven_pki::TokenKey;
use fleethaven_registry::error::{Error as Refused, ErrorCode};
use fleethaven_registry::shapes::{
    AuthorizerDescription, AuthorizerStatus, AuthorizerSummary, CreateAuthorizer, UpdateAuthorizer,
};
use fleethaven_registry::{Action, QueryKind, QueryReply, Reply};
use serde_json::{Map, Value, json};

use super::expect_reply;
use super::tags::body_tags;
use crate::answer::{self, Answer, Outcome, members_of, seconds, word};
use crate::call::Call;
use crate::error::Error;
use crate::members::Members;

pub(super) async fn create(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let action = Action::CreateAuthorizer(Box::new(CreateAuthorizer {
        authorizer_name: call.input.label("authorizerName")?,
        authorizer_function_arn: body.required_string("authorizerFunctionArn")?,
        token_key_name: body.string("tokenKeyName")?,
        token_signing_public_keys: keys(&body)?.unwrap_or_default(),
        status: body.enumeration("status")?.unwrap_or(AuthorizerStatus::Inactive),
        signing_disabled: body.boolean("signingDisabled")?,
        enable_caching_for_http: body.boolean("enableCachingForHttp")?,
        tags: body_tags(&body)?,
    }));
    told(call, action).await
}

/// The keys by name, each an RSA key of at least 2048 bits.
fn keys(body: &Members<'_>) -> Result<Option<BTreeMap<String, String>>, Error> {
    let keys = body.string_map("tokenSigningPublicKeys")?;
    for (name, pem) in keys.iter().flatten() {
        let shown: String = name.chars().take(128).collect();
        TokenKey::parse_pem(pem).map_err(|error| Error::invalid(format!("the key '{shown}': {error}")))?;
    }
    Ok(keys)
}

pub(super) async fn update(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let caching = body.value("enableCachingForHttp").is_some();
    let action = Action::UpdateAuthorizer(Box::new(UpdateAuthorizer {
        authorizer_name: call.input.label("authorizerName")?,
        authorizer_function_arn: body.string("authorizerFunctionArn")?,
        token_key_name: body.string("tokenKeyName")?,
        token_signing_public_keys: keys(&body)?,
        status: body.enumeration("status")?,
        enable_caching_for_http: caching.then(|| body.boolean("enableCachingForHttp")).transpose()?,
    }));
    told(call, action).await
}

async fn told(call: &Call<'_>, action: Action) -> Outcome {
    let told = expect_reply!(call.execute(action).await?, Reply::Authorizer(told) => *told);
    Ok(Answer::Json(summary(told)))
}

/// An authorizer as listings tell it.
fn summary(AuthorizerSummary { authorizer_name, authorizer_arn }: AuthorizerSummary) -> Value {
    json!({"authorizerName": authorizer_name, "authorizerArn": authorizer_arn})
}

pub(super) async fn delete(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::DeleteAuthorizer(call.input.label("authorizerName")?)).await?;
    Ok(Answer::object())
}

pub(super) async fn describe(call: &Call<'_>) -> Outcome {
    described(call, QueryKind::DescribeAuthorizer(call.input.label("authorizerName")?)).await
}

pub(super) async fn describe_default(call: &Call<'_>) -> Outcome {
    described(call, QueryKind::DescribeDefaultAuthorizer).await
}

async fn described(call: &Call<'_>, query: QueryKind) -> Outcome {
    let found = expect_reply!(call.query(query).await?, QueryReply::Authorizer(found) => *found);
    Ok(Answer::of([("authorizerDescription", description(found))]))
}

fn description(found: AuthorizerDescription) -> Value {
    let keys: Map<String, Value> =
        found.token_signing_public_keys.into_iter().map(|(name, pem)| (name, pem.into())).collect();
    members_of([
        ("authorizerName", found.authorizer_name.into()),
        ("authorizerArn", found.authorizer_arn.into()),
        ("authorizerFunctionArn", found.authorizer_function_arn.into()),
        ("tokenKeyName", found.token_key_name.into()),
        ("tokenSigningPublicKeys", keys.into()),
        ("status", word(found.status)),
        ("creationDate", seconds(found.created_at)),
        ("lastModifiedDate", seconds(found.modified_at)),
        ("signingDisabled", found.signing_disabled.into()),
        ("enableCachingForHttp", found.enable_caching_for_http.into()),
    ])
}

pub(super) async fn list(call: &Call<'_>) -> Outcome {
    let query = QueryKind::ListAuthorizers {
        status: call.input.query_enumeration("status")?,
        ascending: call.input.query_boolean("isAscendingOrder")?,
        page: call.input.marker_page()?,
    };
    let page = expect_reply!(call.query(query).await?, QueryReply::Authorizers(page) => page);
    Ok(Answer::of([("authorizers", answer::list(page.items, summary)), ("nextMarker", page.next.into())]))
}

pub(super) async fn set_default(call: &Call<'_>) -> Outcome {
    let object = call.input.json()?;
    let name = Members::of_body(&object).required_string("authorizerName")?;
    told(call, Action::SetDefaultAuthorizer(name)).await
}

pub(super) async fn clear_default(call: &Call<'_>) -> Outcome {
    call.carry_out(Action::ClearDefaultAuthorizer).await?;
    Ok(Answer::object())
}

/// TestInvokeAuthorizer: the function is really called, whatever the authorizer's status.
pub(super) async fn test_invoke(call: &Call<'_>) -> Outcome {
    let query = QueryKind::DescribeAuthorizer(call.input.label("authorizerName")?);
    let authorizer = expect_reply!(call.query(query).await?, QueryReply::Authorizer(found) => *found);
    let object = call.input.json()?;
    let body = Members::of_body(&object);
    let token = bounded(&body, "token", 6144)?;
    let signature = bounded(&body, "tokenSignature", 2560)?;
    let attempt = Attempt {
        endpoint: Endpoint { scope: call.scope, named: false, domain: None },
        connection_id: call.request_id.to_string(),
        server_name: server_name(&body)?,
        http: http_context(&body)?,
        mqtt: mqtt_context(&body)?,
        certificate: None,
    };
    let presented = (token.as_deref(), signature.as_deref());
    let answered = call.state.authorizers.test(&authorizer, &attempt, presented).await;
    Ok(decision(answered.map_err(not_answered)?))
}

fn bounded(members: &Members<'_>, name: &str, most: usize) -> Result<Option<String>, Error> {
    let text = members.string(name)?;
    match text {
        Some(text) if text.is_empty() || text.chars().count() > most => {
            Err(Error::invalid(format!("'{name}' must have 1 to {most} characters")))
        }
        text => Ok(text),
    }
}

fn server_name(body: &Members<'_>) -> Result<Option<fleethaven_types::Utf8Bytes>, Error> {
    let Some(tls) = body.object("tlsContext")? else { return Ok(None) };
    Ok(bounded(&tls, "serverName", 253)?.map(Into::into))
}

/// Longest name and longest value of a header in `httpContext`, in characters.
const HEADER_CHARACTERS: usize = 8192;

fn http_context(body: &Members<'_>) -> Result<Option<HttpRequest>, Error> {
    let Some(http) = body.object("httpContext")? else { return Ok(None) };
    let headers = http.string_map("headers")?.unwrap_or_default();
    let fits = |text: &String| (1..=HEADER_CHARACTERS).contains(&text.chars().count());
    if !headers.iter().all(|(name, value)| fits(name) && fits(value)) {
        return Err(Error::invalid(format!(
            "names and values in 'headers' must have 1 to {HEADER_CHARACTERS} characters"
        )));
    }
    let headers = headers.into_iter().collect();
    let query = bounded(&http, "queryString", 4096)?.unwrap_or_default();
    let query = query.strip_prefix('?').unwrap_or(&query).to_owned();
    Ok(Some(HttpRequest { headers, query }))
}

fn mqtt_context(body: &Members<'_>) -> Result<Option<Connect>, Error> {
    let Some(mqtt) = body.object("mqttContext")? else { return Ok(None) };
    let decode =
        |text: String| STANDARD.decode(text).map_err(|_| Error::invalid("'password' must be base64"));
    let password = mqtt.string("password")?.map(decode).transpose()?;
    Ok(Some(Connect {
        username: bounded(&mqtt, "username", 65_535)?.map(Into::into),
        password: password.map(Into::into),
        client_id: bounded(&mqtt, "clientId", 65_535)?.map(Into::into),
    }))
}

fn decision(decision: Decision) -> Answer {
    if !decision.is_authenticated {
        return Answer::of([("isAuthenticated", false.into())]);
    }
    let documents = answer::list(decision.policy_documents, |document| document.text().into());
    Answer::of([
        ("isAuthenticated", true.into()),
        ("principalId", decision.principal_id.into()),
        ("policyDocuments", documents),
        ("refreshAfterInSeconds", decision.refresh_after.into()),
        ("disconnectAfterInSeconds", decision.disconnect_after.into()),
    ])
}

/// What the operator is told who tests an authorizer: everything.
fn not_answered(refusal: Refusal) -> Error {
    let message = refusal.to_string();
    match refusal {
        Refusal::Answer(_) | Refusal::Function(FunctionError::Failed(_) | FunctionError::TimedOut) => {
            Refused::new(ErrorCode::InvalidResponseException, message).into()
        }
        Refusal::Function(FunctionError::Throttled) => Error::Throttled,
        Refusal::Function(FunctionError::Unavailable(_)) | Refusal::Unavailable(_) => {
            Error::Unavailable(message)
        }
        _ => Error::invalid(message),
    }
}
