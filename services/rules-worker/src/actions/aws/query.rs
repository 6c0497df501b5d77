//! AWS's Query protocol, for CloudWatch: AWS's own client speaks nothing but CBOR there, which other servers do not.

use bytes::Bytes;
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::signed::{self, Outgoing};
use super::{Error, Service, is_transient};

/// What needs no encoding in a form or a path (RFC 3986: unreserved).
pub(super) const UNRESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An operation of a service.
pub(super) struct Operation {
    /// The name that is signed for, which is the host's at AWS.
    pub(super) service: &'static str,
    /// The version of the API.
    pub(super) version: &'static str,
    pub(super) name: &'static str,
}

/// Sends a request in the lane of the connection.
pub(super) async fn call(
    service: &Service<'_>,
    operation: &Operation,
    parameters: &[(&str, String)],
    told: (&str, &str),
) -> Result<(), Error> {
    let own = || format!("https://{}.{}.amazonaws.com/", operation.service, service.region);
    let outgoing = Outgoing {
        method: Method::POST,
        url: service.connected.connection.endpoint.clone().unwrap_or_else(own),
        service: Some(operation.service),
        content_type: "application/x-www-form-urlencoded",
        headers: Vec::new(),
        body: form(operation, parameters),
    };
    signed::send(service, outgoing, told, |answer| judge(answer.status(), answer.body())).await
}

fn form(operation: &Operation, parameters: &[(&str, String)]) -> Bytes {
    let mut form = format!("Action={}&Version={}", operation.name, operation.version);
    for (name, value) in parameters {
        form += &format!("&{name}={}", utf8_percent_encode(value, UNRESERVED));
    }
    form.into()
}

/// What went wrong, for people, and whether trying again can help.
fn judge(status: StatusCode, body: &[u8]) -> Result<(), (String, bool)> {
    if status.is_success() {
        return Ok(());
    }
    let body = String::from_utf8_lossy(body);
    let code = element(&body, "Code").unwrap_or_default();
    let reason = match element(&body, "Message") {
        Some(message) => format!("{code}: {message}"),
        None => format!("status {}", status.as_u16()),
    };
    Err((reason, is_transient(code, status.as_u16())))
}

/// The text of the first element of a name, in the flat documents that errors are.
fn element<'x>(xml: &'x str, name: &str) -> Option<&'x str> {
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    after.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded_and_errors_are_read() {
        let operation = Operation { service: "monitoring", version: "2010-08-01", name: "PutMetricData" };
        let form = form(&operation, &[("Namespace", "a b/c&d=ü".to_owned())]);
        assert_eq!(form, "Action=PutMetricData&Version=2010-08-01&Namespace=a%20b%2Fc%26d%3D%C3%BC");
        assert_eq!(judge(StatusCode::OK, b"<x/>"), Ok(()));
        let error =
            b"<ErrorResponse><Error><Code>Throttling</Code><Message>slow</Message></Error></ErrorResponse>";
        assert_eq!(judge(StatusCode::BAD_REQUEST, error), Err(("Throttling: slow".to_owned(), true)));
        assert_eq!(judge(StatusCode::NOT_FOUND, b"no"), Err(("status 404".to_owned(), false)));
        assert_eq!(judge(StatusCode::BAD_GATEWAY, b""), Err(("status 502".to_owned(), true)));
    }
}
