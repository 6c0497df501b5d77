//! An entry of the rules queue as stored.

use bytes::Bytes;
use fleethaven_types::Message;

use super::{Error, MessageRow, text};
use crate::RuleRef;

/// A message with the rules it matched.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RuleRow {
    #[prost(message, repeated, tag = "1")]
    rules: Vec<RuleRefRow>,
    #[prost(message, optional, tag = "2")]
    message: Option<MessageRow>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RuleRefRow {
    #[prost(bytes = "bytes", tag = "1")]
    name: Bytes,
    #[prost(uint64, tag = "2")]
    revision: u64,
}

impl RuleRow {
    /// The row of `message`, which `rules` matched.
    pub fn new(message: &Message, rules: &[RuleRef]) -> Self {
        let rule =
            |rule: &RuleRef| RuleRefRow { name: rule.name.clone().into_bytes(), revision: rule.revision };
        Self { rules: rules.iter().map(rule).collect(), message: Some(message.into()) }
    }

    /// The message and its rules.
    pub fn into_parts(self) -> Result<(Message, Vec<RuleRef>), Error> {
        let rule =
            |row: RuleRefRow| Ok(RuleRef { name: text(row.name, "rule name")?, revision: row.revision });
        let message = self.message.ok_or(Error::Field("message"))?.try_into()?;
        Ok((message, self.rules.into_iter().map(rule).collect::<Result<_, Error>>()?))
    }
}
