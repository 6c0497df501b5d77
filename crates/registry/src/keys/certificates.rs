//! Certificates and CA certificates.

use bytes::Bytes;
use fleethaven_types::{Region, Scope, Timestamp};

use super::{Order, below, global, parse, scoped};

pub(crate) fn certificate_by_date(scope: Scope, order: Order, created: Timestamp, id: &str) -> Bytes {
    scoped(scope, &order.of("certificate"), &[&order.part(created), id])
}

pub(crate) fn certificates_by_date(scope: Scope, order: Order) -> Bytes {
    below(scope, &order.of("certificate"), &[])
}

pub(crate) fn certificate_by_ca(scope: Scope, order: Order, ca: &str, created: Timestamp, id: &str) -> Bytes {
    scoped(scope, &order.of("certificate-by-ca"), &[ca, &order.part(created), id])
}

pub(crate) fn certificates_by_ca(scope: Scope, order: Order, ca: &str) -> Bytes {
    below(scope, &order.of("certificate-by-ca"), &[ca])
}

pub(crate) fn certificate_owner(id: &str, scope: Scope) -> Bytes {
    global("certificate", &[id, &scope.account.to_string(), scope.region.as_str()])
}

/// The scope that [`certificate_owner`] made this key of.
pub(crate) fn certificate_owner_of(key: &[u8]) -> Option<Scope> {
    let parts = parse(key)?.parts;
    let [_, account, region] = parts.as_slice() else { return None };
    Some(Scope { account: account.parse().ok()?, region: region.parse().ok()? })
}

/// Every key that [`certificate_owner`] makes.
pub(crate) fn all_certificate_owners() -> Bytes {
    global("certificate", &[])
}

/// The certificate and its scope that [`certificate_owner`] made this key of.
pub(crate) fn certificate_id_and_owner(key: &[u8]) -> Option<(&str, Scope)> {
    let id = parse(key)?.parts.into_iter().next()?;
    Some((id, certificate_owner_of(key)?))
}

pub(crate) fn outgoing_certificate(scope: Scope, order: Order, offered: Timestamp, id: &str) -> Bytes {
    scoped(scope, &order.of("outgoing-certificate"), &[&order.part(offered), id])
}

pub(crate) fn outgoing_certificates(scope: Scope, order: Order) -> Bytes {
    below(scope, &order.of("outgoing-certificate"), &[])
}

pub(crate) fn certificate_owners(id: &str) -> Bytes {
    global("certificate", &[id, ""])
}

pub(crate) fn ca_certificate_by_date(scope: Scope, order: Order, created: Timestamp, id: &str) -> Bytes {
    scoped(scope, &order.of("ca-certificate"), &[&order.part(created), id])
}

pub(crate) fn ca_certificates_by_date(scope: Scope, order: Order) -> Bytes {
    below(scope, &order.of("ca-certificate"), &[])
}

pub(crate) fn ca_certificate_by_subject(scope: Scope, subject_hash: &str, id: &str) -> Bytes {
    scoped(scope, "ca-certificate-by-subject", &[subject_hash, id])
}

pub(crate) fn ca_certificates_by_subject(scope: Scope, subject_hash: &str) -> Bytes {
    below(scope, "ca-certificate-by-subject", &[subject_hash])
}

pub(crate) fn default_ca_owner(id: &str, scope: Scope) -> Bytes {
    global("ca-certificate", &[id, scope.region.as_str(), &scope.account.to_string()])
}

pub(crate) fn default_ca_owners(id: &str, region: Region) -> Bytes {
    global("ca-certificate", &[id, region.as_str(), ""])
}

pub(crate) fn registration_code(scope: Scope) -> Bytes {
    scoped(scope, "registration-code", &[])
}
