//! The messages of `fleethaven.membership.v1`.

use std::sync::Arc;

use fleethaven_fabric::membership::{DepthChange, Incarnation, Member, Phase, Role, RoutingTable};
use fleethaven_fabric::metadata::Error as CallError;
use fleethaven_membership::CompactSlots;
use fleethaven_topics::{DepthRules, Depths, Slot};

use super::Error;
use super::outcome::{self, Failure};
use crate::generated::membership as wire;
use crate::generated::membership::failure::Kind;
use crate::generated::membership::join_response::Outcome;
use crate::generated::metadata::Unavailable;

pub(crate) fn role_out(role: Role) -> wire::Role {
    match role {
        Role::Router => wire::Role::Router,
        Role::Gateway => wire::Role::Gateway,
        Role::RulesWorker => wire::Role::RulesWorker,
        Role::Api => wire::Role::Api,
    }
}

pub(crate) fn role(role: wire::Role) -> Result<Role, Error> {
    match role {
        wire::Role::Router => Ok(Role::Router),
        wire::Role::Gateway => Ok(Role::Gateway),
        wire::Role::RulesWorker => Ok(Role::RulesWorker),
        wire::Role::Api => Ok(Role::Api),
        wire::Role::Unspecified => Err(Error::Missing("role")),
    }
}

pub(crate) fn phase_out(phase: Phase) -> wire::Phase {
    match phase {
        Phase::Loading => wire::Phase::Loading,
        Phase::Serving => wire::Phase::Serving,
        Phase::Leaving => wire::Phase::Leaving,
    }
}

pub(crate) fn phase(phase: wire::Phase) -> Result<Phase, Error> {
    match phase {
        wire::Phase::Loading => Ok(Phase::Loading),
        wire::Phase::Serving => Ok(Phase::Serving),
        wire::Phase::Leaving => Ok(Phase::Leaving),
        wire::Phase::Unspecified => Err(Error::Missing("phase")),
    }
}

/// `None` when it was done.
pub(crate) fn failure_out(result: Result<(), CallError>) -> Option<wire::Failure> {
    result.err().map(|error| {
        let kind = match outcome::to_wire(error) {
            Ok(Failure::Refused(refused)) => Kind::Refused(refused),
            Ok(Failure::Unavailable(unavailable)) => Kind::Unavailable(unavailable),
            Ok(Failure::Unknown(unknown)) => Kind::Unknown(unknown),
            Err(error) => Kind::Unavailable(Unavailable { reason: error.to_string() }),
        };
        wire::Failure { kind: Some(kind) }
    })
}

/// A failure that cannot be read says that something went wrong, and no more.
pub(crate) fn failure(failure: Option<wire::Failure>) -> Result<(), CallError> {
    let Some(failure) = failure else { return Ok(()) };
    let failure = match failure.kind {
        Some(Kind::Refused(refused)) => Failure::Refused(refused),
        Some(Kind::Unavailable(unavailable)) => Failure::Unavailable(unavailable),
        Some(Kind::Unknown(unknown)) => Failure::Unknown(unknown),
        None => return Err(CallError::Unknown),
    };
    Err(outcome::from_wire(failure).unwrap_or(CallError::Unknown))
}

pub(crate) fn joined_out(result: Result<Incarnation, CallError>) -> wire::JoinResponse {
    let outcome = match result {
        Ok(incarnation) => Some(Outcome::Incarnation(incarnation.0)),
        Err(error) => failure_out(Err(error)).map(Outcome::Failure),
    };
    wire::JoinResponse { outcome }
}

pub(crate) fn joined(response: wire::JoinResponse) -> Result<Incarnation, CallError> {
    match response.outcome {
        Some(Outcome::Incarnation(incarnation)) => Ok(Incarnation(incarnation)),
        Some(Outcome::Failure(told)) => failure(Some(told)).and(Err(CallError::Unknown)),
        None => Err(CallError::Unknown),
    }
}

pub(crate) fn released_out(slots: &[(Slot, u64)]) -> Vec<wire::ReleasedSlot> {
    let slots = slots.iter();
    slots.map(|(slot, epoch)| wire::ReleasedSlot { slot: slot.index().into(), epoch: *epoch }).collect()
}

pub(crate) fn released(slots: &[wire::ReleasedSlot]) -> Result<Vec<(Slot, u64)>, Error> {
    let slot = |number: u32| u16::try_from(number).ok().and_then(Slot::new).ok_or(Error::Invalid("slot"));
    slots.iter().map(|released| Ok((slot(released.slot)?, released.epoch))).collect()
}

pub(crate) fn table_out(table: &RoutingTable) -> wire::TableResponse {
    let CompactSlots { base, owners, nexts, standbys, epochs } = CompactSlots::of(&table.slots);
    let members = table.members.iter().map(|member| wire::Member {
        incarnation: member.incarnation.0,
        role: role_out(member.role).into(),
        address: member.address.clone(),
        phase: phase_out(member.phase).into(),
        version: member.version.clone(),
    });
    wire::TableResponse {
        version: table.version,
        depths: Some(depths_out(&table.depths.now)),
        slots: Some(wire::Slots { base, owners, nexts, standbys, epochs }),
        members: members.collect(),
        change: table.depths.next.as_ref().zip(table.change).map(|(next, change)| wire::DepthChange {
            depths: Some(depths_out(next)),
            since: change.since,
            switching: change.switching,
        }),
    }
}

fn depths_out(rules: &DepthRules) -> wire::Depths {
    let prefixes = rules.prefixes().iter();
    let prefixes =
        prefixes.map(|(prefix, depth)| wire::PrefixDepth { prefix: prefix.clone(), depth: *depth as u64 });
    wire::Depths { default_depth: rules.default_depth() as u64, prefixes: prefixes.collect() }
}

fn depths(depths: Option<wire::Depths>) -> Result<DepthRules, Error> {
    let depths = depths.ok_or(Error::Missing("depths"))?;
    let count = |depth: u64| usize::try_from(depth).unwrap_or(usize::MAX);
    let prefixes = depths.prefixes.into_iter().map(|rule| (rule.prefix, count(rule.depth)));
    let rules = DepthRules::new(count(depths.default_depth), prefixes.collect());
    rules.map_err(|_| Error::Invalid("depths"))
}

fn change(change: wire::DepthChange) -> Result<(DepthRules, DepthChange), Error> {
    let wire::DepthChange { depths: next, since, switching } = change;
    Ok((depths(next)?, DepthChange { since, switching }))
}

pub(crate) fn table(response: wire::TableResponse) -> Result<RoutingTable, Error> {
    let slots = response.slots.ok_or(Error::Missing("slots"))?;
    let wire::Slots { base, owners, nexts, standbys, epochs } = slots;
    let slots = CompactSlots { base, owners, nexts, standbys, epochs }.slots();
    let (next, change) = response.change.map(change).transpose()?.unzip();
    // A role or phase that only a later release knows has nothing to do with this one.
    let is_known = |member: &wire::Member| {
        wire::Role::try_from(member.role).is_ok() && wire::Phase::try_from(member.phase).is_ok()
    };
    let members: Result<Arc<[Member]>, Error> =
        response.members.into_iter().filter(is_known).map(member).collect();
    Ok(RoutingTable {
        version: response.version,
        depths: Depths { now: depths(response.depths)?, next },
        change,
        slots: slots.ok_or(Error::Invalid("slots"))?.into(),
        members: members?,
    })
}

fn member(member: wire::Member) -> Result<Member, Error> {
    Ok(Member {
        incarnation: Incarnation(member.incarnation),
        role: role(member.role())?,
        phase: phase(member.phase())?,
        address: member.address,
        version: member.version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_only_a_later_release_knows_are_not_in_the_table() {
        let member = |incarnation, role, phase| wire::Member {
            incarnation,
            role,
            phase,
            address: "10.0.0.1:7000".to_owned(),
            version: "2".to_owned(),
        };
        let (role, phase) = (wire::Role::Router.into(), wire::Phase::Serving.into());
        let members = vec![member(1, role, phase), member(2, 99, phase), member(3, role, 99)];
        let known = RoutingTable { version: 7, ..fleethaven_membership::Cluster::new(0).table() };
        let response = wire::TableResponse { members, ..table_out(&known) };
        let members = table(response).unwrap().members;
        assert_eq!(members.iter().map(|member| member.incarnation.0).collect::<Vec<_>>(), [1]);
        let nameless = wire::TableResponse { members: vec![member(1, 0, phase)], ..table_out(&known) };
        assert!(table(nameless).is_err());
    }
}
