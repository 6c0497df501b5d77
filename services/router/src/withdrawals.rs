//! Taking out the subscriptions of sessions that are gone and had many, a few at a time, when the owner of a lane has the time
//! for it: messages go on between.
//!
//! Until its filters are out, such a session is found by publishes, is nowhere, and gets nothing.

use std::collections::{VecDeque, hash_set};
use std::sync::atomic::{AtomicBool, Ordering};

use fleethaven_storage::SessionId;
use fleethaven_types::Utf8Bytes;
use parking_lot::Mutex;

use crate::router::Router;
use crate::tables::{Filters, Member};

/// Filters taken out at a time.
pub(crate) const PART: usize = 64;

/// Sessions that are gone, with the filters that are still in the tables.
#[derive(Default)]
pub(crate) struct Withdrawals {
    waiting: Mutex<VecDeque<(Member, hash_set::IntoIter<Utf8Bytes>)>>,
    any: AtomicBool,
}

impl Withdrawals {
    pub(crate) fn add(&self, member: Member, filters: Filters) {
        self.waiting.lock().push_back((member, filters.into_iter()));
        self.any.store(true, Ordering::Release);
    }

    pub(crate) fn are_any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// The next few filters.
    fn take(&self) -> Option<(Member, Vec<Utf8Bytes>)> {
        if !self.are_any() {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let (member, filters) = waiting.front_mut()?;
        let part = filters.by_ref().take(PART).collect();
        let member = member.clone();
        if filters.len() == 0 {
            waiting.pop_front();
        }
        self.any.store(!waiting.is_empty(), Ordering::Release);
        Some((member, part))
    }
}

impl Withdrawals {
    /// What is left of a session.
    fn take_all(&self, session: SessionId) -> VecDeque<(Member, hash_set::IntoIter<Utf8Bytes>)> {
        if !self.any.load(Ordering::Acquire) {
            return VecDeque::new();
        }
        let mut waiting = self.waiting.lock();
        let (found, others) = waiting.drain(..).partition(|(member, _)| member.0.session == session);
        *waiting = others;
        self.any.store(!waiting.is_empty(), Ordering::Release);
        found
    }
}

impl Router {
    /// A session comes that may have been here before: what is left of that is taken out now, as filters are a session's,
    /// whenever it subscribed to them.
    pub(crate) fn withdraw_rest(&self, session: SessionId) {
        for (member, filters) in self.withdrawals.take_all(session) {
            self.withdraw_filters(&member, filters);
        }
    }

    /// Takes out a few; whether there were any.
    pub(crate) fn withdraw_some(&self) -> bool {
        let Some((member, part)) = self.withdrawals.take() else { return false };
        self.withdraw_filters(&member, part);
        true
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_fabric::Routing as _;
    use fleethaven_types::QoS::AtMostOnce;

    use super::*;
    use crate::testing::{Bench, message, scope, subscription};

    #[test]
    fn a_session_with_many_filters_goes_in_parts_and_gets_nothing_meanwhile() {
        let mut bench = Bench::new();
        bench.attach(1, 0, false);
        for number in 0..=3 * PART {
            bench.subscribe(1, subscription(&format!("many/{number}"), AtMostOnce));
        }
        bench.router.forget(SessionId(1));
        let left = |bench: &Bench| bench.router.subscription_count(scope());
        assert_eq!(left(&bench), 3 * PART as u64 + 1);
        for number in [0, 3 * PART] {
            assert!(!bench.publish(message(&format!("many/{number}"), AtMostOnce)));
        }
        assert!(bench.pushes().is_empty());
        assert!(bench.lane.has_leftovers());
        assert!(bench.lane.tidy());
        assert_eq!(left(&bench), 2 * PART as u64 + 1);
        while bench.lane.tidy() {}
        assert!(!bench.lane.has_leftovers());
        assert_eq!(left(&bench), 0);
    }

    #[test]
    fn a_session_that_comes_back_meanwhile_keeps_what_it_subscribes_to_now() {
        let mut bench = Bench::new();
        let subscribe = |bench: &mut Bench| {
            bench.attach(1, 0, false);
            for number in 0..=3 * PART {
                bench.subscribe(1, subscription(&format!("many/{number}"), AtMostOnce));
            }
        };
        subscribe(&mut bench);
        bench.router.forget(SessionId(1));
        subscribe(&mut bench);
        while bench.router.withdraw_some() {}
        assert!(bench.publish(message(&format!("many/{}", 3 * PART), AtMostOnce)));
        assert_eq!(bench.receivers(), [1]);
    }
}
