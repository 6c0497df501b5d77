//! Which member owns a slot: the one with the highest weight, by rendezvous hashing. When a member comes or
//! goes, only the slots that it gains or loses move. The weights must never change between versions: members
//! of a cluster that is being upgraded have to agree.

use crate::slot::{Slot, mix};

/// The owner of `slot` among `members` (distinct numbers, in any order); `None` when there are none.
pub fn owner(slot: Slot, members: &[u64]) -> Option<u64> {
    highest(slot, members.iter().copied())
}

/// The member that owns `slot` once its [`owner`] is gone; `None` with fewer than two members.
pub fn runner_up(slot: Slot, members: &[u64]) -> Option<u64> {
    let owner = owner(slot, members)?;
    highest(slot, members.iter().copied().filter(|m| *m != owner))
}

fn highest(slot: Slot, members: impl Iterator<Item = u64>) -> Option<u64> {
    members.max_by_key(|member| (weight(slot, *member), *member))
}

/// Two rounds of [`mix`], so that neighbouring members and slots have unrelated weights.
fn weight(slot: Slot, member: u64) -> u64 {
    mix(mix(member).wrapping_add(u64::from(slot.index())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn weights_never_change() {
        let members = [1, 2, 3, 4, 5];
        let owners: Vec<_> = Slot::all().take(12).filter_map(|s| owner(s, &members)).collect();
        assert_eq!(owners, [5, 5, 4, 1, 5, 4, 2, 3, 3, 5, 5, 1]);
    }

    #[test]
    fn few_members() {
        let slot = Slot::new(7).unwrap();
        assert_eq!((owner(slot, &[]), runner_up(slot, &[])), (None, None));
        assert_eq!((owner(slot, &[9]), runner_up(slot, &[9])), (Some(9), None));
    }

    #[test]
    fn slots_are_spread_evenly() {
        let members = [1, 2, 3, 4];
        for member in members {
            let owned = Slot::all().filter(|s| owner(*s, &members) == Some(member)).count();
            assert!((200..=312).contains(&owned), "{member} owns {owned}");
        }
    }

    proptest! {
        #[test]
        fn only_the_slots_of_who_leaves_move(
            members in prop::collection::hash_set(any::<u64>(), 2..12), index in 0..1024_u16,
        ) {
            let slot = Slot::new(index).unwrap();
            let members: Vec<_> = members.into_iter().collect();
            let before = owner(slot, &members).unwrap();
            for gone in &members {
                let left: Vec<_> = members.iter().copied().filter(|m| m != gone).collect();
                let after = owner(slot, &left);
                let expected = if *gone == before { runner_up(slot, &members) } else { Some(before) };
                prop_assert_eq!(after, expected);
            }
        }
    }
}
