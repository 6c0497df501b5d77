//! Dead letters: poison entries of the rules queue.

use std::sync::Arc;

use fleethaven_storage::record::RuleRow;
use fleethaven_storage::{DeadLetter, Error, RuleEntryId};
use fleethaven_types::{AccountId, Timestamp};
use redis::Value;

use crate::client::{Batch, Client};
use crate::keys::{self, Keys};
use crate::reply;
use crate::script::{Call, Op};

/// Dead letters of a partition that are read at a time.
const PAGE: usize = 100;

/// At most `limit` dead letters, oldest first, of an account or of all. One partition is read after the other, page by
/// page. What is deleted meanwhile may hide another from this listing.
pub(crate) fn list(
    client: &mut Client,
    keys: &Keys,
    account: Option<AccountId>,
    limit: usize,
) -> Result<Vec<DeadLetter>, Error> {
    let mut letters: Vec<DeadLetter> = Vec::new();
    for partition in keys.partitions() {
        let (mut from, mut found) = (0, 0);
        while found < limit {
            let (begin, end) = (from.to_string(), (from + PAGE - 1).to_string());
            let call = Call::of(partition, Op::DeadLetters, &[begin.as_bytes(), end.as_bytes()]);
            let mut replies = client.call(&Batch::of(call))?;
            let page = reply::array(reply::next(&mut replies)?)?;
            let (is_last, before) = (page.len() < PAGE, letters.len());
            for value in page {
                let letter = letter(partition, value)?;
                if account.is_none_or(|account| letter.message.publisher.scope.account == account) {
                    letters.push(letter);
                }
            }
            found += letters.len() - before;
            if is_last {
                break;
            }
            from += PAGE;
        }
        letters.sort_by_key(|letter| (letter.at, letter.id));
        letters.truncate(limit);
    }
    Ok(letters)
}

/// Puts a dead letter back at the end of the rules queue; false when there is none of this id.
pub(crate) fn redrive(client: &mut Client, id: RuleEntryId) -> Result<bool, Error> {
    let (partition, entry) = keys::rule_entry(id);
    let call = Call::of(partition, Op::Redrive, &[entry.as_bytes()]);
    let mut replies = client.call(&Batch::of(call).durable())?;
    Ok(reply::number(reply::next(&mut replies)?)? == 1)
}

/// Forgets a dead letter; false when there is none of this id.
pub(crate) fn discard(client: &mut Client, id: RuleEntryId) -> Result<bool, Error> {
    let (partition, entry) = keys::rule_entry(id);
    let call = Call::of(partition, Op::DiscardLetter, &[entry.as_bytes()]);
    let mut replies = client.call(&Batch::of(call).durable())?;
    Ok(reply::number(reply::next(&mut replies)?)? == 1)
}

fn letter(partition: u8, value: Value) -> Result<DeadLetter, Error> {
    let mut values = reply::array(value)?;
    let mut next = || reply::next(&mut values);
    let id = keys::split_rule_entry(partition, &reply::text(next()?)?);
    let (reason, at, deliveries) = (reply::text(next()?)?, reply::number(next()?)?, reply::number(next()?)?);
    let row: RuleRow = reply::decode(&reply::bytes(next()?)?)?;
    let (message, rules) = row.into_parts().map_err(|error| reply::malformed(&error.to_string()))?;
    Ok(DeadLetter {
        id: id.ok_or_else(|| reply::malformed("no rule entry id"))?,
        reason,
        at: Timestamp(at),
        message: Arc::new(message),
        rules,
        deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
    })
}
