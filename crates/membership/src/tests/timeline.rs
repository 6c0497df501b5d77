//! Leases and slots in virtual time: clocks that drift, messages that are late, reordered or lost, leaders that change, stand
//! still, or do not know that they were deposed, routers that die. Never do two routers believe that they own a slot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_topics::Slot;
use proptest::prelude::*;

use crate::{
    Cluster, Command, DRIFT, Incarnation, LEASE, Leases, Phase, RENEW_EVERY, Renewal, Role, RoutingTable,
};

const STEP: Duration = Duration::from_millis(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);
const SPAN: Duration = Duration::from_secs(60);
const ROUTERS: usize = 4;
/// Slots that are looked at: any will do.
const WATCHED: u16 = 24;

/// What is broken on purpose, to see that it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A leader renews without asking whether it still is one.
    Unconfirmed,
    /// A new leader grants half a second, enough for whoever renews in time.
    NoFullLease,
    /// Clocks differ by more than the margin.
    Drift,
    /// A slot is released while it is still served.
    EarlyRelease,
}

/// Numbers that are the same for each seed.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Mostly short, now and then longer than a lease.
    fn delay(&mut self) -> Duration {
        let most = if self.one_in(20) { 3000 } else { 60 };
        Duration::from_millis(self.below(most))
    }
}

/// A monotonic clock that runs at its own rate.
struct Clock {
    per_mille: u32,
}

impl Clock {
    fn at(&self, now: Duration) -> Duration {
        now * self.per_mille / 1000
    }
}

struct Router {
    incarnation: Incarnation,
    clock: Clock,
    lease: Duration,
    renews: Duration,
    /// How many leaders ago the node led that it asks: it finds out late.
    behind: u64,
    version: u64,
    /// What it serves: slot and epoch.
    serving: BTreeMap<Slot, u64>,
}

impl Router {
    fn believes(&self, slot: Slot, now: Duration) -> bool {
        self.clock.at(now) < self.lease && self.serving.contains_key(&slot)
    }
}

struct Leader {
    term: u64,
    clock: Clock,
    leases: Leases,
    looks: Duration,
}

enum Message {
    /// To the leader of a term, which may lead no more.
    Renew {
        term: u64,
        from: Incarnation,
        asked: Duration,
    },
    /// A quorum was asked; `legitimate` when the leader still led after the renewal had come in.
    Confirmed {
        term: u64,
        from: Incarnation,
        asked: Duration,
        came: Duration,
        legitimate: bool,
    },
    Renewed {
        to: Incarnation,
        asked: Duration,
    },
    Table {
        to: Incarnation,
        table: Arc<RoutingTable>,
    },
    Release {
        from: Incarnation,
        slots: Vec<(u16, u64)>,
    },
}

struct World {
    chance: Chance,
    fault: Fault,
    now: Duration,
    cluster: Cluster,
    told: u64,
    /// Of all terms; the last one leads.
    leaders: Vec<Leader>,
    routers: Vec<Router>,
    messages: BTreeMap<(Duration, u64), Message>,
    sent: u64,
    /// Slots that changed their owner, and members that were removed.
    moved: usize,
    removed: usize,
}

impl World {
    fn new(seed: u64, fault: Fault) -> Self {
        let mut world = Self {
            chance: Chance(seed),
            fault,
            now: Duration::from_secs(10),
            cluster: Cluster::new(0),
            told: 0,
            leaders: Vec::new(),
            routers: Vec::new(),
            messages: BTreeMap::new(),
            sent: 0,
            moved: 0,
            removed: 0,
        };
        world.elect();
        world
    }

    fn clock(&mut self) -> Clock {
        let spread = if self.fault == Fault::Drift { 300 } else { 40 };
        Clock { per_mille: 1000 - spread / 2 + self.chance.below(u64::from(spread)) as u32 }
    }

    fn send(&mut self, message: Message) {
        if self.chance.one_in(15) {
            return;
        }
        let at = self.now + self.chance.delay();
        self.sent += 1;
        self.messages.insert((at, self.sent), message);
    }

    fn elect(&mut self) {
        let clock = self.clock();
        let mut leases = Leases::default();
        let term = self.leaders.len() as u64 + 1;
        let now = clock.at(self.now);
        leases.begin(term, self.cluster.members.keys().copied(), now);
        if self.fault == Fault::NoFullLease {
            let mut looked = now.saturating_sub(LEASE + DRIFT - Duration::from_millis(500));
            leases.begin(term, self.cluster.members.keys().copied(), looked);
            while looked < now {
                looked = now.min(looked + LOOK_EVERY);
                leases.look(self.cluster.members.keys().copied(), looked);
            }
        }
        self.leaders.push(Leader { term, clock, leases, looks: now });
    }

    fn leads(&self, term: u64) -> bool {
        self.leaders.len() as u64 == term
    }

    fn apply(&mut self, command: &Command) -> Option<Incarnation> {
        let before = self.cluster.slots.clone();
        let joined = self.cluster.apply(command).ok().flatten();
        self.moved +=
            before.iter().zip(&self.cluster.slots).filter(|(old, new)| old.owner != new.owner).count();
        joined
    }

    fn join(&mut self) {
        let clock = self.clock();
        let asked = clock.at(self.now);
        let join = Command::Join { role: Role::Router, address: "r:1".to_owned(), version: "1".to_owned() };
        let incarnation = self.apply(&join).unwrap();
        self.apply(&Command::SetPhase { incarnation, phase: Phase::Serving });
        let (lease, serving) = (asked + LEASE, BTreeMap::new());
        let (renews, behind, version) = (asked, 0, 0);
        self.routers.push(Router { incarnation, clock, lease, renews, behind, version, serving });
    }

    fn step(&mut self) {
        self.now += STEP;
        if self.chance.one_in(400) {
            self.elect();
        }
        // Who is out, and knows it at the latest when the lease is over, starts again as another.
        let (now, members) = (self.now, &self.cluster.members);
        self.routers.retain(|r| members.contains_key(&r.incarnation) || r.clock.at(now) < r.lease);
        if self.routers.len() < ROUTERS && self.chance.one_in(50) {
            self.join();
        }
        if !self.routers.is_empty() && self.chance.one_in(600) {
            let dies = self.chance.below(self.routers.len() as u64) as usize;
            self.routers.swap_remove(dies);
        }
        self.look();
        self.renew();
        while let Some(first) = self.messages.first_entry().filter(|first| first.key().0 <= self.now) {
            let message = first.remove();
            self.deliver(message);
        }
        if self.cluster.version != self.told {
            self.told = self.cluster.version;
            let table = Arc::new(self.cluster.table());
            let routers: Vec<_> = self.routers.iter().map(|router| router.incarnation).collect();
            for to in routers {
                self.send(Message::Table { to, table: table.clone() });
            }
        } else if self.chance.one_in(100) {
            // A stream that broke begins again with the table as it is.
            self.told = 0;
        }
        self.check();
    }

    /// Every node that thinks it leads looks at its leases; only who does can remove a member.
    fn look(&mut self) {
        let mut over = Vec::new();
        for leader in &mut self.leaders {
            let now = leader.clock.at(self.now);
            // Now and then it stands still.
            if now < leader.looks || self.chance.one_in(3) {
                continue;
            }
            leader.looks = now + LOOK_EVERY;
            let members = self.cluster.members.keys().copied();
            over.extend(leader.leases.look(members, now).into_iter().map(|member| (leader.term, member)));
        }
        for (term, incarnation) in over {
            if self.leads(term) {
                self.removed += 1;
                self.apply(&Command::Remove { incarnation });
            }
        }
    }

    fn renew(&mut self) {
        for index in 0..self.routers.len() {
            let router = &mut self.routers[index];
            let asked = router.clock.at(self.now);
            if asked < router.renews {
                continue;
            }
            router.renews = asked + RENEW_EVERY;
            let from = router.incarnation;
            if self.chance.one_in(8) {
                router.behind = u64::from(self.chance.one_in(3));
            }
            let term = (self.leaders.len() as u64).saturating_sub(router.behind).max(1);
            self.send(Message::Renew { term, from, asked });
        }
    }

    fn router(&mut self, incarnation: Incarnation) -> Option<&mut Router> {
        self.routers.iter_mut().find(|router| router.incarnation == incarnation)
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Renew { term, from, asked } => {
                let came = self.leaders[term as usize - 1].clock.at(self.now);
                let legitimate = self.leads(term) || self.fault == Fault::Unconfirmed;
                self.send(Message::Confirmed { term, from, asked, came, legitimate });
            }
            Message::Confirmed { term, from, asked, came, legitimate } => {
                let is_member = self.cluster.members.contains_key(&from) || self.fault == Fault::Unconfirmed;
                let leases = &mut self.leaders[term as usize - 1].leases;
                if legitimate && is_member && leases.renew(term, from, came) == Renewal::Renewed {
                    self.send(Message::Renewed { to: from, asked });
                }
            }
            Message::Renewed { to, asked } => {
                if let Some(router) = self.router(to) {
                    router.lease = router.lease.max(asked + LEASE);
                }
            }
            Message::Table { to, table } => self.follow(to, &table),
            Message::Release { from, slots } => {
                self.apply(&Command::Release { incarnation: from, slots });
            }
        }
    }

    /// A router does what a table says: serves what it owns, stops and releases what it is to give up.
    fn follow(&mut self, incarnation: Incarnation, table: &RoutingTable) {
        let early = self.fault == Fault::EarlyRelease;
        let Some(router) = self.router(incarnation).filter(|router| router.version < table.version) else {
            return;
        };
        router.version = table.version;
        let mut slots = Vec::new();
        for slot in Slot::all().take(usize::from(WATCHED)) {
            let entry = table.slot(slot);
            match entry.owner == Some(incarnation) {
                true if entry.next.is_some() => {
                    slots.push((slot.index(), entry.epoch));
                    if !early {
                        router.serving.remove(&slot);
                    }
                }
                true => drop(router.serving.insert(slot, entry.epoch)),
                false => drop(router.serving.remove(&slot)),
            }
        }
        if !slots.is_empty() {
            self.send(Message::Release { from: incarnation, slots });
        }
    }

    fn check(&self) {
        for slot in Slot::all().take(usize::from(WATCHED)) {
            let believers = self.routers.iter().filter(|router| router.believes(slot, self.now));
            let believers: Vec<_> =
                believers.map(|router| (router.incarnation, router.serving[&slot])).collect();
            assert!(believers.len() <= 1, "{slot:?} has two owners at {:?}: {believers:?}", self.now);
        }
    }
}

/// A minute of it.
fn live(seed: u64, fault: Fault) -> World {
    let mut world = World::new(seed, fault);
    while world.now < SPAN {
        world.step();
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_slot_has_two_owners_who_both_believe_it(seed in any::<u64>()) {
        live(seed, Fault::None);
    }
}

#[test]
fn in_a_minute_there_is_something_to_believe() {
    let worlds: Vec<_> = (0..8).map(|seed| live(seed, Fault::None)).collect();
    assert!(worlds.iter().all(|world| world.leaders.len() > 3 && world.moved > 1000 && world.removed > 2));
}

/// Each of these shows within minutes of virtual time: what keeps it from happening is needed.
#[test]
fn what_is_broken_on_purpose_is_found() {
    for fault in [Fault::Unconfirmed, Fault::NoFullLease, Fault::Drift, Fault::EarlyRelease] {
        let found = (0..20).any(|seed| std::panic::catch_unwind(|| live(seed, fault)).is_err());
        assert!(found, "{fault:?} goes unnoticed");
    }
}
