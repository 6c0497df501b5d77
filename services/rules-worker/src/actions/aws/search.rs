//! `openSearch` and `elasticsearch`: each message is a document of an index (rules-actions.md 5.11).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use http::{Method, Response};
use serde_json::Value;

use super::json::part;
use super::signed::{self, Outgoing};
use super::{Action, Error, Fields, Invocation, Service, is_transient};

/// Option of a connection: `basic` sends its user and password in place of a signature.
const AUTH: &str = "auth";

/// An openSearch or elasticsearch action with its templates parsed.
pub(super) struct Search {
    kind: &'static str,
    role: String,
    endpoint: Template,
    index: Template,
    document_type: Template,
    id: Template,
}

impl Search {
    pub(super) fn new(kind: &'static str, fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            kind,
            role: fields.text("roleArn")?.to_owned(),
            endpoint: fields.template("endpoint")?,
            index: fields.template("index")?,
            document_type: fields.template("type")?,
            id: fields.template("id")?,
        })
    }
}

impl Action for Search {
    fn name(&self) -> &'static str {
        "OpenSearchAction"
    }

    fn kind(&self) -> &str {
        self.kind
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let index = invocation.text(&self.index, "index", self.kind)?;
            let refused = |reason: &str| Error::permanent(index.as_str(), reason);
            if index.chars().any(char::is_uppercase) {
                return Err(refused("the name of an index is in lower case"));
            }
            let document_type = invocation.text(&self.document_type, "type", &index)?;
            let id = invocation.text(&self.id, "id", &index)?;
            if [&index, &document_type, &id].iter().any(|part| matches!(part.as_str(), "." | "..")) {
                return Err(refused("index, type and id are no dots"));
            }
            if !serde_json::from_slice::<Value>(&invocation.payload).is_ok_and(|payload| payload.is_object())
            {
                return Err(refused("the payload is no JSON object"));
            }
            let service = Service::of(invocation, "openSearch", &self.role, &index)?;
            let connection = &service.connected.connection;
            let basic = connection.options.get(AUTH).is_some_and(|auth| auth == "basic");
            let endpoint = match &connection.endpoint {
                Some(endpoint) => endpoint.clone(),
                // A password goes where an operator has said, and nowhere else.
                None if basic => {
                    return Err(refused("the connection has a password, and no endpoint to send it to"));
                }
                None => invocation.text(&self.endpoint, "endpoint", &index)?,
            };
            let path = [&index, &document_type, &id].map(|text| part(text)).join("/");
            let mut headers = Vec::new();
            if let Some(key) = connection.credentials.as_ref().filter(|_| basic) {
                let basic = STANDARD.encode(format!("{}:{}", key.id, key.secret.0));
                headers.push(("authorization", format!("Basic {basic}")));
            }
            let outgoing = Outgoing {
                method: Method::PUT,
                url: format!("{}/{path}", endpoint.trim_end_matches('/')),
                service: (!basic).then_some("es"),
                content_type: "application/json",
                headers,
                body: invocation.payload.clone(),
            };
            signed::send(&service, outgoing, (&index, "Failed to index document"), judge).await
        })
    }
}

/// `{"error": {"type": …, "reason": …}, "status": …}`, or a text.
fn judge(answer: &Response<Bytes>) -> Result<(), (String, bool)> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = |name: &str| body.get("error").and_then(|error| error.get(name)).and_then(Value::as_str);
    let reason = match (text("type"), text("reason")) {
        (Some(kind), Some(reason)) => format!("{kind}: {reason}"),
        _ => format!("status {}", status.as_u16()),
    };
    Err((reason, is_transient("", status.as_u16())))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_refusal_has_its_reason() {
        let answer = |status, body: &'static str| {
            let mut answer = Response::new(Bytes::from_static(body.as_bytes()));
            *answer.status_mut() = status;
            judge(&answer)
        };
        assert_eq!(answer(StatusCode::CREATED, ""), Ok(()));
        let body = r#"{"error":{"type":"mapper_parsing_exception","reason":"no"},"status":400}"#;
        let told = ("mapper_parsing_exception: no".to_owned(), false);
        assert_eq!(answer(StatusCode::BAD_REQUEST, body), Err(told));
        assert_eq!(answer(StatusCode::TOO_MANY_REQUESTS, "busy"), Err(("status 429".to_owned(), true)));
    }
}
