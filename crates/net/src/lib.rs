//! Listeners and TLS, and the transports that carry MQTT: each ends as a plain byte stream.
//!
//! - [`listen`]: TCP listeners that several cores can share (SO_REUSEPORT), UDP sockets
//! - [`tls`]: the server configurations: which certificate is shown, and whether the client is asked for one
//! - [`possession`]: the client-certificate verifier: proof of possession only
//! - [`websocket`]: the HTTP upgrade for MQTT, and the bytes inside WebSocket frames
//! - [`quic`]: an endpoint whose connections each carry one stream of MQTT bytes
//!
//! What a certificate is allowed to do is not decided here: after every handshake, full or resumed, the
//! gateway looks the certificate up (`docs/architecture.md`, "who is connected").
#![warn(missing_docs)]

pub mod listen;
pub mod possession;
pub mod quic;
pub mod tls;
pub mod websocket;

pub use possession::{CertificateGate, Gate};
pub use tls::{Identity, ServerTls};
