//! Secrets of the Kubernetes namespace that this process runs in: what a cluster's pods mount. No more of Kubernetes' API than
//! reading, creating and replacing one by its name, with the rights of the pod's service account.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use rustls::ClientConfig;
use serde::{Deserialize, Serialize};

use crate::call;
use crate::cli::PodArgs;

/// The type of a secret with anything in it.
pub(crate) const OPAQUE: &str = "Opaque";
/// The type of a secret with `tls.crt` and `tls.key`.
pub(crate) const TLS: &str = "kubernetes.io/tls";

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
        let tls = call::tls(&read("ca.crt")?, None)?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", read("token")?.trim()))?;
        authorization.set_sensitive(true);
        Ok(Self {
            host: set("KUBERNETES_SERVICE_HOST")?,
            port: set("KUBERNETES_SERVICE_PORT")?.parse().context("KUBERNETES_SERVICE_PORT is no port")?,
            tls,
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

    async fn call(&self, method: Method, path: &str, body: Option<&Secret>) -> Result<(StatusCode, Bytes)> {
        let host = format!("{}:{}", call::bracketed(&self.host), self.port);
        let request = Request::builder().method(method).uri(path).header(HOST, host);
        let request = request.header(ACCEPT, "application/json").header(CONTENT_TYPE, "application/json");
        let body = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
        let request =
            request.header(AUTHORIZATION, self.authorization.clone()).body(Full::new(Bytes::from(body)))?;
        call::call((&self.host, self.port), &self.tls, request).await
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
