//! Identifiers of sessions and of the entries of their queues.

use std::num::NonZeroU16;

/// A session record. Never reused while the store lives: a session that was wiped and made again has a new id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl SessionId {
    /// What no session is called.
    pub const NOBODY: Self = Self(0);
}

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

/// A group of clients that share a subscription (`$share/{name}/{filter}`), as it is named within the broker. Never reused
/// while the store lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u64);

/// Marks a delivery as one member's share of what a group gets: if the member leaves before it has acknowledged it, or may
/// not receive it, another one gets it [MQTT5 section 4.8.2].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The group.
    pub group: GroupId,
    /// Members that may not receive this message; `None` when nobody has refused it so far.
    pub refused: Option<Box<[SessionId]>>,
}

impl Share {
    /// A share of `group` that nobody has refused.
    pub fn of(group: GroupId) -> Self {
        Self { group, refused: None }
    }

    /// Whether `member` has refused it.
    pub fn is_refused_by(&self, member: SessionId) -> bool {
        self.refused.as_ref().is_some_and(|refused| refused.contains(&member))
    }

    /// Notes that `member` may not receive it.
    pub fn refuse(&mut self, member: SessionId) {
        let mut refused = self.refused.take().map(Vec::from).unwrap_or_default();
        refused.push(member);
        self.refused = Some(refused.into());
    }
}

/// Where a share is held durably until its member has acknowledged it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// In the group's own queue.
    Group(EntryId),
    /// In the queue of a member.
    Member(SessionId, EntryId),
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
