//! How much a core does, before it looks at its sockets again, of what is no message and would hold messages up: TLS
//! handshakes, new connections, the parts of large SUBSCRIBEs. A storm of them takes longer; live traffic goes on between.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

/// What may be done between two looks at the sockets.
const SLICE: Duration = Duration::from_micros(200);
/// Tasks that go on with each slice; as little as most steps cost, it is used up before they all have.
const WOKEN: usize = 32;

/// What is left of the present slice, and who waits for the next.
pub(crate) struct Budget {
    /// Nanoseconds; below zero when the last step took longer than was left.
    left: Cell<i64>,
    waiting: RefCell<VecDeque<Waker>>,
    wanted: Notify,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self { left: Cell::new(nanos(SLICE)), waiting: RefCell::default(), wanted: Notify::new() }
    }

    /// Whether a step may be done now; otherwise `waker` is called when it may be tried again.
    pub(crate) fn admit(&self, waker: &Waker) -> bool {
        if self.left.get() > 0 {
            return true;
        }
        self.waiting.borrow_mut().push_back(waker.clone());
        self.wanted.notify_one();
        false
    }

    /// Waits until a step may be done.
    pub(crate) async fn admitted(&self) {
        poll_fn(|cx| if self.admit(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// A step took, or is going to take, so long.
    pub(crate) fn charge(&self, cost: Duration) {
        self.left.set(self.left.get() - nanos(cost));
    }

    /// Begins a new slice whenever somebody waits for one and the sockets have been looked at. Never ends.
    pub(crate) async fn renew(&self) {
        loop {
            self.wanted.notified().await;
            while !self.waiting.borrow().is_empty() {
                // The runtime asks its sockets before it runs a task again that yielded.
                tokio::task::yield_now().await;
                self.left.set(nanos(SLICE));
                let mut waiting = self.waiting.borrow_mut();
                let some = waiting.len().min(WOKEN);
                waiting.drain(..some).for_each(Waker::wake);
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
        assert!(budget.admit(Waker::noop()));
        budget.charge(SLICE);
        assert!(!budget.admit(Waker::noop()));
        assert_eq!(budget.waiting.borrow().len(), 1);
    }
}
