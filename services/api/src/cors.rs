//! Web pages of other origins: who may call the data plane out of a browser, and open a WebSocket.
//!
//! The HTTP half is the CORS protocol (<https://fetch.spec.whatwg.org/#http-cors-protocol>): the browser asks before it sends, and
//! shows a page only what is marked as for its origin. No browser asks before it opens a WebSocket, so that there the origin is
//! checked here. Without any origin configured, nothing is said to browsers and every WebSocket is looked at as AWS does.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;

use crate::api::{Api, refusal};
use crate::error::Error;
use crate::operations::{Router, Service};
use crate::peer::Peer;

/// The methods of the data plane's and the jobs plane's operations.
const METHODS: &str = "DELETE, GET, POST, PUT";
/// What pages may read of an answer's head, beside what they always may.
const EXPOSED: &str = "x-amzn-errortype, x-amzn-requestid";
/// How long a browser need not ask again, in seconds: two hours are the most that Chromium heeds.
const MAX_AGE: &str = "7200";

/// One or all of the origins that web pages come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Every page.
    Any,
    /// Pages of one scheme, host and port, as browsers write it: `https://app.example`.
    One(HeaderValue),
}

/// Why a text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no origin: scheme, host and port as browsers send them, such as https://app.example, or * for all"
)]
pub struct NoOrigin(String);

impl FromStr for Origin {
    type Err = NoOrigin;

    /// Takes what a browser would send: a scheme, a host in lower case and a port that is not the scheme's own; nothing behind.
    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let wrong = || NoOrigin(text.to_owned());
        if text == "*" {
            return Ok(Self::Any);
        }
        let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
        let usual = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return Err(wrong()),
        };
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let whole = uri.authority().is_some_and(|authority| authority.as_str() == host);
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]_".contains(&byte);
        if !whole || host.ends_with(usual) || !host.bytes().all(plain) {
            return Err(wrong());
        }
        HeaderValue::from_str(text).map(Self::One).map_err(|_| wrong())
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(origin) => f.write_str(origin.to_str().unwrap_or_default()),
        }
    }
}

/// Which origins are allowed; none at all when it is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(Vec<Origin>);

impl From<Vec<Origin>> for Origins {
    fn from(origins: Vec<Origin>) -> Self {
        Self(origins)
    }
}

impl Origins {
    /// What Access-Control-Allow-Origin says to a page of `origin`; `None` when it is not allowed.
    fn allow(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        if self.0.contains(&Origin::Any) {
            return Some(HeaderValue::from_static("*"));
        }
        self.0.iter().any(|one| matches!(one, Origin::One(own) if own == origin)).then(|| origin.clone())
    }

    /// Marks an answer of the data plane as for the origin that asked, if it is allowed.
    pub(crate) fn mark(&self, asked: &HeaderMap, answer: &mut HeaderMap) {
        if self.0.is_empty() {
            return;
        }
        answer.append(VARY, HeaderValue::from_static("origin"));
        if let Some(allowed) = asked.get(ORIGIN).and_then(|origin| self.allow(origin)) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    /// The answer to a browser that asks whether a page may send a request; `None` when this is no such question. `devices` says
    /// whether the request would be one of the data plane's, or of the jobs plane's.
    pub(crate) fn preflight(
        &self,
        head: &Parts,
        devices: impl FnOnce(&str) -> bool,
    ) -> Option<Response<Full<Bytes>>> {
        let method = head.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let origin = head.headers.get(ORIGIN)?;
        if self.0.is_empty() || head.method != Method::OPTIONS {
            return None;
        }
        let fits = method.to_str().is_ok_and(devices);
        let Some(allowed) = self.allow(origin).filter(|_| fits) else {
            return Some(refusal(Error::Forbidden("no such request is allowed from that origin".to_owned())));
        };
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(VARY, HeaderValue::from_static("origin"));
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        // Whatever they are: a custom authorizer's token has a header of its own name.
        if let Some(asked) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        Some(answer)
    }
}

impl Router {
    /// Whether a request is one of those that devices send: of the data plane or the jobs plane.
    pub(crate) fn is_of_devices(&self, method: &str, path: &str) -> bool {
        [Service::Data, Service::Jobs].into_iter().any(|service| self.find(service, method, path).is_ok())
    }
}

impl Api {
    /// Whether a WebSocket may be opened by a page of the origin that it says it is from. What is no browser says none.
    ///
    /// # Errors
    ///
    /// The answer to send instead of the upgrade.
    pub fn check_origin(&self, peer: &Peer, head: &Parts) -> Result<(), Box<Response<Full<Bytes>>>> {
        let Origins(allowed) = &self.state().config.origins;
        match head.headers.get(ORIGIN) {
            Some(origin) if !allowed.is_empty() && self.state().config.origins.allow(origin).is_none() => {
                let reason = format!("a page of {origin:?} may not open a WebSocket");
                tracing::warn!(
                    source_ip = %peer.address.ip(), event = "Connection.AuthNError", %reason,
                    "WebSocket not authenticated"
                );
                Err(Box::new(refusal(Error::Forbidden(reason))))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{House, Signing, peer};
    use http::Request;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for text in ["*", "https://app.example", "http://localhost:3000", "https://[::1]:8443"] {
            assert_eq!(text.parse::<Origin>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "app.example",
            "https://",
            "https://app.example/",
            "https://App.example",
            "https://app.example:443",
            "http://app.example:80",
            "https://user@app.example",
            "https://app.example?x",
            "file:///tmp",
            "null",
            "https://*.example",
            "https://a b",
        ] {
            text.parse::<Origin>().unwrap_err();
        }
    }

    fn house(origins: &[&str]) -> House {
        let origins: Vec<Origin> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        House::with(|config| config.origins = origins.into())
    }

    const APP: &str = "https://app.example";

    async fn ask(house: &House, origin: &str, method: &str, path: &str) -> (u16, HeaderMap) {
        let request = Request::builder()
            .method("OPTIONS")
            .uri(path)
            .header("origin", origin)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "authorization, x-amz-date")
            .body(Full::default())
            .unwrap();
        let told = house.send(&peer(), request).await;
        (told.status, told.headers)
    }

    #[tokio::test]
    async fn a_browser_that_asks_is_told() {
        let house = house(&[APP, "http://localhost:3000"]);
        for path in ["/things/a/shadow", "/topics/a%2Fb?qos=1"] {
            let (status, headers) = ask(&house, APP, "POST", path).await;
            assert_eq!(
                (status, &headers["access-control-allow-origin"]),
                (204, &HeaderValue::from_static(APP))
            );
            assert_eq!(headers["access-control-allow-headers"], "authorization, x-amz-date");
            assert_eq!(headers["vary"], "origin");
            assert!(!headers.contains_key("access-control-allow-credentials"));
        }
        for (origin, method, path) in [
            ("https://other.example", "POST", "/things/a/shadow"),
            ("null", "POST", "/things/a/shadow"),
            // The control plane, and no operation at all.
            (APP, "POST", "/things/a"),
            (APP, "PATCH", "/things/a/shadow"),
            (APP, "GET", "/nothing"),
        ] {
            let (status, headers) = ask(&house, origin, method, path).await;
            assert_eq!(status, 403, "{origin} {method} {path}");
            assert!(!headers.contains_key("access-control-allow-origin"));
        }
    }

    #[tokio::test]
    async fn nothing_is_said_unless_it_is_switched_on() {
        let house = house(&[]);
        let (status, headers) = ask(&house, APP, "GET", "/things/a/shadow").await;
        assert_eq!(status, 403, "as any request without a signature");
        assert!(!headers.contains_key("vary"));
    }

    async fn get(house: &House, service: &str, path: &str, origin: &str) -> HeaderMap {
        let signing = Signing { service, ..Signing::default() };
        let mut request = House::signed(signing, ("GET", path), &[], b"");
        request.headers_mut().insert("origin", origin.parse().unwrap());
        house.send(&peer(), request).await.headers
    }

    #[tokio::test]
    async fn answers_of_the_data_plane_are_marked_and_no_others() {
        let house = house(&[APP]);
        // An error as well: the page is to read it.
        let headers = get(&house, "iotdata", "/things/a/shadow", APP).await;
        assert_eq!(headers["access-control-allow-origin"], APP);
        assert_eq!(headers["access-control-expose-headers"], "x-amzn-errortype, x-amzn-requestid");
        let headers = get(&house, "iotdata", "/things/a/shadow", "https://other.example").await;
        assert!(!headers.contains_key("access-control-allow-origin") && headers["vary"] == "origin");
        let headers = get(&house, "iot", "/things", APP).await;
        assert!(!headers.contains_key("access-control-allow-origin"));
        let headers =
            get(&super::tests::house(&["*"]), "iotdata", "/things/a/shadow", "https://other.example").await;
        assert_eq!(headers["access-control-allow-origin"], "*");
    }
}
