//! One HTTPS request on a connection of its own, as commands that end make them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// How long a request may take.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// Largest answer in bytes.
const MAX_ANSWER: usize = 4 << 20;

/// A certificate and its key, as PEM.
pub(crate) type Identity<'a> = (&'a str, &'a str);

/// TLS to a server that one of these CAs (PEM) certified, as nobody or with a certificate.
pub(crate) fn tls(roots: &str, identity: Option<Identity<'_>>) -> Result<Arc<ClientConfig>> {
    let mut trusted = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        trusted.add(certificate.context("the CA certificate cannot be read")?)?;
    }
    let config = ClientConfig::builder().with_root_certificates(trusted);
    Ok(Arc::new(match identity {
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<_, _>>()?;
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?
        }
        None => config.with_no_client_auth(),
    }))
}

/// A TLS connection to `host`, which the server's certificate must be for.
pub(crate) async fn connect(host: &str, port: u16, tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>> {
    let connecting = async {
        let tcp = TcpStream::connect((host, port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        TlsConnector::from(tls.clone()).connect(name, tcp).await
    };
    let connected = tokio::time::timeout(CALL_WITHIN, connecting).await;
    connected.context("no answer in time")?.with_context(|| format!("cannot connect to {host}:{port}"))
}

/// A host as it stands before a port.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Sends a request on a connection, and returns the headers of the answer.
pub(crate) async fn headers(
    stream: TlsStream<TcpStream>,
    request: Request<Full<Bytes>>,
) -> Result<HeaderMap> {
    let asking = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        connection.abort();
        Ok(answer?.headers().clone())
    };
    tokio::time::timeout(CALL_WITHIN, asking).await.context("no answer in time")?
}

/// Sends a request, and returns the answer's status and body.
pub(crate) async fn call(
    (host, port): (&str, u16),
    tls: &Arc<ClientConfig>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes)> {
    let calling = async {
        let stream = connect(host, port, tls).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        connection.abort();
        Ok((status, body.map_err(|error| anyhow::anyhow!(error))?.to_bytes()))
    };
    tokio::time::timeout(CALL_WITHIN, calling).await.context("no answer in time")?
}
