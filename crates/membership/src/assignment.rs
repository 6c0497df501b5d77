//! Which router every slot belongs to, given who is there.

use std::collections::BTreeMap;

use fleethaven_topics::{Slot, rendezvous};

use crate::member::{Incarnation, Member, Phase, Role};
use crate::table::SlotOwner;

/// Gives every slot what it must have with these members. A slot whose owner is gone, or has let go of it, gets the serving
/// router that rendezvous hashing says, under a new epoch. One whose owner is there keeps it, and is told who is to be next if
/// that is another. While depths are `switching` nothing that was let go of is given out: who is to have it holds its filters.
pub(crate) fn assign(slots: &mut [SlotOwner], members: &BTreeMap<Incarnation, Member>, switching: bool) {
    let routers = |wanted: fn(Phase) -> bool| -> Vec<u64> {
        let routers = members.values().filter(|m| m.role == Role::Router && wanted(m.phase));
        routers.map(|member| member.incarnation.0).collect()
    };
    let serving = routers(|phase| phase == Phase::Serving);
    let staying = routers(|phase| phase != Phase::Leaving);
    for (slot, entry) in Slot::all().zip(slots) {
        let first = rendezvous::owner(slot, &serving).map(Incarnation);
        entry.owner = entry.owner.filter(|owner| members.contains_key(owner));
        if entry.owner.is_none() && first.is_some() && !switching {
            entry.owner = first;
            entry.epoch += 1;
        }
        entry.next = first.filter(|_| first != entry.owner);
        entry.standby = best_but(slot, &staying, entry.owner.or(entry.next));
    }
}

/// The router that would own `slot` if `owner` were not there.
fn best_but(slot: Slot, routers: &[u64], owner: Option<Incarnation>) -> Option<Incarnation> {
    let best = rendezvous::owner(slot, routers).map(Incarnation);
    match best == owner {
        true => rendezvous::runner_up(slot, routers).map(Incarnation),
        false => best,
    }
}
