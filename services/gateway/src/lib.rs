//! Device connections. A gateway terminates TLS, speaks MQTT, decides what each client may do, and keeps nothing on disk.
//!
//! One event loop per core: a connection lives and dies on one core; a turn reads what is ready, authorises, hands one
//! batch to the router, delivers what comes back, and writes every socket once.
//!
//! | module | owns |
//! |---|---|
//! | [`gateway`] | [`Gateway`]: starts the cores, drains them |
//! | [`core`] | one event loop: its connections, lanes and timers |
//! | [`turn`] | what happens at the end of a turn |
//! | [`unrecorded`] | ends of connections that the store could not record yet |
//! | [`connection`] | one connection: transport, decoder, session, decisions |
//! | [`accept`] | listeners, TLS handshakes, who is connected |
//! | [`connecting`] | CONNECT: decision, claim, CONNACK |
//! | [`lifecycle`] | the events of clients that come, go and subscribe |
//! | [`logging`] | AWS's log entries about clients and their messages |
//! | [`connections`] | the connections API: who is connected, ending a connection, direct messages |
//! | [`cut_off`] | ending connections when the metastore has been out of reach for too long |
//! | [`ending`] | the end of a connection: takeover, what is recorded, the will |
//! | [`pending`] | what answers of the store and the router are waited for |
//! | [`requests`] | publishing, subscribing, reading the queue |
//! | [`throttle`] | what an account's rates hold back: input, deliveries |
//! | [`retained`] | retained messages for new subscriptions |
//! | [`transport`] | plain TCP, TLS, and streams (WebSocket, QUIC) |
//! | [`mailbox`] | what other threads send to a core |
//! | [`identity`] | the certificates, policies and things of connected clients, kept fresh by a watch |
//! | [`server_certificates`] | what listeners show for domains, kept fresh by a watch |
//! | [`ticket_keys`] | TLS ticket keys, kept fresh by a watch |
//! | [`authorize`] | policy decisions of one connection |
//! | [`spans`] | where traces are on: what becomes of the messages in a core's hands |
//! | [`sweep`] | comparing queues and owners with the store, so that no lost push strands a message, and no lost word of a takeover leaves a connection |
//! | [`timer`] | coarse timers for keep-alive |
//! | [`metrics`] | counters |
//! | [`metering`] | what clients use of what AWS bills for |

pub mod accept;
pub mod authorize;
mod authorizing;
mod budget;
mod chores;
mod connecting;
mod connection;
mod connections;
mod core;
mod cut_off;
mod drain;
mod ending;
pub mod gateway;
pub mod identity;
pub mod lifecycle;
mod lifetime;
mod logging;
pub mod mailbox;
mod metering;
pub mod metrics;
mod pending;
mod requests;
mod retained;
pub mod server_certificates;
mod shares;
mod spans;
mod sweep;
mod throttle;
pub mod ticket_keys;
mod timer;
mod transport;
mod turn;
mod unrecorded;

pub use accept::{Listener, ListenerKind, Protocol};
pub use gateway::{Arrival, Beat, Config, Gateway, Pulse};
pub use identity::{IdentityCache, Principal};
pub use transport::ByteStream;
