//! What AWS counts messages as.

use fleethaven_registry::shapes::Amounts;
use fleethaven_topics::name;
use fleethaven_types::Message;
use fleethaven_types::message::pieces;

/// How many messages one counts as that a client or request publishes: none on Basic Ingest's topics, and twice as many where it
/// is to be retained.
pub fn published(message: &Message) -> u64 {
    match name::basic_ingest(&message.topic) {
        Some(_) => 0,
        None => message.pieces() * (1 + u64::from(message.retain)),
    }
}

/// What so many messages are.
pub fn amounts(messages: u64) -> Amounts {
    Amounts { messages, ..Amounts::NONE }
}

/// How many messages the body of an HTTPS answer that refuses something counts as.
pub fn refused(bytes: usize) -> u64 {
    if bytes == 0 { 0 } else { pieces(bytes) }
}
