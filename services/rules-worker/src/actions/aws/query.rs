//! AWS's Query protocol, for CloudWatch: AWS's own client speaks nothing but CBOR there, which other servers do not.

use bytes::Bytes;
use fleethaven_outbound::OutboundError;
use fleethaven_sigv4::{Credentials, PathEncoding, PayloadHash, RequestParts, Target, sign};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::connector::LIMITS;
use super::{Error, Service, is_transient};

const FORM: &str = "application/x-www-form-urlencoded";
/// What needs no encoding in a form (RFC 3986: unreserved).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
    (resource, doing): (&str, &str),
) -> Result<(), Error> {
    let failed = |reason: String, transient| {
        let message = format!("{doing}. The error received was {reason}");
        Error { transient, ..Error::permanent(resource, message) }
    };
    service
        .in_lane(resource, async {
            let request = request(service, operation, parameters).map_err(|reason| failed(reason, false))?;
            match service.invocation.outside.http.send(request, LIMITS).await {
                Ok(answer) => {
                    judge(answer.status(), answer.body()).map_err(|(why, again)| failed(why, again))
                }
                Err(error) => {
                    let transient = error.is_transient() && !matches!(error, OutboundError::Refused(_));
                    Err(failed(error.to_string(), transient))
                }
            }
        })
        .await
}

fn request(
    service: &Service<'_>,
    operation: &Operation,
    parameters: &[(&str, String)],
) -> Result<Request<Bytes>, String> {
    let connection = &service.connected.connection;
    let own = || format!("https://{}.{}.amazonaws.com/", operation.service, service.region);
    let address = connection.endpoint.clone().unwrap_or_else(own);
    let address: Uri = address.parse().map_err(|_| format!("'{address}' is no address"))?;
    let host = address.authority().ok_or("the endpoint names no host")?;
    let host = HeaderValue::try_from(host.as_str()).map_err(|error| error.to_string())?;
    let mut request = Request::new(form(operation, parameters));
    *request.method_mut() = Method::POST;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(FORM));
    request.headers_mut().insert(HOST, host);
    if let Some(key) = &connection.credentials {
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let parts = RequestParts {
            method: "POST",
            path: address.path(),
            query: address.query().unwrap_or_default(),
            headers: headers.collect(),
        };
        let credentials =
            Credentials { access_key_id: &key.id, secret_access_key: &key.secret.0, session_token: None };
        let target = Target {
            region: &service.region,
            service: operation.service,
            path_encoding: PathEncoding::Twice,
        };
        let hash = PayloadHash::of(request.body());
        for (name, value) in sign(&parts, &credentials, &target, hash, service.invocation.now.as_secs()) {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            request.headers_mut().insert(name, value);
        }
    }
    *request.uri_mut() = address;
    Ok(request)
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
