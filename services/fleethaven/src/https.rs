//! The HTTPS listeners: one port for the API, HTTPS publish and MQTT by ALPN, as AWS's port 443; and one that asks for a
//! client certificate, as AWS's 8443.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_api::{Api, ClientCertificate, Counted, Peer, Remembered};
use fleethaven_authorizers::{Attempt, Authorizers, Credentials, HttpRequest, Protocol};
use fleethaven_daemon::clock;
use fleethaven_daemon::shutdown::Shutdown;
use fleethaven_fabric::Traces;
use fleethaven_fabric::traces::{Begun, TRACEPARENT};
use fleethaven_fabric_grpc::trace;
use fleethaven_gateway::identity::{Admitted, on_behalf_of};
use fleethaven_gateway::{Arrival, Gateway, IdentityCache, Principal};
use fleethaven_net::ServerTls;
use fleethaven_net::proxy::{Network, Trusted};
use fleethaven_net::tls::{Carries, Endpoint};
use fleethaven_net::websocket::{self, MqttStream};
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use crate::idle::Activity;

/// How long a client may take to open a connection, and to send a request's head.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at a time; further ones wait in the listen queue.
const MAX_CONNECTIONS: usize = 16_384;
/// Silence on an HTTP/2 connection after which the client is asked whether it is still there.
const PROBE_AFTER: Duration = Duration::from_secs(60);
/// How long answers under way may take at shutdown.
const DRAIN: Duration = Duration::from_secs(5);

/// What the HTTPS listeners share.
pub(crate) struct Https {
    pub(crate) api: Api,
    pub(crate) tls: Arc<ServerTls>,
    /// What becomes of requests.
    pub(crate) traces: Traces,
    /// Whoever connects as a device; without them only the API is served.
    pub(crate) devices: Option<Devices>,
    /// What the names of the credentials provider end in: whoever comes for it is asked for a certificate.
    pub(crate) credentials: Option<String>,
}

/// Who devices are and where their connections go.
pub(crate) struct Devices {
    pub(crate) identity: Arc<IdentityCache>,
    pub(crate) authorizers: Arc<Authorizers>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) websocket_limits: websocket::Limits,
}

/// How a listener treats those who connect.
pub(crate) struct Door {
    endpoint: Endpoint,
    /// Load balancers whose PROXY protocol header tells the client's address.
    proxies: Trusted,
}

impl Door {
    pub(crate) fn new(endpoint: Endpoint, proxies: &[Network]) -> Arc<Self> {
        Arc::new(Self { endpoint, proxies: Trusted::new(proxies.to_vec()) })
    }
}

/// Waits for a place, then for a connection.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (io::Result<(TcpStream, SocketAddr)>, Option<OwnedSemaphorePermit>) {
    let place = places.clone().acquire_owned().await.ok();
    (listener.accept().await, place)
}

impl Https {
    /// Serves `listener` until it is time to stop, then lets answers under way finish.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        door: Arc<Door>,
        mut shutdown: Shutdown,
    ) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let graceful = Arc::new(GracefulShutdown::new());
        loop {
            let (accepted, place) = tokio::select! {
                accepted = accept(&listener, &places) => accepted,
                () = shutdown.wait() => break,
            };
            match accepted {
                Ok((tcp, peer)) => {
                    let (this, watcher, door) = (self.clone(), graceful.watcher(), door.clone());
                    tokio::spawn(async move {
                        if let Err(error) = this.connection(tcp, peer, &door, watcher).await {
                            tracing::debug!(source_ip = %peer.ip(), %error, "HTTPS connection ended");
                        }
                        drop(place);
                    });
                }
                Err(error) if fleethaven_net::listen::is_connection_error(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop(listener);
        if let Some(graceful) = Arc::into_inner(graceful) {
            let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
        }
    }

    async fn connection(
        self: &Arc<Self>,
        tcp: TcpStream,
        peer: SocketAddr,
        door: &Door,
        watcher: hyper_util::server::graceful::Watcher,
    ) -> io::Result<()> {
        let opened = tokio::time::timeout(OPEN_TIMEOUT, self.open(tcp, peer, door)).await;
        let (stream, peer, carries) = opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let (tcp, session) = stream.get_ref();
        let local = tcp.local_addr().ok();
        let certificate = match carries {
            Carries::MqttWithCertificate => return self.hand_over(stream, peer).await,
            Carries::Mqtt => return self.hand_over_stranger(stream, peer),
            Carries::HttpWithCertificate => Some(self.client(&stream, peer, Protocol::Https).await?),
            Carries::Http => None,
        };
        let peer = Peer {
            address: peer,
            local,
            server_name: session.server_name().map(str::to_owned),
            alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
            certificate: certificate.map(|Admitted { principal, stranger }| ClientCertificate {
                certificate_id: principal.certificate_id.map(|id| id.to_string()).unwrap_or_default(),
                scope: Some(principal.scope),
                pem: stranger.and_then(|attempt| attempt.certificate).map(|proved| proved.pem),
            }),
            remembered: Remembered::default(),
        };
        self.http(stream, peer, watcher).await
    }

    /// For whom the connection is, then TLS with the configuration that the client's hello asks for.
    async fn open(
        &self,
        mut tcp: TcpStream,
        peer: SocketAddr,
        door: &Door,
    ) -> io::Result<(TlsStream<TcpStream>, SocketAddr, Carries)> {
        let peer = door.proxies.client(&mut tcp, peer).await?;
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp).await?;
        let hello = start.client_hello();
        let endpoint = self.endpoint(door, hello.server_name());
        let devices = self.devices.as_ref();
        let domain = devices.and_then(|devices| devices.identity.domain_tls(hello.server_name()));
        let (config, carries) = self.tls.select(endpoint, &hello, domain);
        let stream = on_behalf_of(peer, start.into_stream(config)).await?;
        Ok((stream, peer, carries))
    }

    /// The listener's own, or for a name of the credentials provider the one that asks for a certificate.
    fn endpoint(&self, door: &Door, server_name: Option<&str>) -> Endpoint {
        let named = self.credentials.as_deref().zip(server_name);
        match named.is_some_and(|(suffix, name)| name.to_ascii_lowercase().ends_with(suffix)) {
            true if door.endpoint == Endpoint::Https => Endpoint::HttpsMutual,
            _ => door.endpoint,
        }
    }

    /// Who the client is. One that is not known is sent away.
    async fn client(
        &self,
        stream: &TlsStream<TcpStream>,
        peer: SocketAddr,
        protocol: Protocol,
    ) -> io::Result<Admitted> {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificate = chain.first().ok_or_else(|| io::Error::other("no client certificate"))?;
        let devices = self.devices.as_ref().ok_or_else(|| io::Error::other("devices connect elsewhere"))?;
        let name = stream.get_ref().1.server_name();
        let found = devices.identity.admit(chain, name, protocol, clock::now().as_secs()).await;
        found.map_err(|error| {
            let certificate_id = fleethaven_pki::CertificateId::of_der(certificate).to_string();
            devices.identity.log_refused((&certificate_id, name), peer, &error.to_string());
            tracing::warn!(
                source_ip = %peer.ip(), principal_id = %certificate_id,
                event = "Connection.AuthNError", reason = %error, "not authenticated"
            );
            io::Error::other(error)
        })
    }

    /// MQTT by ALPN: the connection goes to one of the gateway's cores.
    async fn hand_over(&self, stream: TlsStream<TcpStream>, peer: SocketAddr) -> io::Result<()> {
        let Admitted { principal, stranger } = self.client(&stream, peer, Protocol::Mqtt).await?;
        let (tcp, tls) = stream.into_inner();
        if let Some(devices) = &self.devices {
            let arrival = Arrival { peer, local: None, principal, websocket: false, stranger };
            devices.gateway.adopt(tcp.into_std()?, tls, arrival);
        }
        Ok(())
    }

    /// The same for a client about whom a custom authorizer is to decide.
    fn hand_over_stranger(&self, stream: TlsStream<TcpStream>, peer: SocketAddr) -> io::Result<()> {
        let (tcp, tls) = stream.into_inner();
        if let Some(devices) = &self.devices {
            match devices.identity.admit_stranger(tls.server_name()) {
                Ok(Admitted { principal, stranger }) => {
                    let arrival = Arrival { peer, local: None, principal, websocket: false, stranger };
                    devices.gateway.adopt(tcp.into_std()?, tls, arrival);
                }
                Err(reason) => tracing::warn!(
                    source_ip = %peer.ip(), event = "Connection.AuthNError", %reason, "not authenticated"
                ),
            }
        }
        Ok(())
    }

    async fn http(
        self: &Arc<Self>,
        stream: TlsStream<TcpStream>,
        peer: Peer,
        watcher: hyper_util::server::graceful::Watcher,
    ) -> io::Result<()> {
        let activity = Arc::new(Activity::default());
        let service = hyper::service::service_fn(|mut request: Request<Incoming>| {
            let (this, peer, activity) = (self.clone(), peer.clone(), activity.clone());
            async move {
                let _busy = activity.begin();
                let brought = trace::of_header(request.headers().get(TRACEPARENT));
                let (trace, span) = this.traces.request(brought, trace::begin());
                request.extensions_mut().insert(trace);
                // What the request causes elsewhere is part of its trace.
                let answer = trace::scope(trace.context, this.request(&peer, request)).await;
                if let Some(span) = span {
                    end(span, &answer);
                }
                Ok::<_, std::convert::Infallible>(identified(answer))
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(OPEN_TIMEOUT);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(PROBE_AFTER));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::select! {
            ended = watcher.watch(connection) => ended.map_err(io::Error::other),
            () = activity.idle(OPEN_TIMEOUT) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    async fn request(&self, peer: &Peer, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let devices = match &self.devices {
            Some(devices) if Api::is_websocket(&head) => devices,
            _ => return self.api.handle(peer, Request::from_parts(head, body)).await,
        };
        if let Err(refusal) = self.api.check_origin(peer, &head) {
            return *refusal;
        }
        if let Some(arrival) = devices.unsigned(peer, &head) {
            return devices.websocket(arrival, Request::from_parts(head, body));
        }
        match self.api.signer(peer, &head).await {
            Ok(signer) => {
                let principal =
                    devices.identity.operator(signer.scope, &signer.access_key_id, &signer.operator);
                let (address, local) = (peer.address, peer.local);
                let arrival = Arrival { peer: address, local, principal, websocket: true, stranger: None };
                devices.websocket(arrival, Request::from_parts(head, body))
            }
            Err(refusal) => *refusal,
        }
    }
}

impl Devices {
    /// Who comes without certificate or signature: may do nothing before a custom authorizer has decided.
    fn stranger(&self, server_name: Option<&str>, http: HttpRequest) -> (Principal, Attempt) {
        let endpoint = self.identity.endpoint(server_name);
        let principal = self.identity.stranger(endpoint.scope);
        let attempt = Attempt {
            endpoint,
            connection_id: uuid::Uuid::new_v4().to_string(),
            server_name: server_name.map(Into::into),
            http: Some(http),
            mqtt: None,
            certificate: None,
        };
        (principal, attempt)
    }

    /// An upgrade request that is not signed, where a custom authorizer may decide about its sender: the authorizer is asked at
    /// CONNECT, which may name it.
    fn unsigned(&self, peer: &Peer, head: &Parts) -> Option<Arrival> {
        if peer.certificate.is_some() || Api::is_signed(head) {
            return None;
        }
        let http = HttpRequest::of(head);
        let named = http.names_authorizer();
        let (principal, stranger) = self.stranger(peer.server_name.as_deref(), http);
        let taken = stranger.endpoint.take(Credentials::Neither, Protocol::WebSocket).is_ok();
        if !taken || !named && !self.authorizers.are_there(principal.scope) {
            return None;
        }
        let stranger = Some(Box::new(stranger));
        Some(Arrival { peer: peer.address, local: peer.local, principal, websocket: true, stranger })
    }

    /// Answers an upgrade request; once the connection is upgraded, it goes to one of the gateway's cores.
    fn websocket(&self, arrival: Arrival, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let answer = match websocket::accept(&request) {
            Ok(answer) => answer,
            Err(error) => return refused_upgrade(&error),
        };
        let (gateway, limits) = (self.gateway.clone(), self.websocket_limits);
        tokio::spawn(async move {
            match hyper::upgrade::on(request).await {
                Ok(upgraded) => {
                    let stream = MqttStream::new(TokioIo::new(upgraded), Bytes::new(), limits).await;
                    gateway.adopt_stream(Box::pin(stream), arrival);
                }
                Err(error) => {
                    tracing::debug!(source_ip = %arrival.peer.ip(), %error, "WebSocket upgrade failed")
                }
            }
        });
        answer.map(|()| Full::default())
    }
}

/// What is wrong with a signed upgrade request, in the form of the data plane's errors.
fn refused_upgrade(error: &websocket::Error) -> Response<Full<Bytes>> {
    let body = serde_json::json!({"message": error.to_string()}).to_string();
    let mut answer = error.response().map(|()| Full::from(body));
    let headers = answer.headers_mut();
    headers.insert("x-amzn-errortype", HeaderValue::from_static("InvalidRequestException"));
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// The span of a request is named by its operation.
fn end(mut span: Begun, answer: &Response<Full<Bytes>>) {
    if let Some(Counted { service, operation, took }) = answer.extensions().get() {
        span.rename(*operation);
        span.observed(
            Counted::HISTOGRAM,
            &[("operation", operation), ("service", service)],
            took.as_secs_f64(),
        );
    }
    let status = answer.status();
    span.set("http.response.status_code", usize::from(status.as_u16()));
    if status.is_server_error() {
        span.fail(status);
    }
    span.end();
}

/// Every answer carries a request id, those that the API does not give too.
fn identified(mut answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    if let Ok(id) = uuid::Uuid::new_v4().to_string().parse() {
        answer.headers_mut().entry("x-amzn-requestid").or_insert(id);
    }
    answer
}
