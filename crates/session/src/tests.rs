//! The session seen from the wire: client bytes in, bytes out, virtual time, a queue in memory.

mod aliases;
mod bounds;
mod connect;
mod delivery;
mod direct;
mod ending;
mod exactly_once;
mod inbound_model;
mod keep_alive;
mod model;
mod packets;
mod pair;
mod publish;
mod queue;
mod retries;
mod shares;
mod splits;
mod store;
mod subscribe;
