//! Values of the keyspaces, written as [`fleethaven_storage::record`] says.

mod entry;
mod rule;
mod session;

pub(crate) use entry::{EntryHeader, EntryRow, INLINE, RELEASED};
pub(crate) use rule::{DeadLetterRow, decode_rule, encode_rule};
pub(crate) use session::{ConnectionRow, DepartedRow, GroupRow, SessionRow, WaitingWillRow};

pub(crate) use fleethaven_storage::record::{
    DepartureRow, Error, FirstSentRow, MessageRow, RuleRow, SubscriptionRow, WillRow, decode, encode,
    message_cost,
};
use fleethaven_storage::record::{decode_row, encode_after, qos, split_header};
