//! A node of the simulation: a metastore on a runtime of its own, which ends with it.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::clients::Broker;
use super::host::{Host, clock};
use super::network::{From, Network};
use crate::group::Group;
use crate::tests::fixture;
use crate::{Config, Error, Metastore, Start};

type Opened = Arc<Mutex<Option<Result<Arc<Metastore>, Error>>>>;

/// How the nodes of a simulation are set up.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) nodes: u64,
    pub(super) state_groups: NonZeroU32,
    pub(super) snapshot_every: u64,
    pub(super) keep_log: u64,
    pub(super) change_log_bytes: usize,
}

/// A node, running or not.
pub(super) struct Node {
    pub(super) host: Arc<Host>,
    running: Option<Running>,
    /// How often the process was started.
    pub(super) starts: u64,
    /// When it starts, if it does not run.
    pub(super) starts_at: u64,
}

struct Running {
    runtime: Runtime,
    /// When it began, by its own clock and by that of the simulation.
    began: (Instant, u64),
    opened: Opened,
    /// It stands still until then.
    stands_until: u64,
    lived_to: u64,
}

impl Node {
    pub(super) fn new(host: Host) -> Self {
        Self { host: Arc::new(host), running: None, starts: 0, starts_at: 0 }
    }

    /// Starts the process.
    pub(super) fn start(&mut self, now: u64, setup: &Setup, network: &Arc<Network>, broker: &Arc<Broker>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime");
        let began = (runtime.block_on(async { Instant::now() }), now);
        let opened = Opened::default();
        let config = self.config(setup);
        let (peers, slot, broker) = (From(network.clone(), self.host.node), opened.clone(), broker.clone());
        let peers = Arc::new(peers);
        runtime.spawn(async move {
            let found = Metastore::open(config, peers).await;
            if let Ok(node) = &found {
                node.publish_through(broker);
            }
            *slot.lock() = Some(found);
        });
        self.starts += 1;
        self.running = Some(Running { runtime, began, opened, stands_until: 0, lived_to: now });
    }

    fn config(&self, setup: &Setup) -> Config {
        let members: BTreeMap<_, _> = (1..=setup.nodes).map(|id| (id, id.to_string())).collect();
        Config {
            node: self.host.node,
            cluster: "simulated".into(),
            start: Start::Form(members),
            state_groups: setup.state_groups,
            settle: Duration::from_secs(2),
            snapshot_every: setup.snapshot_every,
            keep_log: setup.keep_log,
            change_log_bytes: setup.change_log_bytes,
            command_timeout: Duration::from_secs(3),
            clock,
            ..fixture::config(&self.host.dir)
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Whether the process stands still.
    pub(super) fn stands(&self, now: u64) -> bool {
        self.running.as_ref().is_some_and(|running| running.stands_until > now)
    }

    /// Lets the process stand still until then.
    pub(super) fn stand_until(&mut self, until: u64) {
        if let Some(running) = &mut self.running {
            running.stands_until = until;
        }
    }

    /// The store, once it is open.
    pub(super) fn store(&self) -> Option<Arc<Metastore>> {
        self.running.as_ref()?.opened.lock().as_ref()?.as_ref().ok().cloned()
    }

    /// Why it could not be opened.
    pub(super) fn refusal(&self) -> Option<String> {
        self.running.as_ref()?.opened.lock().as_ref()?.as_ref().err().map(ToString::to_string)
    }

    /// Why a group of the node has stopped, if one has.
    pub(super) fn stopped(&self) -> Option<String> {
        self.store()?.groups().find_map(Group::failure)
    }

    /// Has the process do something besides.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = &self.running {
            running.runtime.spawn(task);
        }
    }

    /// Lets the process live until `now`.
    pub(super) fn live(&mut self, now: u64, tick: u64) {
        self.host.now.store(now, Ordering::Relaxed);
        let Some(running) = self.running.as_mut().filter(|running| running.stands_until <= now) else {
            return;
        };
        let stood = now.saturating_sub(running.lived_to + tick);
        let until = running.began.0 + Duration::from_millis(now - running.began.1);
        self.host.enter(|| {
            running.runtime.block_on(async {
                if stood > 0 {
                    // What was due meanwhile is due all at once.
                    tokio::time::advance(Duration::from_millis(stood)).await;
                }
                tokio::time::sleep_until(until).await;
            });
        });
        running.lived_to = now;
    }

    /// The process ends at once; with `power` the machine went down, too.
    pub(super) fn crash(&mut self, power: bool, starts_at: u64) {
        self.starts_at = starts_at;
        let Some(running) = self.running.take() else { return };
        self.host.enter(|| {
            self.host.crashes(power, || {
                let Running { runtime, opened, .. } = running;
                drop(runtime);
                drop(opened);
            });
        });
    }
}
