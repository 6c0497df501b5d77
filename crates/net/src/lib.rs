//! Listeners and TLS, and the transports that carry MQTT: each ends as a plain byte stream.
//!
//! - [`listen`]: TCP listeners that several cores can share (SO_REUSEPORT), UDP sockets
//! - [`tls`]: the server configurations: whether the client is asked for a certificate, ALPN, versions, domains' policies
//! - [`handshake`]: the server's side of TLS over TCP
//! - [`certificates`]: the server's certificates: chosen by name, replaced while running
//! - [`tickets`]: session tickets under keys that all cores and gateways share
//! - [`proxy`]: the PROXY protocol: for whom a load balancer carries a connection
//! - [`possession`]: the client-certificate verifier: proof of possession only
//! - [`websocket`]: the HTTP upgrade for MQTT, and the bytes inside WebSocket frames
//! - [`quic`]: an endpoint whose connections each carry one stream of MQTT bytes
//!
//! What a certificate is allowed to do is not decided here: after every handshake, full or resumed, the
//! gateway looks the certificate up (`docs/architecture.md`, "who is connected").
#![warn(missing_docs)]

pub mod certificates;
pub mod handshake;
pub mod listen;
pub mod possession;
pub mod proxy;
pub mod quic;
pub mod tickets;
pub mod tls;
pub mod websocket;

pub use certificates::{Identity, ServerCertificates};
pub use possession::{CertificateGate, Gate};
pub use tickets::TicketKeys;
pub use tls::ServerTls;
