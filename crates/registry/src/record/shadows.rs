//! Device shadows.

use prost::Message;

/// A shadow, or what is remembered of one that was deleted.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Shadow {
    /// Rises by one with each update.
    #[prost(uint64, tag = "1")]
    pub version: u64,
    /// What is desired.
    #[prost(message, optional, tag = "2")]
    pub desired: Option<ShadowSection>,
    /// What is reported.
    #[prost(message, optional, tag = "3")]
    pub reported: Option<ShadowSection>,
    /// When it was deleted; absent while it is there.
    #[prost(uint64, optional, tag = "4")]
    pub deleted_at: Option<u64>,
}

/// A section of a document: `fleethaven_shadow::document::Section`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ShadowSection {
    /// The members as a JSON object.
    #[prost(string, tag = "1")]
    pub json: String,
    /// When each leaf was set, in seconds.
    #[prost(uint64, repeated, tag = "2")]
    pub times: Vec<u64>,
    /// Numbers with a fraction, bit by bit.
    #[prost(fixed64, repeated, tag = "3")]
    pub floats: Vec<u64>,
}
