//! Secrets of the Kubernetes namespace that this process runs in: what a cluster's pods mount. No more of Kubernetes' API than
//! reading, creating and replacing one by its name, with the rights of the pod's service account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::cli::PodArgs;

/// The type of a secret with anything in it.
pub(crate) const OPAQUE: &str = "Opaque";
/// The type of a secret with `tls.crt` and `tls.key`.
pub(crate) const TLS: &str = "kubernetes.io/tls";

/// How long a request may take.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// Largest answer in bytes; a secret has a mebibyte at most.
const MAX_ANSWER: usize = 4 << 20;

/// The texts of a secret by their keys.
pub(crate) type Data = BTreeMap<String, String>;

/// The secrets of a namespace.
pub(crate) struct Secrets {
    host: String,
    port: u16,
    tls: Arc<ClientConfig>,
    authorization: HeaderValue,
    namespace: String,
}

/// A secret as the API has it.
#[derive(Serialize, Deserialize)]
struct Secret {
    metadata: Metadata,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    data: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    /// Of what was read: replacing anything newer is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
}

impl Secrets {
    /// Those of the namespace that this process's pod is in.
    pub(crate) fn of_this_pod(pod: &PodArgs) -> Result<Self> {
        let set =
            |name: &str| std::env::var(name).with_context(|| format!("{name} is not set: this is no pod"));
        let read = |name: &str| {
            let path = pod.service_account.join(name);
            let text = std::fs::read_to_string(&path);
            text.with_context(|| {
                format!("cannot read {}: does the pod have a service account token?", path.display())
            })
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(read("ca.crt")?.as_bytes()) {
            roots.add(certificate.context("the cluster's CA cannot be read")?)?;
        }
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", read("token")?.trim()))?;
        authorization.set_sensitive(true);
        Ok(Self {
            host: set("KUBERNETES_SERVICE_HOST")?,
            port: set("KUBERNETES_SERVICE_PORT")?.parse().context("KUBERNETES_SERVICE_PORT is no port")?,
            tls: Arc::new(tls),
            authorization,
            namespace: read("namespace")?.trim().to_owned(),
        })
    }

    /// What the secret of this name holds; `None` when there is none.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Data>> {
        let Some(secret) = self.get(name).await? else { return Ok(None) };
        secret.texts().map(Some)
    }

    /// Sees to it that the secret of this name holds `data` and nothing else; whether it did not before.
    pub(crate) async fn keep(&self, name: &str, kind: &str, data: Data) -> Result<bool> {
        let encoded = data.iter().map(|(key, text)| (key.clone(), STANDARD.encode(text))).collect();
        let present = self.get(name).await?;
        let (method, path, secret) = match present {
            Some(secret) if secret.data == encoded => return Ok(false),
            Some(secret) => (Method::PUT, self.path(name), Secret { data: encoded, ..secret }),
            None => {
                let labels = [("app.kubernetes.io/managed-by".to_owned(), "fleethaven".to_owned())].into();
                let metadata = Metadata { name: name.to_owned(), labels, ..Metadata::default() };
                let secret = Secret { metadata, kind: Some(kind.to_owned()), data: encoded };
                (Method::POST, self.path(""), secret)
            }
        };
        let failed = || format!("cannot write the secret {name}");
        let (status, answer) = self.call(method, &path, Some(&secret)).await.with_context(failed)?;
        if !status.is_success() {
            bail!("{}: {}", failed(), reason(status, &answer));
        }
        Ok(true)
    }

    async fn get(&self, name: &str) -> Result<Option<Secret>> {
        let failed = || format!("cannot read the secret {name}");
        let (status, answer) = self.call(Method::GET, &self.path(name), None).await.with_context(failed)?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => serde_json::from_slice(&answer).map(Some).with_context(failed),
            status => bail!("{}: {}", failed(), reason(status, &answer)),
        }
    }

    fn path(&self, name: &str) -> String {
        let slash = if name.is_empty() { "" } else { "/" };
        format!("/api/v1/namespaces/{}/secrets{slash}{name}", self.namespace)
    }

    /// One request on a connection of its own.
    async fn call(&self, method: Method, path: &str, body: Option<&Secret>) -> Result<(StatusCode, Bytes)> {
        let calling = self.exchange(method, path, body);
        tokio::time::timeout(CALL_WITHIN, calling).await.context("Kubernetes' API does not answer")?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Secret>,
    ) -> Result<(StatusCode, Bytes)> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let name = ServerName::try_from(self.host.clone())?;
        let tls = TlsConnector::from(self.tls.clone()).connect(name, tcp).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path);
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        request = request.header(HOST, format!("{host}:{}", self.port)).header(ACCEPT, "application/json");
        request = request.header(AUTHORIZATION, self.authorization.clone());
        let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let request = request.header(CONTENT_TYPE, "application/json").body(Full::new(Bytes::from(body)))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?;
        connection.abort();
        Ok((status, body.to_bytes()))
    }
}

impl Secret {
    fn texts(self) -> Result<Data> {
        let name = self.metadata.name;
        let text = |(key, value): (String, String)| {
            let decoded = STANDARD.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            Ok((key.clone(), decoded.with_context(|| format!("{key} of the secret {name} is no text"))?))
        };
        self.data.into_iter().map(text).collect()
    }
}

/// What the API says is wrong.
fn reason(status: StatusCode, answer: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Status {
        message: String,
    }
    let told = serde_json::from_slice::<Status>(answer).map(|status| status.message).unwrap_or_default();
    match told.is_empty() {
        true => status.to_string(),
        false => told,
    }
}
