//! Router processes: what drives the router, its lanes and its keeper.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fleethaven_fabric::delivery::Push;
use fleethaven_fabric::membership::{Incarnation, LEASE, Member, Phase, RENEW_EVERY, Role, RoutingTable};
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_fabric::{Delivery, Routing, RoutingRequest, Traces};
use fleethaven_lanes::frame::{Control, Outcome, Publication, Reply};
use fleethaven_lanes::gateway::Outgoing;
use fleethaven_lanes::router::{Action, Admission, Asking, Intake, Keeper, LaneId, MARGIN, Slots, Wanted};
use fleethaven_membership::Command;
use fleethaven_quotas::Accounts;
use fleethaven_router::metrics::Metrics;
use fleethaven_router::{Lane, Options, Router};
use fleethaven_storage::{
    Completion, Dead, Error, Fence, Lane as StoreLane, Request, SessionStore, Ticket, Wake,
};
use fleethaven_topics::{Depths, Slot};
use fleethaven_types::{Behaviour, Limits, Profile};
use parking_lot::Mutex;

use crate::Bug;
use crate::history::{MessageId, id};
use crate::metastore::{Call, CallError};
use crate::store::{Answer, Handle, Owner, holder};
use crate::world::{ConnId, MILLI, Micros, Node, World};

const RENEW: Micros = RENEW_EVERY.as_micros() as Micros;
/// How long a renewal is waited for, and other calls.
const RENEW_WITHIN: Micros = 600 * MILLI;
pub(crate) const CALL_WITHIN: Micros = 1000 * MILLI;
/// How long an answer of the store is waited for before the connection is given up.
const STORE_WITHIN: Micros = 800 * MILLI;
/// How long the store takes a process to be there that held something of its groups.
const HELD: Micros = 3000 * MILLI;
/// As good as for ever.
const ENDLESS: Duration = Duration::from_secs(1_000_000);
/// How often lanes are told the time.
const TICK: Micros = 1000 * MILLI;
/// After how many of these connections of gateways that are gone are looked for, although none has gone.
const DEAD: u64 = 5;
/// Pause before something that failed is tried again.
pub(crate) const PAUSE: Micros = 100 * MILLI;

/// A machine for a router.
#[derive(Default)]
pub(crate) struct RouterHost {
    /// How many processes there have been.
    pub(crate) life: u64,
    pub(crate) process: Option<RouterProcess>,
}

/// A router.
pub(crate) struct RouterProcess {
    pub(crate) me: Option<Incarnation>,
    keeper: Option<Keeper>,
    pub(crate) slots: Arc<Slots>,
    version: u64,
    depths: Depths,
    router: Arc<Router>,
    pushes: Arc<Pushes>,
    pub(crate) lanes: BTreeMap<ConnId, LaneEnd>,
    last_number: u16,
    fences: Box<dyn StoreLane>,
    fencing: BTreeMap<u64, Vec<Fence>>,
    last_fence: u64,
    pub(crate) leaving: bool,
    /// Gateways that there are, and the youngest member that it knows of.
    living: Option<Arc<BTreeSet<u64>>>,
    newest: u64,
    /// How many seconds it has been there.
    ticks: u64,
}

/// The router's end of one stream.
pub(crate) struct LaneEnd {
    id: LaneId,
    gateway: usize,
    number: u16,
    lane: Lane,
    intake: Intake,
    woken: Arc<Flag>,
    asking: Asking,
    submit: Vec<RoutingRequest>,
    replies: Vec<Reply>,
    taken: BTreeMap<(Slot, u64), (MessageId, u64)>,
    pub(crate) open: bool,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Pushes that wait for their streams, by what the router calls the core.
#[derive(Default)]
struct Pushes(Mutex<BTreeMap<u16, Vec<Push>>>);

struct Pushing(Arc<Pushes>);

impl Delivery for Pushing {
    fn push(&self, core: u16, pushes: &mut Vec<Push>) {
        self.0.0.lock().entry(core).or_default().append(pushes);
    }
}

impl World {
    fn router(&mut self, router: usize) -> Option<&mut RouterProcess> {
        self.routers.get_mut(router)?.process.as_mut()
    }

    /// The process, if it is still the one of that life.
    fn router_of(&mut self, router: usize, life: u64) -> Option<&mut RouterProcess> {
        self.routers.get_mut(router).filter(|host| host.life == life)?.process.as_mut()
    }

    pub(crate) fn start_router(&mut self, router: usize) {
        let (store, base) = (self.store.clone(), self.base());
        let Some(host) = self.routers.get_mut(router).filter(|host| host.process.is_none()) else { return };
        host.life += 1;
        let life = host.life;
        let pushes = Arc::new(Pushes::default());
        let limits = Limits::of(Profile::Standard);
        let options = Options {
            behaviour: Behaviour::of(Profile::Standard),
            accounts: Arc::new(Accounts::new(limits.into(), base)),
            queue_rates: false,
            #[expect(clippy::disallowed_methods, reason = "asked for rates only, of which there are none")]
            clock: std::time::Instant::now,
            traces: Traces::off(),
            logs: fleethaven_logging::Logs::off(),
        };
        let Ok(metrics) = Metrics::new(&prometheus::Registry::new()) else { return };
        let handle = Arc::new(Handle { state: store, owner: (Node::Router(router), life) });
        let fences = handle.lane(Arc::new(Flag::default()));
        let delivery = Arc::new(Pushing(pushes.clone()));
        let process = RouterProcess {
            me: None,
            keeper: None,
            slots: Arc::new(Slots::new(base)),
            version: 0,
            depths: Depths::default(),
            router: Arc::new(Router::new(options, handle, delivery, metrics)),
            pushes,
            lanes: BTreeMap::new(),
            last_number: 0,
            fences,
            fencing: BTreeMap::new(),
            last_fence: 0,
            leaving: false,
            living: None,
            newest: 0,
            ticks: 0,
        };
        host.process = Some(process);
        self.note(format_args!("router {router} starts, life {life}"));
        self.join_router(router, life);
    }

    fn join_router(&mut self, router: usize, life: u64) {
        let node = Node::Router(router);
        let join =
            Command::Join { role: Role::Router, address: format!("{router}:1"), version: "1".to_owned() };
        self.call(node, Call::Change(join), CALL_WITHIN, move |world, answer| {
            let endless = (world.bug == Some(Bug::EndlessLease)).then(|| world.base() + ENDLESS);
            let Some(process) = world.router_of(router, life) else { return };
            let Ok(Some(me)) = answer else {
                return world.after(PAUSE, node, move |world| world.join_router(router, life));
            };
            endless.into_iter().for_each(|until| process.slots.extend_lease(until));
            process.me = Some(me);
            process.keeper = Some(Keeper::new(me, process.slots.clone()));
            process.router.in_cluster(me, process.slots.clone());
            world.note(format_args!("router {router} is {me}"));
            world.renew_router(router, life);
            world.router_ticks(router, life);
        });
    }

    fn renew_router(&mut self, router: usize, life: u64) {
        let Some(me) = self.router_of(router, life).and_then(|process| process.me) else { return };
        let (node, asked) = (Node::Router(router), self.instant());
        self.call(node, Call::Renew(me), RENEW_WITHIN, move |world, answer| {
            let Some(process) = world.router_of(router, life) else { return };
            match answer {
                Ok(_) => process.slots.extend_lease(asked + LEASE - MARGIN),
                Err(CallError::Refused) => {
                    world.note(format_args!("router {router} is out"));
                    world.stop_router(router);
                    return world.after(PAUSE, node, move |world| world.start_router(router));
                }
                Err(CallError::Unavailable) => {}
            }
            let passed = world.micros(world.instant()) - world.micros(asked);
            world.after(RENEW.saturating_sub(passed), node, move |world| world.renew_router(router, life));
        });
    }

    /// What is done every second: lanes are told the time, and queues of groups are looked for.
    fn router_ticks(&mut self, router: usize, life: u64) {
        let (node, now) = (Node::Router(router), self.instant());
        let reaches = self.reaches_store(node);
        let Some(process) = self.router_of(router, life) else { return };
        for end in process.lanes.values_mut() {
            end.lane.tick(now);
            while end.lane.tidy() && end.lane.has_leftovers() {}
        }
        // What the store does not do now, it does at the next tick.
        if reaches {
            let _ = process.router.find_queues();
        }
        let serves = process.me.is_some();
        process.ticks += 1;
        let due = process.ticks % DEAD == 0;
        let newest = process.newest;
        if let Some(living) = process.living.clone().filter(|_| due) {
            self.end_dead(router, life, Dead::Left { newest, living });
        }
        self.router_turn(router);
        if reaches && serves {
            self.publish_due_wills();
        }
        self.after(TICK, node, move |world| world.router_ticks(router, life));
    }

    /// Whether a process and the store reach each other.
    pub(crate) fn reaches_store(&self, node: Node) -> bool {
        !self.is_cut(node, Node::Store) && !self.is_cut(Node::Store, node) && !self.is_asleep(Node::Store)
    }

    /// The process is gone, with all that it had not sent. What the store was sent may arrive yet.
    pub(crate) fn stop_router(&mut self, router: usize) {
        let Some(host) = self.routers.get_mut(router) else { return };
        let (life, Some(process)) = (host.life, host.process.take()) else { return };
        self.note(format_args!("router {router} stops"));
        self.after(HELD, Node::Store, move |world| {
            world.store.lock().model.holder_gone(holder((Node::Router(router), life)));
        });
        for (conn, lane) in process.lanes.iter().filter(|(_, lane)| lane.open) {
            let (conn, gateway) = (*conn, lane.gateway);
            let noticed =
                if self.random.percent(70) { MILLI } else { self.random.between(MILLI, 1500 * MILLI) };
            self.after(noticed, Node::Gateway(gateway), move |world| {
                world.gateway_stream_over(gateway, conn)
            });
        }
    }

    /// The process is asked to go, in order.
    pub(crate) fn drain_router(&mut self, router: usize) {
        let Some(host) = self.routers.get_mut(router) else { return };
        let life = host.life;
        let Some(process) = host.process.as_mut().filter(|process| !process.leaving) else { return };
        let Some(me) = process.me else { return };
        process.leaving = true;
        self.note(format_args!("router {router} leaves"));
        self.repeat_call(router, life, Command::SetPhase { incarnation: me, phase: Phase::Leaving });
    }

    fn repeat_call(&mut self, router: usize, life: u64, command: Command) {
        let node = Node::Router(router);
        self.call(node, Call::Change(command.clone()), CALL_WITHIN, move |world, answer| {
            if answer == Err(CallError::Unavailable) && world.router_of(router, life).is_some() {
                world.after(PAUSE, node, move |world| world.repeat_call(router, life, command));
            }
        });
    }

    pub(crate) fn router_table(&mut self, router: usize, table: Arc<RoutingTable>) {
        let life = self.routers.get(router).map_or(0, |host| host.life);
        let Some(process) = self.router(router).filter(|process| process.version < table.version) else {
            return;
        };
        let Some(keeper) = &mut process.keeper else { return };
        process.version = table.version;
        let members = table.members.iter().filter(|member| member.role == Role::Gateway);
        let there: Arc<BTreeSet<u64>> = Arc::new(members.map(|member| member.incarnation.0).collect());
        let before = process.living.replace(there.clone());
        // At the start it is time to look, too.
        let due = before.is_none_or(|before| !before.is_subset(&there));
        let newest =
            table.members.last().map_or(process.newest, |last| last.incarnation.0.max(process.newest));
        process.newest = newest;
        // Nobody takes its slots: it goes without handing them over.
        let me = process.me;
        let serves_too = |other: &Member| Some(other.incarnation) != me && other.phase == Phase::Serving;
        let alone = process.leaving && !table.routers().any(serves_too);
        process.depths = table.depths.clone();
        process.router.follow(&table);
        keeper.set_table(table);
        self.keep(router);
        if alone {
            self.leave_router(router, life);
        }
        if due {
            self.end_dead(router, life, Dead::Left { newest, living: there });
        }
    }

    /// Ends the connections of gateways that are members no more. All routers do; the store lets each end once.
    fn end_dead(&mut self, router: usize, life: u64, dead: Dead) {
        let node = Node::Router(router);
        let (reaches, wall) = (self.reaches_store(node), self.time().wall);
        if self.router_of(router, life).is_none() {
            return;
        }
        if !reaches {
            return self.after(TICK, node, move |world| world.end_dead(router, life, dead));
        }
        let mut store = self.store.lock();
        let ended = store.model.end_orphans(&dead, "SERVER_ERROR", wall).len();
        store.written_through();
        drop(store);
        if ended > 0 {
            self.note(format_args!("router {router} ends {ended} connections"));
        }
    }

    /// The keeper goes as far as it can.
    fn keep(&mut self, router: usize) {
        let now = self.instant();
        let Some(host) = self.routers.get_mut(router) else { return };
        let life = host.life;
        let Some(process) = &mut host.process else { return };
        let Some(keeper) = &mut process.keeper else { return };
        let actions = keeper.advance(now);
        let gone = process.leaving && keeper.owns_nothing();
        let woken = process.lanes.values().any(|end| end.woken.0.load(Ordering::SeqCst));
        if let Some(at) = keeper.next_timeout() {
            let delay = self.micros(at).saturating_sub(self.now);
            self.after(delay, Node::Router(router), move |world| {
                let due =
                    |process: &mut RouterProcess| process.keeper.as_ref().and_then(Keeper::next_timeout);
                if world.router_of(router, life).and_then(due).is_some_and(|due| due <= world.instant()) {
                    world.keep(router);
                }
            });
        }
        actions.into_iter().for_each(|action| self.act(router, life, action));
        if woken {
            self.router_turn(router);
        }
        self.check_owners(router);
        if gone {
            self.leave_router(router, life);
        }
    }

    fn leave_router(&mut self, router: usize, life: u64) {
        let Some(me) = self.router_of(router, life).and_then(|process| process.me) else { return };
        self.call(
            Node::Router(router),
            Call::Change(Command::Remove { incarnation: me }),
            CALL_WITHIN,
            |_, _| (),
        );
        self.stop_router(router);
        let pause = self.random.between(10 * MILLI, 500 * MILLI);
        self.after(pause, Node::Store, move |world| world.start_router(router));
    }

    fn act(&mut self, router: usize, life: u64, action: Action) {
        let node = Node::Router(router);
        let bug = self.bug;
        let slow = self.random.between(MILLI, 60 * MILLI);
        let fails = !self.reaches_store(node);
        let Some(process) = self.router_of(router, life) else { return };
        let Some(me) = process.me else { return };
        match action {
            Action::Load { slots, spread } => {
                let loaded = match bug {
                    Some(Bug::NothingLoaded) => true,
                    _ => !fails && process.router.load(&slots, spread, &process.depths).is_ok(),
                };
                self.after(slow, node, move |world| {
                    let Some(process) = world.router_of(router, life) else { return };
                    let Some(keeper) = &mut process.keeper else { return };
                    if loaded {
                        keeper.loaded(&slots, spread)
                    } else {
                        keeper.load_failed()
                    }
                    world.keep(router);
                });
            }
            Action::Fence(fences) => {
                process.last_fence += 1;
                let ticket = Ticket(process.last_fence);
                process.fencing.insert(process.last_fence, fences.clone());
                process.fences.submit(&mut vec![Request::RaiseFence { ticket, slots: fences }]);
                self.send_to_store((Node::Router(router), life));
            }
            Action::Release(slots) => {
                let slots = slots.into_iter().map(|(slot, epoch)| (slot.index(), epoch)).collect();
                self.repeat_call(router, life, Command::Release { incarnation: me, slots });
            }
            Action::ReadyForDepth(version) => {
                self.repeat_call(router, life, Command::ReadyForDepth { incarnation: me, version });
            }
            Action::Serve => {
                self.repeat_call(router, life, Command::SetPhase { incarnation: me, phase: Phase::Serving });
            }
        }
    }

    /// Nobody serves a slot in an epoch that is another's.
    fn check_owners(&mut self, router: usize) {
        let cluster = &self.metastore.cluster;
        let Some(process) = self.routers.get(router).and_then(|host| host.process.as_ref()) else { return };
        let other = Slot::all().zip(&cluster.slots).find(|(slot, entry)| {
            let (serving, epoch) = process.slots.get(*slot);
            let serves = serving == fleethaven_lanes::router::Serving::Yes;
            serves && entry.epoch == epoch && entry.owner.is_some() && entry.owner != process.me
        });
        if let Some((slot, entry)) = other {
            let entry = *entry;
            self.violated(format!("router {router} serves {slot:?}, which is another's: {entry:?}"));
        }
    }

    pub(crate) fn restless_routers(&self, table: &RoutingTable) -> Option<String> {
        if table.change.is_some() {
            return Some("depths are being changed".to_owned());
        }
        let mut served = 0;
        for (index, host) in self.routers.iter().enumerate() {
            let Some(process) = &host.process else { return Some(format!("router {index} is down")) };
            let Some(me) = process.me else { return Some(format!("router {index} has not joined")) };
            if process.version != table.version
                || table.member(me).is_none_or(|me| me.phase != Phase::Serving)
            {
                let phase = table.member(me).map(|member| member.phase);
                let (leaving, version) = (process.leaving, process.version);
                return Some(format!(
                    "router {index} is {phase:?}, leaves: {leaving}, and has table {version} of {}",
                    table.version
                ));
            }
            served += process.keeper.as_ref().map_or(0, Keeper::serving);
            if process.lanes.values().any(|lane| !lane.open || !lane.intake.is_settled()) {
                return Some(format!("router {index} has unanswered publishes"));
            }
        }
        (served != table.slots.len()).then(|| format!("{served} slots are served"))
    }
}

/// Streams.
impl World {
    /// A gateway opens a stream to who it believes to be `me`.
    pub(crate) fn router_opens(
        &mut self,
        router: usize,
        me: Incarnation,
        conn: ConnId,
        (gateway, incarnation): (usize, Incarnation),
    ) {
        let Some(process) = self.router(router).filter(|process| process.me == Some(me)) else { return };
        process.last_number += 1;
        let number = process.last_number;
        let woken = Arc::new(Flag::default());
        let id = LaneId { gateway: incarnation, core: 0, number: conn };
        let end = LaneEnd {
            id,
            gateway,
            number,
            lane: Lane::new(process.router.clone(), woken.clone()),
            intake: Intake::new(process.slots.clone()),
            asking: Asking::new(number, process.slots.clone(), woken.clone()),
            woken,
            submit: Vec::new(),
            replies: Vec::new(),
            taken: BTreeMap::new(),
            open: true,
        };
        process.lanes.insert(conn, end);
        if let Some(keeper) = &mut process.keeper {
            keeper.lane_opened(id, 1);
        }
        self.stream(Node::Router(router), Node::Gateway(gateway), conn, move |world| {
            world.gateway_opened(gateway, router, me, conn);
        });
        self.keep(router);
    }

    /// Frames have come on a stream.
    pub(crate) fn router_receives(&mut self, router: usize, conn: ConnId, frames: Vec<Outgoing>) {
        let (now, bug) = (self.instant(), self.bug);
        let Some(process) = self.router(router) else { return };
        let Some(end) = process.lanes.get_mut(&conn).filter(|end| end.open) else { return };
        let mut level = None;
        for frame in frames {
            match frame {
                Outgoing::Publish(publication) => end.publish(publication, now, bug),
                Outgoing::Control(control) => match end.asking.wanted(said(control, bug)) {
                    Wanted::Request(request) => end.submit.push(taken_for(request, bug)),
                    Wanted::Level(version) => {
                        end.hand_over();
                        level = Some(version);
                    }
                },
            }
        }
        end.hand_over();
        if let (Some(version), Some(keeper)) = (level, &mut process.keeper) {
            keeper.lane_level(end.id, version);
            self.keep(router);
        }
        self.router_turn(router);
    }

    /// A stream is over, as the router sees it.
    pub(crate) fn router_stream_over(&mut self, router: usize, conn: ConnId) {
        let Some(process) = self.router(router) else { return };
        let Some(end) = process.lanes.get_mut(&conn).filter(|end| end.open) else { return };
        end.open = false;
        end.submit.extend(end.asking.over());
        end.hand_over();
        if let Some(keeper) = &mut process.keeper {
            keeper.lane_closed(end.id);
        }
        self.keep(router);
        self.router_turn(router);
    }

    /// Lanes do what there is to do, and what they answer and push leaves.
    pub(crate) fn router_turn(&mut self, router: usize) {
        let (now, life) = (self.instant(), self.routers.get(router).map_or(0, |host| host.life));
        let Some(process) = self.router(router) else { return };
        let me = process.me;
        let mut acknowledged = Vec::new();
        let mut sends = Vec::new();
        for end in process.lanes.values_mut() {
            while {
                end.woken.0.store(false, Ordering::SeqCst);
                end.answers(now, &mut acknowledged);
                end.woken.0.load(Ordering::SeqCst)
            } {}
        }
        process.lanes.retain(|_, end| end.open || !end.intake.is_settled() || end.lane.has_unanswered());
        let mut pushes = std::mem::take(&mut *process.pushes.0.lock());
        for (conn, end) in process.lanes.iter_mut().filter(|(_, end)| end.open) {
            let (replies, pushes) =
                (std::mem::take(&mut end.replies), pushes.remove(&end.number).unwrap_or_default());
            if !replies.is_empty() || !pushes.is_empty() {
                sends.push((*conn, end.gateway, replies, pushes));
            }
        }
        for (slot, id, epoch) in acknowledged {
            self.check_acknowledgement(router, me, slot, id, epoch);
        }
        for (conn, gateway, replies, pushes) in sends {
            self.stream(Node::Router(router), Node::Gateway(gateway), conn, move |world| {
                world.gateway_receives(gateway, conn, replies, pushes);
            });
        }
        self.send_to_store((Node::Router(router), life));
    }

    /// What the store has not seen may be acknowledged by the slot's owner only.
    fn check_acknowledgement(
        &mut self,
        router: usize,
        me: Option<Incarnation>,
        slot: Slot,
        id: MessageId,
        epoch: u64,
    ) {
        let entry = self.metastore.table.slot(slot);
        let owns = entry.owner == me && entry.epoch == epoch;
        if !owns && !self.store.lock().applied.contains(&id) {
            self.violated(format!(
                "router {router} acknowledges {id:?} in epoch {epoch}, which is over: {entry:?}"
            ));
        }
    }
}

/// What a gateway has said, as the router hears it.
fn said(mut control: Control, bug: Option<Bug>) -> Control {
    if bug == Some(Bug::OwnersUnordered)
        && let Control::Attach { owner, .. }
        | Control::Subscribe { owner, .. }
        | Control::Unsubscribe { owner, .. } = &mut control
    {
        *owner = OwnerNumber::UNKNOWN;
    }
    if bug == Some(Bug::SubackUnfenced)
        && let Control::Subscribe { version, .. } = &mut control
    {
        *version = 0;
    }
    control
}

/// What it is taken for.
fn taken_for(mut request: RoutingRequest, bug: Option<Bug>) -> RoutingRequest {
    if bug == Some(Bug::TablesUnordered)
        && let RoutingRequest::Subscribe { exact: Some(version), .. } = &mut request
    {
        *version = u64::MAX;
    }
    request
}

impl LaneEnd {
    fn publish(&mut self, publication: Publication, now: std::time::Instant, bug: Option<Bug>) {
        match self.intake.admit(&publication, now) {
            Admission::Take { ticket, owned } => {
                let Publication { slot, stamp, epoch, message, from, once, .. } = publication;
                self.taken.insert((slot, stamp), (id(&message), epoch));
                let ticket = match (bug, ticket) {
                    (Some(Bug::EarlyAcknowledgement), Some(ticket)) => {
                        self.replies.extend(self.intake.published(ticket, true, Ok(()), now));
                        None
                    }
                    (_, ticket) => ticket.map(Asking::ticket_of_publish),
                };
                let fence = Some(owned);
                self.submit.push(RoutingRequest::Publish { ticket, message, from, once, fence });
            }
            Admission::Refuse(refused) => self.replies.push(refused),
            Admission::Pass => {}
        }
    }

    fn hand_over(&mut self) {
        self.lane.submit(&mut self.submit);
        self.intake.submitted(&mut self.replies);
    }

    fn answers(&mut self, now: std::time::Instant, acknowledged: &mut Vec<(Slot, MessageId, u64)>) {
        let mut events = Vec::new();
        self.lane.drain(&mut events);
        for event in events {
            self.replies.extend(self.asking.reply(event, &mut self.intake, now));
        }
        self.asking.settled(&mut self.replies);
        for reply in &self.replies {
            if let Reply::Answered { slot, stamp, outcome: Outcome::Durable { .. } } = reply
                && let Some((id, epoch)) = self.taken.remove(&(*slot, *stamp))
            {
                acknowledged.push((*slot, id, epoch));
            }
        }
    }
}

/// The way to the store.
impl World {
    /// Batches leave for the store.
    pub(crate) fn send_to_store(&mut self, owner: Owner) {
        let node = owner.0;
        let doors: Vec<u64> = self.store.lock().doors_of(owner);
        for door in doors {
            let Some((batch, requests)) = self.store.lock().take_batch(door) else { continue };
            self.after(STORE_WITHIN, node, move |world| {
                if world.store.lock().is_outstanding(door, batch) {
                    world.break_store(owner);
                }
            });
            self.stream(node, Node::Store, door, move |world| {
                let (now, bug) = (world.time().wall, world.bug);
                let told = world.store.lock().model.groups_told(&requests);
                told.into_iter().for_each(|told| world.note(format_args!("{:?} asks {told}", owner.0)));
                let answer = world.store.lock().apply((owner, door, batch), requests, now, bug);
                for completion in answer.iter().flat_map(|answer| &answer.completions) {
                    if let Some(told) = crate::store::answer_told(completion) {
                        world.note(format_args!("{:?} is told {told}", owner.0));
                    }
                }
                answer.into_iter().for_each(|answer| world.answer_of_store(answer));
            });
        }
    }

    fn answer_of_store(&mut self, answer: Answer) {
        let Answer { owner, door, batch, completions } = answer;
        self.stream(Node::Store, owner.0, door, move |world| {
            if world.store.lock().answered(door, batch, completions) {
                world.store_answered(owner);
            }
        });
    }

    /// The replica is level, and is again after a while.
    pub(crate) fn replicate(&mut self) {
        let answers = self.store.lock().replicate();
        answers.into_iter().for_each(|answer| self.answer_of_store(answer));
        let lag = match self.random.between(0, 10) {
            0 => self.random.between(20 * MILLI, 300 * MILLI),
            _ => self.random.between(MILLI, 20 * MILLI),
        };
        self.after(lag, Node::Store, World::replicate);
    }

    /// The store's primary dies, and its replica takes over.
    pub(crate) fn fail_over(&mut self) {
        let owners = self.store.lock().fail_over(self.bug);
        owners.into_iter().for_each(|owner| self.lose_store(owner, true));
    }

    /// The connections of a process to the store break: what is on its way there still arrives, or never does.
    pub(crate) fn break_store(&mut self, owner: Owner) {
        let lost = self.random.percent(50);
        self.lose_store(owner, lost);
    }

    fn lose_store(&mut self, owner: Owner, lost: bool) {
        self.note(format_args!("{:?} loses the store", owner.0));
        let mut store = self.store.lock();
        let doors = store.doors_of(owner);
        doors.into_iter().for_each(|door| store.fail(door, lost));
        drop(store);
        self.store_answered(owner);
    }

    fn store_answered(&mut self, (node, life): Owner) {
        match node {
            Node::Router(router) => self.router_is_answered(router, life),
            Node::Gateway(gateway) if self.gateway_of(gateway, life).is_some() => self.gateway_turn(gateway),
            _ => {}
        }
    }

    fn router_is_answered(&mut self, router: usize, life: u64) {
        let (now, reaches) = (self.instant(), self.reaches_store(Node::Router(router)));
        let Some(process) = self.router_of(router, life) else { return };
        let (mut completions, mut failed) = (Vec::new(), Vec::new());
        process.fences.drain(&mut completions);
        for completion in completions {
            let Completion::Done { ticket, result } = completion else { continue };
            let Some(fences) = process.fencing.remove(&ticket.0) else { continue };
            // What groups must hold they hold in their queues from the first publish on.
            let result = match result {
                Ok(()) if !reaches => Err(Error::Unavailable("the store".to_owned())),
                Ok(()) => process.router.find_queues().map(drop),
                result => result,
            };
            match result {
                Ok(()) => process.keeper.iter_mut().for_each(|keeper| keeper.fenced(&fences, true, now)),
                Err(_) => failed.extend(fences),
            }
        }
        if !failed.is_empty() {
            self.after(PAUSE, Node::Router(router), move |world| {
                let now = world.instant();
                let Some(process) = world.router_of(router, life) else { return };
                process.keeper.iter_mut().for_each(|keeper| keeper.fenced(&failed, false, now));
                world.keep(router);
            });
        }
        self.router_turn(router);
        self.keep(router);
    }
}
