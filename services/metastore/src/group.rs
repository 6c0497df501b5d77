//! One raft group of a node: log, state, changes and evaluator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::raft::Peers;
use openraft::async_runtime::WatchReceiver;
use openraft::{BasicNode, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::changes::ChangeLog;
use crate::config::Config;
use crate::disk::Disk;
use crate::error::Error;
use crate::evaluator::{Evaluator, Request, Settings, confirmed_term};
use crate::leader::Compass;
use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::network::Network;
use crate::outbox::Outbox;
use crate::quorum::{ELECTION, HEARTBEAT, Quorum, SILENCE};
use crate::state::State;
use crate::types::Raft;

/// The group that holds accounts, the registry, certificates, policies and rules. State groups follow from 1 on
/// (`fleethaven_registry::placement`).
pub(crate) const CONTROL: u32 = 0;

/// The first members of a group.
pub(crate) type Founders = BTreeMap<u64, BasicNode>;

/// How long a snapshot may take, its installation included; a node that is gone is noticed sooner, by its connection. What is given
/// up begins from the start again: in less time than the largest state needs, a node would never be level.
const SNAPSHOT_WITHIN: Duration = Duration::from_secs(3600);
/// How long a starting group may take to elect itself and apply what the log holds.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long what is in flight may take to end when the group stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A running group.
pub(crate) struct Group {
    pub(crate) id: u32,
    pub(crate) node: u64,
    pub(crate) raft: Raft,
    pub(crate) compass: Compass,
    pub(crate) state: Arc<State>,
    pub(crate) changes: Arc<ChangeLog>,
    pub(crate) outbox: Arc<Outbox>,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    evaluator: Mutex<Option<JoinHandle<()>>>,
}

impl Group {
    /// Starts group `id` on `disk`; an empty one is begun by its `founders`, or else waits until its leader finds it. A node that
    /// is the only voter serves on return; any other when there is a leader.
    pub(crate) async fn start(
        disk: Arc<Disk>,
        id: u32,
        config: &Config,
        peers: Arc<dyn Peers>,
        founders: Option<Founders>,
    ) -> Result<Self, Error> {
        let io = |e| Error::from_io(&config.dir, e);
        let log = LogStore::open(disk.clone(), id).map_err(io)?;
        let (state, applied) = State::open(disk, id).map_err(io)?;
        let state = Arc::new(state);
        let sharing =
            if id == CONTROL { 1 } else { usize::try_from(config.state_groups.get()).unwrap_or(usize::MAX) };
        let changes = Arc::new(ChangeLog::new(applied.revision(), config.change_log_bytes / sharing));
        let outbox = Arc::new(Outbox::open(&state).map_err(io)?);
        let machine =
            StateMachine::open(state.clone(), changes.clone(), outbox.clone(), applied).map_err(io)?;
        let raft_config = Arc::new(raft_config(config)?);
        let quorum = Quorum::default();
        let network = Network { peers: peers.clone(), group: id, node: config.node, quorum: quorum.clone() };
        let raft = Raft::new(config.node, raft_config, network, log, machine).await.map_err(raft_error)?;
        quorum.follow(&raft);
        assert_no_leader_restore(&raft)?;
        let begun = bootstrap(&raft, founders).await?;
        if is_only_voter(&raft, config.node).await? {
            seek_leadership(&raft, begun).await?;
        }
        let (requests, queue) = mpsc::channel(config.max_in_flight.max(1));
        let settings = Settings {
            clock: config.clock,
            limits: config.limits.clone(),
            max_in_flight: config.max_in_flight,
            outbox: outbox.clone(),
        };
        let evaluator = tokio::spawn(Evaluator::new(raft.clone(), state.clone(), settings, queue).run());
        Ok(Self {
            id,
            node: config.node,
            compass: Compass::new(raft.clone(), peers),
            raft,
            state,
            changes,
            outbox,
            requests: Mutex::new(Some(requests)),
            evaluator: Mutex::new(Some(evaluator)),
        })
    }

    /// Who may begin another group of this node's store that is still empty: this group's members, if they are known to be those
    /// of all its nodes. They are while they have not changed since it was formed, and where this node is the only one.
    pub(crate) async fn founders(&self) -> Result<Option<Founders>, Error> {
        let node = self.node;
        let founders = self.raft.with_raft_state(move |state| {
            let members = state.membership_state.effective();
            let is_first = members.log_id().as_ref().is_some_and(|id| id.index == 0);
            let voters = members.membership().voter_ids().collect::<BTreeSet<_>>();
            if !voters.contains(&node) || !(is_first || voters.len() == 1) {
                return None;
            }
            let nodes = members.membership().nodes().filter(|(id, _)| voters.contains(id));
            Some(nodes.map(|(id, node)| (*id, node.clone())).collect())
        });
        founders.await.map_err(raft_error)
    }

    /// Whether the group has a vote or an entry on this node.
    pub(crate) async fn has_begun(&self) -> Result<bool, Error> {
        self.raft.is_initialized().await.map_err(raft_error)
    }

    /// Begins the group with its `founders`, unless it has begun.
    pub(crate) async fn begin(&self, founders: Founders) -> Result<(), Error> {
        bootstrap(&self.raft, Some(founders)).await.map(drop)
    }

    /// Waits until this node has applied `revision`; false when the group stops before.
    pub(crate) async fn has_applied(&self, revision: u64) -> bool {
        let mut tip = self.changes.tip();
        let reached = tip.wait_for(|tip| tip.closed || tip.revision >= revision).await;
        reached.is_ok_and(|tip| tip.revision >= revision)
    }

    /// Where commands go; `None` once the group stops.
    pub(crate) fn requests(&self) -> Option<mpsc::Sender<Request>> {
        self.requests.lock().clone()
    }

    /// Addresses of the other members.
    pub(crate) fn other_addresses(&self) -> Vec<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = metrics.membership_config.nodes();
        members.filter(|(id, _)| **id != metrics.id).map(|(_, node)| node.addr.clone()).collect()
    }

    /// Why the group can go on no longer, if it cannot: its store failed.
    pub(crate) fn failure(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let state = metrics.borrow_watched().running_state.clone();
        state.err().map(|fatal| format!("group {}: {fatal}", self.id))
    }

    /// Refuses new commands, answers those accepted, ends watches and stops raft.
    pub(crate) async fn stop(&self) -> Result<(), Error> {
        drop(self.requests.lock().take());
        let evaluator = self.evaluator.lock().take();
        if let Some(mut evaluator) = evaluator
            && tokio::time::timeout(STOP_TIMEOUT, &mut evaluator).await.is_err()
        {
            tracing::warn!("commands were in flight when the group stopped");
            evaluator.abort();
        }
        self.changes.close();
        self.raft.shutdown().await.map_err(raft_error)
    }
}

/// openraft's settings. Elections take less than a second (protocols.md B4).
fn raft_config(config: &Config) -> Result<openraft::Config, Error> {
    let raft = openraft::Config {
        cluster_name: "fleethaven".into(),
        heartbeat_interval: millis(HEARTBEAT),
        election_timeout_min: 400,
        election_timeout_max: millis(ELECTION),
        quorum_loss_probe_interval: Some(millis(SILENCE)),
        // With a round before the election a follower that is cut off would believe in its leader for ever; that it has none
        // is how it knows that what it has may be old (`Compass::is_confirmed`).
        enable_pre_vote: Some(false),
        install_snapshot_timeout: millis(SNAPSHOT_WITHIN),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every),
        max_in_snapshot_log_to_keep: config.keep_log,
        purge_batch_size: (config.keep_log / 4).max(1),
        replication_lag_threshold: config.snapshot_every.saturating_add(config.keep_log),
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    raft.validate().map_err(raft_error)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A leader that lost the unsynced tail of its log must not resume as the same leader (protocols.md E2).
fn assert_no_leader_restore(raft: &Raft) -> Result<(), Error> {
    match raft.config().enable_leader_restore {
        Some(false) => Ok(()),
        other => Err(Error::Raft(format!("enable_leader_restore must be off, it is {other:?}"))),
    }
}

/// Gives an empty group its founders; whether it did. An election begins with that.
async fn bootstrap(raft: &Raft, founders: Option<Founders>) -> Result<bool, Error> {
    if raft.is_initialized().await.map_err(raft_error)? {
        return Ok(false);
    }
    let Some(founders) = founders else { return Ok(false) };
    match raft.initialize(founders).await {
        Ok(()) => Ok(true),
        // Another node that was started with the same list was quicker.
        Err(_) if raft.is_initialized().await.map_err(raft_error)? => Ok(false),
        Err(error) => Err(raft_error(error)),
    }
}

async fn is_only_voter(raft: &Raft, node: u64) -> Result<bool, Error> {
    let voters = raft
        .with_raft_state(move |state| state.membership_state.effective().membership().voter_ids().eq([node]));
    voters.await.map_err(raft_error)
}

/// Lets the only voter elect itself at once instead of after the election timeout, unless it is already `seeking` election, and
/// waits until everything committed is applied.
async fn seek_leadership(raft: &Raft, seeking: bool) -> Result<(), Error> {
    if !seeking {
        raft.trigger().elect(false).await.map_err(raft_error)?;
    }
    let wait = raft.wait(Some(START_TIMEOUT));
    wait.metrics(|m| m.current_leader.is_some(), "a leader")
        .await
        .map_err(|e| Error::NotReady(e.to_string()))?;
    let ready = tokio::time::timeout(START_TIMEOUT, confirmed_term(raft)).await;
    ready.map_err(|e| Error::NotReady(e.to_string()))?.map_err(|e| Error::NotReady(e.to_string()))?;
    Ok(())
}

fn raft_error(error: impl std::fmt::Display) -> Error {
    Error::Raft(error.to_string())
}
