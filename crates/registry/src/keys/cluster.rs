//! The cluster itself: members, slots, first replies, messages to publish, TLS ticket keys.

use bytes::Bytes;
use fleethaven_membership::Incarnation;

use super::global;
use crate::idempotency::IdempotencyKey;

/// The TLS ticket keys.
pub fn ticket_keys() -> Bytes {
    global("ticket-keys", &[])
}

pub(crate) fn first_reply(key: &IdempotencyKey) -> Bytes {
    global("first-reply", &[&hex::encode(key.as_bytes())])
}

#[cfg(test)]
pub(crate) fn first_replies_prefix() -> Bytes {
    global("first-reply", &[])
}

pub(crate) fn first_reply_slot(slot: u64) -> Bytes {
    global("first-reply-slot", &[&format!("{slot:016x}")])
}

pub(crate) fn next_first_reply() -> Bytes {
    global("next-first-reply", &[])
}

/// All that is kept of the cluster itself: its members and the owners of its slots.
pub fn cluster_prefix() -> Bytes {
    global("cluster", &[])
}

pub(crate) fn cluster_head() -> Bytes {
    global("cluster", &["head"])
}

pub(crate) fn cluster_slots() -> Bytes {
    global("cluster", &["slots"])
}

pub(crate) fn cluster_member(incarnation: Incarnation) -> Bytes {
    global("cluster", &["member", &format!("{:016x}", incarnation.0)])
}

pub(crate) fn cluster_members() -> Bytes {
    global("cluster", &["member", ""])
}

/// What the metastore keeps of the messages that the entry at `index` of a group's log asks for.
pub fn outbox(index: u64) -> Bytes {
    global("outbox", &[&format!("{index:016x}")])
}

/// All keys that [`outbox`] makes.
pub fn outbox_prefix() -> Bytes {
    global("outbox", &[""])
}

/// The index that [`outbox`] made this key of.
pub fn outbox_index(key: &[u8]) -> Option<u64> {
    let digits = key.strip_prefix(outbox_prefix().as_ref())?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
