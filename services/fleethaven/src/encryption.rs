//! Encryption at rest, as the process sees to it: where master keys come from, the keyring of each store, and rotation while
//! running.
//!
//! - [`masters`]: master keys, which wrap data keys; [`kms`]: those of an external service
//! - [`safe`]: a store's keyring on disk, and the vault that the store seals with
//! - [`issuing_keys`]: the keys that seal the private keys of issuing CAs, encrypted store or not
//! - [`watch`]: looks at the master keys from time to time, and puts data keys under the newest
//! - [`keys`]: `fleethaven encryption-key`

pub(crate) mod issuing_keys;
mod keys;
mod kms;
mod masters;
pub(crate) mod safe;
mod watch;

/// The stores that a data directory may hold, as folders of it.
pub(crate) const STORES: [&str; 2] = ["metastore", "sessions"];

pub(crate) use keys::run;
pub(crate) use masters::Masters;
pub(crate) use safe::Safe;
pub(crate) use watch::{Watched, watch};
