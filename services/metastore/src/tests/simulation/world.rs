//! The cluster, its clients, what befalls it, and what must be so in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use fleethaven_registry::keys;
use openraft::async_runtime::WatchReceiver;
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::seq::{IteratorRandom, SliceRandom};
use rand::{Rng, RngExt, SeedableRng};
use tempfile::TempDir;

use super::clients::{Broker, Clients};
use super::faults::{self, End, Kind};
use super::host::Host;
use super::network::{Message, Network, What};
use super::node::{Node, Setup};
use super::watchers::Watcher;
use super::{Mistake, Summary, Violation};
use crate::Metastore;
use crate::group::CONTROL;
use crate::tests::fixture::{create, delete};

/// Milliseconds within which a cluster that is well has leaders, and takes writes again after it was mended.
const SOON: u64 = 15_000;
/// Milliseconds more within which all nodes are level and all clients answered.
const LEVEL: u64 = 15_000;
/// Clients that ask at a time, at most.
const CLIENTS: usize = 10;
/// Milliseconds that a wall clock jumps, at most: a year and more.
const SKEW: i64 = 400 * 24 * 60 * 60 * 1000;
/// Ticks between looks at what changes seldom.
const SELDOM: u64 = 16;

pub(super) struct World {
    now: u64,
    tick: u64,
    chance: SmallRng,
    setup: Setup,
    network: Arc<Network>,
    nodes: Vec<Node>,
    clients: Clients,
    watchers: Vec<Watcher>,
    broker: Arc<Broker>,
    mistake: Option<Mistake>,
    kinds: Vec<Kind>,
    next_fault: u64,
    ends: BTreeSet<(u64, End)>,
    never_mended: Option<(u64, u64)>,
    faults: usize,
    digest: Digest,
    _dirs: TempDir,
}

impl World {
    pub(super) fn new(seed: u64, mistake: Option<Mistake>) -> Self {
        let mut chance = SmallRng::seed_from_u64(seed);
        let setup = Setup {
            nodes: if chance.random_bool(0.1) { 5 } else { 3 },
            state_groups: NonZeroU32::new(chance.random_range(1..=2)).unwrap(),
            snapshot_every: chance.random_range(5..60),
            keep_log: chance.random_range(1..10),
            change_log_bytes: 1 << chance.random_range(11..22),
        };
        let dirs = folder();
        let network = Arc::new(Network::new(chance.next_u64(), mistake));
        let nodes = (1..=setup.nodes)
            .map(|id| Node::new(Host::new(id, dirs.path().join(id.to_string()), chance.next_u64(), mistake)));
        let nodes = nodes.collect();
        let groups = CONTROL..=setup.state_groups.get();
        Self {
            now: 0,
            tick: [2, 5, 10].into_iter().choose(&mut chance).unwrap_or(1),
            kinds: faults::some(&mut chance),
            clients: Clients::new(setup.state_groups, mistake),
            watchers: groups.map(|group| Watcher::new(group, mistake)).collect(),
            broker: Arc::new(Broker::new(mistake)),
            chance,
            setup,
            network,
            nodes,
            mistake,
            next_fault: 0,
            ends: BTreeSet::new(),
            never_mended: None,
            faults: 0,
            digest: Digest::new(),
            _dirs: dirs,
        }
    }

    pub(super) fn run(mut self) -> Result<Summary, Violation> {
        let outcome = self.lives();
        let terms = self.nodes.iter().filter_map(Node::store).map(|store| term(&store)).max();
        // Nodes end before the directories are removed.
        self.nodes.iter_mut().for_each(|node| node.crash(false, 0));
        outcome.map_err(|what| {
            Violation(format!("{what} (at {} ms; {:?}, {:?})", self.now, self.kinds, self.setup))
        })?;
        Ok(Summary {
            asked: self.clients.asked(),
            acknowledged: self.clients.acknowledged,
            faults: self.faults,
            terms: terms.unwrap_or(0),
            digest: self.digest.hasher.finish(),
        })
    }

    fn lives(&mut self) -> Result<(), String> {
        self.until(SOON, "leaders of all groups at the start", Self::has_leaders)?;
        let until = self.now + self.chance.random_range(2_000..8_000);
        self.next_fault = self.now;
        while self.now < until {
            if self.next_fault <= self.now {
                self.next_fault = self.now + self.chance.random_range(100..1_500);
                self.befall();
            }
            self.ask();
            self.tick()?;
        }
        self.mend();
        self.writes_go_on()?;
        self.until(LEVEL, "all nodes level, all clients answered, all messages published", Self::is_quiet)?;
        self.check()
    }

    fn until(&mut self, within: u64, what: &str, is_so: impl Fn(&Self) -> bool) -> Result<(), String> {
        let until = self.now + within;
        while !is_so(self) {
            if self.now > until {
                return Err(format!("not within {within} ms: {what}; {}", self.look()));
            }
            for _ in 0..8 {
                self.tick()?;
            }
        }
        Ok(())
    }

    /// Lets everybody live for one tick.
    fn tick(&mut self) -> Result<(), String> {
        self.now += self.tick;
        self.network.is_at(self.now);
        while let Some(message) = self.network.arrived() {
            self.deliver(message);
        }
        while let Some((at, end)) = self.ends.first().filter(|(at, _)| *at <= self.now).cloned() {
            self.ends.remove(&(at, end.clone()));
            self.end(end);
        }
        let mut order: Vec<usize> = (0..self.nodes.len()).collect();
        order.shuffle(&mut self.chance);
        for place in order {
            let node = &mut self.nodes[place];
            if !node.is_running() && node.starts_at <= self.now {
                node.start(self.now, &self.setup, &self.network, &self.broker);
            }
            node.live(self.now, self.tick);
        }
        let (now, digest) = (self.now, &mut self.digest);
        self.clients.settle(|client, ended| digest.note(now, (client, ended)))?;
        self.watchers.iter_mut().try_for_each(Watcher::settle)?;
        if (self.now / self.tick).is_multiple_of(SELDOM) {
            self.supervise()?;
            self.move_watchers();
        }
        Ok(())
    }

    fn deliver(&mut self, message: Message) {
        self.digest.note(self.now, (message.from, message.to));
        let node = self.nodes.iter().find(|node| node.host.node == message.to);
        if node.is_some_and(|node| node.stands(self.now)) {
            return self.network.wait(message);
        }
        match (message.what, node) {
            (What::Answer(tell), None) => tell(),
            (What::Answer(tell), Some(node)) if node.is_running() => tell(),
            (What::Answer(_), Some(_)) => {}
            (What::Question(ask), node) => {
                let store = node.and_then(Node::store);
                if let (Some(task), Some(node)) = (ask(store), node) {
                    node.spawn(task);
                }
            }
        }
    }

    /// Starts processes again that have stopped because of their disk; nothing else may stop one.
    fn supervise(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            let Some(why) = node.refusal().or_else(|| node.stopped()) else { continue };
            let starts_at = self.now + self.chance.random_range(200..1_000);
            if node.host.has_room().is_ok() {
                return Err(format!("node {} stopped: {why}", node.host.node));
            }
            node.crash(false, starts_at);
        }
        Ok(())
    }

    /// Watchers of nodes that are gone go on elsewhere, and others do so now and then.
    fn move_watchers(&mut self) {
        for watcher in &mut self.watchers {
            let at = self.nodes.iter().find(|node| (node.host.node, node.starts) == watcher.at);
            let is_served = at.is_some_and(|node| node.store().is_some() && !node.stands(self.now));
            if is_served && !self.chance.random_ratio(1, 40) {
                continue;
            }
            let found =
                self.nodes.iter().filter_map(|node| Some((node, node.store()?))).choose(&mut self.chance);
            if let Some((node, store)) = found {
                node.spawn(watcher.begin((node.host.node, node.starts))(store));
            }
        }
    }

    /// Lets a client ask something of some node.
    fn ask(&mut self) {
        if self.clients.waiting() >= CLIENTS
            || !self.chance.random_ratio(u32::try_from(self.tick).unwrap_or(1), 20)
        {
            return;
        }
        let found = self.nodes.iter().filter_map(|node| Some((node, node.store()?))).choose(&mut self.chance);
        if let Some((node, store)) = found {
            node.spawn(self.clients.asks(&mut self.chance)(store));
        }
    }

    fn befall(&mut self) {
        let Some(kind) = self.kinds.iter().copied().choose(&mut self.chance) else { return };
        self.digest.note(self.now, kind);
        self.faults += 1;
        let lasts = faults::lasts(&mut self.chance);
        let over = self.now + lasts;
        let place = match self.leader().filter(|_| self.chance.random_bool(0.5) || kind == Kind::LeaderCutOff)
        {
            Some(leader) => leader,
            None => self.chance.random_range(0..self.nodes.len()),
        };
        let id = self.nodes[place].host.node;
        match kind {
            Kind::Kill | Kind::PowerLoss => self.nodes[place].crash(kind == Kind::PowerLoss, over),
            Kind::Standstill => self.nodes[place].stand_until(over),
            Kind::CutOff => self.cut(id, true, true, over),
            Kind::OneWay => {
                let sends = self.chance.random_bool(0.5);
                self.cut(id, sends, !sends, over);
            }
            Kind::LeaderCutOff => {
                let (sends, hears) = [(true, true), (true, false), (false, true)]
                    .into_iter()
                    .choose(&mut self.chance)
                    .unwrap_or((true, true));
                self.cut(id, sends, hears, over);
            }
            Kind::SlowDisk => {
                let takes = faults::slow_fsync(&mut self.chance);
                let all = self.chance.random_bool(0.5);
                for node in self.nodes.iter().filter(|node| all || node.host.node == id) {
                    node.host.fsync_takes(Some(takes.clone()));
                    self.ends.insert((over, End::Disk(node.host.node)));
                }
            }
            Kind::SlowNetwork => {
                let longest = self.chance.random_range(10..250);
                self.network.takes(Some(longest / 2..longest));
                self.ends.insert((over, End::Network));
            }
            Kind::Unreliable => {
                self.network.unreliable(self.chance.random_range(0..30), self.chance.random_range(0..50));
                self.ends.insert((over, End::Reliable));
            }
            Kind::FullDisk => {
                self.nodes[place].host.is_full(true);
                self.ends.insert((over, End::Space(id)));
            }
            Kind::ClockJump => {
                let skew = self.chance.random_range(-SKEW..SKEW);
                self.nodes[place].host.skew.store(skew, Ordering::Relaxed);
            }
            Kind::Rejections => {
                self.nodes[place].host.rejections(true);
                self.ends.insert((over, End::Rejections(id)));
            }
        }
    }

    /// Cuts what a node sends to the others, what they send to it, or both; now and then to one of them only.
    fn cut(&mut self, id: u64, sends: bool, hears: bool, over: u64) {
        let how = faults::how(&mut self.chance);
        let one = self
            .nodes
            .iter()
            .map(|node| node.host.node)
            .filter(|other| *other != id)
            .choose(&mut self.chance);
        let one = one.filter(|_| self.chance.random_bool(0.25));
        let others = self.nodes.iter().map(|node| node.host.node).filter(|other| *other != id);
        let mut links = Vec::new();
        for other in others.filter(|other| one.is_none_or(|one| one == *other)) {
            links.extend(sends.then_some((id, other)));
            links.extend(hears.then_some((other, id)));
        }
        links.iter().for_each(|(from, to)| self.network.cut(*from, *to, how));
        if self.mistake == Some(Mistake::LinkNeverMended) {
            self.never_mended = self.never_mended.or_else(|| links.first().copied());
        }
        self.ends.insert((over, End::Links(links)));
    }

    fn end(&self, end: End) {
        let host = |id: u64| self.nodes.iter().map(|node| &node.host).find(|host| host.node == id);
        match end {
            End::Links(links) => links.iter().for_each(|(from, to)| self.network.mend(*from, *to)),
            End::Disk(id) => host(id).into_iter().for_each(|host| host.fsync_takes(None)),
            End::Space(id) => host(id).into_iter().for_each(|host| host.is_full(false)),
            End::Rejections(id) => host(id).into_iter().for_each(|host| host.rejections(false)),
            End::Network => self.network.takes(None),
            End::Reliable => self.network.unreliable(0, 0),
        }
    }

    fn mend(&mut self) {
        self.ends.clear();
        self.network.mend_all();
        if let Some((from, to)) = self.never_mended {
            self.network.cut(from, to, super::network::Cut::Reset);
            self.network.cut(to, from, super::network::Cut::Reset);
        }
        for node in &mut self.nodes {
            node.host.fsync_takes(None);
            node.host.is_full(false);
            node.host.rejections(false);
            node.stand_until(0);
            node.starts_at = node.starts_at.min(self.now);
        }
    }

    /// The node that leads the control group, as most recent term has it.
    fn leader(&self) -> Option<usize> {
        let led = self.nodes.iter().enumerate().filter_map(|(place, node)| {
            let store = node.store()?;
            let metrics = store.control.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.current_leader == Some(metrics.id)).then_some((metrics.current_term, place))
        });
        led.max().map(|(_, place)| place)
    }

    fn stores(&self) -> Vec<Arc<Metastore>> {
        self.nodes.iter().filter_map(Node::store).collect()
    }

    fn has_leaders(&self) -> bool {
        let stores = self.stores();
        let knows = |store: &Arc<Metastore>| store.groups().all(|group| group.compass.leader().is_some());
        stores.len() == self.nodes.len() && stores.iter().all(knows)
    }

    /// Every group takes a write, through each node.
    fn writes_go_on(&mut self) -> Result<(), String> {
        let until = self.now + SOON;
        let groups: Vec<u32> = (CONTROL..=self.setup.state_groups.get()).collect();
        let done = Arc::new(Mutex::new(BTreeSet::new()));
        let all: BTreeSet<u32> = groups.iter().copied().collect();
        let mut asked = 0;
        while *done.lock() != all {
            if self.now > until {
                let left: Vec<u32> = all.difference(&done.lock()).copied().collect();
                return Err(format!("no write within {SOON} ms in groups {left:?}; {}", self.look()));
            }
            for node in &self.nodes {
                let Some(store) = node.store() else { continue };
                for group in all.difference(&done.lock().clone()).copied() {
                    asked += 1;
                    let (store, done) = (store.clone(), done.clone());
                    node.spawn(async move {
                        // First what changes nothing: a leader that is wrong about its term is put right by a write.
                        let Some(of) = store.group(group) else { return };
                        if store.run_in(of, delete("nobody")).await.is_err() {
                            return;
                        }
                        if store.run_in(of, create(&format!("probe{asked}"))).await.is_ok() {
                            done.lock().insert(group);
                        }
                    });
                }
            }
            for _ in 0..(200 / self.tick) {
                self.tick()?;
            }
        }
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        let stores = self.stores();
        let (Some(first), true) = (stores.first(), stores.len() == self.nodes.len()) else { return false };
        self.clients.waiting() == 0
            && first.groups().all(|group| {
                let revision =
                    |store: &Arc<Metastore>| Some(store.group(group.id)?.changes.tip().borrow().revision);
                let level = revision(first);
                let is_level = |store: &Arc<Metastore>| {
                    let last =
                        store.group(group.id).map(|of| of.raft.metrics().borrow_watched().last_log_index);
                    revision(store) == level && last.flatten() == level
                };
                let is_empty = |store: &Arc<Metastore>| {
                    store.group(group.id).is_some_and(|of| of.outbox.above(0, 1).is_empty())
                };
                let watched = self.watchers.iter().find(|watcher| watcher.group == group.id);
                stores.iter().all(|store| is_level(store) && is_empty(store))
                    && watched.is_some_and(|watcher| Some(watcher.revision()) == level)
            })
    }

    /// What the nodes say of themselves.
    fn look(&self) -> String {
        let of = |node: &Node| {
            let Some(store) = node.store() else { return format!("{}: down", node.host.node) };
            let groups = store.groups().map(|group| {
                let metrics = group.raft.metrics();
                let metrics = metrics.borrow_watched();
                format!(
                    "group {}: {:?} in term {} under {:?}, log to {:?}, applied to {:?}, outbox {}",
                    group.id,
                    metrics.state,
                    metrics.current_term,
                    metrics.current_leader,
                    metrics.last_log_index,
                    metrics.last_applied.map(|id| id.index),
                    group.outbox.above(0, 9).len(),
                )
            });
            format!("node {}: {}", node.host.node, groups.collect::<Vec<_>>().join(", "))
        };
        let nodes: Vec<_> = self.nodes.iter().map(of).collect();
        format!("{} clients wait; {}", self.clients.waiting(), nodes.join("; "))
    }

    fn check(&self) -> Result<(), String> {
        self.clients.check()?;
        self.broker.check(&self.clients.set)?;
        let stores = self.stores();
        for group in CONTROL..=self.setup.state_groups.get() {
            let states = stores.iter().map(|store| state(store, group)).collect::<Result<Vec<_>, _>>()?;
            let Some((first, others)) = states.split_first() else { continue };
            if others.iter().any(|other| other != first) {
                return Err(format!(
                    "the nodes have applied the same of group {group}, and hold different states"
                ));
            }
            let logs = stores.iter().map(|store| log(store, group)).collect::<Result<Vec<_>, _>>()?;
            let mut entries = BTreeMap::new();
            for (index, entry) in logs.into_iter().flatten() {
                if *entries.entry(index.clone()).or_insert_with(|| entry.clone()) != entry {
                    return Err(format!("the nodes have different entries {index:?} of group {group}"));
                }
            }
            let mut watchers = self.watchers.iter().filter(|watcher| watcher.group == group);
            watchers.try_for_each(|watcher| watcher.check(first, &self.clients.revisions))?;
        }
        Ok(())
    }
}

/// Of all that happens, in order. With `SIM_TRACE` set, it is told as well.
struct Digest {
    hasher: DefaultHasher,
    is_told: bool,
}

impl Digest {
    fn new() -> Self {
        Self { hasher: DefaultHasher::new(), is_told: std::env::var_os("SIM_TRACE").is_some() }
    }

    fn note(&mut self, now: u64, what: impl Hash + std::fmt::Debug) {
        if self.is_told {
            println!("{now} {what:?}");
        }
        (now, what).hash(&mut self.hasher);
    }
}

fn term(store: &Metastore) -> u64 {
    store.control.raft.metrics().borrow_watched().current_term
}

/// All that a group has applied, but for what waits to be published.
fn state(store: &Metastore, group: u32) -> Result<BTreeMap<Bytes, Bytes>, String> {
    let group = store.group(group).ok_or("there is no such group")?;
    let pairs: Result<BTreeMap<_, _>, _> = group.state.now().pairs(b"", None).collect();
    let pairs = pairs.map_err(|e| e.to_string())?;
    Ok(pairs.into_iter().filter(|(key, _)| keys::outbox_index(key).is_none()).collect())
}

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// All entries of a group's log that are on disk.
fn log(store: &Metastore, group: u32) -> Result<Vec<Pair>, String> {
    let entries = store.disk.log.keyspace().prefix(group.to_be_bytes()).map(|entry| {
        let (key, value) = store.disk.log.pair(entry).map_err(|e| e.to_string())?;
        Ok((key.to_vec(), value.to_vec()))
    });
    entries.collect()
}

/// A folder that costs no real disk anything, where there is one.
fn folder() -> TempDir {
    let memory = std::path::Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.or_else(|_| tempfile::tempdir()).expect("a directory")
}
