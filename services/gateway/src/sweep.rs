//! The slow sweeps: what got lost with nobody noticing is found in the store, which is asked about a part of the connections each
//! second, in one request per core (`docs/architecture.md`, "a push is a hint").
//!
//! - Pushes: each persistent session's queue is compared every [`TAILS`] seconds, so that none strands a message.
//! - Takeovers: whether each session is still its connection's, every [`OWNERS`] seconds. Whoever claims a session tells the owner
//!   before, but may die first, or not reach it. A session that writes is refused then; a clean one, or one that is only listened
//!   on, would stay for good.

use std::cell::Cell;
use std::rc::Rc;

use fleethaven_fabric::delivery::Address;
use fleethaven_session::{Close, Now};
use fleethaven_storage::{EntryId, Error, Request, Ticket};

use crate::connection::Phase;
use crate::core::Core;
use crate::pending::Pending;

/// Ticks until every session's queue has had its turn.
const TAILS: usize = 5;
/// Ticks until every session's owner has.
const OWNERS: usize = 30;

/// How far a sweep is.
#[derive(Default)]
pub(crate) struct Sweep {
    /// The part of the connections that was asked about last.
    part: Cell<usize>,
    /// Whether the answer is waited for.
    asking: Cell<bool>,
}

impl Sweep {
    /// Which of so many parts has its turn, unless the last answer is still waited for.
    fn next(&self, parts: usize) -> Option<usize> {
        if self.asking.get() {
            return None;
        }
        let part = (self.part.get() + 1) % parts;
        self.part.set(part);
        Some(part)
    }
}

impl Core {
    /// Asks for the queues of a part of the connections.
    pub(crate) fn compare_tails(&self) {
        let Some(part) = self.tails.next(TAILS).filter(|_| !self.draining.get()) else { return };
        let (mut known, mut addresses) = (Vec::new(), Vec::new());
        for connection in self.every(TAILS, part) {
            let connection = connection.borrow();
            let Phase::Owned(_) = connection.phase else { continue };
            let Some(tail) = connection.session.queue_tail_known() else { continue };
            known.push((connection.session_id(), tail));
            addresses.push(connection.address);
        }
        if known.is_empty() {
            return;
        }
        self.tails.asking.set(true);
        let ticket = self.expect(Address::NONE, Pending::Tails(addresses));
        self.ask_store(Request::CompareTails { ticket, known });
    }

    /// Some queues reach further than their sessions know.
    pub(crate) fn tails_compared(
        self: &Rc<Self>,
        ticket: Ticket,
        result: Result<Vec<(usize, EntryId)>, Error>,
        now: Now,
    ) {
        let Some((_, Pending::Tails(addresses))) = self.expected(ticket) else { return };
        self.tails.asking.set(false);
        // A store that cannot answer is told of by those who wait for more than this.
        for (index, tail) in result.unwrap_or_default() {
            let connection = addresses.get(index).and_then(|address| self.at(*address));
            let Some(connection) = connection else { continue };
            let mut connection = connection.borrow_mut();
            connection.session.queue_tail(tail);
            connection.act(self, now);
            connection.settle(self, now);
        }
    }

    /// Asks whether the sessions of a part of the connections are still theirs.
    pub(crate) fn check_owners(&self) {
        let Some(part) = self.owners.next(OWNERS).filter(|_| !self.draining.get()) else { return };
        let (mut owners, mut addresses) = (Vec::new(), Vec::new());
        for connection in self.every(OWNERS, part) {
            let connection = connection.borrow();
            let Phase::Owned(token) = connection.phase else { continue };
            owners.push((connection.session_id(), token));
            addresses.push(connection.address);
        }
        if owners.is_empty() {
            return;
        }
        self.owners.asking.set(true);
        let ticket = self.expect(Address::NONE, Pending::Owners(addresses));
        self.ask_store(Request::CheckOwners { ticket, owners });
    }

    /// Some sessions are somebody else's, who has their wills and tells of their ends.
    pub(crate) fn owners_checked(
        self: &Rc<Self>,
        ticket: Ticket,
        result: Result<Vec<usize>, Error>,
        now: Now,
    ) {
        let Some((_, Pending::Owners(addresses))) = self.expected(ticket) else { return };
        self.owners.asking.set(false);
        for index in result.unwrap_or_default() {
            let connection = addresses.get(index).and_then(|address| self.at(*address));
            let Some(connection) = connection else { continue };
            let mut connection = connection.borrow_mut();
            connection.catch_up(self, now);
            connection.close(self, Close::taken_over(), now);
        }
    }
}
