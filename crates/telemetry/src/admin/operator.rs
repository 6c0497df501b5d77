//! `POST /operator`: what an operator on this machine has the process do.
//!
//! The port knows no users, so it looks at who is at the other end: a process of this machine that runs as the same
//! user as this one, or as root. Whoever that is can read the data directory as well. Anybody else is refused, and so
//! is what a web page makes a browser send: JSON needs leave from another origin, which nobody gives, and a rebound
//! name is no address.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};

use super::neighbour;
use super::{page, text};

/// The path.
pub(super) const PATH: &str = "/operator";
/// Longest request body in bytes.
const MAX_BODY: usize = 64 * 1024;

/// Carries out a request; both answers are text.
pub type Operator =
    Arc<dyn Fn(Bytes) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>> + Send + Sync>;

/// The two ends of a connection: the peer's and this process's.
pub(super) type Ends = (SocketAddr, SocketAddr);

/// Answers a request that came in over the connection between `ends`.
pub(super) async fn answer(
    operator: Operator,
    request: Request<Incoming>,
    ends: Option<Ends>,
) -> Response<Full<Bytes>> {
    if !is_no_web_page(request.headers()) {
        return text(StatusCode::FORBIDDEN, "send application/json to an address, not to a name\n");
    }
    let known = tokio::task::spawn_blocking(move || {
        ends.is_some_and(|(peer, own)| neighbour::is_own_or_root(peer, own))
    });
    if !known.await.unwrap_or(false) {
        let refusal = "only for the user of this process, on its own machine\n";
        return text(StatusCode::FORBIDDEN, refusal);
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too long or broke off\n");
    };
    match operator(body.to_bytes()).await {
        Ok(answer) => page(StatusCode::OK, "application/jsonl", answer),
        Err(error) => text(StatusCode::BAD_REQUEST, error + "\n"),
    }
}

fn is_no_web_page(headers: &HeaderMap) -> bool {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    header(CONTENT_TYPE) == Some("application/json") && header(HOST).is_some_and(is_address)
}

/// Whether a Host header names no host that somebody else's DNS could give this machine's address.
fn is_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name == "localhost" || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_no_addresses() {
        for host in ["localhost:9090", "localhost", "127.0.0.1:1", "[::1]:9090", "10.0.0.1"] {
            assert!(is_address(host), "{host}");
        }
        for host in ["", "example.com", "example.com:9090", "localhost.example.com:1", "localhost:x"] {
            assert!(!is_address(host), "{host}");
        }
    }
}
