//! One HTTP request with a deadline and a bounded answer.

use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::address::AddressGuard;
use crate::connect::{ConnectError, Connector};
use crate::dial::{Dialer, Trust};

/// Idle connections that are kept for each host.
const IDLE_PER_HOST: usize = 16;
/// How long they are kept.
const IDLE_FOR: Duration = Duration::from_secs(90);

/// What an operator says about calls to the outside.
#[derive(Debug, Clone, Default)]
pub struct OutboundSettings {
    /// Networks that may be called although they are not public.
    pub allow: Vec<IpNet>,
    /// PEM files with further certificate authorities.
    pub authorities: Vec<PathBuf>,
}

/// Bounds of one request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the first look at the name to the last byte of the answer.
    pub deadline: Duration,
    /// Bytes of the answer's body.
    pub max_response: usize,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// The address may not be called.
    #[error("{0}")]
    Refused(String),
    /// No connection, or none that is secure.
    #[error("{0}")]
    Unreachable(String),
    /// The connection ended before the answer did.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// The deadline passed.
    #[error("no answer in time")]
    TimedOut,
    /// The answer is larger than the limit.
    #[error("the answer is too large")]
    TooLarge,
}

impl OutboundError {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Broken(_) | Self::TimedOut)
    }
}

/// An HTTP client whose connections pass the [`AddressGuard`]. HTTP/2 where the server offers it. Redirects are not followed, and
/// no proxy of the environment is asked.
#[derive(Clone)]
pub struct HttpClient {
    dialer: Dialer,
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
}

impl HttpClient {
    /// A client as the operator says. The system's certificate authorities count, and the given ones.
    ///
    /// # Errors
    /// When a file with certificate authorities cannot be read; for people.
    pub fn new(settings: &OutboundSettings) -> Result<Self, String> {
        let guard = Arc::new(AddressGuard::new(settings.allow.clone()));
        let dialer = Dialer::new(Connector::new(guard), roots(settings)?)?;
        Ok(Self::over(dialer))
    }

    /// Requests with the same guard, by TLS that trusts somebody else or shows a certificate.
    ///
    /// # Errors
    /// When a certificate or the key cannot be used; for people.
    pub fn trusting(&self, trust: &Trust) -> Result<Self, String> {
        Ok(Self::over(self.dialer.trusting(trust)?))
    }

    fn over(dialer: Dialer) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(dialer.tls().as_ref().clone())
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(dialer.connector());
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .build(connector);
        Self { dialer, client }
    }

    /// Connections with the same guard and the same certificate authorities, for what speaks no HTTP.
    pub fn dialer(&self) -> Dialer {
        self.dialer.clone()
    }

    /// Sends a request with an absolute address and reads the answer whole, whatever its status.
    ///
    /// # Errors
    /// [`OutboundError`]; a status is no error.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        limits: Limits,
    ) -> Result<Response<Bytes>, OutboundError> {
        let exchange = async {
            let answer =
                self.client.request(request.map(Full::new)).await.map_err(|error| failure(&error))?;
            let (head, body) = answer.into_parts();
            let collected = Limited::new(body, limits.max_response).collect().await;
            let body = collected.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
                Some(_) => OutboundError::TooLarge,
                None => OutboundError::Broken(error.to_string()),
            })?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(limits.deadline, exchange).await.unwrap_or(Err(OutboundError::TimedOut))
    }
}

impl From<&ConnectError> for OutboundError {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Refused(_) | ConnectError::InTheClear(_) | ConnectError::NoHost(_) => {
                Self::Refused(error.to_string())
            }
            ConnectError::Unresolved(..) | ConnectError::Unreachable(..) => {
                Self::Unreachable(error.to_string())
            }
        }
    }
}

fn roots(settings: &OutboundSettings) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (added, ignored) = roots.add_parsable_certificates(native.certs);
    if added == 0 && settings.authorities.is_empty() {
        tracing::warn!(
            "this system has no certificate authorities: no https address can be called without --outbound-ca"
        );
    }
    tracing::debug!(added, ignored, "certificate authorities of the system");
    for file in &settings.authorities {
        let failed = |error: String| {
            format!("the certificate authorities in {} cannot be read: {error}", file.display())
        };
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
        let mut any = false;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| failed(error.to_string()))?;
            roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            any = true;
        }
        if !any {
            return Err(failed("there is no certificate in it".to_owned()));
        }
    }
    Ok(roots)
}

/// What went wrong before there was an answer.
fn failure(error: &hyper_util::client::legacy::Error) -> OutboundError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(connect) = inner.downcast_ref::<ConnectError>() {
            return OutboundError::from(connect);
        }
        last = inner.to_string();
        cause = inner.source();
    }
    if error.is_connect() { OutboundError::Unreachable(last) } else { OutboundError::Broken(last) }
}

#[cfg(test)]
mod tests;
