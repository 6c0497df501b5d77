//! AWS's JSON protocols (REST with JSON bodies, and JSON 1.0), for services that have no client here.

use bytes::Bytes;
use http::{Method, Response};
use percent_encoding::utf8_percent_encode;
use serde_json::Value;

use super::signed::{self, Outgoing};
use super::{Error, Service, is_transient, query::UNRESERVED};

/// An operation of a service: always a POST.
pub(super) struct Operation {
    /// The host at AWS, before `.<region>.amazonaws.com`.
    pub(super) host: &'static str,
    /// The name that is signed for.
    pub(super) service: &'static str,
    /// `X-Amz-Target` of JSON 1.0; none in REST.
    pub(super) target: Option<&'static str>,
}

/// Calls an operation at `path` and gives its answer.
pub(super) async fn call(
    service: &Service<'_>,
    operation: &Operation,
    path: &str,
    body: &Value,
    told: (&str, &str),
) -> Result<Value, Error> {
    let own = || format!("https://{}.{}.amazonaws.com", operation.host, service.region);
    let endpoint = service.connected.connection.endpoint.clone().unwrap_or_else(own);
    call_at(service, operation, &format!("{}{path}", endpoint.trim_end_matches('/')), body, told).await
}

/// Calls an operation at an address.
pub(super) async fn call_at(
    service: &Service<'_>,
    operation: &Operation,
    url: &str,
    body: &Value,
    told: (&str, &str),
) -> Result<Value, Error> {
    let outgoing = Outgoing {
        method: Method::POST,
        url: url.to_owned(),
        service: Some(operation.service),
        content_type: if operation.target.is_some() {
            "application/x-amz-json-1.0"
        } else {
            "application/json"
        },
        headers: operation.target.map(|target| ("x-amz-target", target.to_owned())).into_iter().collect(),
        body: body.to_string().into(),
    };
    signed::send(service, outgoing, told, judge).await
}

/// A part of a path.
pub(super) fn part(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// What a service answered, or its error with its code.
pub(super) fn judge(answer: &Response<Bytes>) -> Result<Value, (String, bool)> {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let status = answer.status();
    if status.is_success() {
        return Ok(body);
    }
    let header = answer.headers().get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let member = |names: [&str; 2]| names.into_iter().find_map(|name| body.get(name)?.as_str());
    let code = header.or_else(|| member(["__type", "code"])).unwrap_or_default();
    // `com.amazonaws.x#Code:http://…`
    let code = code.rsplit('#').next().unwrap_or_default().split(':').next().unwrap_or_default();
    let reason = match member(["message", "Message"]) {
        Some(message) => format!("{code}: {message}"),
        None if code.is_empty() => format!("status {}", status.as_u16()),
        None => code.to_owned(),
    };
    Err((reason, is_transient(code, status.as_u16())))
}

/// The first of the entries that a service refused in an answer that is none; these are for people, and their code says whether
/// trying again can help.
pub(super) fn first_refused(
    answer: &Value,
    list: &str,
    describe: impl Fn(&Value) -> (String, String),
    (resource, doing): (&str, &str),
) -> Result<(), Error> {
    let Some(first) = answer.get(list).and_then(Value::as_array).and_then(|all| all.first()) else {
        return Ok(());
    };
    let (code, message) = describe(first);
    let transient =
        is_transient(&code, 400) || code.starts_with("Internal") || code.starts_with("ServiceUnavailable");
    let message = format!("{doing}. The error received was {code}: {message}");
    Err(Error { transient, ..Error::permanent(resource, message) })
}

/// A text below the entries of an object, or nothing.
pub(super) fn text(value: &Value, path: &[&str]) -> String {
    let found = path.iter().try_fold(value, |value, name| value.get(*name));
    found.and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn answer(status: StatusCode, header: Option<&str>, body: &'static str) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from_static(body.as_bytes()));
        *response.status_mut() = status;
        if let Some(header) = header {
            response.headers_mut().insert("x-amzn-errortype", header.parse().unwrap());
        }
        response
    }

    #[test]
    fn errors_have_their_code_wherever_it_stands() {
        let refused = |status, header, body| judge(&answer(status, header, body)).unwrap_err();
        let bad = StatusCode::BAD_REQUEST;
        let told = refused(bad, Some("ThrottlingException:http://x"), r#"{"message":"slow"}"#);
        assert_eq!(told, ("ThrottlingException: slow".to_owned(), true));
        let told = refused(bad, None, r#"{"__type":"com.amazonaws.x#ValidationException","Message":"no"}"#);
        assert_eq!(told, ("ValidationException: no".to_owned(), false));
        assert_eq!(refused(StatusCode::BAD_GATEWAY, None, "<html>"), ("status 502".to_owned(), true));
        assert_eq!(judge(&answer(StatusCode::OK, None, "")).unwrap(), Value::Null);
    }

    #[test]
    fn an_entry_that_is_refused_is_a_failure() {
        let describe = |entry: &Value| (text(entry, &["Error", "Code"]), text(entry, &["Error", "Message"]));
        let of = |code: &str| {
            let answer = serde_json::json!({"Errors": [{"Error": {"Code": code, "Message": "m"}}]});
            first_refused(&answer, "Errors", describe, ("r", "Failed")).unwrap_err().transient
        };
        assert!(of("ThrottlingException") && of("InternalServerError") && !of("ValidationError"));
        assert!(first_refused(&Value::Null, "Errors", describe, ("r", "Failed")).is_ok());
    }
}
