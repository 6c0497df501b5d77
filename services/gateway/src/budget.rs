//! How much a core does, before it looks at its sockets again, of what is no message and would hold messages up: TLS
//! handshakes, new connections and their ends, SUBSCRIBEs, the first message of a client, packets that come in crumbs, and
//! chores. A storm of them takes longer; live traffic goes on between.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::num::NonZeroU64;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

/// What may be done between two looks at the sockets, and one step more: the longest, of a TLS handshake, takes some times as long.
const SLICE: Duration = Duration::from_micros(50);

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

    /// There are chores to do.
    pub(crate) fn want_chores(&self) {
        self.wanted.notify_one();
    }

    /// Begins a new slice whenever somebody waits for one, or there are chores, and the sockets have been looked at. `chore`
    /// does a little of what the core itself has to do and tells how long that took; `None` when nothing is left. Never ends.
    pub(crate) async fn renew(&self, mut chore: impl FnMut() -> Option<Duration>) {
        loop {
            self.wanted.notified().await;
            let mut more_chores = true;
            while more_chores || !self.line.borrow().waiting.is_empty() {
                // The runtime asks its sockets before it runs a task again that yielded.
                tokio::task::yield_now().await;
                // What they brought, and the turn that hands it on, go first.
                requeued().await;
                self.left.set(nanos(SLICE));
                more_chores = self.do_chores(&mut chore);
                self.call_next();
            }
        }
    }

    /// Does chores for half of the slice, or all of it when nobody waits; whether more are left. They go first: what was begun
    /// is ended before more is begun.
    fn do_chores(&self, chore: &mut impl FnMut() -> Option<Duration>) -> bool {
        let others = if self.line.borrow().waiting.is_empty() { 0 } else { nanos(SLICE / 2) };
        while self.left.get() > others {
            match chore() {
                Some(took) => self.left.set(self.left.get() - nanos(took)),
                None => return false,
            }
        }
        true
    }
}

/// Has the task polled again after the runtime has looked at its sockets. A task that wakes itself runs again before that,
/// dozens of times.
pub(crate) fn after_the_sockets(cx: &mut Context<'_>) {
    // Its first poll leaves the waker with the runtime, which is all that is wanted of it.
    let _pending = pin!(tokio::task::yield_now()).poll(cx);
}

/// Goes on behind all that is to run by now.
async fn requeued() {
    let mut waited = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
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
                tokio::task::spawn_local(async move { renewing.renew(|| None).await });
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
    fn chores_leave_half_of_a_slice_to_those_who_wait() {
        let budget = Budget::new();
        let done = Cell::new(0);
        let mut chore = || {
            done.set(done.get() + 1);
            Some(SLICE / 10)
        };
        assert!(budget.do_chores(&mut chore));
        assert_eq!(done.replace(0), 10, "nobody waits");
        let mut place = Place::default();
        assert!(!budget.admit(&mut place, Waker::noop()));
        budget.left.set(nanos(SLICE));
        assert!(budget.do_chores(&mut chore));
        assert_eq!(done.get(), 5);
        budget.call_next();
        assert!(budget.admit(&mut place, Waker::noop()));
        assert!(!budget.do_chores(&mut || None), "nothing is left to do");
    }

    #[tokio::test]
    async fn chores_are_done_to_the_end_though_nobody_waits() {
        let left = Rc::new(Cell::new(1000_u32));
        let local = LocalSet::new();
        local
            .run_until(async {
                let budget = Rc::new(Budget::new());
                let (renewing, counted) = (budget.clone(), left.clone());
                let chore = move || {
                    let rest = counted.get();
                    counted.set(rest.saturating_sub(1));
                    (rest > 0).then_some(SLICE / 3)
                };
                tokio::task::spawn_local(async move { renewing.renew(chore).await });
                budget.want_chores();
                while left.get() > 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
    }

    #[tokio::test]
    async fn who_goes_on_after_the_sockets_lets_them_be_heard() {
        let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let far = tokio::net::UnixStream::from_std(far).unwrap();
        let (busy, heard) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
        let local = LocalSet::new();
        local
            .run_until(async {
                let (polls, until) = (busy.clone(), heard.clone());
                let working = tokio::task::spawn_local(poll_fn(move |cx| {
                    if until.get() {
                        return Poll::Ready(());
                    }
                    polls.set(polls.get() + 1);
                    after_the_sockets(cx);
                    Poll::Pending
                }));
                std::io::Write::write_all(&mut near, b"x").unwrap();
                let hearing = heard.clone();
                tokio::task::spawn_local(async move {
                    far.readable().await.unwrap();
                    hearing.set(true);
                });
                working.await.unwrap();
            })
            .await;
        assert!(busy.get() < 10, "{} polls", busy.get());
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
