//! Master keys in an external key service: AWS KMS, or what speaks its API (`Encrypt`, `Decrypt`).

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_daemon::clock;
use fleethaven_outbound::{HttpClient, Limits, OutboundSettings};
use fleethaven_sigv4::{Credentials, PathEncoding, PayloadHash, RequestParts, Target, sign};
use fleethaven_vault::DataKey;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use http::{Request, Uri};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::cli::EncryptionArgs;

/// Bounds of a call.
const LIMITS: Limits = Limits { deadline: Duration::from_secs(10), max_response: 64 << 10 };
/// Tries of a call: a start should not fail because of one that got lost.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(300);

/// A key of the service.
pub(super) struct KeyService {
    key: String,
    address: Uri,
    region: String,
    client: HttpClient,
    credentials: Option<AccessKey>,
}

struct AccessKey {
    id: String,
    secret: String,
    token: Option<String>,
}

impl KeyService {
    /// The key that a user names, if any.
    pub(super) fn of(arguments: &EncryptionArgs) -> Result<Option<Self>> {
        let Some(key) = arguments.kms_key.clone() else { return Ok(None) };
        let region = region(&key)?;
        let url = arguments.kms_url.clone().unwrap_or_else(|| format!("https://kms.{region}.amazonaws.com"));
        let address: Uri =
            url.parse().with_context(|| format!("--encryption-kms-url '{url}' is no address"))?;
        if address.authority().is_none() {
            bail!("--encryption-kms-url '{url}' names no host");
        }
        let client = client(&arguments.kms_ca)?;
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let credentials = variable("AWS_ACCESS_KEY_ID").zip(variable("AWS_SECRET_ACCESS_KEY"));
        let token = variable("AWS_SESSION_TOKEN");
        let credentials = credentials.map(|(id, secret)| AccessKey { id, secret, token });
        Ok(Some(Self { key, address, region, client, credentials }))
    }

    /// Wraps a data key: what the key wraps is called, and what it made of it. Blocks.
    pub(super) fn wrap(&self, number: u32, key: &DataKey) -> Result<(String, Vec<u8>)> {
        let asked = json!({
            "KeyId": self.key,
            "Plaintext": STANDARD.encode(key.0),
            "EncryptionContext": context(number),
        });
        let answer = self.call("Encrypt", &asked)?;
        let arn = text(&answer, "KeyId").context("the key service names no key")?;
        Ok((arn.to_owned(), bytes(&answer, "CiphertextBlob")?))
    }

    /// The data key that was wrapped under the key of that name. Blocks.
    pub(super) fn unwrap(&self, number: u32, arn: &str, wrapped: &[u8]) -> Result<DataKey> {
        let asked = json!({
            "KeyId": arn,
            "CiphertextBlob": STANDARD.encode(wrapped),
            "EncryptionContext": context(number),
        });
        let key = bytes(&self.call("Decrypt", &asked)?, "Plaintext")?;
        key.try_into().map(DataKey).map_err(|_| anyhow!("the key service answers with no data key"))
    }

    fn call(&self, operation: &str, asked: &Value) -> Result<Value> {
        let failed = || format!("{operation} by the key service at {}", self.address);
        let handle = Handle::current();
        let mut tries = 1;
        let answer = loop {
            let request = self.request(operation, asked).with_context(failed)?;
            match handle.block_on(self.client.send(request, LIMITS)) {
                Err(error) if error.is_transient() && tries < TRIES => {}
                Ok(answer) if answer.status().is_server_error() && tries < TRIES => {}
                answer => break answer.with_context(failed)?,
            }
            handle.block_on(tokio::time::sleep(PAUSE * tries));
            tries += 1;
        };
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        if answer.status().is_success() {
            return Ok(body);
        }
        let kind = text(&body, "__type").unwrap_or_default();
        let message = text(&body, "message").or(text(&body, "Message")).unwrap_or_default();
        Err(anyhow!("{} {kind}: {message}", answer.status())).with_context(failed)
    }

    fn request(&self, operation: &str, asked: &Value) -> Result<Request<Bytes>> {
        let body = Bytes::from(serde_json::to_vec(asked)?);
        let host = self.address.authority().context("no host")?.as_str();
        let mut request = Request::post(self.address.clone()).body(body.clone())?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        headers.insert(HOST, HeaderValue::from_str(host)?);
        headers.insert("x-amz-target", HeaderValue::from_str(&format!("TrentService.{operation}"))?);
        if let Some(AccessKey { id, secret, token }) = &self.credentials {
            let credentials =
                Credentials { access_key_id: id, secret_access_key: secret, session_token: token.as_deref() };
            let target = Target { region: &self.region, service: "kms", path_encoding: PathEncoding::Twice };
            let parts = RequestParts {
                method: "POST",
                path: self.address.path(),
                query: "",
                headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect(),
            };
            let now = clock::now().as_secs();
            for (name, value) in sign(&parts, &credentials, &target, PayloadHash::of(&body), now) {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value)?);
            }
        }
        Ok(request)
    }
}

/// What a wrapped data key is bound to, and what the service's own audit shows.
fn context(number: u32) -> Value {
    json!({ "fleethaven:data-key": number.to_string() })
}

fn text<'a>(answer: &'a Value, field: &str) -> Option<&'a str> {
    answer.get(field)?.as_str()
}

fn bytes(answer: &Value, field: &str) -> Result<Vec<u8>> {
    let text = text(answer, field).with_context(|| format!("the key service answers without {field}"))?;
    STANDARD.decode(text).with_context(|| format!("{field} of the key service"))
}

/// The region that the key's ARN names, or the environment.
fn region(key: &str) -> Result<String> {
    let named = key.starts_with("arn:").then(|| key.split(':').nth(3)).flatten();
    let variable = |name| std::env::var(name).ok();
    let region = named.map(str::to_owned).or_else(|| variable("AWS_REGION"));
    let region = region.or_else(|| variable("AWS_DEFAULT_REGION")).filter(|region| !region.is_empty());
    region.with_context(|| {
        format!("--encryption-kms-key '{key}' names no region: give an ARN, or set AWS_REGION")
    })
}

/// The service is the operator's, wherever it is.
fn client(authorities: &[PathBuf]) -> Result<HttpClient> {
    let any = ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse().ok()).collect();
    let settings = OutboundSettings { allow: any, authorities: authorities.to_vec() };
    HttpClient::new(&settings).map_err(anyhow::Error::msg)
}
