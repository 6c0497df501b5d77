//! Clock, events and network.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleethaven_fabric::membership::SlotOwner;
use fleethaven_session::Now;
use fleethaven_types::Timestamp;
use parking_lot::Mutex;

use crate::faults::{self, Fault};
use crate::gateway::GatewayHost;
use crate::history::History;
use crate::metastore::Metastore;
use crate::publishers::PublisherClient;
use crate::random::Random;
use crate::router::RouterHost;
use crate::store::State;
use crate::subscribers::SubscriberClient;
use crate::{Bug, Summary, Violation};

/// Microseconds since the run began.
pub(crate) type Micros = u64;
pub(crate) const MILLI: Micros = 1000;
pub(crate) const SECOND: Micros = 1000 * MILLI;

/// Moment 0 by wall clocks, in milliseconds.
const WALL: u64 = 1_700_000_000_000;
/// Faults happen until then; then all is mended.
const FAULTS_UNTIL: Micros = 6 * SECOND;
/// How long it may take until all is quiet again.
const QUIET_WITHIN: Micros = 30 * SECOND;
/// How long clients may take to get and acknowledge what is sent when all is quiet.
const PROBES_WITHIN: Micros = 15 * SECOND;
/// What is still on its way when all is quiet arrives within this.
const AFTERWARDS: Micros = 500 * MILLI;

/// Where something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    Metastore,
    Store,
    Router(usize),
    Gateway(usize),
    /// A subscriber: nothing ever happens to its machine.
    Client(usize),
}

/// A stream between a gateway and a router.
pub(crate) type ConnId = u64;

type Run = Box<dyn FnOnce(&mut World)>;

/// How something came to where it happens.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// By itself.
    Local,
    /// Lost where there is no way.
    Datagram(Node),
    /// Waits where there is no way.
    Stream(Node),
}

struct Event {
    at: Node,
    way: Way,
    run: Run,
}

/// The cluster, its clients, and what happens next.
pub(crate) struct World {
    pub(crate) random: Random,
    pub(crate) bug: Option<Bug>,
    pub(crate) now: Micros,
    /// Moment 0, by the clock of the code that is tested; which one it is makes no difference.
    base: Instant,
    events: BTreeMap<(Micros, u64), Event>,
    last_event: u64,
    carried_out: u64,
    digest: u64,
    /// Where nothing passes, by direction.
    cuts: BTreeSet<(Node, Node)>,
    held_back: BTreeMap<(Node, Node), VecDeque<Event>>,
    arrivals: BTreeMap<(Node, Node, u64), Micros>,
    asleep: BTreeMap<Node, VecDeque<Event>>,
    slow: BTreeMap<(Node, Node), Micros>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) fault_count: usize,
    pub(crate) mended: bool,
    pub(crate) metastore: Metastore,
    pub(crate) store: Arc<Mutex<State>>,
    pub(crate) routers: Vec<RouterHost>,
    pub(crate) gateways: Vec<GatewayHost>,
    pub(crate) publishers: Vec<PublisherClient>,
    pub(crate) subscribers: Vec<SubscriberClient>,
    /// Connections, by gateway, its life and their slots, of whose end their gateways never hear.
    pub(crate) unheard: BTreeSet<(usize, u64, u32)>,
    pub(crate) last_conn: ConnId,
    pub(crate) history: History,
    violation: Option<Violation>,
    /// Everything worth telling is printed.
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut random = Random::new(seed);
        let routers = random.between(2, 4) as usize;
        let gateways = random.between(2, 4) as usize;
        let faults = faults::some(&mut random, bug);
        let mut store = State::default();
        store.model.bug = bug;
        #[expect(clippy::disallowed_methods, reason = "some moment to count from")]
        let base = Instant::now();
        Self {
            random,
            bug,
            now: 0,
            base,
            events: BTreeMap::new(),
            last_event: 0,
            carried_out: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            cuts: BTreeSet::new(),
            held_back: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            asleep: BTreeMap::new(),
            slow: BTreeMap::new(),
            faults,
            fault_count: 0,
            mended: false,
            metastore: Metastore::new(),
            store: Arc::new(Mutex::new(store)),
            routers: (0..routers).map(|_| RouterHost::default()).collect(),
            gateways: (0..gateways).map(|_| GatewayHost::default()).collect(),
            publishers: Vec::new(),
            subscribers: Vec::new(),
            unheard: BTreeSet::new(),
            last_conn: 0,
            history: History::default(),
            violation: None,
            trace: std::env::var_os("SIM_TRACE").is_some(),
        }
    }

    pub(crate) fn run(mut self) -> Result<Summary, Violation> {
        self.start_metastore();
        if self.faults.contains(&Fault::Failover) {
            self.replicate();
        }
        (0..self.routers.len()).for_each(|router| self.start_router(router));
        (0..self.gateways.len()).for_each(|gateway| self.start_gateway(gateway));
        self.start_clients();
        self.after(SECOND, Node::Store, World::cause_fault);
        self.run_until(FAULTS_UNTIL)?;
        self.note(format_args!("all is mended"));
        self.mend();
        let deadline = self.now + QUIET_WITHIN;
        self.quiet(deadline)?;
        self.run_until(self.now + AFTERWARDS)?;
        // A lease may have ended meanwhile.
        self.quiet(deadline + AFTERWARDS)?;
        self.history.check()?;
        self.check_groups()?;
        self.check_wills()?;
        self.check_retained()?;
        self.note(format_args!("probing"));
        self.probe();
        let deadline = self.now + PROBES_WITHIN;
        while self.now < deadline && self.check_probes().is_err() {
            self.run_until(self.now + 100 * MILLI)?;
        }
        self.run_until(self.now + AFTERWARDS)?;
        self.check_probes()?;
        let acknowledged = self.history.sent.values().filter(|sent| sent.acknowledged.is_some()).count();
        Ok(Summary {
            published: self.history.sent.len(),
            acknowledged,
            faults: self.fault_count,
            tables: self.metastore.table.version,
            events: self.carried_out,
            digest: self.digest,
        })
    }

    /// Lives on until nothing is left to be done.
    fn quiet(&mut self, deadline: Micros) -> Result<(), Violation> {
        while let Some(restless) = self.restless() {
            if self.now > deadline {
                return Err(Violation(format!(
                    "{}s after all was mended: {restless}",
                    QUIET_WITHIN / SECOND
                )));
            }
            self.run_until(self.now + 100 * MILLI)?;
        }
        Ok(())
    }

    fn run_until(&mut self, until: Micros) -> Result<(), Violation> {
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > until {
                self.last_event += 1;
                self.events.insert((at, 0), event);
                break;
            }
            self.now = at;
            self.carried_out += 1;
            self.pass(event);
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        self.now = until;
        Ok(())
    }

    /// Something has come to where it happens, unless there is no way.
    fn pass(&mut self, event: Event) {
        match event.way {
            Way::Datagram(from) if self.cuts.contains(&(from, event.at)) => return,
            Way::Stream(from) if self.cuts.contains(&(from, event.at)) => {
                return self.held_back.entry((from, event.at)).or_default().push_back(event);
            }
            _ => {}
        }
        match self.asleep.get_mut(&event.at) {
            Some(waiting) => waiting.push_back(event),
            None => (event.run)(self),
        }
    }

    pub(crate) fn violated(&mut self, what: String) {
        self.note(format_args!("{what}"));
        self.violation.get_or_insert(Violation(what));
    }

    /// Something worth telling runs apart by.
    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        let text = format!("{:>10} {what}", self.now);
        if self.trace {
            println!("{text}");
        }
        for byte in text.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// This moment, by the clock of the code that is tested.
    pub(crate) fn instant(&self) -> Instant {
        self.base + Duration::from_micros(self.now)
    }

    /// This moment, as sessions and the store are told it.
    pub(crate) fn time(&self) -> Now {
        Now { instant: self.instant(), wall: Timestamp(WALL + self.now / MILLI) }
    }

    pub(crate) fn base(&self) -> Instant {
        self.base
    }

    /// The moment as counted here.
    pub(crate) fn micros(&self, at: Instant) -> Micros {
        u64::try_from(at.saturating_duration_since(self.base).as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
    }
}

/// What happens when.
impl World {
    fn schedule(&mut self, when: Micros, at: Node, way: Way, run: Run) {
        self.last_event += 1;
        self.events.insert((when, self.last_event), Event { at, way, run });
    }

    /// Something happens later.
    pub(crate) fn after(&mut self, delay: Micros, at: Node, run: impl FnOnce(&mut World) + 'static) {
        self.schedule(self.now + delay, at, Way::Local, Box::new(run));
    }

    fn delay(&mut self, from: Node, to: Node) -> Micros {
        let slow = self.slow.get(&(from, to)).copied().unwrap_or_default();
        let most = match self.random.between(0, 100) {
            0 => 50 * MILLI,
            1..5 => 5 * MILLI,
            _ => MILLI,
        };
        slow + self.random.between(50, most)
    }

    /// Something travels alone, and may overtake or be lost.
    pub(crate) fn datagram(&mut self, from: Node, to: Node, run: impl FnOnce(&mut World) + 'static) {
        let when = self.now + self.delay(from, to);
        self.schedule(when, to, Way::Datagram(from), Box::new(run));
    }

    /// Something travels in the order of what was sent on this stream.
    pub(crate) fn stream(
        &mut self,
        from: Node,
        to: Node,
        number: u64,
        run: impl FnOnce(&mut World) + 'static,
    ) {
        let when = self.now + self.delay(from, to);
        let last = self.arrivals.entry((from, to, number)).or_default();
        *last = when.max(*last);
        let when = *last;
        self.schedule(when, to, Way::Stream(from), Box::new(run));
    }
}

/// What a network and machines do.
impl World {
    /// Nothing passes any more in this direction.
    pub(crate) fn cut(&mut self, from: Node, to: Node) {
        self.cuts.insert((from, to));
    }

    /// It passes again, and first what waited.
    pub(crate) fn join(&mut self, from: Node, to: Node) {
        self.cuts.remove(&(from, to));
        for event in self.held_back.remove(&(from, to)).unwrap_or_default() {
            self.pass(event);
        }
    }

    /// Whether something passes.
    pub(crate) fn is_cut(&self, from: Node, to: Node) -> bool {
        self.cuts.contains(&(from, to))
    }

    pub(crate) fn slow_down(&mut self, from: Node, to: Node, by: Micros) {
        self.slow.insert((from, to), by);
    }

    pub(crate) fn speed_up(&mut self, from: Node, to: Node) {
        self.slow.remove(&(from, to));
    }

    /// Nothing happens there any more, until it wakes up.
    pub(crate) fn fall_asleep(&mut self, node: Node) {
        self.asleep.entry(node).or_default();
    }

    pub(crate) fn is_asleep(&self, node: Node) -> bool {
        self.asleep.contains_key(&node)
    }

    /// All that has come meanwhile happens now.
    pub(crate) fn wake_up(&mut self, node: Node) {
        for event in self.asleep.remove(&node).unwrap_or_default() {
            (event.run)(self);
        }
    }

    /// Mends everything, at once.
    fn mend(&mut self) {
        self.mended = true;
        let cuts = self.cuts.clone();
        cuts.into_iter().for_each(|(from, to)| self.join(from, to));
        self.slow.clear();
        let asleep: Vec<_> = self.asleep.keys().copied().collect();
        asleep.into_iter().for_each(|node| self.wake_up(node));
        for router in 0..self.routers.len() {
            if self.routers.get(router).is_some_and(|host| host.process.is_none()) {
                self.start_router(router);
            }
        }
        for gateway in 0..self.gateways.len() {
            if self.gateways.get(gateway).is_some_and(|host| host.process.is_none()) {
                self.start_gateway(gateway);
            }
        }
    }

    /// What is not as it should be when nothing happens any more.
    fn restless(&self) -> Option<String> {
        let table = &self.metastore.table;
        let moving = |slot: &&SlotOwner| slot.owner.is_none() || slot.next.is_some();
        if let Some(slot) = table.slots.iter().find(moving) {
            let members: Vec<_> =
                table.members.iter().map(|member| (member.incarnation, member.phase)).collect();
            return Some(format!("slots change hands: {slot:?}, {:?}, {members:?}", table.change));
        }
        if table.members.len() != self.routers.len() + self.gateways.len() {
            return Some(format!("there are {} members", table.members.len()));
        }
        self.restless_routers(table)
            .or_else(|| self.restless_gateways(table))
            .or_else(|| self.restless_clients())
    }
}
