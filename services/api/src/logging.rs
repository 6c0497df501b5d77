//! AWS's log entries about requests of the data plane and of the credentials provider, as far as accounts ask for them
//! (operations.md section 4).

use std::net::SocketAddr;

use fleethaven_logging::{Entry, LogEvent, LogLevel};
use fleethaven_sigv4::Error as SignatureError;
use fleethaven_types::{Publisher, Scope};
use serde_json::Value;
use uuid::Uuid;

use crate::answer::{Answer, Outcome};
use crate::api::State;
use crate::authentication::Principal;
use crate::call::Call;
use crate::error::Error;
use crate::operations::{Operation, Service};
use crate::peer::Peer;

/// The event that a request is, where it is one.
fn event_of(operation: &Operation) -> Option<LogEvent> {
    let event = match (operation.service, operation.name) {
        (Service::Data, "Publish") => LogEvent::PublishIn,
        (Service::Data, "GetRetainedMessage") => LogEvent::GetRetainedMessage,
        (Service::Data, "ListRetainedMessages") => LogEvent::ListRetainedMessage,
        (Service::Data, "DeleteConnection") => LogEvent::DeleteConnection,
        (Service::Data, "GetConnection") => LogEvent::GetConnection,
        (Service::Data, "ListSubscriptions") => LogEvent::ListSubscriptions,
        (Service::Data, "SendDirectMessage") => LogEvent::SendDirectMessage,
        (Service::Data, "GetThingShadow") => LogEvent::GetThingShadow,
        (Service::Data, "UpdateThingShadow") => LogEvent::UpdateThingShadow,
        (Service::Data, "DeleteThingShadow") => LogEvent::DeleteThingShadow,
        (Service::Credentials, _) => LogEvent::GetDeviceCredentials,
        _ => return None,
    };
    Some(event)
}

/// Tells what became of a request, where somebody wants to know: one relaxed load where nobody does.
pub(crate) async fn tell(call: &Call<'_>, operation: &Operation, peer: SocketAddr, outcome: &Outcome) {
    let logs = &call.state.logs;
    if !logs.is_on() {
        return;
    }
    let Some(event) = event_of(operation) else { return };
    let level = if outcome.is_ok() { LogLevel::Info } else { LogLevel::Error };
    let publisher = Publisher {
        scope: call.scope,
        client_id: call.input.label("clientId").ok().map(Into::into),
        principal: Some(principal(&call.principal).as_str().into()),
        source_ip: Some(call.source_ip),
        trace: 0,
    };
    let entry = logs.asked_about(&publisher, (event, level), trace(call, outcome)).await;
    let Some(entry) = entry else { return };
    let entry = Entry { source_port: Some(peer.port()), ..entry.over("HTTP") };
    let entry = with_details(entry, call, operation, outcome);
    logs.write(match outcome {
        Ok(_) => entry,
        Err(error) => entry.because(reason(error, operation.service), &error.reason()),
    });
}

/// Tells that nobody knows who has signed a request of the data plane, or a WebSocket, at an endpoint of `scope`.
pub(crate) fn tell_not_authenticated(state: &State, scope: Scope, peer: &Peer, error: &SignatureError) {
    if !state.logs.is_on() {
        return;
    }
    let publisher =
        Publisher { scope, client_id: None, principal: None, source_ip: Some(peer.address.ip()), trace: 0 };
    let (event, trace) = ((LogEvent::AuthNError, LogLevel::Error), Uuid::new_v4().as_u128());
    let Some(entry) = state.logs.about(&publisher, event, trace) else { return };
    let entry = Entry { source_port: Some(peer.address.port()), ..entry.over("HTTP") };
    let entry = match &peer.server_name {
        Some(name) => entry.with("serverNameIndication", name.as_str()),
        None => entry,
    };
    let entry = entry.with("authenticationType", "AWS_SIGV4");
    state.logs.write(entry.because(why_not_authenticated(error), &error.to_string()));
}

/// AWS's word for what is wrong with a signature.
fn why_not_authenticated(error: &SignatureError) -> &'static str {
    match error {
        SignatureError::Expired { .. } | SignatureError::TokenExpired(_) => "SECURITY_TOKEN_EXPIRED",
        SignatureError::SignatureDoesNotMatch | SignatureError::PayloadMismatch => {
            "SECURITY_TOKEN_SIGNATURE_MISMATCH"
        }
        SignatureError::Missing => "NOT_AUTHENTICATED",
        _ => "SECURITY_TOKEN_INVALID",
    }
}

fn principal(principal: &Principal) -> String {
    match principal {
        Principal::Operator(signed) => signed.principal_id(),
        Principal::Certificate(id) | Principal::Both(id, _) => id.clone(),
        Principal::Authorized(granted) => granted.principal_id.clone(),
    }
}

/// Of a message that was published its own trace, so that its deliveries and rules are found with it.
fn trace(call: &Call<'_>, outcome: &Outcome) -> u128 {
    let told = member(outcome, "traceId").and_then(Value::as_str);
    told.and_then(|id| id.parse::<Uuid>().ok()).unwrap_or(call.request_id).as_u128()
}

fn member<'o>(outcome: &'o Outcome, name: &str) -> Option<&'o Value> {
    match outcome {
        Ok(Answer::Json(answer)) => answer.get(name),
        _ => None,
    }
}

fn with_details(entry: Entry, call: &Call<'_>, operation: &Operation, outcome: &Outcome) -> Entry {
    let label = |name: &str| call.input.label(name).ok();
    let mut entry = match label("topic") {
        Some(topic) => entry.on(&topic),
        None => entry,
    };
    if operation.service == Service::Credentials {
        let certificate = entry.principal_id.clone().unwrap_or_default();
        entry = entry.with("deviceCertificateId", certificate);
        entry = entry.with("roleAlias", label("roleAlias").unwrap_or_default());
    }
    if operation.name == "Publish" && call.input.query("retain") == Some("true") {
        entry = entry.with("retain", "True");
    }
    if operation.name == "GetRetainedMessage" {
        let told = |name| member(outcome, name);
        let qos = told("qos").map(|qos| ("qos", Value::from(qos.to_string())));
        let changed = told("lastModifiedTime").map(|at| ("lastModifiedDate", at.clone()));
        for (name, value) in qos.into_iter().chain(changed) {
            entry = entry.with(name, value);
        }
    }
    if let Some(thing) = label("thingName") {
        let shadow = call.input.query("name").filter(|name| !name.is_empty());
        let verb = operation.name.trim_end_matches("ThingShadow").to_ascii_lowercase();
        let of = shadow.map_or_else(String::new, |name| format!("/name/{name}"));
        entry = entry.on(&format!("$aws/things/{thing}/shadow{of}/{verb}"));
        entry = entry.with("deviceShadowName", shadow.map_or(thing.as_str(), |name| name));
    }
    entry
}

/// AWS's word for a refusal.
fn reason(error: &Error, service: Service) -> &'static str {
    match error {
        Error::Forbidden(_) | Error::AccessDenied { .. } | Error::Authentication(_) => {
            "AUTHORIZATION_FAILURE"
        }
        Error::Throttled => "THROTTLED",
        _ if error.status(service) >= 500 => "SERVER_ERROR",
        _ => "CLIENT_ERROR",
    }
}
