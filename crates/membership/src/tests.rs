//! Random joins, leaves, phases, releases and ends of leases: what holds after each of them, in any order.

mod timeline;

use std::collections::BTreeMap;

use fleethaven_topics::{Slot, rendezvous};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::{Cluster, Command, Incarnation, PREFIXES_MAX, Phase, Refusal, Role, floor};

/// What happens next; members are chosen among those that there are.
#[derive(Debug, Clone)]
enum Step {
    Join(Role),
    Phase(Index, Phase),
    /// Releases a third of the slots that the member is to give up.
    Release(Index, u16),
    /// Releases slots that it may own or not, under epochs that may be right or not.
    ReleaseAnything(Index, Vec<(u16, u64)>),
    Remove(Index),
    Depth(Option<usize>),
    Ready(Index, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let phase = prop_oneof![Just(Phase::Loading), Just(Phase::Serving), Just(Phase::Leaving)];
    let role = prop_oneof![4 => Just(Role::Router), 1 => Just(Role::Gateway), 1 => Just(Role::RulesWorker), 1 => Just(Role::Api)];
    prop_oneof![
        3 => role.prop_map(Step::Join),
        4 => any::<Index>().prop_map(|member| Step::Phase(member, Phase::Serving)),
        2 => (any::<Index>(), phase).prop_map(|(member, phase)| Step::Phase(member, phase)),
        3 => (any::<Index>(), 0..3_u16).prop_map(|(member, third)| Step::Release(member, third)),
        1 => (any::<Index>(), prop::collection::vec((0..1100_u16, 0..6_u64), 0..200))
            .prop_map(|(member, slots)| Step::ReleaseAnything(member, slots)),
        2 => any::<Index>().prop_map(Step::Remove),
        2 => prop::option::of(2..6_usize).prop_map(Step::Depth),
        4 => (any::<Index>(), 0..3_u64).prop_map(|(member, old)| Step::Ready(member, old)),
    ]
}

fn chosen(cluster: &Cluster, index: &Index) -> Option<Incarnation> {
    let members: Vec<_> = cluster.members.keys().copied().collect();
    (!members.is_empty()).then(|| *index.get(&members))
}

/// The slots that `member` is to give up.
fn due(cluster: &Cluster, member: Incarnation) -> Vec<(u16, u64)> {
    let slots = Slot::all().zip(&cluster.slots);
    let switching = cluster.table().is_switching();
    let due = slots.filter(|(_, entry)| entry.owner == Some(member) && (switching || entry.next.is_some()));
    due.map(|(slot, entry)| (slot.index(), entry.epoch)).collect()
}

fn command(cluster: &Cluster, step: &Step) -> Option<Command> {
    Some(match step {
        Step::Join(role) => {
            Command::Join { role: *role, address: "10.0.0.1:7000".to_owned(), version: "1".to_owned() }
        }
        Step::Phase(member, phase) => {
            Command::SetPhase { incarnation: chosen(cluster, member)?, phase: *phase }
        }
        Step::Release(member, third) => {
            let incarnation = chosen(cluster, member)?;
            let mut slots = due(cluster, incarnation);
            slots.retain(|(slot, _)| slot % 3 == *third);
            Command::Release { incarnation, slots }
        }
        Step::ReleaseAnything(member, slots) => {
            Command::Release { incarnation: chosen(cluster, member)?, slots: slots.clone() }
        }
        Step::Remove(member) => Command::Remove { incarnation: chosen(cluster, member)? },
        Step::Depth(depth) => Command::SetDepth { prefix: "acme/prod".to_owned(), depth: *depth },
        Step::Ready(member, old) => {
            let incarnation = chosen(cluster, member)?;
            Command::ReadyForDepth { incarnation, version: cluster.version.saturating_sub(*old) }
        }
    })
}

fn serving(cluster: &Cluster) -> Vec<u64> {
    let routers = cluster.members.values().filter(|m| m.role == Role::Router && m.phase == Phase::Serving);
    routers.map(|member| member.incarnation.0).collect()
}

/// What must hold of any cluster.
fn check(cluster: &Cluster) {
    let serving = serving(cluster);
    let switching = cluster.table().is_switching();
    assert_eq!(cluster.depths.next.is_some(), cluster.changing.is_some());
    for (slot, entry) in Slot::all().zip(&cluster.slots) {
        let first = rendezvous::owner(slot, &serving).map(Incarnation);
        match entry.owner {
            Some(owner) => assert!(cluster.members.contains_key(&owner)),
            None => assert!(serving.is_empty() || switching),
        }
        assert_eq!(entry.next, first.filter(|_| first != entry.owner), "{entry:?}");
        assert!(entry.standby.is_none() || entry.standby != entry.owner, "{entry:?}");
        let holder = entry.owner.or(entry.next);
        let others = serving.iter().filter(|member| Some(Incarnation(**member)) != holder).count();
        assert!(entry.standby.is_some() || others == 0, "{entry:?}");
    }
}

/// What must hold between a cluster and what `command` made of it.
fn check_step(before: &Cluster, command: &Command, after: &Cluster) {
    let changed = Cluster { version: after.version, ..before.clone() } != *after;
    assert_eq!(after.version, before.version + u64::from(changed));
    let released = |slot: Slot, epoch: u64, owner| match command {
        Command::Release { incarnation, slots } => {
            *incarnation == owner && slots.contains(&(slot.index(), epoch))
        }
        _ => false,
    };
    for ((slot, old), new) in Slot::all().zip(&before.slots).zip(&after.slots) {
        assert!(new.epoch >= old.epoch);
        if new.epoch == old.epoch {
            assert!(new.owner == old.owner || new.owner.is_none());
        }
        let Some(owner) = old.owner else { continue };
        let gone = !after.members.contains_key(&owner);
        if new.owner != Some(owner) || new.epoch != old.epoch {
            assert!(gone || released(slot, old.epoch, owner), "{slot:?} moved from {old:?} to {new:?}");
        }
        // Who holds the filters takes over, if it serves.
        if gone
            && !after.table().is_switching()
            && let Some(standby) = old.standby.filter(|standby| serving(after).contains(&standby.0))
        {
            assert_eq!(new.owner, Some(standby));
        }
    }
}

/// Everybody does what the table asks, until it asks nothing more; how many rounds that took.
fn settle(cluster: &mut Cluster) -> usize {
    for round in 0.. {
        let members: Vec<_> = cluster.members.keys().copied().collect();
        for incarnation in &members {
            let ready = Command::ReadyForDepth { incarnation: *incarnation, version: cluster.version };
            cluster.apply(&ready).unwrap();
        }
        let due: Vec<_> = members.into_iter().map(|member| (member, due(cluster, member))).collect();
        if due.iter().all(|(_, slots)| slots.is_empty()) {
            return round;
        }
        for (incarnation, slots) in due {
            cluster.apply(&Command::Release { incarnation, slots }).unwrap();
        }
    }
    unreachable!()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_order_of_events_keeps_one_owner_for_each_epoch(steps in prop::collection::vec(step(), 1..40)) {
        let mut cluster = Cluster::new(7);
        let mut owners: BTreeMap<(Slot, u64), Incarnation> = BTreeMap::new();
        for step in &steps {
            let Some(command) = command(&cluster, step) else { continue };
            let before = cluster.clone();
            match cluster.apply(&command) {
                Ok(Some(joined)) => prop_assert!(joined > before.last),
                Ok(None) => {}
                Err(refusal) => {
                    let expected = matches!(refusal, Refusal::Backwards { .. } | Refusal::Changing);
                    prop_assert!(expected, "{}", refusal);
                    prop_assert_eq!(&cluster, &before);
                }
            }
            check(&cluster);
            check_step(&before, &command, &cluster);
            for (slot, entry) in Slot::all().zip(&cluster.slots) {
                if let Some(owner) = entry.owner {
                    let first = *owners.entry((slot, entry.epoch)).or_insert(owner);
                    prop_assert_eq!(first, owner, "two owners of one epoch");
                }
            }
        }
        // However it came to this: hand-overs end, at once, and everybody has what is theirs.
        prop_assert!(settle(&mut cluster) <= 2);
        prop_assert!(cluster.changing.is_none());
        let serving = serving(&cluster);
        for (slot, entry) in Slot::all().zip(&cluster.slots) {
            if let Some(owner) = rendezvous::owner(slot, &serving) {
                prop_assert_eq!(entry.owner, Some(Incarnation(owner)));
            }
        }
    }
}

fn join(cluster: &mut Cluster, phase: Phase) -> Incarnation {
    let join = Command::Join { role: Role::Router, address: "r:1".to_owned(), version: "1".to_owned() };
    let incarnation = cluster.apply(&join).unwrap().unwrap();
    cluster.apply(&Command::SetPhase { incarnation, phase }).unwrap();
    incarnation
}

fn owned(cluster: &Cluster, by: Incarnation) -> usize {
    cluster.slots.iter().filter(|slot| slot.owner == Some(by)).count()
}

#[test]
fn a_router_that_joins_moves_only_what_it_gets() {
    let mut cluster = Cluster::new(0);
    let first = join(&mut cluster, Phase::Serving);
    join(&mut cluster, Phase::Serving);
    settle(&mut cluster);
    let before = cluster.clone();
    let new = join(&mut cluster, Phase::Loading);
    assert_eq!(owned(&cluster, new), 0);
    let warming = cluster.slots.iter().filter(|slot| slot.standby == Some(new)).count();
    cluster.apply(&Command::SetPhase { incarnation: new, phase: Phase::Serving }).unwrap();
    // What it is to own, it was told to hold while it was loading.
    let next = |cluster: &Cluster| cluster.slots.iter().filter(|slot| slot.next == Some(new)).count();
    assert!(next(&cluster) > 200 && next(&cluster) <= warming);
    assert_eq!(owned(&cluster, new), 0, "not before its owners let go");
    settle(&mut cluster);
    for (old, now) in before.slots.iter().zip(&cluster.slots) {
        assert!(old.owner == now.owner || now.owner == Some(new));
        assert_eq!(now.epoch, old.epoch + u64::from(old.owner != now.owner));
    }
    let had = owned(&before, first);
    assert!(owned(&cluster, first) < had);
}

#[test]
fn the_last_router_gives_up_its_slots_to_nobody() {
    let mut cluster = Cluster::new(0);
    let only = join(&mut cluster, Phase::Serving);
    cluster.apply(&Command::SetPhase { incarnation: only, phase: Phase::Leaving }).unwrap();
    assert_eq!(owned(&cluster, only), 1024, "nobody else is there: it may go on");
    let slots = (0..1024).map(|slot| (slot, 1)).collect();
    cluster.apply(&Command::Release { incarnation: only, slots }).unwrap();
    assert!(cluster.slots.iter().all(|slot| slot.owner.is_none() && slot.epoch == 1));
    let other = join(&mut cluster, Phase::Serving);
    assert!(cluster.slots.iter().all(|slot| slot.owner == Some(other) && slot.epoch == 2));
}

#[test]
fn a_release_that_is_told_twice_frees_nothing_twice() {
    let mut cluster = Cluster::new(0);
    let only = join(&mut cluster, Phase::Serving);
    let release = Command::Release { incarnation: only, slots: vec![(3, 1), (2000, 1)] };
    cluster.apply(&release).unwrap();
    assert_eq!((cluster.slots[3].owner, cluster.slots[3].epoch), (Some(only), 2), "back under a new epoch");
    let before = cluster.clone();
    cluster.apply(&release).unwrap();
    assert_eq!(cluster, before);
}

fn set_depth(prefix: &str, depth: Option<usize>) -> Command {
    Command::SetDepth { prefix: prefix.to_owned(), depth }
}

/// Each owner lets go of what it has.
fn release_all(cluster: &mut Cluster) {
    for incarnation in cluster.members.keys().copied().collect::<Vec<_>>() {
        let slots = due(cluster, incarnation);
        cluster.apply(&Command::Release { incarnation, slots }).unwrap();
    }
}

#[test]
fn other_depths_come_into_force_when_all_hold_what_they_want_and_nobody_serves() {
    let mut cluster = Cluster::new(0);
    let routers = [join(&mut cluster, Phase::Serving), join(&mut cluster, Phase::Serving)];
    settle(&mut cluster);
    cluster.slots[7].epoch = 40;
    let before = cluster.clone();
    cluster.apply(&set_depth("acme/prod", Some(5))).unwrap();
    assert_eq!((&cluster.depths.now, &cluster.slots), (&before.depths.now, &before.slots));
    let since = cluster.table().change.unwrap().since;
    assert_eq!(since, cluster.version);
    let ready = |router: usize, version| Command::ReadyForDepth { incarnation: routers[router], version };
    cluster.apply(&ready(0, since)).unwrap();
    cluster.apply(&ready(1, since - 1)).unwrap();
    assert!(!cluster.table().is_switching(), "one was ready for something else");
    cluster.apply(&ready(1, since)).unwrap();
    assert!(cluster.table().is_switching() && cluster.slots.iter().all(|slot| slot.owner.is_some()));
    let owners: Vec<_> = cluster.slots.iter().map(|slot| slot.owner).collect();
    let slots = due(&cluster, routers[0]);
    cluster.apply(&Command::Release { incarnation: routers[0], slots }).unwrap();
    assert_eq!(cluster.depths.now, before.depths.now);
    let free = cluster.slots.iter().zip(&owners).filter(|(slot, _)| slot.owner.is_none());
    // Whoever had it holds its filters still.
    assert!(free.clone().count() > 300 && free.clone().all(|(slot, owner)| slot.next == *owner));
    // The other one dies.
    cluster.apply(&Command::Remove { incarnation: routers[1] }).unwrap();
    assert_eq!((cluster.depths.now.depth("acme/prod/x"), &cluster.depths.next), (5, &None));
    assert!(cluster.slots.iter().all(|slot| slot.owner == Some(routers[0]) && slot.epoch == 41));
    let released = Command::Release { incarnation: routers[0], slots: vec![(7, 40)] };
    cluster.apply(&released).unwrap();
    assert_eq!(cluster.slots[7].owner, Some(routers[0]), "told late, of what was before");
}

#[test]
fn one_change_of_depths_at_a_time_which_can_be_taken_back_until_it_is_switched_to() {
    let mut cluster = Cluster::new(0);
    let only = join(&mut cluster, Phase::Serving);
    cluster.apply(&set_depth("", Some(4))).unwrap();
    let under_way = cluster.clone();
    cluster.apply(&set_depth("", Some(4))).unwrap();
    assert_eq!(cluster, under_way, "asked for twice");
    assert_eq!(cluster.apply(&set_depth("a", Some(4))), Err(Refusal::Changing));
    cluster.apply(&set_depth("", Some(3))).unwrap();
    assert_eq!((&cluster.changing, &cluster.depths.next), (&None, &None));
    cluster.apply(&set_depth("", Some(4))).unwrap();
    cluster.apply(&Command::ReadyForDepth { incarnation: only, version: under_way.version }).unwrap();
    assert!(!cluster.table().is_switching(), "ready for the change that was taken back");
    cluster.apply(&Command::ReadyForDepth { incarnation: only, version: cluster.version }).unwrap();
    assert_eq!(cluster.apply(&set_depth("", Some(3))), Err(Refusal::Changing));
    release_all(&mut cluster);
    assert_eq!((cluster.depths.now.default_depth(), &cluster.changing), (4, &None));
    // What begins again from a backup knows them.
    assert_eq!(cluster.begun_again(0).depths, cluster.depths);
    settle(&mut cluster);
    cluster.apply(&set_depth("", None)).unwrap();
    settle(&mut cluster);
    assert_eq!(cluster.depths, Cluster::new(0).depths);
}

#[test]
fn depths_that_cannot_be_are_refused() {
    let mut cluster = Cluster::new(0);
    for (prefix, depth) in [("a/b", 1), ("a/+", 4), ("a/", 4), ("a", 0), ("", 0), ("a", 33)] {
        let refused = cluster.apply(&set_depth(prefix, Some(depth)));
        assert!(matches!(refused, Err(Refusal::Depth(_))), "{prefix} {depth}");
    }
    assert!(matches!(cluster.apply(&set_depth(&"a".repeat(257), Some(3))), Err(Refusal::Depth(_))));
    for number in 0..PREFIXES_MAX - 2 {
        cluster.apply(&set_depth(&format!("p{number}"), Some(4))).unwrap();
    }
    assert_eq!(cluster.depths.now.prefixes().len(), PREFIXES_MAX, "nobody serves: in force at once");
    assert!(matches!(cluster.apply(&set_depth("one", Some(4))), Err(Refusal::Depth(_))));
    cluster.apply(&set_depth("p0", Some(5))).unwrap();
    cluster.apply(&set_depth("p1", None)).unwrap();
    assert_eq!((cluster.depths.now.depth("p0/1"), cluster.depths.now.depth("p1/1")), (5, 3));
}

#[test]
fn strangers_and_bad_addresses_are_refused() {
    let mut cluster = Cluster::new(0);
    let gone = Incarnation(9);
    for command in [
        Command::SetPhase { incarnation: gone, phase: Phase::Serving },
        Command::Release { incarnation: gone, slots: Vec::new() },
    ] {
        assert_eq!(cluster.apply(&command), Err(Refusal::Gone(gone)));
    }
    for address in [String::new(), "a".repeat(262)] {
        let refused = cluster.apply(&Command::Join {
            role: Role::Gateway,
            address: address.clone(),
            version: "1".to_owned(),
        });
        assert_eq!(refused, Err(Refusal::Address(address.len())));
    }
    assert_eq!(cluster.apply(&Command::Remove { incarnation: gone }), Ok(None));
    assert_eq!(cluster, Cluster::new(0));
}

#[test]
fn what_begins_again_counts_above_what_was() {
    let mut cluster = Cluster::new(floor(1_800_000_000));
    let router = join(&mut cluster, Phase::Serving);
    let again = cluster.begun_again(floor(1_800_000_001));
    assert!(again.members.is_empty() && again.version > cluster.version);
    let mut later = again;
    assert!(join(&mut later, Phase::Serving) > router);
    assert!(later.slots.iter().zip(&cluster.slots).all(|(new, old)| new.epoch > old.epoch));
    // Even if the wall clock stood wrong.
    assert!(cluster.begun_again(0).last >= cluster.last);
}
