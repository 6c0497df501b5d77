//! Publishing for services that are no gateway: the same lanes, without sessions.

use std::sync::Arc;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::{Publish, Routing, RoutingEvent, RoutingRequest};
use fleethaven_storage::{Error, Once, SessionId, Ticket, Wake};
use fleethaven_types::Message;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, mpsc, oneshot};

use super::client::{Options, RoutingClient};

/// Publishes that may wait for the lanes.
const QUEUE: usize = 4096;
/// Publishes taken in one turn.
const BATCH: usize = 256;

enum Job {
    Publish(Arc<Message>, Option<Once>, oneshot::Sender<Result<bool, Error>>),
    Forget(SessionId),
}

/// A handle that any task can publish through.
#[derive(Clone)]
pub struct PublishClient(mpsc::Sender<Job>);

/// Wakes the task that owns the lanes.
#[derive(Debug, Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

impl PublishClient {
    /// Starts the lanes as tasks of the current runtime. What [`Options::wake`] is set to is not used.
    pub fn start(options: Options) -> Self {
        let (sender, jobs) = mpsc::channel(QUEUE);
        let bell = Arc::new(Bell::default());
        let lanes = RoutingClient::start(Options { wake: bell.clone(), ..options });
        tokio::spawn(run(lanes, jobs, bell));
        Self(sender)
    }

    /// Publishes what is to be published once; [`Error::AlreadyDone`] when it has been, or must not any more.
    pub async fn publish_once(&self, message: Arc<Message>, once: Once) -> Result<bool, Error> {
        self.hand_over(message, Some(once)).await
    }

    /// Tells all routers that a session was deleted or has expired: its subscriptions go.
    pub async fn forget(&self, session: SessionId) {
        // When the lanes are gone, so is the process.
        let _ = self.0.send(Job::Forget(session)).await;
    }

    async fn hand_over(&self, message: Arc<Message>, once: Option<Once>) -> Result<bool, Error> {
        let (answer, outcome) = oneshot::channel();
        let stopped = || Error::Unavailable("the lanes are closed".to_owned());
        self.0.send(Job::Publish(message, once, answer)).await.map_err(|_| stopped())?;
        outcome.await.map_err(|_| stopped())?
    }
}

impl Publish for PublishClient {
    fn publish(&self, message: Arc<Message>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(self.hand_over(message, None))
    }
}

/// Ends when all handles are gone.
async fn run(mut lanes: RoutingClient, mut jobs: mpsc::Receiver<Job>, bell: Arc<Bell>) {
    let (mut requests, mut events, mut taken) = (Vec::new(), Vec::new(), Vec::with_capacity(BATCH));
    let mut waiting: FxHashMap<Ticket, oneshot::Sender<Result<bool, Error>>> = FxHashMap::default();
    let mut next = 0;
    loop {
        tokio::select! {
            count = jobs.recv_many(&mut taken, BATCH), if !lanes.is_congested() => {
                if count == 0 {
                    return;
                }
                for job in taken.drain(..) {
                    requests.push(match job {
                        Job::Publish(message, once, answer) => {
                            next += 1;
                            waiting.insert(Ticket(next), answer);
                            RoutingRequest::Publish { ticket: Some(Ticket(next)), message, from: None, once, fence: None }
                        }
                        Job::Forget(session) => RoutingRequest::Forget { session },
                    });
                }
                lanes.submit(&mut requests);
            }
            () = bell.0.notified() => {}
        }
        lanes.drain(&mut events);
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
