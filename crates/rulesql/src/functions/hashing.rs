//! Digests of the UTF-8 bytes, in lower-case hexadecimal (spec section 8.2).

use md2::Md2;
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

use crate::{
    evaluate::{Context, Failure},
    value::Value,
};

type Answer = Result<Option<Value>, Failure>;

fn digest<D: Digest>(context: &Context<'_>, arguments: &[Value]) -> Answer {
    let [argument] = arguments else { return Ok(None) };
    let text = context.text(argument)?;
    Ok(text.map(|text| Value::string(hex::encode(D::digest(text.as_bytes())))))
}

/// `md2(str)`
pub(super) fn md2(context: &Context<'_>, arguments: &[Value]) -> Answer {
    digest::<Md2>(context, arguments)
}

/// `md5(str)`
pub(super) fn md5(context: &Context<'_>, arguments: &[Value]) -> Answer {
    digest::<Md5>(context, arguments)
}

/// `sha1(str)`
pub(super) fn sha1(context: &Context<'_>, arguments: &[Value]) -> Answer {
    digest::<Sha1>(context, arguments)
}

/// `sha224(str)`
pub(super) fn sha224(context: &Context<'_>, arguments: &[Value]) -> Answer {
    digest::<Sha224>(context, arguments)
}

/// `sha256(str)`
pub(super) fn sha256(context: &Context<'_>, arguments: &[Value]) -> Answer {
    digest::<Sha256>(context, arguments)
}

/// `sha384(str)`
pub(super) fn sha384(context: &Context<'_>, arguments: &[Value]) -> Answer {
    digest::<Sha384>(context, arguments)
}

/// `sha512(str)`
pub(super) fn sha512(context: &Context<'_>, arguments: &[Value]) -> Answer {
    digest::<Sha512>(context, arguments)
}
