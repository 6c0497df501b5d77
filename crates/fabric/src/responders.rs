//! Asking OCSP responders.

use bytes::Bytes;

use crate::metadata::BoxFuture;

/// The way to OCSP responders (RFC 6960, appendix A): they are outside, where not every address may be called.
pub trait Responders: Send + Sync + 'static {
    /// Posts a request in DER to an address of http or https; what came back with status 200, or why nothing did.
    fn ask<'a>(&'a self, address: &'a str, request: Vec<u8>) -> BoxFuture<'a, Result<Bytes, String>>;
}
