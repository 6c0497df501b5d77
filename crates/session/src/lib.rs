//! One client's MQTT protocol state, sans-io: no socket, no clock, no allocation that its bounds do not cover.
//!
//! The shell (the gateway, or a test) reads packets from the wire and calls [`Session::handle_packet`]; it takes
//! [`Action`]s with [`Session::poll_action`], carries them out and reports the outcome through the method the action
//! names; it writes [`Session::output`] to the wire; and it calls [`Session::handle_timeout`] when
//! [`Session::poll_timeout`] has passed. Time is always an argument ([`Now`]).
//!
//! | module | owns |
//! |---|---|
//! | [`session`] | [`Session`]: the life of a connection, from the first byte to its [`Ending`] |
//! | [`connect`] | CONNECT: what is checked before anyone is asked, CONNACK |
//! | `exchange` | QoS 2 exchanges that the client began: PUBREL, PUBCOMP |
//! | [`inbound`] | PUBLISH from the client: aliases, Receive Maximum, acknowledgements in the order of receipt |
//! | [`outbound`] | PUBLISH to the client: the in-flight window, packet identifiers, what waits |
//! | `write` | one PUBLISH onto the output: shared encoding, topic alias, size |
//! | `aliases` | topic aliases towards the client |
//! | `acknowledge` | what the client answers to that: PUBACK, PUBREC, PUBCOMP |
//! | [`direct`] | direct messages: past subscriptions and queue |
//! | [`shares`] | shares of groups: what another member gets if this client goes |
//! | `retries` | how long deliveries at QoS 1 are tried |
//! | [`queue`] | the durable queue of a persistent session: reading position, pushes, the pace of stored messages |
//! | [`subscribe`] | SUBSCRIBE and UNSUBSCRIBE |
//! | `filters` | the filters a session holds, within their bounds |
//! | [`keep_alive`] | the keep-alive timer |
//! | [`close`] | how a connection ends: reasons, DISCONNECT, the will |
//! | [`encoded`] | one message encoded once for all its receivers |
//! | [`output`] | bytes on their way to the client |
//!
//! What it does not own: who the client is and what it may do (the gateway asks policies), where messages go (the router),
//! what survives a crash (the session store).
#![warn(missing_docs)]

mod acknowledge;
mod aliases;
pub mod close;
pub mod connect;
pub mod direct;
pub mod encoded;
mod exchange;
mod filters;
pub mod inbound;
pub mod keep_alive;
pub mod outbound;
pub mod output;
pub mod queue;
mod retries;
pub mod session;
pub mod shares;
pub mod subscribe;
mod write;

pub use close::{Close, DisconnectReason, Ending};
pub use connect::{Accepted, ConnectRequest, WillRequest, published_will};
pub use direct::{DirectRefused, DirectTicket};
pub use encoded::Encoded;
pub use filters::Leftovers;
pub use inbound::AckTicket;
pub use outbound::{Delivery, DropCause};
pub use output::Output;
pub use queue::QueueState;
pub use session::{Action, Now, Session, Settings};
pub use shares::{LeftShares, Shared};
pub use subscribe::{SubscribeRequest, UnsubscribeRequest};

#[cfg(test)]
mod tests;
