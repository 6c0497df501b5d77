//! The cluster as it is stored: members and slots. What a command does to them is `fleethaven-membership`'s to say.

use bytes::Bytes;
use fleethaven_membership::{
    Changing, Cluster, Command, CompactSlots, DepthChange, Incarnation, Member, Phase, Refusal, Role,
    RoutingTable, floor,
};
use fleethaven_topics::{DepthRules, Depths};
use fleethaven_types::{Scope, Timestamp};
use prost::Message;

use crate::command::{Context, Reply};
use crate::error::{Error, ErrorCode};
use crate::keys;
use crate::record::{self, ClusterHead, ClusterMember, ClusterSlots, DepthsChanging, SlotDepths, SlotPrefix};
use crate::store::{Outcome, Store, done};
use crate::view::{Effects, View};

/// Changes the cluster; the first change makes it.
pub(crate) fn change(store: &Store<'_>, context: &Context, command: &Command) -> Outcome {
    let stored = load(store.view)?;
    let mut cluster = stored.clone().unwrap_or_else(|| Cluster::new(floor(context.now.as_secs())));
    let joined = cluster.apply(command).map_err(|refusal| refused(&refusal))?;
    let stranger = match command {
        Command::Remove { incarnation } if !members_hold(stored.as_ref(), *incarnation) => {
            is_member(store.view, *incarnation).then_some(*incarnation)
        }
        _ => None,
    };
    cluster.version += u64::from(stranger.is_some());
    let mut effects = difference(stored.as_ref(), &cluster);
    if let Some(incarnation) = stranger {
        effects.delete(keys::cluster_member(incarnation));
    }
    match joined {
        Some(incarnation) => Ok((Reply::Joined(incarnation), effects)),
        None => done(effects),
    }
}

/// Members and slots; before anything ever joined, none of either.
///
/// # Errors
/// When a stored record cannot be read.
pub fn table(view: &dyn View) -> Result<RoutingTable, Error> {
    Ok(load(view)?.unwrap_or_else(|| Cluster::new(0)).table())
}

fn members_hold(cluster: Option<&Cluster>, incarnation: Incarnation) -> bool {
    cluster.is_some_and(|cluster| cluster.members.contains_key(&incarnation))
}

/// The incarnations of all members, those included that only a later release knows.
pub fn members(view: &dyn View) -> Vec<Incarnation> {
    let members = view.scan(&keys::cluster_members(), None, usize::MAX);
    members.iter().filter_map(|(key, _)| incarnation_of(key)).collect()
}

/// Whether this is a member.
pub fn is_member(view: &dyn View, incarnation: Incarnation) -> bool {
    view.get(&keys::cluster_member(incarnation)).is_some()
}

/// The answer to who asks for `incarnation`, which is not a member (any more).
pub fn not_a_member(incarnation: Incarnation) -> Error {
    Error::not_found("Member", &incarnation.to_string())
}

/// What begins the cluster of `view` again at `now`, from a backup: nobody is a member, and nothing that was counted before is
/// counted again.
///
/// # Errors
/// When a stored record cannot be read.
pub fn begin_again(view: &dyn View, now: Timestamp) -> Result<Effects, Error> {
    let Some(stored) = load(view)? else { return Ok(Effects::default()) };
    let mut effects = difference(Some(&stored), &stored.begun_again(floor(now.as_secs())));
    let strangers = members(view).into_iter().filter(|member| !stored.members.contains_key(member));
    strangers.for_each(|member| effects.delete(keys::cluster_member(member)));
    Ok(effects)
}

fn refused(refusal: &Refusal) -> Error {
    match refusal {
        Refusal::Gone(incarnation) => not_a_member(*incarnation),
        Refusal::Full => Error::limit(refusal.to_string()),
        Refusal::Changing => Error::new(ErrorCode::ConflictException, refusal.to_string()),
        Refusal::Backwards { .. } | Refusal::Address(_) | Refusal::Depth(_) => {
            Error::invalid(refusal.to_string())
        }
    }
}

fn load(view: &dyn View) -> Result<Option<Cluster>, Error> {
    let store = Store { view, scope: Scope::CLUSTER };
    let Some(head) = store.record::<ClusterHead>(&keys::cluster_head())? else { return Ok(None) };
    let slots = store.record::<ClusterSlots>(&keys::cluster_slots())?.unwrap_or_default();
    let ClusterSlots { base, owners, nexts, standbys, epochs } = slots;
    let slots = CompactSlots { base, owners, nexts, standbys, epochs }.slots();
    let members = store.all(&keys::cluster_members());
    let members = members.iter().filter_map(|(key, value)| member(key, value).transpose());
    let members = members.map(|member| member.map(|member| (member.incarnation, member)));
    let now = depth(head.depths.unwrap_or_default())?;
    let (next, changing) = head.changing.map(changing).transpose()?.unzip();
    Ok(Some(Cluster {
        version: head.version,
        last: Incarnation(head.last_incarnation),
        depths: Depths { now, next },
        changing,
        slots: slots.ok_or_else(|| unreadable("owners of slots"))?,
        members: members.collect::<Result<_, _>>()?,
    }))
}

/// The writes that make `new` of what is stored.
fn difference(old: Option<&Cluster>, new: &Cluster) -> Effects {
    let mut effects = Effects::default();
    if old == Some(new) {
        return effects;
    }
    let head = ClusterHead {
        version: new.version,
        last_incarnation: new.last.0,
        depths: Some(depth_record(&new.depths.now)),
        changing: new.depths.next.as_ref().zip(new.changing.as_ref()).map(|(next, changing)| {
            DepthsChanging {
                depths: Some(depth_record(next)),
                since: changing.change.since,
                switching: changing.change.switching,
                ready: changing.ready.iter().map(|router| router.0).collect(),
            }
        }),
    };
    effects.put(keys::cluster_head(), head.encode_to_vec());
    if old.is_none_or(|old| old.slots != new.slots) {
        let CompactSlots { base, owners, nexts, standbys, epochs } = CompactSlots::of(&new.slots);
        let slots = ClusterSlots { base, owners, nexts, standbys, epochs };
        effects.put(keys::cluster_slots(), slots.encode_to_vec());
    }
    for (incarnation, member) in &new.members {
        if old.and_then(|old| old.members.get(incarnation)) != Some(member) {
            effects.put(keys::cluster_member(*incarnation), member_record(member).encode_to_vec());
        }
    }
    let before = old.into_iter().flat_map(|old| old.members.keys());
    for gone in before.filter(|incarnation| !new.members.contains_key(incarnation)) {
        effects.delete(keys::cluster_member(*gone));
    }
    effects
}

fn changing(record: DepthsChanging) -> Result<(DepthRules, Changing), Error> {
    let DepthsChanging { depths, since, switching, ready } = record;
    let change = DepthChange { since, switching };
    let ready = ready.into_iter().map(Incarnation).collect();
    Ok((depth(depths.unwrap_or_default())?, Changing { change, ready }))
}

fn depth(depths: SlotDepths) -> Result<DepthRules, Error> {
    let count = |depth: u64| usize::try_from(depth).unwrap_or(usize::MAX);
    let prefixes = depths.prefixes.into_iter().map(|rule| (rule.prefix, count(rule.depth)));
    DepthRules::new(count(depths.default_depth), prefixes.collect()).map_err(|_| unreadable("depth rules"))
}

fn depth_record(rules: &DepthRules) -> SlotDepths {
    let prefixes = rules.prefixes().iter();
    SlotDepths {
        default_depth: rules.default_depth() as u64,
        prefixes: prefixes
            .map(|(prefix, depth)| SlotPrefix { prefix: prefix.clone(), depth: *depth as u64 })
            .collect(),
    }
}

fn incarnation_of(key: &Bytes) -> Option<Incarnation> {
    u64::from_str_radix(keys::last_part(key)?, 16).ok().map(Incarnation)
}

/// `None` for a member whose role or phase only a later release knows, which this one was rolled back from: it has nothing to do
/// with this one, and is not seen until its lease runs out.
fn member(key: &Bytes, value: &Bytes) -> Result<Option<Member>, Error> {
    let record: ClusterMember = record::decode(value)?;
    let role = match record.role {
        1 => Some(Role::Router),
        2 => Some(Role::Gateway),
        3 => Some(Role::RulesWorker),
        4 => Some(Role::Api),
        _ => None,
    };
    let phase = match record.phase {
        1 => Some(Phase::Loading),
        2 => Some(Phase::Serving),
        3 => Some(Phase::Leaving),
        _ => None,
    };
    let incarnation = incarnation_of(key).ok_or_else(|| unreadable("member"))?;
    let known = role.zip(phase);
    Ok(known.map(|(role, phase)| {
        let ClusterMember { address, version, .. } = record;
        Member { incarnation, role, address, phase, version }
    }))
}

fn member_record(member: &Member) -> ClusterMember {
    let role = match member.role {
        Role::Router => 1,
        Role::Gateway => 2,
        Role::RulesWorker => 3,
        Role::Api => 4,
    };
    let phase = match member.phase {
        Phase::Loading => 1,
        Phase::Serving => 2,
        Phase::Leaving => 3,
    };
    ClusterMember { role, address: member.address.clone(), phase, version: member.version.clone() }
}

fn unreadable(what: &str) -> Error {
    Error::internal(format!("the stored {what} of the cluster cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Action;
    use crate::requests::{refusal, registry};
    use crate::testing::Registry;

    fn join(registry: &mut Registry, role: Role) -> Incarnation {
        let command = Command::Join { role, address: "10.0.0.1:7000".to_owned(), version: "1".to_owned() };
        match registry.run(Action::Membership(command)).unwrap() {
            Reply::Joined(incarnation) => incarnation,
            other => panic!("{other:?}"),
        }
    }

    fn serve(registry: &mut Registry, incarnation: Incarnation) {
        let command = Command::SetPhase { incarnation, phase: Phase::Serving };
        registry.run(Action::Membership(command)).unwrap();
    }

    #[test]
    fn what_is_stored_is_what_the_logic_says() {
        let mut registry = registry();
        assert_eq!(table(&registry.view).unwrap(), Cluster::new(0).table());
        let mut model = Cluster::new(floor(registry.now.as_secs()));
        for role in [Role::Router, Role::Gateway, Role::Router, Role::RulesWorker, Role::Api] {
            let joined = join(&mut registry, role);
            serve(&mut registry, joined);
            model
                .apply(&Command::Join { role, address: "10.0.0.1:7000".to_owned(), version: "1".to_owned() })
                .unwrap();
            model.apply(&Command::SetPhase { incarnation: joined, phase: Phase::Serving }).unwrap();
            assert_eq!(load(&registry.view).unwrap().as_ref(), Some(&model));
        }
        let members = members(&registry.view);
        assert!(members.iter().eq(model.members.keys()));
        for incarnation in members {
            let command = Command::Remove { incarnation };
            registry.run(Action::Membership(command.clone())).unwrap();
            model.apply(&command).unwrap();
            assert_eq!(table(&registry.view).unwrap(), model.table());
        }
    }

    #[test]
    fn a_change_of_depths_is_stored_in_each_of_its_steps() {
        let mut registry = registry();
        let router = join(&mut registry, Role::Router);
        serve(&mut registry, router);
        let run = |registry: &mut Registry, command| registry.run(Action::Membership(command));
        let wanted = Command::SetDepth { prefix: "acme/prod".to_owned(), depth: Some(5) };
        run(&mut registry, wanted).unwrap();
        let other = Command::SetDepth { prefix: String::new(), depth: Some(5) };
        let (code, _) = refusal(run(&mut registry, other));
        assert_eq!(code, ErrorCode::ConflictException);
        let version = table(&registry.view).unwrap().version;
        run(&mut registry, Command::ReadyForDepth { incarnation: router, version }).unwrap();
        let switching = table(&registry.view).unwrap();
        assert!(switching.is_switching() && switching.depths.now.depth("acme/prod/x") == 3);
        let slots = (0..).zip(switching.slots.iter()).map(|(slot, owner)| (slot, owner.epoch)).collect();
        run(&mut registry, Command::Release { incarnation: router, slots }).unwrap();
        let after = table(&registry.view).unwrap();
        assert_eq!((after.depths.now.depth("acme/prod/x"), after.depths.next, after.change), (5, None, None));
    }

    #[test]
    fn what_changes_nothing_writes_nothing() {
        let mut registry = registry();
        let router = join(&mut registry, Role::Router);
        serve(&mut registry, router);
        let before = registry.view.clone();
        serve(&mut registry, router);
        registry.run(Action::Membership(Command::Remove { incarnation: Incarnation(1) })).unwrap();
        assert_eq!(registry.view, before);
        let gone = Command::SetPhase { incarnation: Incarnation(1), phase: Phase::Serving };
        let (code, _) = refusal(registry.run(Action::Membership(gone)));
        assert_eq!(code, ErrorCode::ResourceNotFoundException);
    }

    #[test]
    fn a_change_that_moves_no_slot_does_not_write_them() {
        let mut registry = registry();
        join(&mut registry, Role::Router);
        let context = Context { now: registry.now, random: [0; 32], limits: registry.limits.clone() };
        let store = Store { view: &registry.view, scope: Scope::CLUSTER };
        let command = Command::Join {
            role: Role::Gateway,
            address: "10.0.0.1:7000".to_owned(),
            version: "1".to_owned(),
        };
        let (_, effects) = change(&store, &context, &command).unwrap();
        assert!(effects.writes.iter().all(|write| *write.key() != keys::cluster_slots()));
        assert_eq!(effects.writes.len(), 2);
    }

    /// What a later release leaves behind when it is rolled back.
    #[test]
    fn members_that_only_a_later_release_knows_are_passed_over_until_they_are_removed() {
        let mut registry = registry();
        let router = join(&mut registry, Role::Router);
        let gateway = join(&mut registry, Role::Gateway);
        serve(&mut registry, router);
        serve(&mut registry, gateway);
        let known = table(&registry.view).unwrap();
        let last = known.members.iter().map(|member| member.incarnation.0).max().unwrap();
        let strangers = [(99, 2), (2, 99)].map(|(role, phase)| {
            let incarnation = Incarnation(last + u64::from(role));
            let record =
                ClusterMember { role, address: "10.0.0.2:7000".to_owned(), phase, version: "2".to_owned() };
            let mut effects = Effects::default();
            effects.put(keys::cluster_member(incarnation), record.encode_to_vec());
            registry.view.apply(&effects);
            incarnation
        });
        assert_eq!(table(&registry.view).unwrap(), known);
        // Whose lease runs out is one of these.
        assert!(strangers.iter().all(|stranger| members(&registry.view).contains(stranger)));
        let command = Command::SetPhase { incarnation: strangers[0], phase: Phase::Leaving };
        let (code, _) = refusal(registry.run(Action::Membership(command)));
        assert_eq!(code, ErrorCode::ResourceNotFoundException);
        // Others come and go meanwhile.
        let command = Command::Remove { incarnation: gateway };
        registry.run(Action::Membership(command)).unwrap();
        let begun_again = begin_again(&registry.view, registry.now).unwrap();
        for stranger in strangers {
            let before = table(&registry.view).unwrap();
            registry.run(Action::Membership(Command::Remove { incarnation: stranger })).unwrap();
            let after = table(&registry.view).unwrap();
            // A release that knows it sees a change.
            assert_eq!((after.version, after.members), (before.version + 1, before.members));
            assert!(!is_member(&registry.view, stranger));
        }
        assert_eq!(members(&registry.view), [router]);
        registry.view.apply(&begun_again);
        assert_eq!(members(&registry.view), []);
    }

    #[test]
    fn a_cluster_begins_again_without_members() {
        let mut registry = registry();
        let router = join(&mut registry, Role::Router);
        serve(&mut registry, router);
        let before = table(&registry.view).unwrap();
        let effects = begin_again(&registry.view, registry.now).unwrap();
        registry.view.apply(&effects);
        let after = table(&registry.view).unwrap();
        assert!(after.members.is_empty() && after.version > before.version);
        let next = join(&mut registry, Role::Router);
        serve(&mut registry, next);
        let again = table(&registry.view).unwrap();
        assert!(next > router);
        assert!(again.slots.iter().zip(before.slots.iter()).all(|(new, old)| new.epoch > old.epoch));
    }
}
