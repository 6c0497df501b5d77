//! What the store holds, and what becomes of each request: the seam's semantics in memory. `tests/store.rs` has it pass the
//! suite that every store must pass.

use std::collections::{BTreeMap, BTreeSet};

use fleethaven_storage::{Completion, Error, Fence, GroupId, Request, SessionId, Ticket};
use fleethaven_types::{Scope, Timestamp, Utf8Bytes};

use crate::Bug;

use super::groups::Group;
use super::retained::Retained;
use super::sessions::{Departed, Session};
use super::wills::Wills;

/// Bits of an entry's number below the generation in which it was given out, as on Redis.
pub(super) const NUMBER_BITS: u32 = 48;

/// A process that uses the store, as it is named there; a new one at each start.
pub(crate) type Holder = u64;

/// Everything that is durable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    /// The store's clock.
    pub(crate) now: Timestamp,
    /// Grows with each failover: what the old primary had not replicated is gone, and its ids must not be given out again.
    pub(crate) generation: u64,
    pub(crate) bug: Option<Bug>,
    last_id: u64,
    pub(crate) sessions: BTreeMap<SessionId, Session>,
    pub(super) departed: BTreeMap<(Scope, Utf8Bytes), Departed>,
    pub(crate) groups: BTreeMap<GroupId, Group>,
    /// Holders whose leases are over.
    pub(crate) gone: BTreeSet<Holder>,
    pub(super) wills: Wills,
    fences: BTreeMap<u16, u64>,
    pub(crate) retained: Retained,
}

impl Model {
    /// An id that no session, group or will ever had.
    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        (self.generation << NUMBER_BITS) | self.last_id
    }

    /// Carries out what `holder` asks.
    pub(crate) fn apply(&mut self, request: Request, holder: Holder) -> Option<Completion> {
        Some(match request {
            Request::Claim(claim) => {
                let ticket = claim.ticket;
                Completion::Claimed { ticket, result: Ok(Box::new(self.claim(*claim))) }
            }
            Request::Subscribe { ticket, session, token, subscriptions } => {
                done(ticket, self.subscribe(session, token, subscriptions))
            }
            Request::Unsubscribe { ticket, session, token, filters } => {
                done(ticket, self.unsubscribe(session, token, &filters))
            }
            Request::Publish(publish) => self.publish(*publish, holder),
            Request::Trim { session, token, entries } => {
                self.trim(session, token, &entries);
                return None;
            }
            Request::Release { ticket, session, token, entries } => {
                done(ticket, self.release(session, token, &entries))
            }
            Request::ForgetReceived { ticket, session, token, packet_ids } => {
                done(ticket, self.forget_received(session, token, &packet_ids))
            }
            Request::ReadQueue { ticket, session, token, after, max_entries, max_bytes } => {
                let result = self.read_queue(session, token, after, (max_entries, max_bytes));
                Completion::QueueRead { ticket, result }
            }
            Request::End(end) => done(end.ticket, self.end(&end)),
            Request::WithdrawWill { will } => {
                self.wills.remove(will);
                return None;
            }
            Request::OpenGroup(open) => {
                Completion::GroupOpened { ticket: open.ticket, result: Ok(self.open_group(*open)) }
            }
            Request::CloseGroup { group, fence } => {
                if fence.is_none_or(|fence| self.check(fence).is_ok()) {
                    self.groups.remove(&group);
                }
                return None;
            }
            Request::ClaimShares { ticket, group, max_entries, max_bytes } => {
                let result = Ok(self.claim_shares(group, (max_entries, max_bytes), holder));
                Completion::SharesClaimed { ticket, group, result }
            }
            Request::AcknowledgeShares { group, entries } => {
                entries.iter().for_each(|entry| drop(self.drop_share(group, *entry)));
                return None;
            }
            Request::ReleaseShares { group, entries } => {
                self.release_shares(group, &entries);
                return None;
            }
            Request::HeldShares { ticket, group, max_entries } => {
                let result = Ok(self.held_shares(group, max_entries, holder));
                Completion::SharesHeld { ticket, group, result }
            }
            Request::FindRetained { ticket, scope, filters } => {
                let mut any =
                    |filter: &str| !self.retained.read(scope, filter, None, (1, self.now)).is_empty();
                let found = filters.iter().enumerate().filter(|(_, filter)| any(filter)).map(|(at, _)| at);
                Completion::RetainedFound { ticket, result: Ok(found.collect()) }
            }
            Request::ReadRetained { ticket, scope, filter, after, max_entries } => {
                let read = self.retained.read(scope, &filter, after.as_deref(), (max_entries, self.now));
                Completion::Retained { ticket, result: Ok(read) }
            }
            Request::RaiseFence { ticket, slots } => done(ticket, self.raise(&slots)),
            Request::CompareTails { ticket, known } => {
                Completion::Tails { ticket, result: Ok(self.compare_tails(&known)) }
            }
            Request::CheckOwners { ticket, owners } => {
                Completion::Owners { ticket, result: Ok(self.not_owned(&owners)) }
            }
        })
    }

    /// What is asked of groups, in words.
    pub(crate) fn groups_told(&self, requests: &[Request]) -> Vec<String> {
        let told = |request: &Request| match request {
            Request::OpenGroup(open) => Some(format!("a queue for {}", open.key)),
            Request::CloseGroup { group, .. } => Some(format!("no queue {}", group.0)),
            Request::AcknowledgeShares { group, entries } => Some(format!("done {}: {entries:?}", group.0)),
            Request::ReleaseShares { group, entries } => Some(format!("free {}: {entries:?}", group.0)),
            Request::ClaimShares { group, max_entries, .. } => Some(format!("{max_entries} of {}", group.0)),
            _ => None,
        };
        requests.iter().filter_map(told).collect()
    }

    /// Raises those that are lower; one that is higher has another owner.
    fn raise(&mut self, slots: &[Fence]) -> Result<(), Error> {
        let mut outcome = Ok(());
        for fence in slots {
            let at = self.fences.entry(fence.slot).or_default();
            if *at > fence.epoch {
                outcome = Err(Error::Fenced);
            }
            *at = fence.epoch.max(*at);
        }
        outcome
    }

    pub(super) fn check(&self, fence: Fence) -> Result<(), Error> {
        let raised = self.fences.get(&fence.slot).is_some_and(|at| *at > fence.epoch);
        if raised && self.bug != Some(Bug::FencesIgnored) { Err(Error::Fenced) } else { Ok(()) }
    }

    /// A process that used the store is gone: what it held of groups is for others, also what it asked for before and the store
    /// hears of later.
    pub(crate) fn holder_gone(&mut self, holder: Holder) {
        if self.bug != Some(Bug::HoldersRemembered) {
            self.gone.insert(holder);
        }
    }
}

fn done(ticket: Ticket, result: Result<(), Error>) -> Completion {
    Completion::Done { ticket, result }
}
