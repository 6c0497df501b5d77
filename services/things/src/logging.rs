//! AWS's log entries about requests to shadows and about provisioning, as far as accounts ask for them (operations.md
//! section 4).

use fleethaven_logging::{LogEvent, LogLevel, Logs};
use fleethaven_shadow::topic::{self, Operation};
use fleethaven_types::{Message, Publisher};

use crate::desk::Request;

/// What became of a request to a shadow; `refused`: why it was not carried out, with its code.
pub(crate) fn of_shadow(logs: &Logs, asked: &Request, refused: Option<(u16, &str)>) {
    if !logs.is_on() {
        return;
    }
    let event = match asked.operation {
        Operation::Get => LogEvent::GetThingShadow,
        Operation::Update => LogEvent::UpdateThingShadow,
        Operation::Delete => LogEvent::DeleteThingShadow,
    };
    let Some(entry) = logs.about(&asked.publisher, (event, level(refused.is_some())), asked.trace) else {
        return;
    };
    let entry = entry.over(protocol(&asked.publisher)).on(&topic::of(&asked.name, asked.operation.as_str()));
    let entry = entry.with("deviceShadowName", asked.name.shadow().unwrap_or(asked.name.thing()));
    logs.write(match refused {
        Some((code, message)) => entry.because(reason(code), message),
        None => entry,
    });
}

/// What became of a request to fleet provisioning.
pub(crate) fn of_provisioning(
    logs: &Logs,
    message: &Message,
    (template, certificate): (Option<&str>, Option<&str>),
    refused: Option<(u16, &str)>,
) {
    let event = (LogEvent::ProvisionDevice, level(refused.is_some()));
    let Some(mut entry) = logs.about(&message.publisher, event, message.trace_id()) else { return };
    entry = entry.over("MQTT").on(&message.topic);
    let named = [("provisioningTemplateName", template), ("deviceCertificateId", certificate)];
    for (name, value) in named {
        if let Some(value) = value {
            entry = entry.with(name, value);
        }
    }
    logs.write(match refused {
        Some((code, message)) => entry.because(reason(code), message),
        None => entry,
    });
}

fn level(failed: bool) -> LogLevel {
    if failed { LogLevel::Error } else { LogLevel::Info }
}

/// A client's own messages come over MQTT; what has no client was a request.
fn protocol(publisher: &Publisher) -> &'static str {
    if publisher.client_id.is_some() { "MQTT" } else { "HTTP" }
}

/// AWS's word for a refusal with this code.
fn reason(code: u16) -> &'static str {
    match code {
        401 | 403 => "AUTHORIZATION_FAILURE",
        429 => "THROTTLED",
        500.. => "SERVER_ERROR",
        _ => "CLIENT_ERROR",
    }
}
