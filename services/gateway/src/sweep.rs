//! The slow sweep: a push that got lost strands no message (`docs/architecture.md`, "a push is a hint"). Each persistent
//! session's queue is compared with the store every [`ROUND`] seconds, in one request per core and second.

use fleethaven_fabric::delivery::Address;
use fleethaven_session::Now;
use fleethaven_storage::{EntryId, Error, Request, Ticket};

use crate::connection::Phase;
use crate::core::Core;
use crate::pending::Pending;

/// Ticks until every session has had its turn.
pub(crate) const ROUND: usize = 5;

impl Core {
    /// Asks for the queues of one in [`ROUND`] connections, unless the last answer is still waited for.
    pub(crate) fn sweep(&self) {
        if self.sweeping.get() || self.draining.get() {
            return;
        }
        let part = (self.swept.get() + 1) % ROUND;
        self.swept.set(part);
        let (mut known, mut addresses) = (Vec::new(), Vec::new());
        for connection in self.every(ROUND, part) {
            let connection = connection.borrow();
            let Phase::Owned(_) = connection.phase else { continue };
            let Some(tail) = connection.session.queue_tail_known() else { continue };
            known.push((connection.session_id(), tail));
            addresses.push(connection.address);
        }
        if known.is_empty() {
            return;
        }
        self.sweeping.set(true);
        let ticket = self.expect(Address::NONE, Pending::Tails(addresses));
        self.ask_store(Request::CompareTails { ticket, known });
    }

    /// Some queues reach further than their sessions know.
    pub(crate) fn tails_compared(
        self: &std::rc::Rc<Self>,
        ticket: Ticket,
        result: Result<Vec<(usize, EntryId)>, Error>,
        now: Now,
    ) {
        let Some((_, Pending::Tails(addresses))) = self.expected(ticket) else { return };
        self.sweeping.set(false);
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
}
