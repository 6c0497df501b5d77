//! X.509 for devices and servers: reading certificates, issuing them, and the checks around registering CAs.
//!
//! | module | owns |
//! |---|---|
//! | [`certificate_id`] | [`CertificateId`], the SHA-256 of a certificate's DER |
//! | [`certificate`] | [`Certificate`]: a parsed certificate, and [`Certificate::check_issued_by`] |
//! | [`name`] | [`Name`] and [`Attribute`]: subjects and issuers by the words of AWS IoT policy variables |
//! | [`alternative_names`] | [`AlternativeNames`]: the subject's and issuer's other names |
//! | [`algorithm`] | [`SignatureAlgorithm`]: what may sign, and checking a signature |
//! | [`public_key`] | [`PublicKey`]: kind and size, and which keys a CSR may carry |
//! | [`signing_request`] | [`SigningRequest`]: a CSR whose own signature held |
//! | [`authority`] | [`Authority`]: a CA that issues server and device certificates |
//! | [`service_identity`] | [`ServiceIdentity`]: which service of which cluster a certificate is for |
//! | [`device_key`] | [`DeviceKey`]: the key pair of `CreateKeysAndCertificate` |
//! | [`registration`] | [`check_ca`] and [`verify_registration`]: the checks of `RegisterCACertificate` |
//! | [`token_key`] | [`TokenKey`]: what custom authorizers' tokens are signed with |
//! | `ocsp` | [`OcspQuestion`]: whether a server certificate is revoked, for stapling |
//! | [`server_chain`] | [`ServerChain`]: what an owner may hand in for a domain of its own |
//! | [`pem`] | strict PEM: one block of the expected label, or a chain |
//! | [`error`] | [`Error`], with the exception name AWS answers |
//! | [`external`] | a certificate authority whose key is elsewhere |
//! | `policy_attributes` | a certificate as policies see it |
//! | `der`, `tbs` | writing DER, and the part of a certificate that is signed |
//!
//! Certificate status, chains of devices to several levels, revocation lists and storage are not here. Times are
//! arguments, in unix seconds, and so are serial numbers. The exception to "no random source": keys and ECDSA
//! nonces come from the crypto library's own generator, because a caller's random bytes would be no safer and
//! easily worse.
#![warn(missing_docs)]

pub mod algorithm;
pub mod alternative_names;
pub mod authority;
pub mod certificate;
pub mod certificate_id;
mod der;
pub mod device_key;
pub mod error;
pub mod external;
pub mod name;
mod ocsp;
pub mod pem;
mod policy_attributes;
pub mod public_key;
pub mod registration;
pub mod server_chain;
pub mod service_identity;
pub mod signing_request;
mod tbs;
pub mod token_key;

pub use algorithm::SignatureAlgorithm;
pub use alternative_names::AlternativeNames;
pub use authority::{Authority, EndEntityUse, Issued, Serial, ServerName, Validity};
pub use certificate::Certificate;
pub use certificate_id::CertificateId;
pub use device_key::DeviceKey;
pub use error::Error;
pub use external::{ExternalAuthority, Unsigned};
pub use name::{Attribute, Name};
pub use ocsp::{OcspAnswer, OcspQuestion};
pub use public_key::{KeyKind, PublicKey};
pub use registration::{check_ca, verify_registration};
pub use server_chain::ServerChain;
pub use service_identity::{ServiceIdentity, ServiceRole};
pub use signing_request::SigningRequest;
pub use token_key::TokenKey;
