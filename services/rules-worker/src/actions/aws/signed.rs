//! Requests that no client of AWS's makes for us: signed by the connection's key, sent in its lane.

use bytes::Bytes;
use fleethaven_outbound::OutboundError;
use fleethaven_sigv4::{Credentials, PathEncoding, PayloadHash, RequestParts, Target, sign};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};

use super::connector::LIMITS;
use super::{Error, Service};

/// A request to a service.
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) url: String,
    /// The name of the service that is signed for; `None`: it is not signed.
    pub(super) service: Option<&'a str>,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

/// Sends it in the lane of the connection. `doing` begins the error message; `judge` says what an answer is: its use, or what went
/// wrong and whether trying again can help.
pub(super) async fn send<T>(
    service: &Service<'_>,
    outgoing: Outgoing<'_>,
    (resource, doing): (&str, &str),
    judge: impl FnOnce(&Response<Bytes>) -> Result<T, (String, bool)>,
) -> Result<T, Error> {
    let failed = |reason: String, transient| {
        let message = format!("{doing}. The error received was {reason}");
        Error { transient, ..Error::permanent(resource, message) }
    };
    service
        .in_lane(resource, async {
            let request = request(service, outgoing).map_err(|reason| failed(reason, false))?;
            match service.http().send(request, LIMITS).await {
                Ok(answer) => judge(&answer).map_err(|(why, again)| failed(why, again)),
                Err(error) => {
                    let transient = error.is_transient() && !matches!(error, OutboundError::Refused(_));
                    Err(failed(error.to_string(), transient))
                }
            }
        })
        .await
}

fn request(service: &Service<'_>, outgoing: Outgoing<'_>) -> Result<Request<Bytes>, String> {
    let Outgoing { method, url, service: name, content_type, headers, body } = outgoing;
    let address: Uri = url.parse().map_err(|_| format!("'{url}' is no address"))?;
    let host = address.authority().ok_or("the endpoint names no host")?;
    let host = HeaderValue::try_from(host.as_str()).map_err(|error| error.to_string())?;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    request.headers_mut().insert(HOST, host);
    for (name, value) in headers {
        let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    if let Some((key, name)) = service.connected.connection.credentials.as_ref().zip(name) {
        let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let parts = RequestParts {
            method: request.method().as_str(),
            path: address.path(),
            query: address.query().unwrap_or_default(),
            headers: headers.collect(),
        };
        let credentials =
            Credentials { access_key_id: &key.id, secret_access_key: &key.secret.0, session_token: None };
        let target = Target { region: &service.region, service: name, path_encoding: PathEncoding::Twice };
        let hash = PayloadHash::of(request.body());
        for (name, value) in sign(&parts, &credentials, &target, hash, (service.outside.clock)().as_secs()) {
            let value = HeaderValue::try_from(value).map_err(|error| error.to_string())?;
            request.headers_mut().insert(name, value);
        }
    }
    *request.uri_mut() = address;
    Ok(request)
}
