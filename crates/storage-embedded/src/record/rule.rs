//! Entries of the rules queue and of the dead-letter list as stored.

use super::{Error, RuleRow, decode_row, encode_after, split_header};

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

/// A rules-queue value; `deliveries` is in front, so that it can be raised without decoding.
pub(crate) fn encode_rule(row: &RuleRow, deliveries: u32) -> Vec<u8> {
    encode_after(&deliveries.to_be_bytes(), row)
}

/// Reads what [`encode_rule`] wrote.
pub(crate) fn decode_rule(value: &[u8]) -> Result<(RuleRow, u32), Error> {
    let (deliveries, row) = split_header::<4>(value)?;
    Ok((decode_row(row)?, u32::from_be_bytes(*deliveries)))
}
