//! A drain: clients are ended one after the other, over a time that the operator chooses, so that they do not all come to
//! another broker at once. Until the last of them is, new ones are still accepted, to be told where to go.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fleethaven_fabric::delivery::Address;
use fleethaven_session::Now;

use crate::connection::{Connection, Phase};
use crate::core::Core;

/// Who is still to be ended, and by when.
pub(crate) struct Drain {
    started: Instant,
    over: Duration,
    waiting: VecDeque<Address>,
    count: usize,
}

impl Drain {
    fn new(started: Instant, over: Duration, connections: VecDeque<Address>) -> Self {
        Self { started, over, count: connections.len(), waiting: connections }
    }

    /// The connections whose turn it is.
    fn due(&mut self, now: Instant) -> Vec<Address> {
        let passed = now.saturating_duration_since(self.started);
        let ended = match passed < self.over {
            true => (self.count as f64 * passed.as_secs_f64() / self.over.as_secs_f64()) as usize,
            false => self.count,
        };
        let gone = self.count - self.waiting.len();
        self.waiting.drain(..ended.saturating_sub(gone).min(self.waiting.len())).collect()
    }

    fn is_over(&self, now: Instant) -> bool {
        self.waiting.is_empty() && now.saturating_duration_since(self.started) >= self.over
    }
}

impl Core {
    /// Begins to drain: the connections that are there now end within `over`, evenly spread. Clients get at most `within` to
    /// read what they are sent.
    pub(crate) fn begin_drain(self: &Rc<Self>, over: Duration, within: Duration, now: Now) {
        self.draining.set(true);
        self.limit_goodbyes(within);
        let connections = self.all().iter().map(|connection| connection.borrow().address).collect();
        *self.drain.borrow_mut() = Some(Drain::new(now.instant, over, connections));
        self.drain_on(now);
    }

    /// Ends the connections whose turn it is; after the last, those that came meanwhile and have not said who they are, and
    /// nobody comes any more.
    pub(crate) fn drain_on(self: &Rc<Self>, now: Now) {
        let Some((due, is_over)) = self.drain.borrow_mut().as_mut().map(|drain| {
            let due = drain.due(now.instant);
            (due, drain.is_over(now.instant))
        }) else {
            return;
        };
        for connection in due.into_iter().filter_map(|address| self.at(address)) {
            connection.borrow_mut().drain(self, now);
        }
        if is_over {
            *self.drain.borrow_mut() = None;
            self.stop_accepting();
            for connection in self.all() {
                connection.borrow_mut().drain(self, now);
            }
        }
    }
}

impl Connection {
    /// Ends the connection because the broker shuts down.
    fn drain(&mut self, core: &Rc<Core>, now: Now) {
        if self.phase == Phase::Opening {
            // A CONNECT that has arrived is answered.
            self.catch_up(core, now);
        }
        self.session.drain();
        self.act(core, now);
        self.settle(core, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn drain(count: u32, over: u64) -> (Drain, Instant) {
        let start = Instant::now();
        let connections = (0..count).map(|slot| Address::new(0, slot, 1)).collect();
        (Drain::new(start, Duration::from_secs(over), connections), start)
    }

    #[test]
    fn connections_end_evenly_and_in_order() {
        let (mut drain, start) = drain(10, 5);
        let mut ended = |seconds: f64| {
            let now = start + Duration::from_secs_f64(seconds);
            let due = drain.due(now).iter().map(|address| address.slot()).collect::<Vec<_>>();
            (due, drain.is_over(now))
        };
        assert_eq!(ended(0.0), (vec![], false));
        assert_eq!(ended(1.25), (vec![0, 1], false));
        assert_eq!(ended(1.26), (vec![], false));
        assert_eq!(ended(4.9), (vec![2, 3, 4, 5, 6, 7, 8], false));
        assert_eq!(ended(5.0), (vec![9], true));
    }

    #[test]
    fn without_a_time_all_end_at_once() {
        let (mut drain, start) = drain(3, 0);
        assert_eq!((drain.due(start).len(), drain.is_over(start)), (3, true));
        let (drain, start) = self::drain(0, 2);
        assert!(
            !drain.is_over(start) && drain.is_over(start + Duration::from_secs(2)),
            "clients may still come"
        );
    }
}
