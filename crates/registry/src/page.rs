//! Pages of listings and their tokens (provisioning.md section 10).
//!
//! A token holds where the page before ended, as the rest of that key after the listing's prefix, so that
//! pages are stable under writes. An HMAC with the account's secret binds it to scope, operation and filters,
//! so that it can be neither made up nor carried to another listing. Layout: version 1, seconds since the
//! epoch (8 bytes), cursor, first 16 bytes of the HMAC-SHA256; in base64, which satisfies the pattern of
//! `marker`, too.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleethaven_types::Timestamp;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::error::Error;
use crate::keys;
use crate::record;
use crate::shapes::PageRequest;
use crate::store::Store;

const VERSION: u8 = 1;
const HEAD: usize = 9;
const MAC: usize = 16;
const VALID_SECS: u64 = 3600;
/// Most items on a page.
pub(crate) const MAX: usize = 250;

/// Which listing a token belongs to.
pub(crate) struct Listing<'a> {
    pub(crate) operation: &'static str,
    /// Every argument that selects or orders items.
    pub(crate) filters: &'a [&'a str],
    /// Keys of the items.
    pub(crate) prefix: Bytes,
    /// Highest `maxResults` or `pageSize` that AWS takes.
    pub(crate) most: u32,
}

impl<'a> Listing<'a> {
    /// A listing with AWS's usual page size.
    pub(crate) fn new(operation: &'static str, filters: &'a [&'a str], prefix: Bytes) -> Self {
        Self { operation, filters, prefix, most: 250 }
    }
}

/// A page of pairs and the token of the next page.
pub(crate) type Page = (Vec<(Bytes, Bytes)>, Option<String>);

/// Reads one page of `listing`.
pub(crate) fn read(
    store: &Store<'_>,
    listing: &Listing<'_>,
    page: &PageRequest,
    now: Timestamp,
) -> Result<Page, Error> {
    let limit = limit(page, listing.most)?;
    let after = page.token.as_deref().map(|token| cursor(store, listing, token, now)).transpose()?;
    let mut pairs = store.view.scan(&listing.prefix, after.as_deref(), limit.saturating_add(1));
    if pairs.len() <= limit {
        return Ok((pairs, None));
    }
    pairs.truncate(limit);
    let next = pairs.last().map(|(key, _)| token(store, listing, key, now)).transpose()?;
    Ok((pairs, next))
}

/// One page of names that are not stored in this order: a set that a quota bounds.
pub(crate) fn of(
    store: &Store<'_>,
    listing: &Listing<'_>,
    names: BTreeSet<String>,
    ascending: bool,
    page: &PageRequest,
    now: Timestamp,
) -> Result<(Vec<String>, Option<String>), Error> {
    let limit = limit(page, listing.most)?;
    let after = page.token.as_deref().map(|token| cursor(store, listing, token, now)).transpose()?;
    let key = |name: &str| [listing.prefix.as_ref(), name.as_bytes()].concat();
    let is_left = |name: &String| match &after {
        None => true,
        Some(after) if ascending => key(name) > *after,
        Some(after) => key(name) < *after,
    };
    let mut left: Vec<String> = names.into_iter().filter(is_left).collect();
    if !ascending {
        left.reverse();
    }
    let more = left.len() > limit;
    left.truncate(limit);
    let last = left.last().filter(|_| more);
    let next = last.map(|name| token(store, listing, &key(name), now)).transpose()?;
    Ok((left, next))
}

/// The filter that binds a token to the order of its listing.
pub(crate) fn order_name(ascending: bool) -> &'static str {
    if ascending { "ascending" } else { "descending" }
}

fn limit(page: &PageRequest, most: u32) -> Result<usize, Error> {
    match page.limit {
        None => Ok(MAX),
        Some(limit) if (1..=most).contains(&limit) => Ok(MAX.min(usize::try_from(limit).unwrap_or(MAX))),
        Some(limit) => Err(Error::invalid(format!("page size {limit} must be 1 to {most}"))),
    }
}

fn token(store: &Store<'_>, listing: &Listing<'_>, key: &[u8], now: Timestamp) -> Result<String, Error> {
    let mut bytes = vec![VERSION];
    bytes.extend(now.as_secs().to_be_bytes());
    bytes.extend(key.get(listing.prefix.len()..).unwrap_or_default());
    let mac = mac(store, listing, &bytes)?.finalize().into_bytes();
    bytes.extend(mac.iter().take(MAC));
    Ok(STANDARD.encode(bytes))
}

/// The key that the page before ended with.
fn cursor(store: &Store<'_>, listing: &Listing<'_>, token: &str, now: Timestamp) -> Result<Vec<u8>, Error> {
    let invalid = || Error::invalid("the pagination token is not valid for this request");
    let bytes = STANDARD.decode(token).map_err(|_| invalid())?;
    let split = bytes.len().checked_sub(MAC).ok_or_else(invalid)?;
    let (signed, tag) = bytes.split_at_checked(split).ok_or_else(invalid)?;
    mac(store, listing, signed)?.verify_truncated_left(tag).map_err(|_| invalid())?;
    let (head, rest) = signed.split_at_checked(HEAD).ok_or_else(invalid)?;
    let issued = head.iter().skip(1).fold(0, |number: u64, byte| (number << 8) | u64::from(*byte));
    if head.first() != Some(&VERSION) || now.as_secs().saturating_sub(issued) > VALID_SECS {
        return Err(invalid());
    }
    Ok([listing.prefix.as_ref(), rest].concat())
}

fn mac(store: &Store<'_>, listing: &Listing<'_>, signed: &[u8]) -> Result<Hmac<Sha256>, Error> {
    let account: record::Account = store
        .record(&keys::account(store.scope.account))?
        .ok_or_else(|| Error::internal(format!("account {} does not exist", store.scope.account)))?;
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(account.pagination_secret.as_bytes())
        .map_err(|_| Error::internal("the account's pagination secret cannot be used"))?;
    let scope = store.scope.to_string();
    for text in [scope.as_str(), listing.operation].iter().chain(listing.filters) {
        mac.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(text.as_bytes());
    }
    mac.update(signed);
    Ok(mac)
}
