//! The admin port: health for orchestrators and metrics for Prometheus, over plain HTTP/1.1.
//!
//! | path | 200 when | otherwise |
//! |---|---|---|
//! | `/livez` | every event loop ticked within [`STALE_AFTER`] | 503, the names of those that did not |
//! | `/readyz` | every check is true | 503, the names of those that are not |
//! | `/startupz` | [`Admin::started`] was called | 503 |
//! | `/metrics` | the registry could be written | 500 |
//! | `POST /operator` | the operator's request was carried out | 400, 403; 404 without [`Admin::operate`] |
//!
//! Liveness asks about nothing outside the process: a restart would not mend a lost peer.

mod health;
mod neighbour;
mod operator;

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time;

use crate::exemplars::{self, Exemplars};

use health::Health;
pub use health::{Check, Heartbeat, STALE_AFTER};
use operator::Ends;
pub use operator::Operator;

/// How long a connection may take from accept to the end of the answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_millis(if cfg!(test) { 300 } else { 5000 });
/// Largest request head in bytes; hyper takes no less than this.
const MAX_HEAD: usize = 8192;
/// Most header fields of a request.
const MAX_HEADERS: usize = 64;
/// Most connections at a time; further ones wait in the listen queue.
const MAX_CONNECTIONS: usize = 64;
/// How long answers under way may take at shutdown.
const DRAIN: Duration = Duration::from_secs(1);
/// Pause after a failed accept, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What the admin port shows. Clones share it.
#[derive(Clone)]
pub struct Admin {
    registry: Registry,
    health: Arc<Health>,
    operator: Arc<OnceLock<Operator>>,
    exemplars: Arc<OnceLock<Exemplars>>,
}

impl Admin {
    /// Nothing started yet, no checks, no heartbeats.
    pub fn new(registry: Registry) -> Self {
        Self { registry, health: Arc::default(), operator: Arc::default(), exemplars: Arc::default() }
    }

    /// Adds a check to `/readyz`, false until it is set.
    pub fn readiness(&self, name: &str) -> Check {
        self.health.add_check(name)
    }

    /// Adds an event loop to `/livez`; it counts as ticked now and ticks itself from here on.
    pub fn heartbeat(&self, name: &str) -> Heartbeat {
        self.health.add_heartbeat(name)
    }

    /// Says that starting is over; `/startupz` stays 200 from here on.
    pub fn started(&self) {
        self.health.set_started();
    }

    /// Lets `operator` answer `POST /operator`, for this process's user on this machine; the first one counts.
    pub fn operate(&self, operator: Operator) {
        _ = self.operator.set(operator);
    }

    /// Shows exemplars in `/metrics` to those who ask for OpenMetrics; the first ones count.
    pub fn show_exemplars(&self, exemplars: Exemplars) {
        _ = self.exemplars.set(exemplars);
    }

    /// Answers on `listener` until `shutdown` ends, then lets answers under way finish for a second.
    /// Each connection carries one request.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.accept(&listener, &places) => accepted,
            };
            match accepted {
                Ok(connection) => _ = connections.spawn(connection),
                Err(error) => {
                    tracing::warn!(%error, "admin port cannot accept");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        _ = time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    }

    /// Waits for a place, then for a connection; the future it gives serves that connection.
    async fn accept(
        &self,
        listener: &TcpListener,
        places: &Arc<Semaphore>,
    ) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        let admin = self.clone();
        Ok(async move {
            _ = time::timeout(CONNECTION_TIMEOUT, admin.serve_one(stream)).await;
            drop(place);
        })
    }

    async fn serve_one(self, stream: TcpStream) {
        let ends: Option<Ends> = stream.peer_addr().ok().zip(stream.local_addr().ok());
        let service = service_fn(|request: Request<Incoming>| {
            let operator = self.operator.get().filter(|_| request.uri().path() == operator::PATH);
            let operator = operator.filter(|_| request.method() == Method::POST).cloned();
            let answer = self.answer(request.method(), request.uri().path(), request.headers());
            async move {
                Ok::<_, Infallible>(match operator {
                    Some(operator) => operator::answer(operator, request, ends).await,
                    None => answer,
                })
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "admin connection failed");
        }
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        match path {
            "/livez" => verdict(self.health.stale()),
            "/readyz" => verdict(self.health.failing()),
            "/startupz" => verdict(self.health.unstarted()),
            "/metrics" => self.metrics(headers),
            _ => text(StatusCode::NOT_FOUND, "no such page\n"),
        }
    }

    /// In OpenMetrics' form where there are exemplars to show and the client takes it, as Prometheus does.
    fn metrics(&self, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        if let Some(exemplars) =
            self.exemplars.get().filter(|_| accepts.contains("application/openmetrics-text"))
        {
            let metrics = exemplars::open_metrics(&self.registry.gather(), exemplars);
            return page(StatusCode::OK, exemplars::OPEN_METRICS, metrics);
        }
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(metrics) => page(StatusCode::OK, TEXT_FORMAT, metrics),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be written");
                text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be written\n")
            }
        }
    }
}

/// "ok" when nothing fails, else 503 and a name a line.
fn verdict(failing: Vec<String>) -> Response<Full<Bytes>> {
    if failing.is_empty() {
        return text(StatusCode::OK, "ok\n");
    }
    text(StatusCode::SERVICE_UNAVAILABLE, failing.join("\n") + "\n")
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", body)
}

fn page(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests;
