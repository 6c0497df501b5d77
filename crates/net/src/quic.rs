//! MQTT over QUIC: one connection carries one bidirectional stream, which the client opens and which is the
//! MQTT byte stream, as in EMQX's single-stream mode (ALPN `mqtt`, client certificate).
//!
//! - [`endpoint`]: the UDP socket, admission and what a peer may make us hold
//! - [`handshake`]: from the first datagram to a peer with its certificate and stream
//! - [`stream`]: the byte stream
//!
//! An [`Endpoint`] belongs to one task, whose runtime drives the datagrams of all its connections. The
//! streams it yields are `Send`: that task hands them to the cores, which read and write them as they do any
//! other stream. Datagrams are not spread over cores by connection id, hence one socket, without
//! SO_REUSEPORT.
//!
//! A client may change its address (connection migration) as long as it still reaches this process: a
//! balancer before several gateways has to know QUIC connection ids.

pub mod endpoint;
pub mod handshake;
pub mod stream;

pub use endpoint::{Endpoint, Error, Settings, listen};
pub use handshake::Incoming;
pub use stream::MqttStream;

#[cfg(test)]
mod tests;
