//! Taking out the subscriptions of sessions that are gone and had many, a few with each turn of a lane: messages go on between.
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

    /// The next few filters, and whether more wait.
    fn take(&self) -> Option<(Member, Vec<Utf8Bytes>, bool)> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut waiting = self.waiting.lock();
        let (member, filters) = waiting.front_mut()?;
        let part = filters.by_ref().take(PART).collect();
        let member = member.clone();
        if filters.len() == 0 {
            waiting.pop_front();
        }
        let more = !waiting.is_empty();
        self.any.store(more, Ordering::Release);
        Some((member, part, more))
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

    /// Takes out a few; whether more wait.
    pub(crate) fn withdraw_some(&self) -> bool {
        let Some((member, part, more)) = self.withdrawals.take() else { return false };
        self.withdraw_filters(&member, part);
        more
    }
}

#[cfg(test)]
mod tests {
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
        while bench.router.withdraw_some() {}
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
