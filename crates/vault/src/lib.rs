//! Encryption at rest: master keys, keyrings, sealed values and sealed files.
//!
//! A store's values are sealed under *data keys*, random 32 bytes that are kept in the store's [`Keyring`], each wrapped under a
//! *master key* that the operator supplies: a line of a [`KeyFile`], or a key of an external service. Who has the store's
//! files and no master key has nothing. A new master key costs a new keyring, not new values.
//!
//! | module | owns |
//! |---|---|
//! | [`master`] | [`KeyFile`] and [`MasterKey`]: the file of master keys, wrapping of data keys |
//! | [`keyring`] | [`Keyring`]: the wrapped data keys of a store, as a file |
//! | [`vault`](mod@vault) | [`Vault`]: seals and opens the values of a store |
//! | [`frames`] | [`Sealer`] and [`Opener`]: files that are read from end to end |
//!
//! # Why no nonce is used twice
//!
//! AES-256-GCM is broken by two messages under one key and nonce. A [`Vault`] is made with a random salt of 96 bits, new each
//! time that a store is opened, and counts what it seals. The key of a value is derived (HKDF-SHA256) from data key, salt and the
//! upper half of the count; the lower half is the nonce. So a key seals 2³² values at most, each under a nonce of its own,
//! and two openings share a key only when their salts are equal: with 2²⁰ openings of a store the odds are 2⁻⁵⁶. Nothing is
//! remembered between openings: an older copy of a store that is put back repeats no nonce.
//!
//! What a value is sealed with names its table and its key: it opens nowhere else.
//!
//! The crate knows no files, no clock and no random source: random bytes are arguments.
#![warn(missing_docs)]

pub mod frames;
pub mod keyring;
pub mod master;
pub mod vault;

pub use frames::{Opener, Sealer};
pub use keyring::{Keyring, WrappedKey};
pub use master::{DataKey, KeyFile, MasterKey};
pub use vault::{Error, Vault, is_sealed};
