//! Keeps the slots of a router process: follows the routing table, renews the lease, loads what it gains, raises fences,
//! and lets go of what others are to own. What is to be done when is `fleethaven-lanes`' [`Keeper`]'s to say.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Membership;
use fleethaven_fabric::membership::{Incarnation, LEASE, Phase, RENEW_EVERY};
use fleethaven_fabric::metadata::Error as CallError;
use fleethaven_lanes::router::{Action, Gathering, Keeper, LaneId, MARGIN, Slots};
use fleethaven_storage::{Completion, Error, Fence, Lane as StoreLane, Request, Ticket, Wake};
use fleethaven_topics::{Depths, Slot};
use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::router::Router;

/// How often groups without a queue are looked for.
const GROUPS: Duration = Duration::from_secs(1);
/// Pause before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// How a router stands, as its process is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// Slots that it serves.
    pub serving: usize,
    /// It has loaded what it holds and was offered for service.
    pub ready: bool,
    /// It owns nothing (any more).
    pub owns_nothing: bool,
    /// Its lease is lost: the process must join again under another incarnation.
    pub out: bool,
}

/// The keeper's task.
pub struct SlotKeeper {
    standing: watch::Receiver<Standing>,
    tasks: [AbortHandle; 3],
}

enum Event {
    Opened(LaneId, u16),
    Level(LaneId, u64),
    Closed(LaneId),
    Loaded(Vec<Slot>, bool, Result<usize, Error>),
    Fenced(Vec<Fence>, Result<(), Error>),
    Released,
    Served,
}

/// Where lanes tell how far they are: to be given to the server of this router's lanes.
#[derive(Clone)]
pub struct Gatherer(mpsc::UnboundedSender<Event>);

/// What [`SlotKeeper::start`] takes its events from.
pub struct Gathered(mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>);

/// A gatherer, and what hears it.
pub fn gatherer() -> (Gatherer, Gathered) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Gatherer(sender.clone()), Gathered(sender, receiver))
}

impl Gatherer {
    fn send(&self, event: Event) {
        // Without a keeper nothing is served.
        let _ = self.0.send(event);
    }
}

impl Gathering for Gatherer {
    fn opened(&self, lane: LaneId, cores: u16) {
        self.send(Event::Opened(lane, cores));
    }

    fn level(&self, lane: LaneId, version: u64) {
        self.send(Event::Level(lane, version));
    }

    fn closed(&self, lane: LaneId) {
        self.send(Event::Closed(lane));
    }
}

impl SlotKeeper {
    /// Starts to keep the slots of `me`, which has joined, as tasks of the current runtime.
    pub fn start(
        me: Incarnation,
        membership: Arc<dyn Membership>,
        router: Arc<Router>,
        slots: Arc<Slots>,
        gathered: Gathered,
    ) -> Self {
        let (told, standing) = watch::channel(Standing::default());
        let queues = find_queues(router.clone());
        let renewing = renew(me, membership.clone(), slots.clone(), told.clone());
        let Gathered(sender, events) = gathered;
        router.in_cluster(me, slots.clone());
        let keeping = Keeping {
            me,
            membership,
            store: Fences::new(&router),
            router,
            keeper: Keeper::new(me, slots),
            sender,
            told,
            depths: Depths::default(),
        };
        let tasks = [tokio::spawn(renewing), tokio::spawn(keeping.run(events)), tokio::spawn(queues)];
        let tasks = tasks.map(|task| task.abort_handle());
        Self { standing, tasks }
    }

    /// How the router stands, as it changes.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }
}

impl Drop for SlotKeeper {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Renews the lease; ends when it is lost.
async fn renew(
    me: Incarnation,
    membership: Arc<dyn Membership>,
    slots: Arc<Slots>,
    told: watch::Sender<Standing>,
) {
    let mut ticks = tokio::time::interval(RENEW_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        match membership.renew(me).await {
            Ok(()) => slots.extend_lease((asked + LEASE - MARGIN).into_std()),
            Err(CallError::Refused(refused)) => {
                tracing::error!(error = ?refused, "this router is a member of the cluster no more");
                slots.end_lease();
                told.send_modify(|standing| standing.out = true);
                return;
            }
            Err(error) => tracing::warn!(%error, "the lease could not be renewed"),
        }
    }
}

/// Sees to the queues of groups, for ever.
async fn find_queues(router: Arc<Router>) {
    let mut ticks = tokio::time::interval(GROUPS);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if router.groups_without_queue().is_empty() {
            continue;
        }
        let router = router.clone();
        // The store may wait for a write: not on an event loop.
        let found = tokio::task::spawn_blocking(move || router.find_queues()).await;
        if let Ok(Err(error)) = found {
            tracing::warn!(%error, "groups of shared subscriptions have no queue");
        }
    }
}

struct Keeping {
    me: Incarnation,
    membership: Arc<dyn Membership>,
    router: Arc<Router>,
    store: Fences,
    keeper: Keeper,
    sender: mpsc::UnboundedSender<Event>,
    told: watch::Sender<Standing>,
    depths: Depths,
}

impl Keeping {
    async fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) {
        let mut tables = self.membership.table();
        loop {
            let next = self.keeper.next_timeout();
            tokio::select! {
                table = tables.next() => match table {
                    Some(table) => {
                        self.depths = table.depths.clone();
                        self.router.follow(&table);
                        self.keeper.set_table(table);
                    }
                    None => return,
                },
                event = events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                () = wait(next) => {}
            }
            // Many lanes come and go at once.
            while let Ok(event) = events.try_recv() {
                self.handle(event);
            }
            for action in self.keeper.advance(Instant::now().into_std()) {
                self.act(action);
            }
            let (serving, owns_nothing) = (self.keeper.serving(), self.keeper.owns_nothing());
            self.told.send_if_modified(|standing| {
                let before = *standing;
                (standing.serving, standing.owns_nothing) = (serving, owns_nothing);
                *standing != before
            });
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Opened(lane, cores) => self.keeper.lane_opened(lane, cores),
            Event::Level(lane, version) => self.keeper.lane_level(lane, version),
            Event::Closed(lane) => self.keeper.lane_closed(lane),
            Event::Loaded(slots, spread, Ok(sessions)) => {
                tracing::info!(slots = slots.len(), spread, sessions, "subscriptions loaded");
                self.keeper.loaded(&slots, spread);
            }
            Event::Loaded(_, _, Err(error)) => {
                tracing::error!(%error, "subscriptions cannot be loaded");
                self.keeper.load_failed();
            }
            Event::Fenced(fences, result) => {
                if let Err(error) = &result {
                    tracing::warn!(%error, "fences cannot be raised");
                }
                self.keeper.fenced(&fences, result.is_ok(), Instant::now().into_std());
            }
            Event::Served => {
                self.told.send_modify(|standing| standing.ready = true);
            }
            Event::Released => {}
        }
    }

    /// Does what is to be done beside the keeper, which hears of the outcome.
    fn act(&self, action: Action) {
        let sender = self.sender.clone();
        match action {
            Action::Load { slots, spread } => {
                let (router, depths) = (self.router.clone(), self.depths.clone());
                tokio::spawn(async move {
                    let wanted = slots.clone();
                    let loading = move || router.load(&wanted, spread, &depths);
                    let loaded = tokio::task::spawn_blocking(loading).await;
                    let loaded = loaded.unwrap_or_else(|error| Err(Error::Unavailable(error.to_string())));
                    if loaded.is_err() {
                        tokio::time::sleep(PAUSE).await;
                    }
                    let _ = sender.send(Event::Loaded(slots, spread, loaded));
                });
            }
            Action::Fence(fences) => {
                let (raising, router) = (self.store.raise(fences.clone()), self.router.clone());
                tokio::spawn(async move {
                    let mut raised = raising.await;
                    if raised.is_ok() {
                        // What groups must hold they hold in their queues from the first publish on.
                        let found = tokio::task::spawn_blocking(move || router.find_queues()).await;
                        let found = found.unwrap_or_else(|error| Err(Error::Unavailable(error.to_string())));
                        raised = found.map(drop);
                    }
                    if raised.is_err() {
                        tokio::time::sleep(PAUSE).await;
                    }
                    let _ = sender.send(Event::Fenced(fences, raised));
                });
            }
            Action::Release(slots) => {
                let (membership, me) = (self.membership.clone(), self.me);
                tokio::spawn(async move {
                    repeat(|| membership.release(me, slots.clone()), "slots cannot be released").await;
                    let _ = sender.send(Event::Released);
                });
            }
            Action::ReadyForDepth(version) => {
                let (membership, me) = (self.membership.clone(), self.me);
                tokio::spawn(async move {
                    let told = || membership.ready_for_depth(me, version);
                    repeat(told, "that other depths can come cannot be told").await;
                });
            }
            Action::Serve => {
                let (membership, me) = (self.membership.clone(), self.me);
                tokio::spawn(async move {
                    repeat(|| membership.set_phase(me, Phase::Serving), "this router cannot be offered")
                        .await;
                    let _ = sender.send(Event::Served);
                });
            }
        }
    }
}

/// Asks the metastore until it has heard; gives up when it refuses.
async fn repeat<F: Future<Output = Result<(), CallError>>>(ask: impl Fn() -> F, what: &'static str) {
    while let Err(error) = ask().await {
        tracing::warn!(%error, "{what}");
        if matches!(error, CallError::Refused(_)) {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn wait(until: Option<std::time::Instant>) {
    match until {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The way to the fences in the session store.
struct Fences(Arc<tokio::sync::Mutex<FenceLane>>);

struct FenceLane {
    lane: Box<dyn StoreLane>,
    bell: Arc<Bell>,
    last: u64,
}

#[derive(Default)]
struct Bell(Notify);

impl Wake for Bell {
    fn wake(&self) {
        self.0.notify_one();
    }
}

impl Fences {
    fn new(router: &Router) -> Self {
        let bell = Arc::new(Bell::default());
        let lane = router.store.lane(bell.clone());
        Self(Arc::new(tokio::sync::Mutex::new(FenceLane { lane, bell, last: 0 })))
    }

    fn raise(&self, slots: Vec<Fence>) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let lane = self.0.clone();
        async move { lane.lock().await.raise(slots).await }
    }
}

impl FenceLane {
    async fn raise(&mut self, slots: Vec<Fence>) -> Result<(), Error> {
        self.last += 1;
        let mine = Ticket(self.last);
        self.lane.submit(&mut vec![Request::RaiseFence { ticket: mine, slots }]);
        let mut completions = Vec::new();
        loop {
            self.lane.drain(&mut completions);
            let answer = completions.drain(..).find_map(|completion| match completion {
                Completion::Done { ticket, result } if ticket == mine => Some(result),
                _ => None,
            });
            match answer {
                Some(result) => return result,
                None => self.bell.0.notified().await,
            }
        }
    }
}
