//! Believing a request or not: scope, time window, body hash, and the signature over each reading we accept.

use crate::{
    canonical::{Canonical, PayloadHash, SigningKey, UNSIGNED_PAYLOAD, canonical_headers},
    encoding,
    error::{Error, echo},
    presented::{Form, Presented, declared_payload},
    request::RequestParts,
};

/// How long a presigned URL without `X-Amz-Expires` holds, in seconds.
const DEFAULT_EXPIRES: u64 = 300;

/// What an endpoint accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy<'a> {
    /// How far the caller's clock may differ from ours, in seconds.
    pub max_skew: u64,
    /// The longest `X-Amz-Expires`, in seconds.
    pub max_expires: u64,
    /// The one region served, or `None` for every region.
    pub region: Option<&'a str>,
    /// The signing names served, such as [`crate::services::DATA`].
    pub services: &'a [&'a str],
    /// Whether a request with a body may leave it unsigned (`UNSIGNED-PAYLOAD`). Without a body it always
    /// may.
    pub allow_unsigned_payload: bool,
}

impl<'a> Policy<'a> {
    /// 300 s of skew, one day of expiry, every region, bodies signed.
    pub fn new(services: &'a [&'a str]) -> Self {
        Self { max_skew: 300, max_expires: 86_400, region: None, services, allow_unsigned_payload: false }
    }
}

/// Checks that `request` was signed with `secret`, for this endpoint, at about `now` (unix seconds).
///
/// `payload` is the hash of the body as received; [`PayloadHash::Unsigned`] says that the body was not read,
/// and then only a signature over `UNSIGNED-PAYLOAD` can match.
///
/// Accepted beyond the letter of the rules, because clients differ: the path encoded once or twice,
/// normalized or not; `host` with or without `:443`; `X-Amz-Security-Token` appended to a presigned URL after
/// signing.
///
/// # Errors
///
/// Scope errors first, then the time window, then the body's hash, then [`Error::SignatureDoesNotMatch`]. The
/// comparison takes constant time.
pub fn verify(
    presented: &Presented,
    request: &RequestParts<'_>,
    secret: &str,
    payload: PayloadHash,
    now: u64,
    policy: &Policy<'_>,
) -> Result<(), Error> {
    check_scope(presented, policy)?;
    check_time(presented, now, policy)?;
    let payload = signed_payload(request, payload, policy)?;
    let signature = decode_signature(&presented.signature).ok_or(Error::SignatureDoesNotMatch)?;
    let key = SigningKey::derive(secret, &presented.scope_date, &presented.region, &presented.service);
    let scope = presented.scope();
    let matches = |reading: &Canonical<'_>| {
        key.matches(&reading.string_to_sign(&presented.amz_date, &scope), &signature)
    };
    if any_reading(presented, request, &payload, matches) {
        Ok(())
    } else {
        Err(Error::SignatureDoesNotMatch)
    }
}

fn check_scope(presented: &Presented, policy: &Policy<'_>) -> Result<(), Error> {
    if presented.terminator != "aws4_request" {
        return Err(Error::Terminator(echo(&presented.terminator)));
    }
    if policy.region.is_some_and(|region| region != presented.region) {
        return Err(Error::Region(echo(&presented.region)));
    }
    if !policy.services.contains(&presented.service.as_str()) {
        return Err(Error::Service { given: echo(&presented.service), expected: policy.services.join(",") });
    }
    if !presented.amz_date.starts_with(&presented.scope_date) || presented.scope_date.len() != 8 {
        return Err(Error::ScopeDate {
            scope: echo(&presented.scope_date),
            date: presented.amz_date.clone(),
        });
    }
    if !presented.signed_headers.iter().any(|name| name == "host") {
        return Err(Error::HostNotSigned);
    }
    Ok(())
}

/// A header signature holds for the skew; a presigned one for its own lifetime, which no skew prolongs.
fn check_time(presented: &Presented, now: u64, policy: &Policy<'_>) -> Result<(), Error> {
    let signed_at = presented.signed_at;
    if signed_at > now.saturating_add(policy.max_skew) {
        return Err(Error::NotYetCurrent { signed_at, now, window: policy.max_skew });
    }
    let window = match presented.form {
        Form::Header => policy.max_skew,
        Form::Query => presented.expires.unwrap_or(DEFAULT_EXPIRES),
    };
    if presented.form == Form::Query && window > policy.max_expires {
        return Err(Error::ExpiresTooLong { expires: window, max: policy.max_expires });
    }
    if now > signed_at.saturating_add(window) {
        return Err(Error::Expired { signed_at, now, window });
    }
    Ok(())
}

/// The payload line of the canonical request.
fn signed_payload(
    request: &RequestParts<'_>,
    payload: PayloadHash,
    policy: &Policy<'_>,
) -> Result<String, Error> {
    let computed = payload.text();
    match declared_payload(request)? {
        None => Ok(computed),
        Some(declared) if declared == computed => Ok(computed),
        Some(declared) if declared == UNSIGNED_PAYLOAD => {
            let harmless = policy.allow_unsigned_payload || payload == PayloadHash::of(b"");
            if harmless { Ok(declared) } else { Err(Error::PayloadMismatch) }
        }
        Some(_) => Err(Error::PayloadMismatch),
    }
}

/// Upper-case digits are no signature: the text must be the one a signer writes.
fn decode_signature(text: &str) -> Option<Vec<u8>> {
    let canonical = text.len() == 64 && !text.bytes().any(|b| b.is_ascii_uppercase());
    canonical.then(|| hex::decode(text).ok()).flatten()
}

/// Whether `matches` holds for one of the readings of the request; at most sixteen are tried.
fn any_reading(
    presented: &Presented,
    request: &RequestParts<'_>,
    payload: &str,
    matches: impl Fn(&Canonical<'_>) -> bool,
) -> bool {
    let signed_headers = presented.signed_headers.join(";");
    let uris = canonical_uris(request.path);
    let queries = canonical_queries(presented.form, request.query);
    for host in hosts(request) {
        let Some(headers) = canonical_headers(request, &presented.signed_headers, host.as_deref()) else {
            return false;
        };
        for (query, uri) in queries.iter().flat_map(|query| uris.iter().map(move |uri| (query, uri))) {
            let reading = Canonical {
                method: request.method,
                uri,
                query,
                headers: &headers,
                signed_headers: &signed_headers,
                payload,
            };
            if matches(&reading) {
                return true;
            }
        }
    }
    false
}

/// Every service but S3 normalizes the path and encodes it again; some signers skip either step.
fn canonical_uris(path: &str) -> Vec<String> {
    let normalized = encoding::normalize(path);
    let mut uris = Vec::with_capacity(4);
    for uri in [
        encoding::encode_again(&normalized),
        encoding::encode_once(&normalized),
        encoding::encode_again(path),
        encoding::encode_once(path),
    ] {
        if !uris.contains(&uri) {
            uris.push(uri);
        }
    }
    uris
}

fn canonical_queries(form: Form, query: &str) -> Vec<String> {
    if form == Form::Header {
        return vec![encoding::canonical_query(query, &[])];
    }
    let whole = encoding::canonical_query(query, &["X-Amz-Signature"]);
    let tokenless = encoding::canonical_query(query, &["X-Amz-Signature", "X-Amz-Security-Token"]);
    if whole == tokenless { vec![whole] } else { vec![whole, tokenless] }
}

/// The `host` header as it came, and with `:443` taken off or put on.
fn hosts(request: &RequestParts<'_>) -> Vec<Option<Vec<u8>>> {
    let other = request.header("host").map(|host| match host.strip_suffix(":443") {
        Some(bare) => bare.as_bytes().to_vec(),
        None => format!("{host}:443").into_bytes(),
    });
    std::iter::once(None).chain(other.map(Some)).collect()
}

#[cfg(test)]
mod tests;
