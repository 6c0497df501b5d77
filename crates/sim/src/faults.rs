//! What goes wrong, drawn at random. Each run has some kinds of faults only: rare combinations come up more often so.

use crate::Bug;
use crate::random::Random;
use crate::world::{MILLI, Micros, Node, World};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing passes between two nodes, in one direction or both.
    Cut,
    /// A router reaches nobody, or only the metastore, or only not the metastore.
    Isolation,
    /// The metastore and some routers and gateways do not see the others; the store sees all.
    Partition,
    /// A router dies, and comes back.
    RouterCrash,
    /// A router is asked to go, and comes back.
    RouterDrain,
    /// A gateway dies, and comes back.
    GatewayCrash,
    /// A process stands still for a while.
    Pause,
    /// Streams break.
    Reset,
    /// The connections of a router or a gateway to the store break.
    StoreReset,
    /// The metastore has another leader.
    LeaderChange,
    /// A publisher's connection breaks.
    Disconnect,
    /// A subscriber goes, and its gateway hears neither of that nor that another one has its session by now.
    Vanishing,
    /// Everything takes longer on the way between two nodes.
    Slowness,
    /// The store's primary dies, and its replica takes over.
    Failover,
    /// Another number of levels is to choose the slot of topics: no fault, but as good as one.
    Depths,
}

const ALL: [Fault; 15] = [
    Fault::Cut,
    Fault::Isolation,
    Fault::Partition,
    Fault::RouterCrash,
    Fault::RouterDrain,
    Fault::GatewayCrash,
    Fault::Pause,
    Fault::Reset,
    Fault::StoreReset,
    Fault::LeaderChange,
    Fault::Disconnect,
    Fault::Vanishing,
    Fault::Slowness,
    Fault::Failover,
    Fault::Depths,
];

/// The faults of one run: at least one kind. Some mistakes come to light only where a router is left behind or dies, or the
/// store fails over.
pub(crate) fn some(random: &mut Random, bug: Option<Bug>) -> Vec<Fault> {
    if bug == Some(Bug::FencesIgnored) {
        // One partition is to last, before another takes its place.
        let mut some = vec![Fault::Disconnect; 9];
        some.push(Fault::Partition);
        return some;
    }
    if matches!(bug, Some(Bug::EndlessLease | Bug::SubackUnfenced | Bug::TablesUnordered)) {
        return vec![Fault::Partition, Fault::Partition, Fault::Pause];
    }
    if matches!(bug, Some(Bug::ReplicaNotAwaited | Bug::ReadsNotAwaited | Bug::NumbersReused)) {
        return vec![Fault::Failover, Fault::GatewayCrash, Fault::Disconnect];
    }
    if bug == Some(Bug::OwnersUnordered) {
        return vec![Fault::RouterCrash, Fault::Vanishing, Fault::Vanishing];
    }
    if bug == Some(Bug::DepthsAtOnce) {
        return vec![Fault::Depths, Fault::Depths, Fault::Partition];
    }
    if bug == Some(Bug::HeldUntold) {
        return vec![Fault::StoreReset, Fault::StoreReset, Fault::GatewayCrash];
    }
    if matches!(bug, Some(Bug::WillsRepeated | Bug::WillsDropped)) {
        return vec![Fault::GatewayCrash, Fault::Vanishing];
    }
    if bug == Some(Bug::HoldersRemembered) {
        return vec![Fault::RouterCrash, Fault::StoreReset];
    }
    if bug == Some(Bug::PushesTrusted) {
        return vec![Fault::RouterCrash, Fault::Reset, Fault::Reset];
    }
    if random.percent(25) {
        // What only two kinds together bring about is rare among all kinds.
        return (0..3).filter_map(|_| random.pick(&ALL)).collect();
    }
    let chance = random.between(15, 90);
    let mut some: Vec<Fault> = ALL.into_iter().filter(|_| random.percent(chance)).collect();
    if some.is_empty() {
        some.extend(random.pick(&ALL));
    }
    some
}

impl World {
    /// Something goes wrong, and later the next thing.
    pub(crate) fn cause_fault(&mut self) {
        if self.mended {
            return;
        }
        let pause = self.random.between(20 * MILLI, 600 * MILLI);
        self.after(pause, Node::Store, World::cause_fault);
        let kinds = self.faults.clone();
        let Some(fault) = self.random.pick(&kinds) else { return };
        self.fault_count += 1;
        let lasts = match self.random.between(0, 10) {
            0..5 => self.random.between(10 * MILLI, 400 * MILLI),
            _ => self.random.between(400 * MILLI, 4000 * MILLI),
        };
        // Fences matter to who is left behind for longer than leases last.
        let long = 2500 * MILLI;
        let lasts = if self.bug == Some(Bug::FencesIgnored) { long + lasts / 2 } else { lasts };
        self.note(format_args!("{fault:?} for {lasts}"));
        let router = self.random.index(self.routers.len());
        let gateway = self.random.index(self.gateways.len());
        match fault {
            Fault::Cut => {
                let (from, to) = self.two_nodes();
                let directions =
                    if self.random.percent(50) { vec![(from, to)] } else { vec![(from, to), (to, from)] };
                self.cut_for(directions, lasts);
            }
            Fault::Isolation => self.isolate(router, lasts),
            Fault::Partition => self.part(lasts),
            Fault::RouterCrash => {
                self.stop_router(router);
                self.later(lasts, move |world| world.start_router(router));
            }
            Fault::RouterDrain => self.drain_router(router),
            Fault::GatewayCrash => {
                self.stop_gateway(gateway);
                self.later(lasts, move |world| world.start_gateway(gateway));
            }
            Fault::Pause => {
                let node = self.random.pick(&self.nodes()).unwrap_or(Node::Metastore);
                self.note(format_args!("{node:?} stands still"));
                self.fall_asleep(node);
                self.later(lasts, move |world| world.wake_up(node));
            }
            Fault::Reset => {
                let all = self.random.percent(30);
                self.break_streams(|g, r| all || (g, r) == (gateway, router));
            }
            Fault::StoreReset => {
                let (routers, gateways) = (&self.routers, &self.gateways);
                let life =
                    (routers.get(router).map(|host| host.life), gateways.get(gateway).map(|host| host.life));
                match self.random.percent(50) {
                    true => self.break_store((Node::Router(router), life.0.unwrap_or_default())),
                    false => self.break_store((Node::Gateway(gateway), life.1.unwrap_or_default())),
                }
            }
            Fault::LeaderChange => self.change_leader(),
            Fault::Failover => self.fail_over(),
            Fault::Depths => self.change_depths(),
            Fault::Disconnect => self.publisher_disconnects(),
            Fault::Vanishing => self.subscriber_vanishes(),
            Fault::Slowness => {
                let (from, to) = self.two_nodes();
                let by = self.random.between(5 * MILLI, 300 * MILLI);
                self.slow_down(from, to, by);
                self.later(lasts, move |world| world.speed_up(from, to));
            }
        }
    }

    /// Happens then, unless all is mended before.
    fn later(&mut self, delay: Micros, run: impl FnOnce(&mut World) + 'static) {
        // Nothing keeps this from happening: faults are nobody's.
        let nowhere = Node::Gateway(usize::MAX);
        self.after(delay, nowhere, move |world| {
            if !world.mended {
                run(world);
            }
        });
    }

    fn nodes(&self) -> Vec<Node> {
        let routers = (0..self.routers.len()).map(Node::Router);
        let gateways = (0..self.gateways.len()).map(Node::Gateway);
        [Node::Metastore, Node::Store].into_iter().chain(routers).chain(gateways).collect()
    }

    /// Two that talk to each other.
    fn two_nodes(&mut self) -> (Node, Node) {
        let (router, gateway) =
            (self.random.index(self.routers.len()), self.random.index(self.gateways.len()));
        let pair = match self.random.between(0, 10) {
            0..2 => (Node::Router(router), Node::Metastore),
            2..4 => (Node::Router(router), Node::Store),
            4..5 => (Node::Gateway(gateway), Node::Metastore),
            5..6 => (Node::Gateway(gateway), Node::Store),
            _ => (Node::Gateway(gateway), Node::Router(router)),
        };
        if self.random.percent(50) { pair } else { (pair.1, pair.0) }
    }

    fn isolate(&mut self, router: usize, lasts: Micros) {
        let node = Node::Router(router);
        let metastore_too = self.random.percent(60);
        let others_too = !metastore_too || self.random.percent(50);
        let others = self.nodes().into_iter().filter(|other| match other {
            Node::Metastore => metastore_too,
            other => others_too && *other != node,
        });
        let directions = others.flat_map(|other| [(node, other), (other, node)]).collect();
        self.cut_for(directions, lasts);
    }

    fn part(&mut self, lasts: Micros) {
        let (mut with, mut without) = (vec![Node::Metastore], Vec::new());
        for node in self.nodes() {
            match node {
                Node::Metastore | Node::Store => {}
                node if self.random.percent(50) => with.push(node),
                node => without.push(node),
            }
        }
        let across = with.iter().flat_map(|a| without.iter().flat_map(|b| [(*a, *b), (*b, *a)]));
        let directions = across.collect();
        self.cut_for(directions, lasts.max(1500 * MILLI));
    }

    /// Streams across a cut are given up after a while, by each end in its own time.
    fn cut_for(&mut self, directions: Vec<(Node, Node)>, lasts: Micros) {
        for (from, to) in directions {
            self.cut(from, to);
            self.later(lasts, move |world| world.join(from, to));
            let given_up = self.random.between(300 * MILLI, 3000 * MILLI);
            self.later(given_up, move |world| {
                if world.is_cut(from, to) {
                    world.break_streams(|gateway, router| {
                        let ends = (Node::Gateway(gateway), Node::Router(router));
                        ends == (from, to) || ends == (to, from)
                    });
                }
            });
        }
    }
}
