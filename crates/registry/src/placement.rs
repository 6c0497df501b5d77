//! Which raft group of the metastore holds what a command changes or a query asks for.
//!
//! The *control* group holds what belongs to accounts as a whole: the registry, certificates, policies, rules, members of the
//! cluster. What belongs to one thing alone and changes often (its shadows, its job executions) is held by one of N
//! *state* groups. There are no transactions across groups (protocols.md E4): a command reads and writes keys of one group.
//!
//! A thing's state is found in two steps. A hash of account and thing name gives one of [`Shard::COUNT`] virtual shards, for
//! ever. A shard's group is counted off: shard `s` of N groups is held by state group `s mod N`. N is fixed when the cluster
//! is made. Groups can be added later without touching the hash: the step from shard to group becomes a table kept by the
//! control group, which begins as what is counted off here, and a whole shard moves at a time.

use std::num::NonZeroU32;

use fleethaven_types::AccountId;
use sha2::{Digest, Sha256};

use crate::command::{Action, Command};
use crate::query::{Query, QueryKind};

/// What kind of group holds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Placement {
    /// The control group.
    Control,
    /// The state group of a thing's shard.
    Thing(Shard),
}

impl Placement {
    /// Where the state of a thing is held, whether or not the registry has such a thing.
    pub fn thing(account: AccountId, thing_name: &str) -> Self {
        Self::Thing(Shard::of(account, thing_name))
    }

    /// The number of the raft group in a metastore with `groups` state groups: 0 is the control group, state groups follow.
    pub fn group(self, groups: NonZeroU32) -> u32 {
        match self {
            Self::Control => 0,
            Self::Thing(shard) => 1 + u32::from(shard.0) % groups,
        }
    }
}

/// A virtual shard of the things' state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// How many there are: the most state groups that a metastore can have.
    pub const COUNT: u32 = 256;

    /// The shard of a thing, for ever: the first byte of the SHA-256 of the account id as a 64-bit big-endian number and the
    /// thing's name. Things of one name in two regions of an account share a shard.
    pub fn of(account: AccountId, thing_name: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(account.as_u64().to_be_bytes());
        hash.update(thing_name);
        let [first, ..]: [u8; 32] = hash.finalize().into();
        Self(first)
    }
}

impl Command {
    /// Which kind of group carries it out.
    pub fn placement(&self) -> Placement {
        let thing = match &self.action {
            Action::UpdateThingShadow(args) => &args.thing_name,
            Action::DeleteThingShadow(args) => &args.thing_name,
            _ => return Placement::Control,
        };
        Placement::thing(self.scope.account, thing)
    }
}

impl Query {
    /// Which kind of group answers it.
    pub fn placement(&self) -> Placement {
        match &self.kind {
            QueryKind::GetThingShadow { thing_name, .. }
            | QueryKind::ListNamedShadowsForThing { thing_name, .. } => {
                Placement::thing(self.scope.account, thing_name)
            }
            _ => Placement::Control,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn account(digits: &str) -> AccountId {
        digits.parse().unwrap()
    }

    #[test]
    fn a_thing_has_the_same_shard_for_ever() {
        assert_eq!(Shard::of(account("123456789012"), "lamp"), Shard(52));
        assert_eq!(Shard::of(account("000000000042"), ""), Shard(166));
        assert_ne!(Shard::of(account("123456789012"), "lamp"), Shard::of(account("123456789013"), "lamp"));
    }

    #[test]
    fn groups_are_counted_off_after_the_control_group() {
        let groups = |n| NonZeroU32::new(n).unwrap();
        assert_eq!(Placement::Control.group(groups(4)), 0);
        let of = |n| Placement::Thing(Shard(n)).group(groups(4));
        assert_eq!([of(0), of(1), of(3), of(4), of(255)], [1, 2, 4, 1, 4]);
        assert_eq!(Placement::Thing(Shard(255)).group(groups(1)), 1);
        assert_eq!(Placement::Thing(Shard(255)).group(groups(Shard::COUNT)), 256);
    }

    #[test]
    fn things_spread_evenly() {
        let mut counts = BTreeMap::<u32, u32>::new();
        for n in 0..40_000 {
            let placement = Placement::thing(account("123456789012"), &format!("device-{n}"));
            *counts.entry(placement.group(NonZeroU32::new(4).unwrap())).or_default() += 1;
        }
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(counts.values().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
