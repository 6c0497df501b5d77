//! The same door for services that publish now and then: HTTPS publish, republish actions, `$aws` answers.

use std::sync::Arc;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::{Publish, Routing, RoutingEvent, RoutingRequest};
use fleethaven_storage::{Error, Once, Ticket, Wake};
use fleethaven_types::Message;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::lane::Lane;
use crate::router::Router;

/// Publishes that may wait for the lane.
const QUEUE: usize = 4096;
/// Publishes taken in one turn.
const BATCH: usize = 256;

type Job = (Arc<Message>, Option<Once>, oneshot::Sender<Result<bool, Error>>);

/// Whether a publisher is held back when the store has fallen behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backpressure {
    /// Held back, like clients.
    Held,
    /// Goes on: for what empties the queues that others wait for. Its own number of publishes under way must be bounded.
    Exempt,
}

/// A handle that any task can publish through.
#[derive(Clone)]
pub struct Publisher(mpsc::Sender<Job>);

struct Waker(Arc<Notify>);

impl Wake for Waker {
    fn wake(&self) {
        self.0.notify_one();
    }
}

impl Publisher {
    /// Starts the lane as a task of the current runtime.
    pub fn start(router: Arc<Router>, backpressure: Backpressure) -> Self {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let notify = Arc::new(Notify::new());
        let lane = Lane::new(router, Arc::new(Waker(notify.clone())));
        tokio::spawn(run(lane, jobs, notify, backpressure));
        Self(sender)
    }

    /// Publishes what is to be published once; [`Error::AlreadyDone`] when it has been, or must not any more.
    pub async fn publish_once(&self, message: Arc<Message>, once: Once) -> Result<bool, Error> {
        self.hand_over(message, Some(once)).await
    }

    async fn hand_over(&self, message: Arc<Message>, once: Option<Once>) -> Result<bool, Error> {
        let (answer, outcome) = oneshot::channel();
        let stopped = || Error::Unavailable("the router is stopping".to_owned());
        self.0.send((message, once, answer)).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

impl Publish for Publisher {
    fn publish(&self, message: Arc<Message>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.hand_over(message, None))
    }
}

/// Ends when all handles are gone.
async fn run(mut lane: Lane, mut jobs: mpsc::Receiver<Job>, notify: Arc<Notify>, backpressure: Backpressure) {
    let (mut requests, mut events, mut taken) = (Vec::new(), Vec::new(), Vec::with_capacity(BATCH));
    let mut waiting: FxHashMap<Ticket, oneshot::Sender<Result<bool, Error>>> = FxHashMap::default();
    let mut next = 0;
    loop {
        tokio::select! {
            count = jobs.recv_many(&mut taken, BATCH), if backpressure == Backpressure::Exempt || !lane.is_congested() => {
                if count == 0 {
                    return;
                }
                for job in taken.drain(..) {
                    next += 1;
                    requests.push(request(job, Ticket(next), &mut waiting));
                }
                lane.submit(&mut requests);
            }
            () = notify.notified() => {}
        }
        lane.drain(&mut events);
        for event in events.drain(..) {
            if let RoutingEvent::Published { ticket, matched, result } = event
                && let Some(answer) = waiting.remove(&ticket)
            {
                // The caller may have gone away; the message is published all the same.
                let _ = answer.send(result.map(|()| matched));
            }
        }
    }
}

/// Every publish gets a ticket, those with QoS 0 too: the answer holds its publisher back until rules have the message.
fn request(
    (message, once, answer): Job,
    ticket: Ticket,
    waiting: &mut FxHashMap<Ticket, oneshot::Sender<Result<bool, Error>>>,
) -> RoutingRequest {
    waiting.insert(ticket, answer);
    RoutingRequest::Publish { ticket: Some(ticket), message, from: None, once, fence: None }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use fleethaven_types::QoS::{AtLeastOnce, AtMostOnce};

    use super::*;
    use crate::testing::{Bench, message, subscription};

    #[tokio::test]
    async fn every_publish_is_answered_with_whether_anyone_matched() {
        let mut bench = Bench::new();
        bench.attach(1, 0, true);
        bench.subscribe(1, subscription("a", AtLeastOnce));
        bench.set_rule("one", Some("r"));
        let publisher = Publisher::start(bench.router.clone(), Backpressure::Held);
        for (topic, qos, matched) in [
            ("a", AtLeastOnce, true),
            ("r", AtMostOnce, true),
            ("b", AtMostOnce, false),
            ("b", AtLeastOnce, false),
        ] {
            assert_eq!(publisher.publish(Arc::new(message(topic, qos))).await, Ok(matched), "{topic}");
        }
        bench.store.broken.store(true, Ordering::SeqCst);
        assert!(publisher.publish(Arc::new(message("a", AtLeastOnce))).await.is_err());
        assert!(publisher.publish(Arc::new(message("r", AtMostOnce))).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_congested_store_holds_publishers_back_but_not_all() {
        let bench = Bench::new();
        bench.store.congested.store(true, Ordering::SeqCst);
        let exempt = Publisher::start(bench.router.clone(), Backpressure::Exempt);
        assert_eq!(exempt.publish(Arc::new(message("a", AtLeastOnce))).await, Ok(false));
        let held = Publisher::start(bench.router.clone(), Backpressure::Held);
        let waits = held.publish(Arc::new(message("a", AtLeastOnce)));
        assert!(tokio::time::timeout(Duration::from_secs(60), waits).await.is_err());
    }
}
