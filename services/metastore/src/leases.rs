//! The leases of the cluster's members, which the leader of the control group keeps in memory (protocols B4).
//!
//! A renewal counts only when a quorum confirmed, after it was asked for, that this node leads: one that was deposed renews
//! nothing. All renewals that wait are confirmed together. That a lease is over is proposed as a command, bound to the
//! term in which it was counted. How leases are counted is `fleethaven_membership::Leases`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::metadata::Error;
use fleethaven_membership::{self as membership, Leases, Renewal};
use fleethaven_registry::{Command, cluster};
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};

use crate::evaluator::{Request, confirmed_term};
use crate::group::Group;
use crate::state::State;
use crate::types::Raft;

/// How often it is looked whose lease is over, and whether this node leads.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long a quorum may take to confirm that this node leads.
const CONFIRM_WITHIN: Duration = Duration::from_millis(500);
/// Renewals that wait for a confirmation, at most.
const WAITING: usize = 1024;

type Confirmed = Result<u64, Error>;

/// The leases of a node's control group; counted while it leads.
pub(crate) struct LeaseKeeper {
    shared: Arc<Shared>,
    waiting: mpsc::Sender<oneshot::Sender<Confirmed>>,
    tasks: [AbortHandle; 2],
}

struct Shared {
    raft: Raft,
    state: Arc<State>,
    leases: Mutex<Leases>,
    started: Instant,
}

impl LeaseKeeper {
    /// Begins to keep the leases of `group`.
    pub(crate) fn start(group: &Group) -> Self {
        let shared = Arc::new(Shared {
            raft: group.raft.clone(),
            state: group.state.clone(),
            leases: Mutex::default(),
            started: Instant::now(),
        });
        let (waiting, asked) = mpsc::channel(WAITING);
        let requests = group.requests().map(|requests| requests.downgrade());
        let keeping = shared.clone().keep(requests);
        let confirming = confirm(group.raft.clone(), asked);
        let tasks = [tokio::spawn(keeping).abort_handle(), tokio::spawn(confirming).abort_handle()];
        Self { shared, waiting, tasks }
    }

    /// Renews a lease, if this node leads.
    pub(crate) fn renew(&self, incarnation: Incarnation) -> impl Future<Output = Result<(), Error>> + use<> {
        let (shared, waiting) = (self.shared.clone(), self.waiting.clone());
        async move {
            let asked = shared.now();
            shared.leases.lock().heard(incarnation, asked);
            let (told, confirmed) = oneshot::channel();
            waiting.send(told).await.map_err(|_| unavailable("the metastore is shutting down"))?;
            let term = confirmed.await.map_err(|_| unavailable("the metastore is shutting down"))??;
            if !shared.is_member(incarnation)? {
                return Err(cluster::not_a_member(incarnation).into());
            }
            let renewal = shared.leases.lock().renew(term, incarnation, asked);
            match renewal {
                Renewal::Renewed => Ok(()),
                Renewal::Ending => Err(unavailable("the lease ran out, and the member is being removed")),
                Renewal::Unknown | Renewal::NotLeading => Err(unavailable("leases are not counted here yet")),
            }
        }
    }

    /// Ends its tasks.
    pub(crate) fn stop(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for LeaseKeeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Time as leases are counted.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn is_member(&self, incarnation: Incarnation) -> Result<bool, Error> {
        let view = self.state.now();
        let is_member = cluster::is_member(&view, incarnation);
        view.finish().map_err(|e| unavailable(&format!("reading the state: {e}")))?;
        Ok(is_member)
    }

    /// The members; `None` when they cannot be read.
    fn members(&self) -> Option<Vec<Incarnation>> {
        let view = self.state.now();
        let members = cluster::members(&view);
        let read = view.finish().inspect_err(|error| tracing::error!(%error, "members cannot be read"));
        read.is_ok().then_some(members)
    }

    /// The term in which this node seems to lead.
    fn leading(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        (metrics.current_leader == Some(metrics.id)).then_some(metrics.current_term)
    }

    /// Keeps the leases until the group stops.
    async fn keep(self: Arc<Self>, requests: Option<mpsc::WeakSender<Request>>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let counted = self.leases.lock().term();
            match self.leading() {
                None => self.leases.lock().stop(),
                Some(term) if counted != Some(term) => self.begin(term).await,
                Some(term) => {
                    for over in self.look() {
                        let Some(requests) = requests.as_ref().and_then(mpsc::WeakSender::upgrade) else {
                            return;
                        };
                        tokio::spawn(self.clone().remove(requests, term, over));
                    }
                }
            }
        }
    }

    /// Grants all members a full lease, once what was committed before this term is applied.
    async fn begin(&self, term: u64) {
        match tokio::time::timeout(CONFIRM_WITHIN, confirmed_term(&self.raft)).await {
            Ok(Ok(confirmed)) if confirmed == term => {
                if let Some(members) = self.members() {
                    tracing::info!(term, members = members.len(), "all leases begin anew under a new leader");
                    self.leases.lock().begin(term, members, self.now());
                }
            }
            // Asked again at the next look.
            _ => self.leases.lock().stop(),
        }
    }

    /// Whose leases are over.
    fn look(&self) -> Vec<Incarnation> {
        match self.members() {
            Some(members) => self.leases.lock().look(members, self.now()),
            None => Vec::new(),
        }
    }

    async fn remove(self: Arc<Self>, requests: mpsc::Sender<Request>, term: u64, incarnation: Incarnation) {
        let command = Command::membership(membership::Command::Remove { incarnation });
        let (request, answer) = Request::in_term(command, term);
        // Closed: the group stops.
        if requests.send(request).await.is_err() {
            return;
        }
        match answer.await {
            Ok(Ok(_)) => tracing::warn!(%incarnation, "a member did not renew its lease and was removed"),
            Ok(Err(error)) => {
                tracing::warn!(%incarnation, %error, "a member whose lease is over could not be removed yet");
                self.leases.lock().retry(term, incarnation, self.now());
            }
            Err(_) => self.leases.lock().retry(term, incarnation, self.now()),
        }
    }
}

/// Confirms for all that wait that this node leads. Who asks while that goes on waits for the next time: a confirmation that began
/// before a renewal was asked for says nothing about it.
async fn confirm(raft: Raft, mut asked: mpsc::Receiver<oneshot::Sender<Confirmed>>) {
    let mut waiting = Vec::new();
    while asked.recv_many(&mut waiting, WAITING).await > 0 {
        let confirmed = tokio::time::timeout(CONFIRM_WITHIN, confirmed_term(&raft)).await;
        let confirmed = confirmed.unwrap_or_else(|_| Err(unavailable("no quorum answers")));
        for told in waiting.drain(..) {
            // Who gave up needs no answer.
            let _ = told.send(confirmed.clone());
        }
    }
}

fn unavailable(reason: &str) -> Error {
    Error::Unavailable(reason.to_owned())
}
