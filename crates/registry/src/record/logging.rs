//! Which log entries are written.

use prost::Message;

/// The logging options of an account and region.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LoggingOptions {
    /// The role that AWS would write with; empty: there is none.
    #[prost(string, tag = "1")]
    pub role_arn: String,
    /// Nothing is logged, whatever else is said.
    #[prost(bool, tag = "2")]
    pub disabled: bool,
    /// Events of which something is said.
    #[prost(message, repeated, tag = "3")]
    pub events: Vec<LoggedEvent>,
}

/// What is said of an event.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LoggedEvent {
    /// Its name.
    #[prost(string, tag = "1")]
    pub event_type: String,
    /// The level's name.
    #[prost(string, optional, tag = "2")]
    pub level: Option<String>,
    /// The log group.
    #[prost(string, optional, tag = "3")]
    pub destination: Option<String>,
}

/// The level of a target: of everything that has none, of a thing group, client, address or principal.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct LoggingLevel {
    /// The level's name.
    #[prost(string, tag = "1")]
    pub level: String,
    /// Of a thing group those above it; they never change.
    #[prost(string, repeated, tag = "2")]
    pub ancestors: Vec<String>,
}

/// The logging options of the first version.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FirstLoggingOptions {
    /// The role that AWS would write with.
    #[prost(string, tag = "1")]
    pub role_arn: String,
    /// The level's name.
    #[prost(string, tag = "2")]
    pub level: String,
}
