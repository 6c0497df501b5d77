//! Entries of the rules queue and of the dead-letter list as stored.

use bytes::Bytes;
use fleethaven_storage::RuleRef;
use fleethaven_types::Message;

use super::{Error, MessageRow, decode_row, encode_after, split_header, text};

/// A message with the rules it matched.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RuleRow {
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

/// A poison entry.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct DeadLetterRow {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
    #[prost(uint64, tag = "2")]
    pub(crate) at: u64,
    #[prost(uint32, tag = "3")]
    pub(crate) deliveries: u32,
    #[prost(message, optional, tag = "4")]
    pub(crate) entry: Option<RuleRow>,
}

impl RuleRow {
    pub(crate) fn new(message: &Message, rules: &[RuleRef]) -> Self {
        let rule =
            |rule: &RuleRef| RuleRefRow { name: rule.name.clone().into_bytes(), revision: rule.revision };
        Self { rules: rules.iter().map(rule).collect(), message: Some(message.into()) }
    }

    /// The message and its rules.
    pub(crate) fn into_parts(self) -> Result<(Message, Vec<RuleRef>), Error> {
        let rule =
            |row: RuleRefRow| Ok(RuleRef { name: text(row.name, "rule name")?, revision: row.revision });
        let message = self.message.ok_or(Error::Field("message"))?.try_into()?;
        Ok((message, self.rules.into_iter().map(rule).collect::<Result<_, Error>>()?))
    }
}

/// A rules-queue value; `deliveries` is in front, so that it can be raised without decoding.
pub(crate) fn encode_rule(row: &RuleRow, deliveries: u32) -> Vec<u8> {
    encode_after(&deliveries.to_be_bytes(), row)
}

/// Reads what [`encode_rule`] wrote.
pub(crate) fn decode_rule(value: &[u8]) -> Result<(RuleRow, u32), Error> {
    let (deliveries, row) = split_header::<4>(value)?;
    Ok((decode_row(row)?, u32::from_be_bytes(*deliveries)))
}
