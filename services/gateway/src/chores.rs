//! What a core has to do that no message waits for, a little at a time as its budget allows: answers about sessions that come
//! and go, which a storm of connections brings by the thousand, closing sockets, deadlines that many share, and what clients leave
//! behind that are gone.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use fleethaven_fabric::delivery::Address;
use fleethaven_session::{Leftovers, Now};
use fleethaven_storage::Completion;

use crate::core::Core;
use crate::mailbox::TakenOver;
use crate::pending::Pending;
use crate::turn;

/// Filters of a connection that is gone that are dropped at a time.
pub(crate) const DISCARDED: usize = 64;

/// Timers of connections that are gone, or have another one, that are passed over at a time.
const PASSED_OVER: usize = 64;

/// What is left to do.
#[derive(Default)]
pub(crate) struct Chores {
    /// The store's answers about claimed and ended sessions, in its order.
    answers: RefCell<VecDeque<Completion>>,
    /// Connections that write their last and are closed, which takes several system calls.
    closing: RefCell<VecDeque<Address>>,
    /// Connections that lost their sessions to others.
    taken_over: RefCell<VecDeque<TakenOver>>,
    /// Filters of connections that are gone and had many.
    leftovers: RefCell<VecDeque<Leftovers>>,
    /// Connections (slot and generation) whose deadline may have passed.
    due: RefCell<VecDeque<(u32, u32)>>,
}

impl Chores {
    /// Drops a few of the filters that are left over; whether there were any.
    fn discard_some(&self) -> bool {
        let mut leftovers = self.leftovers.borrow_mut();
        let Some(filters) = leftovers.front_mut() else { return false };
        if !filters.discard(DISCARDED) {
            leftovers.pop_front();
        }
        true
    }
}

impl Core {
    /// Does one of each kind; how long that took, or `None` when nothing was left to do.
    pub(crate) fn chore(self: &Rc<Self>) -> Option<Duration> {
        let now = self.tick();
        let answer = self.chores.answers.borrow_mut().pop_front();
        let answered = answer.is_some();
        if let Some(completion) = answer {
            turn::stored(self, completion, now);
        }
        let closing = self.chores.closing.borrow_mut().pop_front();
        if let Some(connection) = closing.and_then(|address| self.at(address)) {
            connection.borrow_mut().flush(self, now);
        }
        let taken = self.chores.taken_over.borrow_mut().pop_front();
        let ended = taken.is_some();
        if let Some(taken) = taken {
            self.taken_over(&taken, now);
        }
        let withdrawn = self.lanes.borrow_mut().routing.tidy();
        let discarded = self.chores.discard_some();
        let looked = self.look_at_next(now);
        (answered || closing.is_some() || ended || withdrawn || discarded || looked)
            .then(|| self.time_since(now))
    }

    /// Has a connection write its last, and closed.
    pub(crate) fn close_later(&self, address: Address) {
        self.chores.closing.borrow_mut().push_back(address);
        self.budget.want_chores();
    }

    /// Ends a connection that lost its session, once the sockets were looked at: the runtime may not know yet of what the client
    /// sent last, and a DISCONNECT that was overlooked would send the will.
    pub(crate) fn take_over_later(&self, taken: TakenOver) {
        self.chores.taken_over.borrow_mut().push_back(taken);
        self.budget.want_chores();
    }

    /// Has connections looked at whose deadline may have passed.
    pub(crate) fn look_later(&self, due: &mut Vec<(u32, u32)>) {
        if !due.is_empty() {
            self.chores.due.borrow_mut().extend(due.drain(..));
            self.budget.want_chores();
        }
    }

    /// Looks at the next connection whose deadline may have passed; whether any waited.
    fn look_at_next(self: &Rc<Self>, now: Now) -> bool {
        for looked in 0..PASSED_OVER {
            let Some((slot, generation)) = self.chores.due.borrow_mut().pop_front() else {
                return looked > 0;
            };
            let address = Address::new(u16::from(self.id), slot, generation);
            let Some(connection) = self.at(address) else { continue };
            let mut connection = connection.borrow_mut();
            // An entry that a later one replaced (the deadline had moved forward) is passed over.
            if self.wheel.borrow().has_passed(connection.armed) {
                connection.handle_timeout(self, now);
                return true;
            }
        }
        true
    }

    /// Takes an answer of the store that can wait; gives back any other.
    pub(crate) fn postpone(&self, completion: Completion) -> Option<Completion> {
        let waits = match &completion {
            Completion::Claimed { .. } => true,
            Completion::Done { ticket, .. } => {
                self.is_expected(*ticket, |pending| matches!(pending, Pending::End(_)))
            }
            _ => false,
        };
        if !waits {
            return Some(completion);
        }
        self.chores.answers.borrow_mut().push_back(completion);
        self.budget.want_chores();
        None
    }

    /// Drops the filters of a connection that is gone, the rest of them later if they are many.
    pub(crate) fn discard(&self, mut filters: Leftovers) {
        if filters.discard(DISCARDED) {
            self.chores.leftovers.borrow_mut().push_back(filters);
            self.budget.want_chores();
        }
    }

    /// What took from `before` until now goes off the budget.
    pub(crate) fn charge_since(&self, before: Now) {
        self.budget.charge(self.time_since(before));
    }

    fn time_since(&self, before: Now) -> Duration {
        self.tick().instant.saturating_duration_since(before.instant)
    }
}
