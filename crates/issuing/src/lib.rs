//! Issues certificates to devices, by the CA of their account: its key is in the metadata store, or with an external signer (a
//! hardware security module behind PKCS#11, a key service) that this process reaches at a Unix socket.
//!
//! | module | owns |
//! |---|---|
//! | [`issuer`](Issuer) | one certificate, whichever way |
//! | [`signer`](Signer) | the protocol of external signers |
#![warn(missing_docs)]

mod issuer;
mod signer;

pub use issuer::{Error, Issuer};
pub use signer::{Signer, SignerError};
