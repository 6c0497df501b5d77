//! Several nodes in one process, and the links between them: each can be cut, in one direction or both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::metadata::{BoxFuture, Error, Executed};
use fleethaven_fabric::raft::{
    AppendEntries, Appended, NodeChange, Peer, PeerError, Peers, RequestVote, SnapshotStream, TransferLeader,
    Vote, Voted,
};
use fleethaven_registry::{Command, Query, QueryReply};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::Instant;

use super::fixture::{DEADLINE, config};
use crate::group::CONTROL;
use crate::{Config, Metastore, Start};

/// Nodes by number, and which links are cut.
#[derive(Default)]
pub(crate) struct Mesh {
    nodes: Mutex<BTreeMap<u64, Weak<Metastore>>>,
    cut: Mutex<BTreeSet<(u64, u64)>>,
    hung: Mutex<BTreeSet<u64>>,
    /// Reads that a leader was asked to answer.
    pub(crate) handed_on: AtomicUsize,
    /// How long a snapshot is on its way.
    pub(crate) transfer: Mutex<Duration>,
}

/// One direction of a link.
struct Link {
    mesh: Arc<Mesh>,
    from: u64,
    to: u64,
}

/// The mesh as one node sees it.
struct From(Arc<Mesh>, u64);

impl Peers for From {
    fn peer(&self, address: &str) -> Arc<dyn Peer> {
        Arc::new(Link { mesh: self.0.clone(), from: self.1, to: address.parse().unwrap() })
    }
}

impl Link {
    /// The node at the other end, if what is sent arrives; answers come back the same way.
    async fn node(&self) -> Result<Arc<Metastore>, PeerError> {
        if self.mesh.hung.lock().contains(&self.to) || self.mesh.hung.lock().contains(&self.from) {
            return std::future::pending().await;
        }
        if self.mesh.is_cut(self.from, self.to) {
            // What is sent into a cut is never answered; a caller of raft's gives up by itself.
            tokio::time::sleep(Duration::from_millis(50)).await;
            return Err(PeerError::NoAnswer("the link is cut".into()));
        }
        let found = self.mesh.nodes.lock().get(&self.to).and_then(Weak::upgrade);
        found.ok_or_else(|| PeerError::Unreachable("nobody there".into()))
    }

    /// An answer gets lost when the way back is cut by now.
    fn back<T>(&self, answer: T) -> Result<T, PeerError> {
        match self.mesh.is_cut(self.to, self.from) {
            true => Err(PeerError::NoAnswer("the way back is cut".into())),
            false => Ok(answer),
        }
    }
}

impl Peer for Link {
    fn append(&self, group: u32, request: AppendEntries) -> BoxFuture<'_, Result<Appended, PeerError>> {
        Box::pin(async move { self.back(self.node().await?.append(group, request).await)? })
    }

    fn vote(&self, group: u32, request: RequestVote) -> BoxFuture<'_, Result<Voted, PeerError>> {
        Box::pin(async move { self.back(self.node().await?.vote(group, request).await)? })
    }

    fn install(
        &self,
        group: u32,
        vote: Vote,
        file: SnapshotStream,
    ) -> BoxFuture<'_, Result<Vote, PeerError>> {
        Box::pin(async move {
            let (node, transfer) = (self.node().await?, *self.mesh.transfer.lock());
            tokio::time::sleep(transfer).await;
            self.back(node.install(group, vote, file).await)?
        })
    }

    fn transfer(&self, group: u32, request: TransferLeader) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(async move { self.back(self.node().await?.transfer(group, request).await)? })
    }

    fn read_index_as_leader(&self, group: u32) -> BoxFuture<'_, Result<u64, PeerError>> {
        Box::pin(async move { self.back(self.node().await?.read_index_as_leader(group).await)? })
    }

    fn change_nodes_as_leader(&self, group: u32, change: NodeChange) -> BoxFuture<'_, Result<(), PeerError>> {
        Box::pin(async move { self.back(self.node().await?.change_nodes_as_leader(group, change).await)? })
    }

    fn execute_as_leader(&self, command: Command) -> BoxFuture<'_, Result<Executed, Error>> {
        Box::pin(async move {
            let node = self.node().await.map_err(|e| Error::Unavailable(e.to_string()))?;
            self.back(node.execute_as_leader(command).await).map_err(|_| Error::Unknown)?
        })
    }

    fn query_as_leader(&self, query: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
        self.mesh.handed_on.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let node = self.node().await.map_err(|e| Error::Unavailable(e.to_string()))?;
            self.back(node.query_as_leader(query).await).map_err(|_| Error::Unknown)?
        })
    }

    fn renew_as_leader(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let node = self.node().await.map_err(|e| Error::Unavailable(e.to_string()))?;
            self.back(node.renew_as_leader(incarnation).await).map_err(|_| Error::Unknown)?
        })
    }

    fn in_force_here(&self, revision: u64) -> BoxFuture<'_, Result<bool, PeerError>> {
        Box::pin(async move { self.back(self.node().await?.in_force_here(revision).await)? })
    }
}

impl Mesh {
    fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cut.lock().contains(&(from, to))
    }

    /// Cuts a node off from all others, or heals all links.
    pub(crate) fn cut_off(&self, node: u64, nodes: std::ops::RangeInclusive<u64>) {
        let mut cut = self.cut.lock();
        for other in nodes.filter(|other| *other != node) {
            cut.extend([(node, other), (other, node)]);
        }
    }

    /// What `from` sends does not reach `to` any more; the other direction works.
    pub(crate) fn cut_one_way(&self, from: u64, to: u64) {
        self.cut.lock().insert((from, to));
    }

    /// Nothing that a node sends or is sent is ever answered: its connections stand, and nobody is at the other end.
    pub(crate) fn hang(&self, node: u64) {
        self.hung.lock().insert(node);
    }

    pub(crate) fn heal(&self) {
        self.cut.lock().clear();
        self.hung.lock().clear();
    }
}

/// A cluster on temporary directories.
pub(crate) struct Cluster {
    pub(crate) mesh: Arc<Mesh>,
    dirs: TempDir,
    pub(crate) nodes: BTreeMap<u64, Arc<Metastore>>,
    adjust: fn(&mut Config),
}

impl Cluster {
    /// Starts nodes 1 to `size` that form a cluster.
    pub(crate) async fn start(size: u64, adjust: fn(&mut Config)) -> Self {
        let mut cluster = Self::empty(adjust);
        let members: BTreeMap<_, _> = (1..=size).map(|id| (id, id.to_string())).collect();
        for id in 1..=size {
            cluster.open(id, Start::Form(members.clone())).await;
        }
        cluster
    }

    /// A cluster that nobody has started yet.
    pub(crate) fn empty(adjust: fn(&mut Config)) -> Self {
        Self { mesh: Arc::default(), dirs: tempfile::tempdir().unwrap(), nodes: BTreeMap::new(), adjust }
    }

    /// Where node `id` has its data.
    pub(crate) fn dir(&self, id: u64) -> PathBuf {
        self.dirs.path().join(id.to_string())
    }

    /// Opens node `id`, again or for the first time.
    pub(crate) async fn open(&mut self, id: u64, start: Start) {
        let mut config = Config { node: id, cluster: "test".into(), start, ..config(&self.dir(id)) };
        (self.adjust)(&mut config);
        let deadline = Instant::now() + DEADLINE;
        let node = loop {
            match Metastore::open(config.clone(), Arc::new(From(self.mesh.clone(), id))).await {
                Ok(node) => break node,
                Err(crate::Error::Locked(_)) if Instant::now() < deadline => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        };
        self.mesh.nodes.lock().insert(id, Arc::downgrade(&node));
        self.nodes.insert(id, node);
    }

    /// Stops a node, as a crash would as far as its peers can tell.
    pub(crate) async fn stop(&mut self, id: u64) {
        self.mesh.nodes.lock().remove(&id);
        let node = self.nodes.remove(&id).unwrap();
        node.shutdown().await.unwrap();
    }

    /// The node that leads the control group, once one does that all `among` agree on.
    pub(crate) async fn leader(&self, among: &[u64]) -> u64 {
        self.leader_of(CONTROL, among).await
    }

    /// The node that leads `group`, once one does that all `among` agree on.
    pub(crate) async fn leader_of(&self, group: u32, among: &[u64]) -> u64 {
        until(|| self.agreed(group, among)).await
    }

    /// The node that leads `group`, if all `among` agree on one of them.
    pub(crate) fn agreed(&self, group: u32, among: &[u64]) -> Option<u64> {
        let mut leaders = among.iter().map(|id| self.nodes[id].group(group).unwrap().status().leader);
        let first = leaders.next().flatten()?;
        (among.contains(&first) && leaders.all(|leader| leader == Some(first))).then_some(first)
    }

    /// Has whoever leads `group` carry out a command that may be asked for again.
    pub(crate) async fn execute_in(&self, group: u32, command: Command) -> Executed {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let among: Vec<u64> = self.nodes.keys().copied().collect();
            if let Some(node) = self.agreed(group, &among).map(|leader| &self.nodes[&leader]) {
                match node.run_in(node.group(group).unwrap(), command.clone()).await {
                    Ok(done) => return done,
                    Err(Error::Unavailable(_) | Error::Unknown) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(Instant::now() < deadline, "not within {DEADLINE:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits until `look` finds something.
pub(crate) async fn until<T>(look: impl Fn() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
