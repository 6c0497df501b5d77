//! How much a core does, before it looks at its sockets again, of what is no message and would hold messages up: TLS
//! handshakes, new connections, the parts of large SUBSCRIBEs. A storm of them takes longer; live traffic goes on between.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::num::NonZeroU64;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

/// What may be done between two looks at the sockets.
const SLICE: Duration = Duration::from_micros(200);

/// What is left of the present slice, and who waits for the next. First come, first served: a client that came back must not
/// be overtaken by what it had sent on the connection before.
pub(crate) struct Budget {
    /// Nanoseconds; below zero when the last step took longer than was left.
    left: Cell<i64>,
    line: RefCell<Line>,
    wanted: Notify,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<(NonZeroU64, Waker)>,
    last: u64,
    /// Numbers up to this one may go on.
    called: u64,
}

/// A task's place in the line, while it has one.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<NonZeroU64>);

impl Budget {
    pub(crate) fn new() -> Self {
        Self { left: Cell::new(nanos(SLICE)), line: RefCell::default(), wanted: Notify::new() }
    }

    /// Whether a step may be done now; otherwise `waker` is called when it may be tried again.
    pub(crate) fn admit(&self, place: &mut Place, waker: &Waker) -> bool {
        let mut line = self.line.borrow_mut();
        match place.0 {
            Some(number) if number.get() <= line.called => place.0 = None,
            Some(_) => return false,
            None if self.left.get() > 0 && line.waiting.is_empty() => {}
            None => {
                line.last += 1;
                if let Some(number) = NonZeroU64::new(line.last) {
                    line.waiting.push_back((number, waker.clone()));
                    place.0 = Some(number);
                }
                self.wanted.notify_one();
                return false;
            }
        }
        true
    }

    /// Waits until a step may be done.
    pub(crate) async fn admitted(&self) {
        let mut place = Place::default();
        poll_fn(|cx| if self.admit(&mut place, cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// A step took, or is going to take, so long; while something is left, the next one may be done.
    pub(crate) fn charge(&self, cost: Duration) {
        self.left.set(self.left.get() - nanos(cost));
        if self.left.get() > 0 {
            self.call_next();
        }
    }

    fn call_next(&self) {
        let mut line = self.line.borrow_mut();
        let Some((number, waker)) = line.waiting.pop_front() else { return };
        line.called = number.get();
        drop(line);
        waker.wake();
    }

    /// Begins a new slice whenever somebody waits for one and the sockets have been looked at. Never ends.
    pub(crate) async fn renew(&self) {
        loop {
            self.wanted.notified().await;
            while !self.line.borrow().waiting.is_empty() {
                // The runtime asks its sockets before it runs a task again that yielded.
                tokio::task::yield_now().await;
                self.left.set(nanos(SLICE));
                self.call_next();
            }
        }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn many_steps_take_several_slices_and_all_are_done() {
        let done = Rc::new(Cell::new(0));
        let local = LocalSet::new();
        local
            .run_until(async {
                let budget = Rc::new(Budget::new());
                let renewing = budget.clone();
                tokio::task::spawn_local(async move { renewing.renew().await });
                let steps = (0..1000).map(|_| {
                    let (budget, done) = (budget.clone(), done.clone());
                    tokio::task::spawn_local(async move {
                        budget.admitted().await;
                        budget.charge(SLICE / 2);
                        done.set(done.get() + 1);
                    })
                });
                for step in steps.collect::<Vec<_>>() {
                    step.await.unwrap();
                }
            })
            .await;
        assert_eq!(done.get(), 1000);
    }

    #[test]
    fn what_is_used_up_is_waited_for() {
        let budget = Budget::new();
        let [mut first, mut second] = [Place::default(), Place::default()];
        assert!(budget.admit(&mut first, Waker::noop()));
        budget.charge(SLICE);
        assert!(!budget.admit(&mut first, Waker::noop()));
        budget.left.set(nanos(SLICE));
        assert!(!budget.admit(&mut second, Waker::noop()), "another one waits");
        budget.call_next();
        assert!(!budget.admit(&mut second, Waker::noop()));
        assert!(budget.admit(&mut first, Waker::noop()));
        budget.charge(SLICE / 2);
        assert!(budget.admit(&mut second, Waker::noop()), "something is left");
    }
}
