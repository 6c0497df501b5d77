//! The keys that sessions are signed with: the secret area of the metadata, as with [`ticket_keys`](crate::ticket_keys).
//!
//! A session is nowhere stored: its token says who it is, and a key here proves that we wrote it. The newest key signs; the
//! one before counts for a whole period more, which is longer than any session lasts.

use hmac::{Hmac, Mac};
use prost::Message;
use sha2::Sha256;

use crate::command::Context;
use crate::error::Error;
use crate::keys;
use crate::query::QueryReply;
use crate::record;
use crate::shapes::{Secret, SessionKey};
use crate::store::{Outcome, Store, done};
use crate::view::Effects;

/// How long one key signs, in milliseconds. The longest session lasts half as long.
const PERIOD_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// RotateSessionKeys: makes a key when there is none or the newest one's time is over.
pub(crate) fn rotate(store: &Store<'_>, context: &Context) -> Outcome {
    let key = keys::session_keys();
    let now = context.now.as_millis();
    let mut stored: record::SessionKeys = store.record(&key)?.unwrap_or_default();
    if !stored.keys.is_empty() && now.saturating_sub(stored.since) < PERIOD_MILLIS {
        return done(Effects::default());
    }
    let newest = stored.keys.pop();
    let number = newest.as_ref().map_or(0, |newest| newest.number) + 1;
    stored.keys = newest.into_iter().collect();
    stored.keys.push(record::SessionKey { number, secret: secret(context, number) });
    stored.since = now;
    let mut effects = Effects::default();
    effects.put(key, stored.encode_to_vec());
    done(effects)
}

/// A key of its own for each number, from the command's entropy.
fn secret(context: &Context, number: u64) -> Vec<u8> {
    // Any length will do for an HMAC key, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&context.random) else { return Vec::new() };
    mac.update(b"fleethaven session key");
    mac.update(&number.to_be_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The keys that count, oldest first, whatever the scope; the last one signs.
pub(crate) fn all(store: &Store<'_>) -> Result<QueryReply, Error> {
    let stored: record::SessionKeys = store.record(&keys::session_keys())?.unwrap_or_default();
    let shape =
        |key: record::SessionKey| SessionKey { number: key.number, secret: Secret(hex::encode(key.secret)) };
    Ok(QueryReply::SessionKeys(stored.keys.into_iter().map(shape).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Action;
    use crate::query::QueryKind;
    use crate::requests::registry;
    use crate::testing::Registry;

    fn numbers(registry: &mut Registry) -> Vec<u64> {
        registry.run(Action::RotateSessionKeys).unwrap();
        match registry.ask(QueryKind::SessionKeys).unwrap() {
            QueryReply::SessionKeys(keys) => keys.iter().map(|key| key.number).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_counts_for_a_period_after_its_time() {
        let mut registry = registry();
        assert_eq!(registry.ask(QueryKind::SessionKeys).unwrap(), QueryReply::SessionKeys(vec![]));
        assert_eq!(numbers(&mut registry), [1]);
        registry.wait(24 * 3600 - 1);
        assert_eq!(numbers(&mut registry), [1]);
        registry.wait(1);
        assert_eq!(numbers(&mut registry), [1, 2]);
        registry.wait(24 * 3600);
        assert_eq!(numbers(&mut registry), [2, 3]);
    }

    #[test]
    fn secrets_differ_and_are_not_printed() {
        let mut registry = registry();
        numbers(&mut registry);
        registry.wait(24 * 3600);
        numbers(&mut registry);
        let QueryReply::SessionKeys(keys) = registry.ask(QueryKind::SessionKeys).unwrap() else { panic!() };
        assert_ne!(keys[0].secret, keys[1].secret);
        assert_eq!(keys[0].secret.0.len(), 64);
        assert!(!format!("{keys:?}").contains(&keys[0].secret.0));
    }
}
