//! Keys of the keyspaces. Account and region come first where a key stands alone, and numbers are big-endian, so that
//! byte order is scope order and number order. Names (client ids, filters, topics) are in the values: they may have
//! 65,535 bytes, and a key no more than that.

use fleethaven_types::{AccountId, Region, Scope};

/// Key of a session record or a retained message: account, region, number.
pub(crate) fn scoped(scope: Scope, number: u64) -> Vec<u8> {
    let region = scope.region.as_str().as_bytes();
    let mut key = Vec::with_capacity(17 + region.len());
    key.extend_from_slice(&scope.account.as_u64().to_be_bytes());
    key.push(region.len() as u8);
    key.extend_from_slice(region);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The scope and the number that [`scoped`] joined.
pub(crate) fn split_scoped(key: &[u8]) -> Option<(Scope, u64)> {
    let (account, rest) = key.split_first_chunk::<8>()?;
    let (&length, rest) = rest.split_first()?;
    let (region, number) = rest.split_at_checked(usize::from(length))?;
    let region: Region = std::str::from_utf8(region).ok()?.parse().ok()?;
    let account = AccountId::from_u64(u64::from_be_bytes(*account))?;
    Some((Scope { account, region }, split_number(number)?))
}

/// Key of something that belongs to a session: a queue entry, or a subscription by its number. Entry 0, which no
/// entry has, is the key of the queue's tail mark.
pub(crate) fn of_session(session: u64, number: u64) -> [u8; 16] {
    ((u128::from(session) << 64) | u128::from(number)).to_be_bytes()
}

/// The session and the number that [`of_session`] joined.
pub(crate) fn split_of_session(key: &[u8]) -> Option<(u64, u64)> {
    let both = u128::from_be_bytes(key.try_into().ok()?);
    Some(((both >> 64) as u64, both as u64))
}

/// Key that is one number; numbers are also stored so as values.
pub(crate) fn number(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number that [`number`] wrote.
pub(crate) fn split_number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_apart_as_they_were_joined() {
        let scope =
            Scope { account: "000000000042".parse().unwrap(), region: "eu-central-1".parse().unwrap() };
        assert_eq!(split_scoped(&scoped(scope, 77)), Some((scope, 77)));
        assert_eq!(split_scoped(&[0; 8]), None);
        assert_eq!(split_of_session(&of_session(7, u64::MAX)), Some((7, u64::MAX)));
        assert!(of_session(1, 2) < of_session(1, 256) && of_session(1, 256) < of_session(2, 0));
    }
}
