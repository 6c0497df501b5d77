//! A metastore node: opens its store, runs its groups, and is the [`Metadata`] of its process.

use std::collections::BTreeMap;
use std::future::Future;
use std::iter;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::Publish;
use fleethaven_fabric::metadata::{
    AppliedMarker, BoxFuture, Error as CallError, Executed, Metadata, Position, WatchStream,
};
use fleethaven_fabric::raft::{Peer, PeerError, Peers};
use fleethaven_registry::{self as registry, Command, Placement, Query, QueryReply, Shard};
use fleethaven_types::Timestamp;
use futures_util::FutureExt;
use futures_util::future::{join_all, try_join_all};
use openraft::BasicNode;
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, watch as watched};
use uuid::Uuid;

use crate::absent::Absent;
use crate::balance::Balancer;
use crate::blocking::blocking;
use crate::config::{Config, Start};
use crate::disk::Disk;
use crate::emitter::EmitterTask;
use crate::error::Error;
use crate::evaluator::{Request, confirmed_term};
use crate::group::{CONTROL, Founders, Group};
use crate::leader::Leader;
use crate::leases::LeaseKeeper;
use crate::markers::Markers;
use crate::sealing::Sealing;
use crate::{backup, restore, watch};

/// How often it is looked whether all groups go on.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How far behind its leader a node may be that answers reads itself: a little longer than an entry takes from commit there to apply
/// here.
const LAG: Duration = Duration::from_millis(20);

/// A running metastore node.
pub struct Metastore {
    pub(crate) disk: Arc<Disk>,
    pub(crate) control: Group,
    /// The state groups, in order of their numbers, which begin with 1.
    pub(crate) states: Vec<Group>,
    state_groups: NonZeroU32,
    pub(crate) markers: Arc<Markers>,
    pub(crate) leases: LeaseKeeper,
    balancer: Balancer,
    door: watched::Sender<Option<Arc<dyn Publish>>>,
    emitters: Mutex<Vec<EmitterTask>>,
    pub(crate) peers: Arc<dyn Peers>,
    absent: Arc<Absent>,
    pub(crate) incarnation: u64,
    pub(crate) clock: fn() -> Timestamp,
    /// One permit: backups are made one at a time.
    pub(crate) backups: Arc<Semaphore>,
    /// Whether its peers are answered ([`Start::Ask`]).
    takes_part: AtomicBool,
    pub(crate) sealing: Arc<Sealing>,
    timeout: Duration,
}

impl Metastore {
    /// Opens the node's directory and starts it; an empty directory is begun as [`Config::start`] says. A node that is alone
    /// serves commands and reads on return; one of several when they have a leader.
    pub async fn open(config: Config, peers: Arc<dyn Peers>) -> Result<Arc<Self>, Error> {
        let state_groups = config.state_groups;
        if state_groups.get() > Shard::COUNT {
            return Err(Error::TooManyStateGroups(state_groups.get()));
        }
        if restore::is_incomplete(&config.dir) {
            return Err(Error::HalfRestored(config.dir));
        }
        let (dir, vault) = (config.dir.clone(), config.vault.clone());
        let opened = blocking(move || Disk::open(&dir, vault)).await;
        // The store asserts some of what it reads: a panic on opening is damage too.
        let disk =
            opened.map_err(|e| Error::Corrupt { dir: config.dir.clone(), detail: e.to_string() })??;
        // Left behind by a process that ended while it sent a backup.
        match std::fs::remove_dir_all(backup::folder(&config.dir)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::from_io(&config.dir, error));
            }
            _ => {}
        }
        let node = match disk.node(config.node)? {
            Some(node) => node,
            None => disk.bootstrap(config.node, incarnation_of(&config.cluster), state_groups).await?,
        };
        if !config.cluster.is_empty() && node.incarnation != incarnation_of(&config.cluster) {
            return Err(Error::OtherCluster { dir: config.dir, cluster: config.cluster });
        }
        let is_older = node.state_groups == 0;
        if !is_older && node.state_groups != state_groups.get() {
            let (expected, found) = (state_groups.get(), node.state_groups);
            return Err(Error::StateGroups { dir: config.dir, expected, found });
        }
        let founders = founders(&config);
        let control = Group::start(disk.clone(), CONTROL, &config, peers.clone(), founders).await?;
        let founders = control.founders().await?;
        if is_older && founders.is_none() {
            control.stop().await?;
            return Err(Error::NoStateGroups(config.dir));
        }
        let start = |id| Group::start(disk.clone(), id, &config, peers.clone(), founders.clone());
        let states = try_join_all((1..=state_groups.get()).map(start)).await?;
        if is_older {
            tracing::info!(%state_groups, "the store had the control group alone: state groups were added");
            disk.bootstrap(node.node, node.incarnation, state_groups).await?;
        }
        tracing::info!(
            node = node.node,
            %state_groups,
            revision = control.changes.tip().borrow().revision,
            "metastore ready"
        );
        let takes_part = config.start != Start::Ask || control.has_begun().await?;
        let door = watched::Sender::new(None);
        let emitter =
            |group: &Group| EmitterTask::start(group, door.subscribe(), node.incarnation, config.clock);
        let emitters = iter::once(&control).chain(&states).filter_map(emitter).collect();
        Ok(Arc::new(Self {
            disk,
            leases: LeaseKeeper::start(&control),
            balancer: Balancer::start(&states, config.settle),
            control,
            states,
            door,
            emitters: Mutex::new(emitters),
            state_groups,
            peers,
            absent: Arc::default(),
            markers: Arc::default(),
            incarnation: node.incarnation,
            backups: Arc::new(Semaphore::new(1)),
            takes_part: AtomicBool::new(takes_part),
            sealing: config.sealing,
            timeout: config.command_timeout,
            clock: config.clock,
        }))
    }

    /// Whether this node answers its peers. One that was started with [`Start::Ask`] in an empty directory does not, until it is
    /// told to.
    pub fn takes_part(&self) -> bool {
        self.takes_part.load(Ordering::Acquire)
    }

    /// Lets this node answer its peers: none of the store's groups counts on anything that it knew before.
    pub fn take_part(&self) {
        self.takes_part.store(true, Ordering::Release);
    }

    /// Begins a store with these nodes, as [`Start::Form`] does: none of them has anything yet.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn begin(&self, nodes: &BTreeMap<u64, String>) -> Result<(), Error> {
        self.take_part();
        let founders = founding(nodes);
        for group in self.groups() {
            group.begin(founders.clone()).await?;
        }
        Ok(())
    }

    /// Gives the node the way into the broker: from now on it publishes what commands ask for, in the groups that it leads.
    /// Until then that waits, within bounds.
    pub fn publish_through(&self, door: Arc<dyn Publish>) {
        self.door.send_replace(Some(door));
    }

    /// Seals what was written before the store was encrypted, while it is used; how many values are left that could not be sealed
    /// yet. It may take minutes: do not call it on an event loop.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn seal_plain_values(&self) -> Result<u64, Error> {
        let states = self.groups().map(|group| group.state.space());
        self.disk.seal_plain_values(states).map_err(|e| Error::from_io(self.disk.dir(), e))
    }

    /// Waits until a group can go on no longer and says why. The process is of no use then and keeps others from replacing it: it
    /// should end. What it acknowledged is on disk, and the next start continues from there.
    pub async fn failed(&self) -> String {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            if let Some(failure) = self.groups().find_map(Group::failure) {
                return failure;
            }
        }
    }

    /// Answers what was accepted, ends all watches and makes everything written durable. Later commands and
    /// queries are refused as unavailable. The directory is free again when the last reference and watch are
    /// dropped.
    pub async fn shutdown(&self) -> Result<(), Error> {
        self.leases.stop();
        self.balancer.stop();
        let emitters = std::mem::take(&mut *self.emitters.lock());
        join_all(emitters.into_iter().map(EmitterTask::stop)).await;
        let stopped: Result<(), Error> = join_all(self.groups().map(Group::stop)).await.into_iter().collect();
        stopped?;
        let disk = self.disk.clone();
        let closed = blocking(move || {
            disk.committer.close();
            disk.sync()
        });
        let synced = closed.await.map_err(|e| Error::NotReady(e.to_string()))?;
        synced.map_err(|e| Error::from_io(self.disk.dir(), e))
    }

    /// All groups, in order of their numbers.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        iter::once(&self.control).chain(&self.states)
    }

    /// The group numbered `id`, if there is one.
    pub(crate) fn group(&self, id: u32) -> Option<&Group> {
        self.groups().find(|group| group.id == id)
    }

    /// The group that holds what is placed so.
    pub(crate) fn group_of(&self, placement: Placement) -> &Group {
        // Placements are counted off over the groups that there are.
        self.group(placement.group(self.state_groups)).unwrap_or(&self.control)
    }

    /// Has the group that holds what the command changes carry it out here.
    pub(crate) fn run(&self, command: Command) -> impl Future<Output = Result<Executed, CallError>> + use<> {
        self.run_in(self.group_of(command.placement()), command)
    }

    /// Queues a command before returning, so that commands are taken in the order of the calls; only when the
    /// queue is full does it wait for its turn later.
    pub(crate) fn run_in(
        &self,
        group: &Group,
        command: Command,
    ) -> impl Future<Output = Result<Executed, CallError>> + use<> {
        let queued = self.sealing.sealed(command).and_then(|command| {
            let (request, answer) = Request::new(command);
            match group.requests() {
                None => Err(stopped()),
                Some(requests) => match requests.try_send(request) {
                    Ok(()) => Ok((None, answer)),
                    Err(TrySendError::Full(request)) => Ok((Some((requests, request)), answer)),
                    Err(TrySendError::Closed(_)) => Err(stopped()),
                },
            }
        });
        async move {
            let (later, answer) = queued?;
            if let Some((requests, request)) = later {
                requests.send(request).await.map_err(|_| stopped())?;
            }
            // Dropped unanswered: the evaluator was stopped with the command in flight.
            answer.await.unwrap_or(Err(CallError::Unknown))
        }
    }

    fn execute_at(&self, leader: Leader, command: Command) -> BoxFuture<'_, Result<Executed, CallError>> {
        match leader {
            Leader::Here => self.run(command).boxed(),
            Leader::Elsewhere(peer) => async move { peer.execute_as_leader(command).await }.boxed(),
        }
    }

    fn query_at(&self, leader: Leader, query: Query) -> BoxFuture<'_, Result<QueryReply, CallError>> {
        match leader {
            Leader::Here => self.read(query).boxed(),
            Leader::Elsewhere(peer) => self.read_along(peer, query).boxed(),
        }
    }

    /// A linearizable read where another node leads: that tells which revision the read must see at least, and the answer is made
    /// here, once this node has applied it. The leader answers itself where this node is too far behind.
    async fn read_along(&self, leader: Arc<dyn Peer>, query: Query) -> Result<QueryReply, CallError> {
        let group = self.group_of(query.placement());
        let revision = leader.read_index_as_leader(group.id).await.map_err(|error| match error {
            PeerError::NoAnswer(_) => CallError::Unknown,
            error => CallError::Unavailable(error.to_string()),
        })?;
        match tokio::time::timeout(LAG, group.has_applied(revision)).await {
            Ok(true) => self.query_local(query),
            Ok(false) | Err(_) => leader.query_as_leader(query).await,
        }
    }

    pub(crate) async fn read(&self, query: Query) -> Result<QueryReply, CallError> {
        confirmed_term(&self.group_of(query.placement()).raft).await?;
        self.query_local(query)
    }

    /// Watches keys of `group` with one of `prefixes` from `from` on.
    pub(crate) fn watch_in(
        &self,
        group: &Group,
        prefixes: Vec<Bytes>,
        from: Option<Position>,
    ) -> WatchStream {
        let compass = group.compass.clone();
        let confirmed = Box::new(move || compass.is_confirmed());
        let (state, changes) = (group.state.clone(), group.changes.clone());
        watch::watch(state, changes, (self.incarnation, confirmed), prefixes, from)
    }
}

/// Who begins the control group where it is empty.
fn founders(config: &Config) -> Option<Founders> {
    match &config.start {
        Start::Alone => Some(Founders::from([(config.node, BasicNode::default())])),
        Start::Form(nodes) => Some(founding(nodes)),
        Start::Join | Start::Ask => None,
    }
}

fn founding(nodes: &BTreeMap<u64, String>) -> Founders {
    nodes.iter().map(|(id, at)| (*id, BasicNode::new(at))).collect()
}

/// The incarnation of a cluster's data: its name as a number, so that all its nodes have the same from the start.
pub(crate) fn incarnation_of(cluster: &str) -> u64 {
    if cluster.is_empty() {
        return Uuid::new_v4().as_u64_pair().0;
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, cluster.as_bytes());
    digest.as_ref().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn stopped() -> CallError {
    CallError::Unavailable("the metastore is shutting down".into())
}

/// What a call that was given up is answered with.
fn given_up(asked: bool) -> CallError {
    match asked {
        true => CallError::Unknown,
        false => CallError::Unavailable("no node leads the metadata store".into()),
    }
}

impl Metadata for Metastore {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Executed, CallError>> {
        let group = self.group_of(command.placement());
        let leads = matches!(group.compass.leader(), Some(Leader::Here));
        let repeatable = command.is_repeatable();
        // Queued here and now: commands are taken in the order of the calls.
        let first = leads.then(|| self.run(command.clone()));
        async move {
            let asked = AtomicBool::new(leads);
            let asking = async {
                if let Some(first) = first {
                    match first.await {
                        Err(CallError::Unavailable(_)) if group.requests().is_some() => {
                            asked.store(false, Ordering::Relaxed);
                        }
                        Err(CallError::Unknown) if repeatable && group.requests().is_some() => {}
                        answer => return answer,
                    }
                }
                group.compass.ask(repeatable, &asked, |leader| self.execute_at(leader, command.clone())).await
            };
            let answer = tokio::time::timeout(self.timeout, asking).await;
            answer.unwrap_or_else(|_| Err(given_up(asked.load(Ordering::Relaxed))))
        }
        .boxed()
    }

    fn query(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, CallError>> {
        async move {
            let asked = AtomicBool::new(false);
            let compass = &self.group_of(query.placement()).compass;
            let asking = compass.ask(true, &asked, |leader| self.query_at(leader, query.clone()));
            let answer = tokio::time::timeout(self.timeout, asking).await;
            answer.unwrap_or_else(|_| Err(given_up(asked.load(Ordering::Relaxed))))
        }
        .boxed()
    }

    fn query_local(&self, query: Query) -> Result<QueryReply, CallError> {
        let view = self.group_of(query.placement()).state.now();
        let reply = registry::query(&view, &query, (self.clock)());
        view.finish().map_err(|e| CallError::Unavailable(format!("reading the state: {e}")))?;
        Ok(self.sealing.opened(query.scope.account, reply?))
    }

    fn staleness(&self) -> Duration {
        self.control.compass.staleness()
    }

    fn watch(&self, prefixes: Vec<Bytes>, from: Option<Position>) -> WatchStream {
        self.watch_in(&self.control, prefixes, from)
    }

    fn register(&self, name: &'static str) -> AppliedMarker {
        self.markers.register(name)
    }

    fn in_force(&self, revision: u64) -> BoxFuture<'_, bool> {
        async move {
            let elsewhere = self.control.other_addresses().into_iter().map(|address| {
                let peer = self.peers.peer(&address);
                let answer = async move { peer.in_force_here(revision).await };
                self.absent.clone().in_force_at(address, answer)
            });
            let (here, elsewhere) = tokio::join!(self.markers.in_force(revision), join_all(elsewhere));
            here && elsewhere.into_iter().all(|in_force| in_force)
        }
        .boxed()
    }
}
