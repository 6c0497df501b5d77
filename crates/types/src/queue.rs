//! Identifiers of sessions and of the entries of their queues.

use std::num::NonZeroU16;

/// A session record. Never reused while the store lives: a session that was wiped and made again has a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// An entry of one session's queue: 1, 2, 3, … in append order, never reused within the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct EntryId(pub u64);

impl EntryId {
    /// The position before the first entry.
    pub const NONE: Self = Self(0);

    /// The packet identifier under which this entry is sent. Derived from the id, so that a redelivery after a crash
    /// uses the original one [MQTT-4.4.0-1] without a write. Unique while fewer than 65,535 entries are in flight.
    pub fn packet_id(self) -> NonZeroU16 {
        let number = (self.0.saturating_sub(1) % 65_535) as u16;
        NonZeroU16::MIN.saturating_add(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packet_ids_follow_entries_and_wrap_past_zero() {
        assert_eq!(EntryId(1).packet_id().get(), 1);
        assert_eq!(EntryId(65_535).packet_id().get(), 65_535);
        assert_eq!(EntryId(65_536).packet_id().get(), 1);
    }
}
