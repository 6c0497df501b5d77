//! What is sent: a POST with the rule's headers, signed by SigV4 where the rule says so.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use fleethaven_fabric::traces::{TRACEPARENT, TraceContext};
use fleethaven_sigv4::{Credentials, PathEncoding, PayloadHash, RequestParts, Target, sign};
use http::header::{AUTHORIZATION, CONTENT_TYPE, Entry, HOST, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use serde_json::Value;

use crate::actions::batches::Item;
use crate::actions::{Error, Fields, Invocation};
use crate::connections::Connected;

/// Headers that say how a message travels: HTTP's own, which rules do not set.
const NOT_THE_RULES: &[&str] =
    &["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];

/// What a message, or a batch of them, comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) payload: Bytes,
    /// Whether the payload is JSON.
    pub(super) json: bool,
    /// Names as in the rule, values for the message.
    pub(super) headers: Vec<(String, String)>,
    /// The step that the request is below, where the message is traced.
    pub(super) below: Option<TraceContext>,
}

impl Item for Message {
    fn bytes(&self) -> usize {
        self.payload.len()
    }
}

impl Message {
    /// One message: an array of the payloads, with the headers of the last. Whatever the messages say, an array is JSON.
    pub(super) fn of_all(mut messages: Vec<Self>) -> Self {
        let bytes: usize = messages.iter().map(|message| message.payload.len() + 1).sum();
        let mut array = BytesMut::with_capacity(bytes + 1);
        for message in &messages {
            array.put_u8(if array.is_empty() { b'[' } else { b',' });
            array.put_slice(&message.payload);
        }
        array.put_u8(b']');
        let last = messages.pop();
        let below = last.as_ref().and_then(|last| last.below);
        let mut headers = last.map(|last| last.headers).unwrap_or_default();
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
        Self { payload: array.freeze(), json: true, headers, below }
    }
}

/// How a rule wants its requests signed.
pub(super) struct Signer {
    role: String,
    service: String,
    region: String,
}

impl Signer {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Option<Self>, String> {
        let sigv4 = fields.settings.get("auth").and_then(|auth| auth.get("sigv4"));
        let Some(settings) = sigv4.filter(|sigv4: &&Value| sigv4.is_object()) else { return Ok(None) };
        let sigv4 = Fields { settings, statement: fields.statement };
        Ok(Some(Self {
            role: sigv4.text("roleArn")?.to_owned(),
            service: sigv4.text("serviceName")?.to_owned(),
            region: sigv4.text("signingRegion")?.to_owned(),
        }))
    }

    /// With the credentials of the connection that the role stands for.
    pub(super) fn of(&self, invocation: &Invocation<'_>, url: &str) -> Result<Signing, Error> {
        let (account, rule) = (invocation.scope.account, invocation.input.rule_name);
        let found = invocation.outside.connections.find(account, &["http", "aws"], &self.role, rule);
        let denied = || {
            let role = &self.role;
            let reason =
                format!("AccessDenied: no connection of kind http or aws lets rule {rule} in under {role}");
            Error::permanent(url, reason)
        };
        let connected = found.filter(|found| found.connection.credentials.is_some()).ok_or_else(denied)?;
        Ok(Signing { connected, service: self.service.clone(), region: self.region.clone() })
    }
}

/// Who signs, and for what.
#[derive(Clone)]
pub(super) struct Signing {
    pub(super) connected: Arc<Connected>,
    service: String,
    region: String,
}

/// The request; the error says what is wrong with it.
pub(super) fn build(
    url: &str,
    message: &Message,
    signing: Option<&Signing>,
    now: u64,
) -> Result<Request<Bytes>, String> {
    let address: Uri = url.parse().map_err(|_| format!("'{url}' is no address"))?;
    let mut request = Request::new(message.payload.clone());
    *request.method_mut() = Method::POST;
    let default = if message.json { "application/json" } else { "application/octet-stream" };
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(default));
    for (name, value) in &message.headers {
        let wrong = || format!("the header '{name}' cannot be sent");
        let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong())?;
        if NOT_THE_RULES.contains(&name.as_str()) {
            return Err(format!("the header '{name}' is not for rules to set"));
        }
        let value = HeaderValue::try_from(value.as_str()).map_err(|_| wrong())?;
        request.headers_mut().insert(name, value);
    }
    if let Some(signing) = signing {
        let authority = address.authority().ok_or_else(|| format!("'{url}' names no host"))?;
        let host = HeaderValue::try_from(authority.as_str()).map_err(|_| format!("'{url}' names no host"))?;
        request.headers_mut().remove(AUTHORIZATION);
        request.headers_mut().insert(HOST, host);
        for (name, value) in signed(&request, &address, signing, now) {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            request.headers_mut().insert(name, value);
        }
    }
    // Unless the rule says another; no part of the signature, as what is between may go on with it.
    if let Some(below) = message.below
        && let Ok(value) = HeaderValue::try_from(below.to_string())
        && let Entry::Vacant(vacant) = request.headers_mut().entry(TRACEPARENT)
    {
        vacant.insert(value);
    }
    *request.uri_mut() = address;
    Ok(request)
}

/// The headers of the signature.
fn signed(
    request: &Request<Bytes>,
    address: &Uri,
    signing: &Signing,
    now: u64,
) -> Vec<(&'static str, String)> {
    let Some(key) = &signing.connected.connection.credentials else { return Vec::new() };
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let parts = RequestParts {
        method: "POST",
        path: address.path(),
        query: address.query().unwrap_or_default(),
        headers,
    };
    let credentials =
        Credentials { access_key_id: &key.id, secret_access_key: &key.secret.0, session_token: None };
    let once = signing.service == "s3";
    let path_encoding = if once { PathEncoding::Once } else { PathEncoding::Twice };
    let target = Target { region: &signing.region, service: &signing.service, path_encoding };
    sign(&parts, &credentials, &target, PayloadHash::of(request.body()), now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(headers: &[(&str, &str)]) -> Message {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Message { payload: Bytes::from_static(b"{}"), json: true, headers, below: None }
    }

    #[test]
    fn a_traced_message_names_its_step_unless_the_rule_names_another() {
        const STEP: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let sent = |headers: &[(&str, &str)]| {
            let message = Message { below: STEP.parse().ok(), ..message(headers) };
            build("https://a.example/", &message, None, 0).unwrap().headers()["traceparent"].clone()
        };
        assert_eq!(sent(&[]), STEP);
        assert_eq!(sent(&[("Traceparent", "own")]), "own");
        let untraced = build("https://a.example/", &message(&[]), None, 0).unwrap();
        assert!(!untraced.headers().contains_key("traceparent"));
    }

    #[test]
    fn a_batch_is_an_array_with_the_headers_of_the_last_message() {
        let of = |payload: &'static str| Message {
            payload: Bytes::from_static(payload.as_bytes()),
            ..message(&[("x", payload), ("Content-Type", "a/b")])
        };
        let all = Message::of_all(vec![of("1"), of("[2]")]);
        assert_eq!(all, Message { payload: Bytes::from_static(b"[1,[2]]"), ..message(&[("x", "[2]")]) });
    }

    #[test]
    fn a_rule_may_set_the_content_type_and_no_header_of_http_itself() {
        fn built(headers: &[(&str, &str)]) -> Result<Request<Bytes>, String> {
            build("https://a.example/x?y=z", &message(headers), None, 0)
        }
        let request = built(&[("X-Rule", "r 1")]).unwrap();
        assert_eq!((request.method(), request.uri().path()), (&Method::POST, "/x"));
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(request.headers()["x-rule"], "r 1");
        let request = built(&[("Content-TYPE", "text/plain")]).unwrap();
        assert_eq!(request.headers()["content-type"], "text/plain");
        for (name, value) in [("host", "b"), ("Transfer-Encoding", "chunked"), ("a b", "c"), ("a", "b\nc")] {
            assert!(built(&[(name, value)]).is_err(), "{name}: {value}");
        }
        let raw = Message { json: false, ..message(&[]) };
        let request = build("https://a.example", &raw, None, 0).unwrap();
        assert_eq!(request.headers()["content-type"], "application/octet-stream");
    }
}
