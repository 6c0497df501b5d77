//! The HTTP side: is this request a WebSocket upgrade for MQTT?

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ALLOW, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use sha1::{Digest, Sha1};

/// Appended to the client's key before hashing (RFC 6455 section 1.3).
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The only version there is (RFC 6455 section 4.1).
const VERSION: &str = "13";
/// Subprotocols that mean MQTT: the registered one, and the one of clients older than MQTT 3.1.1
/// [MQTT-6.0.0-3].
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// Why a request does not open an MQTT stream. [`Error::response`] is the answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Only GET upgrades.
    #[error("a WebSocket is opened with GET, not {0}")]
    Method(Method),
    /// The request does not ask for an upgrade to `websocket`, or is not HTTP/1.1, where alone upgrades
    /// exist.
    #[error("the {0:?} request does not ask for an upgrade to websocket")]
    NotUpgrade(Version),
    /// Another version than 13, or none.
    #[error("the WebSocket version must be 13, not {0:?}")]
    Version(String),
    /// The key is missing, repeated, or not the base64 form of 16 bytes.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64, not {0:?}")]
    Key(String),
    /// Neither `mqtt` nor `mqttv3.1` is offered.
    #[error("Sec-WebSocket-Protocol must offer mqtt, not only {0:?}")]
    Subprotocol(String),
}

impl Error {
    /// The HTTP status of the refusal.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotUpgrade(_) | Self::Version(_) => StatusCode::UPGRADE_REQUIRED,
            Self::Key(_) | Self::Subprotocol(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The refusal with the headers its status demands (RFC 9110 sections 15.5.6 and 15.5.22, RFC 6455
    /// section 4.4).
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        match self {
            Self::Method(_) => {
                headers.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            Self::NotUpgrade(_) | Self::Version(_) => {
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            }
            Self::Key(_) | Self::Subprotocol(_) => {}
        }
        response
    }
}

/// Checks that `request` opens a WebSocket for MQTT and gives the 101 response. After it the connection
/// carries frames: see [`MqttStream`](super::MqttStream). Extensions the client offers are declined by not
/// naming them.
///
/// # Errors
/// The first thing that is wrong.
pub fn accept<B>(request: &Request<B>) -> Result<Response<()>, Error> {
    if request.method() != Method::GET {
        return Err(Error::Method(request.method().clone()));
    }
    let headers = request.headers();
    // An Upgrade header says nothing in HTTP/1.0 (RFC 9110 section 7.8) and HTTP/2.
    if request.version() != Version::HTTP_11
        || !lists(headers, &CONNECTION, "upgrade")
        || !lists(headers, &UPGRADE, "websocket")
    {
        return Err(Error::NotUpgrade(request.version()));
    }
    if only(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != VERSION) {
        return Err(Error::Version(shown(headers, &SEC_WEBSOCKET_VERSION)));
    }
    let accept = accept_key(headers).ok_or_else(|| Error::Key(shown(headers, &SEC_WEBSOCKET_KEY)))?;
    let subprotocol =
        subprotocol(headers).ok_or_else(|| Error::Subprotocol(shown(headers, &SEC_WEBSOCKET_PROTOCOL)))?;
    Ok(switching(accept, subprotocol))
}

fn switching(accept: HeaderValue, subprotocol: &'static str) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol));
    response
}

/// The value of Sec-WebSocket-Accept for the request's key, if that is a valid one.
fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let key = only(headers, &SEC_WEBSOCKET_KEY)?;
    if STANDARD.decode(key).ok()?.len() != 16 {
        return None;
    }
    let digest = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize();
    HeaderValue::try_from(STANDARD.encode(digest)).ok()
}

/// The first subprotocol of the client's list that means MQTT; their names are compared with case.
fn subprotocol(headers: &HeaderMap) -> Option<&'static str> {
    elements(headers, &SEC_WEBSOCKET_PROTOCOL)
        .find_map(|offer| SUBPROTOCOLS.into_iter().find(|known| *known == offer))
}

/// Whether the list header `name` has the element `wanted`, in whatever case.
fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(wanted))
}

/// The elements of a comma-separated header, which may also be sent as several lines.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// The value of a header that may occur once only.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok().map(str::trim)).flatten()
}

/// What was sent, for the error.
fn shown(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).into_iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    values.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The request of RFC 6455 section 1.3, with MQTT's subprotocol.
    fn request() -> Request<()> {
        Request::builder()
            .uri("/mqtt")
            .header("Connection", "keep-alive, Upgrade")
            .header("Upgrade", "WebSocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Protocol", "chat, mqtt")
            .body(())
            .unwrap()
    }

    fn with(name: HeaderName, value: &str) -> Request<()> {
        let mut request = request();
        request.headers_mut().insert(name, value.parse().unwrap());
        request
    }

    fn without(name: HeaderName) -> Request<()> {
        let mut request = request();
        request.headers_mut().remove(name);
        request
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        let response = accept(&request()).unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "mqtt");
        assert_eq!(response.headers()[UPGRADE], "websocket");
        assert_eq!(response.headers()[CONNECTION], "upgrade");
    }

    #[test]
    fn the_client_s_order_of_subprotocols_decides() {
        let response = accept(&with(SEC_WEBSOCKET_PROTOCOL, "mqttv3.1,mqtt")).unwrap();
        assert_eq!(response.headers()[SEC_WEBSOCKET_PROTOCOL], "mqttv3.1");
        let mut request = with(SEC_WEBSOCKET_PROTOCOL, "chat");
        request.headers_mut().append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("mqtt"));
        assert!(accept(&request).is_ok());
    }

    #[test]
    fn another_version_is_told_the_right_one() {
        for request in [with(SEC_WEBSOCKET_VERSION, "8"), without(SEC_WEBSOCKET_VERSION)] {
            let error = accept(&request).unwrap_err();
            assert!(matches!(error, Error::Version(_)));
            assert_eq!(error.response().status(), 426);
            assert_eq!(error.response().headers()[SEC_WEBSOCKET_VERSION], "13");
        }
    }

    #[test]
    fn a_plain_request_is_asked_to_upgrade() {
        let mut http2 = request();
        *http2.version_mut() = Version::HTTP_2;
        for request in [without(CONNECTION), without(UPGRADE), with(UPGRADE, "h2c"), http2] {
            let error = accept(&request).unwrap_err();
            assert!(matches!(error, Error::NotUpgrade(_)));
            assert_eq!(error.response().headers()[UPGRADE], "websocket");
        }
    }

    #[test]
    fn other_methods_are_not_allowed() {
        let mut request = request();
        *request.method_mut() = Method::POST;
        let response = accept(&request).unwrap_err().response();
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[ALLOW], "GET");
    }

    #[test]
    fn keys_are_sixteen_bytes_once() {
        let mut twice = request();
        twice.headers_mut().append(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        for request in
            [without(SEC_WEBSOCKET_KEY), with(SEC_WEBSOCKET_KEY, "AAAA"), with(SEC_WEBSOCKET_KEY, "?"), twice]
        {
            let error = accept(&request).unwrap_err();
            assert!(matches!(error, Error::Key(_)));
            assert_eq!(error.status(), 400);
        }
    }

    #[test]
    fn a_subprotocol_for_mqtt_must_be_offered() {
        for request in [without(SEC_WEBSOCKET_PROTOCOL), with(SEC_WEBSOCKET_PROTOCOL, "MQTT, chat")] {
            let error = accept(&request).unwrap_err();
            assert!(matches!(error, Error::Subprotocol(_)));
            assert_eq!(error.status(), 400);
        }
    }
}
