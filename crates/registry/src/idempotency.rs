//! Idempotency: a command that comes again because its outcome was unknown answers what it answered first
//! (protocols.md E1), and changes nothing again.
//!
//! What a keyed command replied is written together with its effects, so that either both are there or neither. Records
//! stand in a ring of [`KEPT`] slots: the newest takes the place of the oldest. One older than [`KEPT_MILLIS`] counts no
//! more. A command that was refused, or that had nothing to change, needs no record: it is evaluated again.
//!
//! Records age by a time of their own, which is state like them: each record moves it on by what the leader's clock shows more
//! than at the one before, at most by [`STEP_MILLIS`], and never back. A clock that jumps, or a leader whose clock is another,
//! makes no reply forgotten that its command may still come again for.

use std::fmt;

use bytes::Bytes;
use fleethaven_types::Timestamp;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::command::{Command, Reply};
use crate::error::Error;
use crate::keys;
use crate::record::{self, FirstReplies, FirstReply};
use crate::view::{Effects, View};

/// Replies that are kept, at most.
pub const KEPT: u64 = 65_536;
/// How long a reply is given again, in milliseconds: longer than any SDK goes on trying.
pub const KEPT_MILLIS: u64 = 15 * 60 * 1000;
/// The most that one record can make the others older, in milliseconds.
const STEP_MILLIS: u64 = 60 * 1000;

/// What all attempts at one command have in common, and no other command has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey([u8; 32]);

impl IdempotencyKey {
    /// The key of what `parts` tell together: who asks, for what, and the caller's own name for the attempt.
    pub fn of(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// From its bytes; `None` unless there are 32.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyKey({})", hex::encode(self.0))
    }
}

/// What `command` replied when it was carried out, if it was. A key that comes with another command (a
/// CreateKeysAndCertificate makes new keys for each attempt) does not count.
///
/// # Errors
/// When the record cannot be read.
pub fn recall(view: &dyn View, command: &Command, now: Timestamp) -> Result<Option<Reply>, Error> {
    let Some(key) = &command.key else { return Ok(None) };
    let Some(value) = view.get(&keys::first_reply(key)) else { return Ok(None) };
    let first: FirstReply = record::decode(&value)?;
    let fresh = written(view)?.time_at(now).saturating_sub(first.at) < KEPT_MILLIS;
    if !fresh || first.command != digest(command)? {
        return Ok(None);
    }
    serde_json::from_slice(&first.reply_json).map(Some).map_err(|error| unreadable(&error))
}

/// Adds the record of what `command` replied to its `effects`.
///
/// # Errors
/// When a stored record cannot be read.
pub fn remember(
    view: &dyn View,
    command: &Command,
    reply: &Reply,
    now: Timestamp,
    effects: &mut Effects,
) -> Result<(), Error> {
    let Some(key) = &command.key else { return Ok(()) };
    let written = written(view)?;
    let (next, time) = (written.count, written.time_at(now));
    let own = keys::first_reply(key);
    let slot = keys::first_reply_slot(next % KEPT);
    if let Some(displaced) = view.get(&slot)
        && displaced != own
        // It may have been written again since, by a later command with its key, which then holds another slot.
        && holds(view, &displaced, next.wrapping_sub(KEPT))?
    {
        effects.delete(displaced);
    }
    let first = FirstReply {
        command: digest(command)?,
        reply_json: serde_json::to_vec(reply).map_err(|error| unreadable(&error))?.into(),
        at: time,
        number: next,
    };
    let written = FirstReplies { count: next + 1, time, wall: now.as_millis() };
    effects.put(own.clone(), first.encode_to_vec());
    effects.put(slot, own);
    effects.put(keys::next_first_reply(), written.encode_to_vec());
    Ok(())
}

/// What is known of all that were written.
fn written(view: &dyn View) -> Result<FirstReplies, Error> {
    let written = view.get(&keys::next_first_reply()).map(|value| record::decode(&value));
    Ok(written.transpose()?.unwrap_or_default())
}

impl FirstReplies {
    /// What time it is for records, when the leader's clock shows `now`.
    fn time_at(&self, now: Timestamp) -> u64 {
        self.time.saturating_add(now.as_millis().saturating_sub(self.wall).min(STEP_MILLIS))
    }
}

/// Whether the record at `key` is the one that was written as number `number`.
fn holds(view: &dyn View, key: &[u8], number: u64) -> Result<bool, Error> {
    let Some(value) = view.get(key) else { return Ok(false) };
    Ok(record::decode::<FirstReply>(&value)?.number == number)
}

/// Whose command it is and what it says.
fn digest(command: &Command) -> Result<Bytes, Error> {
    let text = serde_json::to_vec(command).map_err(|error| unreadable(&error))?;
    Ok(Bytes::copy_from_slice(&Sha256::digest(text)))
}

fn unreadable(error: &serde_json::Error) -> Error {
    Error::internal(format!("a command or its reply cannot be kept or read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::{create_thing, registry};
    use crate::testing::MemoryView;

    fn command(name: &str, key: &str) -> Command {
        let action = create_thing(name, None, &[]);
        Command { key: Some(IdempotencyKey::of(&[key])), ..Command::new(registry().scope, action) }
    }

    fn keep(view: &mut MemoryView, command: &Command, at: u64) {
        let mut effects = Effects::default();
        remember(view, command, &Reply::Done, Timestamp(at), &mut effects).unwrap();
        view.apply(&effects);
    }

    #[test]
    fn the_same_command_with_the_same_key_is_recalled() {
        let mut view = MemoryView::default();
        let first = command("a", "k");
        assert_eq!(recall(&view, &first, Timestamp(5)).unwrap(), None);
        keep(&mut view, &first, 5);
        assert_eq!(recall(&view, &first, Timestamp(6)).unwrap(), Some(Reply::Done));
        assert_eq!(recall(&view, &command("b", "k"), Timestamp(6)).unwrap(), None, "another command");
        assert_eq!(recall(&view, &command("a", "l"), Timestamp(6)).unwrap(), None, "another key");
        let mut elsewhere = first.clone();
        elsewhere.scope.account = "999999999999".parse().unwrap();
        assert_eq!(recall(&view, &elsewhere, Timestamp(6)).unwrap(), None, "another account");
        assert_eq!(recall(&view, &Command { key: None, ..first }, Timestamp(6)).unwrap(), None);
    }

    #[test]
    fn a_reply_is_given_for_its_time() {
        let mut view = MemoryView::default();
        let first = command("a", "k");
        keep(&mut view, &first, 0);
        let minutes = KEPT_MILLIS / STEP_MILLIS;
        for minute in 1..minutes {
            keep(&mut view, &command("b", &minute.to_string()), minute * STEP_MILLIS);
        }
        assert_eq!(recall(&view, &first, Timestamp(KEPT_MILLIS - 1)).unwrap(), Some(Reply::Done));
        assert_eq!(recall(&view, &first, Timestamp(KEPT_MILLIS)).unwrap(), None, "too old");
    }

    #[test]
    fn a_clock_that_jumps_makes_no_reply_forgotten() {
        const YEAR: u64 = 365 * 24 * 60 * STEP_MILLIS;
        let mut view = MemoryView::default();
        let first = command("a", "k");
        keep(&mut view, &first, YEAR);
        // Leaders whose clocks are two years apart, in turns.
        for (number, clock) in [3 * YEAR, YEAR, 3 * YEAR, YEAR, 0, 3 * YEAR].into_iter().enumerate() {
            assert_eq!(recall(&view, &first, Timestamp(clock)).unwrap(), Some(Reply::Done), "at {clock}");
            keep(&mut view, &command("b", &number.to_string()), clock);
        }
        assert_eq!(recall(&view, &first, Timestamp(u64::MAX)).unwrap(), Some(Reply::Done));
    }

    #[test]
    fn the_newest_displaces_the_oldest() {
        let mut view = MemoryView::default();
        let oldest = command("a", "0");
        let again = command("a", "1");
        keep(&mut view, &oldest, 0);
        keep(&mut view, &again, 0);
        for n in 2..KEPT {
            keep(&mut view, &command("a", &n.to_string()), 0);
        }
        // Its second record is not displaced when the first one's slot is taken.
        keep(&mut view, &again, 1);
        assert_eq!(recall(&view, &oldest, Timestamp(1)).unwrap(), None);
        keep(&mut view, &command("a", "new"), 1);
        assert_eq!(recall(&view, &again, Timestamp(1)).unwrap(), Some(Reply::Done));
        let kept = view.scan(&keys::first_replies_prefix(), None, usize::MAX).len() as u64;
        assert!(kept <= KEPT, "{kept}");
    }

    #[test]
    fn keys_part_their_parts() {
        assert_ne!(IdempotencyKey::of(&["ab", "c"]), IdempotencyKey::of(&["a", "bc"]));
        assert_eq!(IdempotencyKey::from_bytes(&[0; 31]), None);
        let key = IdempotencyKey::of(&["a"]);
        assert_eq!(IdempotencyKey::from_bytes(key.as_bytes()), Some(key));
    }
}
