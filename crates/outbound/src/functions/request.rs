//! A call as an HTTP request.

use bytes::Bytes;
use fleethaven_fabric::Invocation;
use fleethaven_fabric::traces::TRACEPARENT;
use fleethaven_registry::shapes::{FunctionCredentials, FunctionKind};
use fleethaven_sigv4::{Credentials, PathEncoding, PayloadHash, RequestParts, Target as SigningTarget, sign};
use fleethaven_types::Timestamp;
use hmac::{Hmac, Mac};
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Request, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;
use uuid::Uuid;

use super::Target;

/// Whether the answer counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    RequestResponse,
    Event,
}

impl Kind {
    /// As Lambda calls it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::RequestResponse => "RequestResponse",
            Self::Event => "Event",
        }
    }
}

/// What stays as it is in a part of a path.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The request of one try; the error, for people, when the address or something in a header is none.
pub(super) fn build(
    call: &Invocation,
    target: &Target,
    kind: Kind,
    id: Uuid,
    now: Timestamp,
) -> Result<Request<Bytes>, String> {
    let mut request = match &target.target.kind {
        FunctionKind::Webhook { signing_secret } => {
            let secret = signing_secret.as_ref().map(|secret| secret.0.as_str()).unwrap_or_default();
            webhook(call, &target.target.url, kind, id, secret, now.as_secs())
        }
        FunctionKind::Lambda { credentials } => {
            lambda(call, &target.target.url, kind, credentials.as_ref(), now.as_secs())
        }
    }?;
    // No part of a signature: what is between may go on with the trace.
    if let Some(below) = call.below.and_then(|below| HeaderValue::try_from(below.to_string()).ok()) {
        request.headers_mut().insert(TRACEPARENT, below);
    }
    Ok(request)
}

/// A webhook gets the event, and beside it who calls, signed: HMAC-SHA256 of `<timestamp>.<body>`.
fn webhook(
    call: &Invocation,
    url: &str,
    kind: Kind,
    id: Uuid,
    secret: &str,
    now: u64,
) -> Result<Request<Bytes>, String> {
    let mut request =
        Request::post(address(url)?).body(call.payload.clone()).map_err(|error| error.to_string())?;
    let mut add = |name: &'static str, value: &str| -> Result<(), String> {
        let text = HeaderValue::from_str(value).map_err(|_| format!("{name} cannot be a header"))?;
        request.headers_mut().insert(HeaderName::from_static(name), text);
        Ok(())
    };
    add("content-type", "application/json")?;
    add("user-agent", "fleethaven")?;
    add("x-fleethaven-account", &call.scope.account.to_string())?;
    add("x-fleethaven-function-arn", &call.function_arn)?;
    add("x-fleethaven-invocation-type", kind.as_str())?;
    add("x-fleethaven-request-id", &id.to_string())?;
    add("x-fleethaven-source", call.source.as_str())?;
    add("x-fleethaven-source-arn", &call.source_arn)?;
    if let Some(trace) = &call.trace_id {
        add("x-trace-id", trace)?;
    }
    let timestamp = now.to_string();
    add("x-fleethaven-timestamp", &timestamp)?;
    // A webhook of the settings file may do without.
    if !secret.is_empty() {
        add("x-fleethaven-signature", &signature(secret, &timestamp, &call.payload))?;
    }
    Ok(request)
}

/// `v1=` and the HMAC in hexadecimal digits.
fn signature(secret: &str, timestamp: &str, body: &[u8]) -> String {
    // A key of any length will do.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    format!("v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// Lambda's Invoke API: `POST /2015-03-31/functions/<ARN>/invocations`.
fn lambda(
    call: &Invocation,
    url: &str,
    kind: Kind,
    credentials: Option<&FunctionCredentials>,
    now: u64,
) -> Result<Request<Bytes>, String> {
    let origin = url.trim_end_matches('/');
    let function = utf8_percent_encode(&call.function_arn, PART);
    let address = address(&format!("{origin}/2015-03-31/functions/{function}/invocations"))?;
    let host = address.authority().map(ToString::to_string).unwrap_or_default();
    let path = address.path().to_owned();
    let mut request = Request::post(address).body(call.payload.clone()).map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(HOST, HeaderValue::from_str(&host).map_err(|error| error.to_string())?);
    headers.insert("x-amz-invocation-type", HeaderValue::from_static(kind.as_str()));
    if let Some(FunctionCredentials { access_key_id, secret_access_key }) = credentials {
        let credentials =
            Credentials { access_key_id, secret_access_key: &secret_access_key.0, session_token: None };
        let region = call.function_arn.split(':').nth(3).unwrap_or_default();
        let target = SigningTarget { region, service: "lambda", path_encoding: PathEncoding::Twice };
        let parts = RequestParts {
            method: "POST",
            path: &path,
            query: "",
            headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
        };
        let added = sign(&parts, &credentials, &target, PayloadHash::of(&call.payload), now);
        for (name, value) in added {
            let value = HeaderValue::from_str(&value).map_err(|error| error.to_string())?;
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(request)
}

fn address(url: &str) -> Result<Uri, String> {
    url.parse().map_err(|error| format!("'{url}' is no address: {error}"))
}
