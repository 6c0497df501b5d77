//! TLS ticket keys: the secret area of the metadata that listeners seal session tickets with (protocols.md C4).
//!
//! There are three generations, so that a rotation is never noticed: tickets are made with the *current* key; the
//! *previous* one is still read, for a whole period; the *next* one is known everywhere before anyone makes a ticket with
//! it.

use hmac::{Hmac, Mac};
use prost::Message;
use sha2::Sha256;

use crate::command::Context;
use crate::error::Error;
use crate::keys;
use crate::record::{TicketKey, TicketKeys};
use crate::store::{Outcome, Store, done};
use crate::view::Effects;

/// How long tickets are made with one key, in milliseconds; so long, at least, a ticket is good.
pub const PERIOD_MILLIS: u64 = 12 * 60 * 60 * 1000;

/// RotateTicketKeys: makes the keys when there are none; moves on by one generation when the current one's time is over.
pub(crate) fn rotate(store: &Store<'_>, context: &Context) -> Outcome {
    let key = keys::ticket_keys();
    let now = context.now.as_millis();
    let Some(old) = store.record::<TicketKeys>(&key)? else {
        let made = |number| TicketKey { number, secret: secret(context, number) };
        return put(TicketKeys { previous: None, current: Some(made(1)), next: Some(made(2)), since: now });
    };
    let age = now.saturating_sub(old.since);
    if age < PERIOD_MILLIS {
        return done(Effects::default());
    }
    let newest = old.next.clone().or_else(|| old.current.clone()).map_or(0, |key| key.number);
    let made = TicketKey { number: newest + 1, secret: secret(context, newest + 1) };
    // After a pause of two periods (nothing ran) what the current key sealed has had its time.
    let previous = old.current.filter(|_| age < 2 * PERIOD_MILLIS);
    let current = Some(old.next.unwrap_or_else(|| made.clone()));
    put(TicketKeys { previous, current, next: Some(made), since: now })
}

fn put(keys: TicketKeys) -> Outcome {
    let mut effects = Effects::default();
    effects.put(keys::ticket_keys(), keys.encode_to_vec());
    done(effects)
}

/// A key of its own for each number, from the command's entropy.
fn secret(context: &Context, number: u64) -> Vec<u8> {
    // Any length will do for an HMAC key, so this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&context.random) else { return Vec::new() };
    mac.update(b"fleethaven ticket key");
    mac.update(&number.to_be_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Reads the value of [`keys::ticket_keys`].
///
/// # Errors
/// When it is no such record.
pub fn decode(value: &[u8]) -> Result<TicketKeys, Error> {
    crate::record::decode(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Action;
    use crate::requests::registry;
    use crate::testing::Registry;
    use crate::view::View;

    fn numbers(registry: &Registry) -> [Option<u64>; 3] {
        let keys = stored(registry);
        [keys.previous, keys.current, keys.next].map(|key| key.map(|key| key.number))
    }

    fn stored(registry: &Registry) -> TicketKeys {
        decode(&registry.view.get(&keys::ticket_keys()).unwrap()).unwrap()
    }

    #[test]
    fn generations_overlap() {
        let mut registry = registry();
        let hours = |hours: u64| hours * 3600;
        registry.run(Action::RotateTicketKeys).unwrap();
        assert_eq!(numbers(&registry), [None, Some(1), Some(2)]);
        registry.wait(hours(12) - 1);
        registry.run(Action::RotateTicketKeys).unwrap();
        assert_eq!(numbers(&registry), [None, Some(1), Some(2)], "not yet");
        let second = stored(&registry).next.unwrap();
        registry.wait(1);
        registry.run(Action::RotateTicketKeys).unwrap();
        assert_eq!(numbers(&registry), [Some(1), Some(2), Some(3)]);
        assert_eq!(stored(&registry).current, Some(second), "what everybody knew before");
        registry.wait(hours(13));
        registry.run(Action::RotateTicketKeys).unwrap();
        assert_eq!(numbers(&registry), [Some(2), Some(3), Some(4)]);
        registry.wait(hours(48));
        registry.run(Action::RotateTicketKeys).unwrap();
        assert_eq!(numbers(&registry), [None, Some(4), Some(5)], "nothing ran for two days");
    }

    #[test]
    fn keys_are_different_and_not_printed() {
        let mut registry = registry();
        registry.run(Action::RotateTicketKeys).unwrap();
        let keys = stored(&registry);
        let (current, next) = (keys.current.clone().unwrap(), keys.next.clone().unwrap());
        assert_eq!((current.secret.len(), next.secret.len()), (32, 32));
        assert_ne!(current.secret, next.secret);
        let printed = format!("{keys:?}");
        assert!(!printed.contains("secret"), "{printed}");
    }
}
