//! Batches for systems that take them by HTTP: one POST, signed in by a user and a password, for a tenant.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_outbound::{Limits, OutboundError};
use fleethaven_registry::shapes::Connection;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, StatusCode};

use super::Error;
use crate::connections::Connected;
use crate::outside::Outside;

/// Bounds of one request.
const LIMITS: Limits = Limits { deadline: Duration::from_secs(5), max_response: 64 << 10 };
/// Most characters of an answer that an error message tells.
const TOLD: usize = 300;

/// Posts a body with the given headers to the connection's endpoint and `path` below it.
pub(super) async fn post(
    outside: &Outside,
    connected: &Connected,
    path: &str,
    headers: &[(&'static str, &'static str)],
    body: Bytes,
) -> Result<(), Error> {
    let connection = &connected.connection;
    let endpoint = connection.endpoint.as_deref().unwrap_or_default();
    let url = format!("{}{path}", if path.is_empty() { endpoint } else { endpoint.trim_end_matches('/') });
    let failed = |reason: String, transient| Error { transient, ..Error::permanent(url.as_str(), reason) };
    let request = request(connection, &url, headers, body).map_err(|reason| failed(reason, false))?;
    let http = connected.http(&outside.http).map_err(|reason| failed(reason, false))?;
    match http.send(request, LIMITS).await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => {
            let status = answer.status();
            let transient = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            let said: String = String::from_utf8_lossy(answer.body()).chars().take(TOLD).collect();
            Err(failed(format!("{url} answered {}: {}", status.as_u16(), said.trim()), transient))
        }
        Err(error) => {
            let transient = error.is_transient() && !matches!(error, OutboundError::Refused(_));
            Err(failed(format!("{url}: {error}"), transient))
        }
    }
}

fn request(
    connection: &Connection,
    url: &str,
    headers: &[(&'static str, &'static str)],
    body: Bytes,
) -> Result<Request<Bytes>, String> {
    let mut request = Request::builder().method(Method::POST).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if let Some(tenant) = connection.options.get("tenant") {
        request = request.header("x-scope-orgid", tenant);
    }
    if let Some(key) = &connection.credentials {
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", key.id, key.secret.0)));
        let mut value = HeaderValue::try_from(basic).map_err(|error| error.to_string())?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    request.body(body).map_err(|error| error.to_string())
}

/// Whether a name may be that of a label (or of a metric, with `:`) of Prometheus and Loki.
pub(super) fn is_name(name: &str, colons: bool) -> bool {
    let first = |b: u8| b.is_ascii_alphabetic() || b == b'_' || colons && b == b':';
    let mut bytes = name.bytes();
    bytes.next().is_some_and(first) && bytes.all(|b| first(b) || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prometheus() {
        for name in ["a", "_a9", "A_b"] {
            assert!(is_name(name, false), "{name}");
        }
        for name in ["", "9a", "a-b", "ü", "a:b"] {
            assert!(!is_name(name, false), "{name}");
        }
        assert!(is_name("a:b", true));
    }
}
