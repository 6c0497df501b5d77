//! What a client brings, and where in it the values for the authorizer stand (security.md section 6.3).

use std::borrow::Cow;

use bytes::Bytes;
use fleethaven_types::Utf8Bytes;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::endpoint::Endpoint;

/// Names the authorizer.
const NAME: &str = "x-amz-customauthorizer-name";
/// The token's signature, base64.
const SIGNATURE: &str = "x-amz-customauthorizer-signature";

/// A client that wants to be let in.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The endpoint that it came to.
    pub endpoint: Endpoint,
    /// Unique for the connection; functions may log it.
    pub connection_id: String,
    /// The server name that it asked for in the TLS handshake.
    pub server_name: Option<Utf8Bytes>,
    /// The request, of HTTPS and WebSocket clients.
    pub http: Option<HttpRequest>,
    /// The CONNECT, of MQTT clients.
    pub mqtt: Option<Connect>,
    /// The certificate that the client proved to hold, where its endpoint asks for both.
    pub certificate: Option<Certificate>,
}

/// The head of an HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Headers whose values are text; names in lower case.
    pub headers: Vec<(String, String)>,
    /// What follows the `?`, as on the wire.
    pub query: String,
}

/// What of a CONNECT says who the client is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connect {
    /// User Name as received, with what follows its `?`.
    pub username: Option<Utf8Bytes>,
    /// Password.
    pub password: Option<Bytes>,
    /// The client id, when the client sent one.
    pub client_id: Option<Utf8Bytes>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// PEM.
    pub pem: String,
    /// Its id, which is the connection's principal.
    pub certificate_id: String,
}

/// Headers about one request's body and its way, which say nothing of who sends it.
const OF_ONE_REQUEST: [&str; 7] = [
    "amz-sdk-invocation-id",
    "amz-sdk-request",
    "content-length",
    "content-type",
    "date",
    "traceparent",
    "x-amzn-trace-id",
];

impl HttpRequest {
    /// What a request says of its sender. HTTP/2 has the host in the URI.
    pub fn of(head: &Parts) -> Self {
        let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            Some((name.as_str().to_owned(), std::str::from_utf8(value.as_bytes()).ok()?.to_owned()))
        };
        let mut headers: Vec<(String, String)> = head.headers.iter().filter_map(text).collect();
        if !head.headers.contains_key(http::header::HOST)
            && let Some(authority) = head.uri.authority()
        {
            headers.push(("host".to_owned(), authority.as_str().to_owned()));
        }
        Self { headers, query: head.uri.query().unwrap_or_default().to_owned() }
    }

    /// The request without what differs from one of a sender's requests to the next.
    pub fn sender(&self) -> Self {
        let counts = |(name, _): &&(String, String)| !OF_ONE_REQUEST.contains(&name.as_str());
        Self { headers: self.headers.iter().filter(counts).cloned().collect(), query: self.query.clone() }
    }

    /// Whether the request tells that an authorizer is to decide.
    pub fn names_authorizer(&self) -> bool {
        self.value(NAME).is_some() || self.value(SIGNATURE).is_some()
    }

    fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let header = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        header.map(|(_, value)| Cow::Borrowed(value.as_str())).or_else(|| in_query(&self.query, name))
    }
}

impl Attempt {
    /// The authorizer that the client names.
    pub fn authorizer_name(&self) -> Option<Cow<'_, str>> {
        self.value(NAME).filter(|name| !name.is_empty())
    }

    pub(crate) fn signature(&self) -> Option<Cow<'_, str>> {
        self.value(SIGNATURE)
    }

    /// The value of this name: of the CONNECT's user name, of a header, or of the query, whichever has it first.
    pub(crate) fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let username = self.mqtt.as_ref().and_then(|connect| connect.username.as_deref());
        let of_username = username.and_then(|text| text.split_once('?')).map(|(_, query)| query);
        let of_mqtt = of_username.and_then(|query| in_query(query, name));
        of_mqtt.or_else(|| self.http.as_ref()?.value(name))
    }
}

/// The first value of `name` in `a=b&c=d`, percent-decoded once. A `+` stands for itself: base64 has it, and not every client
/// encodes it. A value that is not UTF-8 when decoded is none.
fn in_query<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let decoded = |text: &'q str| percent_decode_str(text).decode_utf8().ok();
    let named = |key: &'q str| {
        let key = decoded(key)?;
        let reserved = name == NAME || name == SIGNATURE;
        (key == name || reserved && key.eq_ignore_ascii_case(name)).then_some(())
    };
    pairs.filter(|(key, _)| named(key).is_some()).find_map(|(_, value)| decoded(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorizers::tests::attempt;

    fn username(text: &str) -> Attempt {
        let connect = Connect { username: Some(text.into()), password: None, client_id: None };
        Attempt { mqtt: Some(connect), ..attempt() }
    }

    #[test]
    fn values_of_a_user_name_are_decoded_once() {
        let attempt = username("me?a=1&X-Amz-CustomAuthorizer-Name=my%2Cown&t=x%253D&sig=a+b%2F==&bad=%ff");
        assert_eq!(attempt.authorizer_name().as_deref(), Some("my,own"));
        assert_eq!(attempt.value("t").as_deref(), Some("x%3D"));
        assert_eq!(attempt.value("sig").as_deref(), Some("a+b/=="), "only the first = divides");
        assert_eq!(attempt.value("T"), None, "token names are as they are");
        assert_eq!(attempt.value("bad"), None);
        assert_eq!(username("x-amz-customauthorizer-name=a").authorizer_name(), None, "no query");
        assert_eq!(username("?x-amz-customauthorizer-name=").authorizer_name(), None);
    }

    #[test]
    fn headers_go_before_the_query_and_mqtt_before_both() {
        let http = HttpRequest {
            headers: vec![("token".to_owned(), "header".to_owned())],
            query: "token=query&x-amz-customauthorizer-signature=c2ln".to_owned(),
        };
        assert!(http.names_authorizer());
        let mut attempt = Attempt { http: Some(http), ..attempt() };
        assert_eq!(attempt.value("Token").as_deref(), Some("header"));
        assert_eq!(attempt.signature().as_deref(), Some("c2ln"));
        attempt.mqtt = username("?token=mqtt").mqtt;
        assert_eq!(attempt.value("token").as_deref(), Some("mqtt"));
        let none = HttpRequest { headers: Vec::new(), query: "qos=1".to_owned() };
        assert!(!none.names_authorizer());
    }
}
