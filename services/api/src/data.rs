//! The data plane over HTTPS (broker.md section 15): publishing, retained messages, connections; device shadows;
//! and the seam to the broker.

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_types::Message;

use crate::control::built;

mod authorization;
mod connections;
mod direct;
mod page;
mod parameters;
mod publish;
mod retained;
mod shadows;

pub(crate) use authorization::{Asked, On, PolicyCache, authorize};
pub use parameters::Parameters;

/// Why the broker did not take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Over a rate limit; trying again later can help. 429.
    #[error("Rate exceeded")]
    Throttled,
    /// The message breaks a rule that the API does not know of. 400.
    #[error("{0}")]
    Invalid(String),
    /// No node of the broker can take it now. 503.
    #[error("{0}")]
    Unavailable(String),
    /// The broker's own failure. 500.
    #[error("{0}")]
    Internal(String),
}

/// The broker, as the API sees it. The binary implements it.
pub trait DataPlane: Send + Sync + 'static {
    /// Publishes a message that is authorised and within the limits. `sequence` and `hops` are 0, and its
    /// publisher is the request's own. With QoS 1 this returns when the message is safe where QoS 1 promises
    /// it to be.
    fn publish(&self, message: Message) -> BoxFuture<'_, Result<(), Error>>;
}

impl From<Error> for crate::error::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Throttled => Self::Throttled,
            Error::Invalid(message) => Self::Invalid(message),
            Error::Unavailable(reason) => Self::Unavailable(reason),
            Error::Internal(reason) => Self::Internal(reason),
        }
    }
}

built! {
    "DeleteConnection" => connections::delete,
    "DeleteThingShadow" => shadows::delete,
    "GetConnection" => connections::get,
    "GetRetainedMessage" => retained::get,
    "GetThingShadow" => shadows::get,
    "ListNamedShadowsForThing" => shadows::list,
    "ListRetainedMessages" => retained::list,
    "ListSubscriptions" => connections::list_subscriptions,
    "Publish" => publish::publish,
    "SendDirectMessage" => direct::send,
    "UpdateThingShadow" => shadows::update,
}

#[cfg(test)]
mod tests;
