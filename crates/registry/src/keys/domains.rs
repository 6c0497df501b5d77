//! Domain configurations, what servers show for them, and authorizers.

use bytes::Bytes;
use fleethaven_types::{AccountId, Scope};

use super::{global, scoped};

/// The owner of a domain name.
pub(crate) fn domain_owner(name: &str) -> Bytes {
    global("domain", &[name])
}

/// The owners of all domain names: [`record::DomainOwner`](crate::record::DomainOwner).
pub fn domain_owners_prefix() -> Bytes {
    global("domain", &[])
}

/// What servers show for ARNs, of all accounts: [`record::ServerCertificate`](crate::record::ServerCertificate).
pub fn server_certificates_prefix() -> Bytes {
    global("server-certificate", &[])
}

pub(crate) fn server_certificates_of_account(account: AccountId) -> Bytes {
    global("server-certificate", &[&account.to_string(), ""])
}

pub(crate) fn server_certificate(account: AccountId, arn: &str) -> Bytes {
    global("server-certificate", &[&account.to_string(), arn])
}

pub(crate) fn default_authorizer(scope: Scope) -> Bytes {
    scoped(scope, "default-authorizer", &[])
}
