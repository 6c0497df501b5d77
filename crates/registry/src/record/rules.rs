//! Rules, how many there are, and tags.

use prost::Message;

/// A rule.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Rule {
    /// The statement.
    #[prost(string, tag = "1")]
    pub sql: String,
    /// Description.
    #[prost(string, optional, tag = "2")]
    pub description: Option<String>,
    /// Actions as JSON.
    #[prost(string, repeated, tag = "3")]
    pub actions: Vec<String>,
    /// Whether it is switched off.
    #[prost(bool, tag = "4")]
    pub disabled: bool,
    /// `awsIotSqlVersion`.
    #[prost(string, tag = "5")]
    pub sql_version: String,
    /// Error action as JSON.
    #[prost(string, optional, tag = "6")]
    pub error_action: Option<String>,
    /// When it was created.
    #[prost(uint64, tag = "7")]
    pub created_at: u64,
    /// Topic filter of the FROM clause.
    #[prost(string, tag = "8")]
    pub topic_pattern: String,
}

/// How many of something a scope has, where listing them would take too long.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Count {
    /// How many.
    #[prost(uint64, tag = "1")]
    pub count: u64,
}

/// A tag of a resource.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Tag {
    /// Its value.
    #[prost(string, tag = "1")]
    pub value: String,
}
