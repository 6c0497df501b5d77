//! Listeners and TLS.
//!
//! - [`listen`]: TCP listeners that several cores can share (SO_REUSEPORT)
//! - [`tls`]: the server configurations: which certificate is shown, and whether the client is asked for one
//! - [`possession`]: the client-certificate verifier: proof of possession only
//!
//! What a certificate is allowed to do is not decided here: after every handshake, full or resumed, the gateway looks the
//! certificate up (`docs/architecture.md`, "who is connected").
#![warn(missing_docs)]

pub mod listen;
pub mod possession;
pub mod tls;

pub use possession::{CertificateGate, Gate};
pub use tls::{Identity, ServerTls};
