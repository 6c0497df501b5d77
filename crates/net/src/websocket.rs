//! MQTT over WebSocket: the HTTP upgrade and the byte stream inside it (RFC 6455, MQTT 5 section 6).
//!
//! - [`upgrade`]: whether an HTTP request opens such a stream, and the answer to it
//! - [`stream`]: binary frames as a plain byte stream
//!
//! The path, who asks and what it may do are the HTTP listener's business. Both parts know HTTP/1.1 only: on
//! HTTP/2 a WebSocket starts with an extended CONNECT (RFC 8441), which is not offered, so clients use
//! HTTP/1.1.

pub mod stream;
pub mod upgrade;

pub use stream::{Limits, MqttStream};
pub use upgrade::{Error, accept};
