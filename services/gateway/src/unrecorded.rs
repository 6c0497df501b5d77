//! Ends of connections that the store could not record, as it was away. Until they are, it takes these clients for connected: nobody
//! publishes their wills, their sessions do not expire, and what they had of shared subscriptions waits for them. They are tried again
//! until it is back; those of a gateway that ends before are found by the others.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use fleethaven_fabric::delivery::Address;
use fleethaven_storage::Error;

use crate::core::Core;
use crate::pending::PendingEnd;

/// So many more are tried for each that succeeds.
const MORE: usize = 2;

/// Ends that wait. There are no more than there were connections when the store went away: it is asked before there are new ones.
#[derive(Default)]
pub(crate) struct Unrecorded {
    waiting: RefCell<VecDeque<(Address, PendingEnd)>>,
    /// How many are being tried again.
    trying: Cell<usize>,
    /// Since when there are any, this is in the log.
    told: Cell<bool>,
}

impl Unrecorded {
    /// An end could not be recorded.
    pub(crate) fn failed(&self, address: Address, mut pending: PendingEnd, error: &Error) {
        self.tried(pending.again);
        if !self.told.replace(true) {
            tracing::warn!(%error, "the end of a connection cannot be recorded yet");
        }
        pending.again = true;
        // Who asked for it is not kept waiting.
        pending.ended.iter_mut().for_each(|ended| ended.waiting.clear());
        self.waiting.borrow_mut().push_back((address, pending));
    }

    /// An end was recorded, `again` after an attempt before: those to be tried now.
    pub(crate) fn succeeded(&self, again: bool) -> Vec<(Address, PendingEnd)> {
        self.tried(again);
        let next = self.take(MORE);
        if next.is_empty() && self.trying.get() == 0 && self.told.replace(false) {
            tracing::info!("the ends of all connections are recorded");
        }
        next
    }

    fn tried(&self, again: bool) {
        self.trying.set(self.trying.get() - usize::from(again));
    }

    fn take(&self, most: usize) -> Vec<(Address, PendingEnd)> {
        let mut waiting = self.waiting.borrow_mut();
        let count = most.min(waiting.len());
        self.trying.set(self.trying.get() + count);
        waiting.drain(..count).collect()
    }

    /// One that finds out whether the store is back.
    fn probe(&self) -> Vec<(Address, PendingEnd)> {
        if self.trying.get() == 0 { self.take(1) } else { Vec::new() }
    }
}

impl Core {
    /// A second has passed: finds out whether the store can record what it could not.
    pub(crate) fn record_again(&self) {
        for (address, pending) in self.unrecorded.probe() {
            self.record(address, pending);
        }
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_storage::{ConnectionEnd, EntryId, OwnerToken, SessionId, Ticket};
    use fleethaven_types::Timestamp;

    use super::*;

    fn end(session: u64) -> PendingEnd {
        let end = Box::new(ConnectionEnd {
            ticket: Ticket(0),
            session: SessionId(session),
            token: OwnerToken { incarnation: 1, counter: session },
            session_expiry: 0,
            sent: EntryId::NONE,
            first_sent: Vec::new(),
            will_delay: None,
            departure: None,
            now: Timestamp(0),
        });
        PendingEnd { end, again: false, persistent: false, will: None, ended: None }
    }

    #[test]
    fn one_is_tried_while_the_store_is_away_and_all_once_it_is_back() {
        let (unrecorded, away) = (Unrecorded::default(), Error::Unavailable("away".to_owned()));
        (0..100).for_each(|n| unrecorded.failed(Address::NONE, end(n), &away));
        for _ in 0..3 {
            let mut probe = unrecorded.probe();
            assert_eq!((probe.len(), unrecorded.probe().len()), (1, 0));
            unrecorded.failed(Address::NONE, probe.remove(0).1, &away);
        }
        let (mut under_way, mut done) = (unrecorded.probe(), Vec::new());
        while let Some((_, pending)) = under_way.pop() {
            assert!(pending.again);
            done.push(pending.end.session.0);
            under_way.extend(unrecorded.succeeded(true));
        }
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
        assert_eq!((unrecorded.trying.get(), unrecorded.told.get()), (0, false));
    }
}
