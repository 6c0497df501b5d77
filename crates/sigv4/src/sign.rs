//! Making signatures: for requests we send, and for tests.

use crate::{
    ALGORITHM,
    canonical::{Canonical, PayloadHash, SigningKey, canonical_headers},
    date, encoding,
    request::RequestParts,
};

/// Headers that proxies and HTTP clients change on the way, which therefore no signer covers.
const NEVER_SIGNED: [&str; 8] = [
    "authorization",
    "connection",
    "expect",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// Who signs.
#[derive(Clone, Copy)]
pub struct Credentials<'a> {
    /// E.g. `AKIDEXAMPLE`.
    pub access_key_id: &'a str,
    /// The secret the signature proves.
    pub secret_access_key: &'a str,
    /// Present with temporary credentials.
    pub session_token: Option<&'a str>,
}

/// For whom: the service signed for, and how it reads paths.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// E.g. `us-east-1`.
    pub region: &'a str,
    /// The signing name, e.g. `iotdata`.
    pub service: &'a str,
    /// [`PathEncoding::Twice`] for every service but S3.
    pub path_encoding: PathEncoding,
}

/// How a service reads the path of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathEncoding {
    /// S3: as on the wire.
    Once,
    /// All others: normalized and encoded again.
    Twice,
}

/// Whether a presigned URL's session token is covered by the signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenPlacement {
    /// Part of the canonical query, as AWS documents it.
    Signed,
    /// Appended after signing, as most device SDKs have it for MQTT over WebSocket.
    Appended,
}

/// Signs in the header form and gives the headers to add: `x-amz-date`, `x-amz-security-token` (with
/// temporary credentials) and `authorization`.
///
/// Covers every header of `request` that travels unchanged; `host` must be among them. S3 also wants
/// `x-amz-content-sha256`, which the caller puts into `request` first. `now` is in unix seconds.
pub fn sign(
    request: &RequestParts<'_>,
    credentials: &Credentials<'_>,
    target: &Target<'_>,
    payload: PayloadHash,
    now: u64,
) -> Vec<(&'static str, String)> {
    let amz_date = date::format(now);
    let mut added = vec![("x-amz-date", amz_date.clone())];
    added.extend(credentials.session_token.map(|token| ("x-amz-security-token", token.to_owned())));
    let mut dated = request.clone();
    dated.headers.retain(|(name, _)| !added.iter().any(|(n, _)| n.eq_ignore_ascii_case(name)));
    dated.headers.extend(added.iter().map(|(name, value)| (*name, value.as_bytes())));

    let signed = signable_names(&dated);
    let query = encoding::canonical_query(request.query, &[]);
    let signature = signature(&dated, &signed, &query, credentials, target, payload, &amz_date);
    let authorization = format!(
        "{ALGORITHM} Credential={}/{}, SignedHeaders={}, Signature={signature}",
        credentials.access_key_id,
        scope(target, &amz_date),
        signed.join(";")
    );
    added.push(("authorization", authorization));
    added
}

/// Presigns `request` for `expires` seconds from `now` (unix seconds) and gives `path?query`.
///
/// Covers the `host` header only, which `request` must have. For MQTT over WebSocket the method is `GET`, the
/// path `/mqtt` and the payload [`PayloadHash::of`]`(b"")`.
pub fn presign(
    request: &RequestParts<'_>,
    credentials: &Credentials<'_>,
    target: &Target<'_>,
    (payload, placement): (PayloadHash, TokenPlacement),
    expires: u64,
    now: u64,
) -> String {
    let amz_date = date::format(now);
    let credential = format!("{}/{}", credentials.access_key_id, scope(target, &amz_date));
    let token = credentials
        .session_token
        .map(|token| format!("&X-Amz-Security-Token={}", encoding::encode(token.as_bytes())))
        .unwrap_or_default();
    let mut query = format!(
        "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={amz_date}&X-Amz-Expires={expires}\
         &X-Amz-SignedHeaders=host",
        encoding::encode(credential.as_bytes())
    );
    if !request.query.is_empty() {
        query = format!("{}&{query}", request.query);
    }
    if placement == TokenPlacement::Signed {
        query.push_str(&token);
    }
    let canonical = encoding::canonical_query(&query, &[]);
    let signed = [String::from("host")];
    let signature = signature(request, &signed, &canonical, credentials, target, payload, &amz_date);
    let appended = if placement == TokenPlacement::Appended { token.as_str() } else { "" };
    format!("{}?{query}&X-Amz-Signature={signature}{appended}", request.path)
}

fn scope(target: &Target<'_>, amz_date: &str) -> String {
    format!("{}/{}/{}/aws4_request", day(amz_date), target.region, target.service)
}

fn day(amz_date: &str) -> &str {
    amz_date.get(..8).unwrap_or_default()
}

fn signable_names(request: &RequestParts<'_>) -> Vec<String> {
    let mut names: Vec<String> = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.retain(|name| !NEVER_SIGNED.contains(&name.as_str()));
    names.sort_unstable();
    names.dedup();
    names
}

fn signature(
    request: &RequestParts<'_>,
    signed: &[String],
    query: &str,
    credentials: &Credentials<'_>,
    target: &Target<'_>,
    payload: PayloadHash,
    amz_date: &str,
) -> String {
    let uri = match target.path_encoding {
        PathEncoding::Once => encoding::encode_once(request.path),
        PathEncoding::Twice => encoding::encode_again(&encoding::normalize(request.path)),
    };
    let reading = Canonical {
        method: request.method,
        uri: &uri,
        query,
        headers: &canonical_headers(request, signed, None).unwrap_or_default(),
        signed_headers: &signed.join(";"),
        payload: &payload.text(),
    };
    let secret = credentials.secret_access_key;
    let key = SigningKey::derive(secret, day(amz_date), target.region, target.service);
    key.sign(&reading.string_to_sign(amz_date, &scope(target, amz_date)))
}
