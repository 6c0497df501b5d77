//! Gateway processes: what drives a core's lanes, and the connections of clients to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::delivery::Push;
use fleethaven_fabric::membership::{Incarnation, Phase, RENEW_EVERY, Role, RoutingTable};
use fleethaven_lanes::Lanes;
use fleethaven_lanes::frame::{Outcome, Publication, Reply};
use fleethaven_lanes::gateway::{Options, Outgoing};
use fleethaven_membership::Command;
use fleethaven_storage::{Lane as StoreLane, SessionStore, Ticket, Wake};
use fleethaven_topics::Slot;

use crate::Bug;
use crate::connections::{Connections, Leaving, Pending};
use crate::metastore::{Call, CallError};
use crate::router::{CALL_WITHIN, PAUSE};
use crate::store::Handle;
use crate::world::{ConnId, MILLI, Micros, Node, World};

const RENEW: Micros = RENEW_EVERY.as_micros() as Micros;
const RENEW_WITHIN: Micros = 600 * MILLI;
/// How long opening a stream may take.
const OPEN_WITHIN: Micros = 400 * MILLI;
/// How often the queues of some sessions are compared with the store.
const SWEEP: Micros = 1000 * MILLI;
/// Answers that lead to new requests are followed up so often within one turn.
const ROUNDS: usize = 4;
/// Bytes of publishes in one batch of frames.
const FRAME: usize = 64 << 10;

/// A machine for a gateway.
#[derive(Default)]
pub(crate) struct GatewayHost {
    /// How many processes there have been.
    pub(crate) life: u64,
    pub(crate) process: Option<GatewayProcess>,
}

/// A gateway with one core.
pub(crate) struct GatewayProcess {
    pub(crate) me: Option<Incarnation>,
    pub(crate) lanes: Lanes,
    streams: BTreeMap<Incarnation, Stream>,
    opening: BTreeMap<Incarnation, ConnId>,
    pausing: BTreeSet<Incarnation>,
    version: u64,
    timer: Option<Micros>,
    pub(crate) pending: BTreeMap<Ticket, Pending>,
    last_ticket: u64,
    pub(crate) last_token: u64,
    pub(crate) store: Box<dyn StoreLane>,
    pub(crate) connections: Connections,
}

/// A turn is taken whenever something has come.
struct Awake;

impl Wake for Awake {
    fn wake(&self) {}
}

struct Stream {
    conn: ConnId,
    router: usize,
    generation: u64,
    /// What was sent that an answer is waited for.
    sent: BTreeSet<(Slot, u64)>,
}

impl GatewayProcess {
    pub(crate) fn expect(&mut self, pending: Pending) -> Ticket {
        self.last_ticket += 1;
        self.pending.insert(Ticket(self.last_ticket), pending);
        Ticket(self.last_ticket)
    }
}

impl World {
    pub(crate) fn gateway(&mut self, gateway: usize) -> Option<&mut GatewayProcess> {
        self.gateways.get_mut(gateway)?.process.as_mut()
    }

    /// The process, if it is still the one of that life.
    pub(crate) fn gateway_of(&mut self, gateway: usize, life: u64) -> Option<&mut GatewayProcess> {
        self.gateways.get_mut(gateway).filter(|host| host.life == life)?.process.as_mut()
    }

    pub(crate) fn start_gateway(&mut self, gateway: usize) {
        let state = self.store.clone();
        let Some(host) = self.gateways.get_mut(gateway).filter(|host| host.process.is_none()) else { return };
        host.life += 1;
        let life = host.life;
        let handle = Handle { state, owner: (Node::Gateway(gateway), life) };
        host.process = Some(GatewayProcess {
            me: None,
            lanes: Lanes::new(Options::default()),
            streams: BTreeMap::new(),
            opening: BTreeMap::new(),
            pausing: BTreeSet::new(),
            version: 0,
            timer: None,
            pending: BTreeMap::new(),
            last_ticket: 0,
            last_token: 0,
            store: handle.lane(Arc::new(Awake)),
            connections: Connections::default(),
        });
        self.note(format_args!("gateway {gateway} starts, life {life}"));
        self.sweep_gateway(gateway, life);
        self.join_gateway(gateway, life);
    }

    fn join_gateway(&mut self, gateway: usize, life: u64) {
        let node = Node::Gateway(gateway);
        let join =
            Command::Join { role: Role::Gateway, address: format!("{gateway}:2"), version: "1".to_owned() };
        self.call(node, Call::Change(join), CALL_WITHIN, move |world, answer| {
            let Some(process) = world.gateway_of(gateway, life) else { return };
            let Ok(Some(me)) = answer else {
                return world.after(PAUSE, node, move |world| world.join_gateway(gateway, life));
            };
            process.me = Some(me);
            world.note(format_args!("gateway {gateway} is {me}"));
            world.serve_gateway(gateway, life, me);
            world.renew_gateway(gateway, life, me);
        });
    }

    fn sweep_gateway(&mut self, gateway: usize, life: u64) {
        let (now, bug) = (self.time(), self.bug);
        let Some(process) = self.gateway_of(gateway, life) else { return };
        process.time_passed(now);
        if bug != Some(Bug::PushesTrusted) {
            process.sweep();
        }
        self.gateway_turn(gateway);
        self.after(SWEEP, Node::Gateway(gateway), move |world| world.sweep_gateway(gateway, life));
    }

    fn serve_gateway(&mut self, gateway: usize, life: u64, me: Incarnation) {
        let node = Node::Gateway(gateway);
        let serve = Command::SetPhase { incarnation: me, phase: Phase::Serving };
        self.call(node, Call::Change(serve), CALL_WITHIN, move |world, answer| {
            if answer == Err(CallError::Unavailable) && world.gateway_of(gateway, life).is_some() {
                world.after(PAUSE, node, move |world| world.serve_gateway(gateway, life, me));
            }
        });
    }

    fn renew_gateway(&mut self, gateway: usize, life: u64, me: Incarnation) {
        let node = Node::Gateway(gateway);
        self.call(node, Call::Renew(me), RENEW_WITHIN, move |world, answer| {
            if world.gateway_of(gateway, life).is_none() {
                return;
            }
            if answer == Err(CallError::Refused) {
                world.note(format_args!("gateway {gateway} is out"));
                world.stop_gateway(gateway);
                return world.after(PAUSE, node, move |world| world.start_gateway(gateway));
            }
            world.after(RENEW, node, move |world| world.renew_gateway(gateway, life, me));
        });
    }

    /// The process is gone, with all its connections.
    pub(crate) fn stop_gateway(&mut self, gateway: usize) {
        let Some(process) = self.gateways.get_mut(gateway).and_then(|host| host.process.take()) else {
            return;
        };
        self.note(format_args!("gateway {gateway} stops"));
        for Stream { conn, router, .. } in process.streams.values() {
            let (conn, router) = (*conn, *router);
            let noticed =
                if self.random.percent(70) { MILLI } else { self.random.between(MILLI, 1500 * MILLI) };
            self.after(noticed, Node::Router(router), move |world| world.router_stream_over(router, conn));
        }
        self.connections_lost(gateway);
    }

    pub(crate) fn gateway_table(&mut self, gateway: usize, table: Arc<RoutingTable>) {
        let now = self.instant();
        let Some(process) = self.gateway(gateway) else { return };
        if process.me.is_none() || process.version >= table.version {
            return;
        }
        process.version = table.version;
        process.lanes.set_table(table, now);
        let wanted: BTreeSet<Incarnation> = process.lanes.routers().map(|(router, _)| router).collect();
        let gone: Vec<Incarnation> =
            process.streams.keys().copied().filter(|router| !wanted.contains(router)).collect();
        for router in gone {
            let Some(stream) = self.gateway(gateway).and_then(|process| process.streams.remove(&router))
            else {
                continue;
            };
            let (conn, router) = (stream.conn, stream.router);
            self.stream(Node::Gateway(gateway), Node::Router(router), conn, move |world| {
                world.router_stream_over(router, conn);
            });
        }
        self.open_streams(gateway);
        self.gateway_turn(gateway);
    }

    /// Opens streams to the routers that there are, where there are none.
    fn open_streams(&mut self, gateway: usize) {
        let Some(host) = self.gateways.get_mut(gateway) else { return };
        let life = host.life;
        let Some(process) = &mut host.process else { return };
        let Some(me) = process.me else { return };
        let mut missing = Vec::new();
        for (router, address) in process.lanes.routers() {
            let known = process.streams.contains_key(&router) || process.opening.contains_key(&router);
            let host = address.split(':').next().and_then(|host| host.parse::<usize>().ok());
            if let Some(host) = host.filter(|_| !known && !process.pausing.contains(&router)) {
                missing.push((router, host));
            }
        }
        for (router, host) in missing {
            self.last_conn += 1;
            let conn = self.last_conn;
            let Some(process) = self.gateway(gateway) else { return };
            process.opening.insert(router, conn);
            self.datagram(Node::Gateway(gateway), Node::Router(host), move |world| {
                world.router_opens(host, router, conn, (gateway, me));
            });
            self.after(OPEN_WITHIN, Node::Gateway(gateway), move |world| {
                let Some(process) = world.gateway_of(gateway, life) else { return };
                if process.opening.get(&router) == Some(&conn) {
                    process.opening.remove(&router);
                    world.reopen_later(gateway, router);
                }
            });
        }
    }

    fn reopen_later(&mut self, gateway: usize, router: Incarnation) {
        let pause = self.random.between(10 * MILLI, 100 * MILLI);
        let Some(process) = self.gateway(gateway) else { return };
        process.pausing.insert(router);
        self.after(pause, Node::Gateway(gateway), move |world| {
            if let Some(process) = world.gateway(gateway) {
                process.pausing.remove(&router);
                world.open_streams(gateway);
            }
        });
    }

    /// A router has taken a stream.
    pub(crate) fn gateway_opened(&mut self, gateway: usize, router: usize, me: Incarnation, conn: ConnId) {
        let now = self.instant();
        let close = move |world: &mut World| world.router_stream_over(router, conn);
        let process = self.gateway(gateway);
        let Some(process) = process.filter(|process| process.opening.get(&me) == Some(&conn)) else {
            return self.stream(Node::Gateway(gateway), Node::Router(router), conn, close);
        };
        process.opening.remove(&me);
        let Some(generation) = process.lanes.opened(me, now) else {
            return self.stream(Node::Gateway(gateway), Node::Router(router), conn, close);
        };
        process.streams.insert(me, Stream { conn, router, generation, sent: BTreeSet::new() });
        self.gateway_turn(gateway);
    }

    /// A stream is over, as the gateway sees it.
    pub(crate) fn gateway_stream_over(&mut self, gateway: usize, conn: ConnId) {
        let (now, time, bug) = (self.instant(), self.time(), self.bug);
        let Some(process) = self.gateway(gateway) else { return };
        let Some((router, stream)) = process.streams.iter().find(|(_, stream)| stream.conn == conn) else {
            return;
        };
        let (router, generation) = (*router, stream.generation);
        if bug == Some(Bug::ReplayForgotten) {
            for (slot, stamp) in &stream.sent {
                let outcome = Outcome::Durable { matched: true };
                let answered = Reply::Answered { slot: *slot, stamp: *stamp, outcome };
                process.lanes.receive(router, generation, answered, now);
            }
        }
        process.streams.remove(&router);
        process.lanes.closed(router, generation, now);
        // What was on its way from this router has not come, and nobody else has it.
        if bug != Some(Bug::PushesTrusted) {
            process.lost_pushes(time);
        }
        self.reopen_later(gateway, router);
        self.gateway_turn(gateway);
    }

    /// Answers and pushes have come on a stream.
    pub(crate) fn gateway_receives(
        &mut self,
        gateway: usize,
        conn: ConnId,
        replies: Vec<Reply>,
        pushes: Vec<Push>,
    ) {
        let (now, time) = (self.instant(), self.time());
        let Some(process) = self.gateway(gateway) else { return };
        let found = process.streams.iter_mut().find(|(_, stream)| stream.conn == conn);
        let Some((router, stream)) = found else { return };
        for reply in replies {
            if let Reply::Answered { slot, stamp, .. } = reply {
                stream.sent.remove(&(slot, stamp));
            }
            process.lanes.receive(*router, stream.generation, reply, now);
        }
        let router = *router;
        for session in pushes.iter().filter_map(Push::charged) {
            process.lanes.share_received(router, session);
        }
        pushes.into_iter().for_each(|push| process.pushed(push, time));
        self.gateway_turn(gateway);
    }

    /// Asks the routers for something.
    pub(crate) fn route(&mut self, gateway: usize, request: RoutingRequest) {
        let Some(process) = self.gateway(gateway) else { return };
        process.connections.routing.push(request);
        self.gateway_turn(gateway);
    }

    /// What there is to send leaves, what there is to hear is heard.
    pub(crate) fn gateway_turn(&mut self, gateway: usize) {
        let (bug, now) = (self.bug, self.time());
        let Some(host) = self.gateways.get_mut(gateway) else { return };
        let life = host.life;
        let Some(process) = &mut host.process else { return };
        for _ in 0..ROUNDS {
            if !process.turn(bug, now) {
                break;
            }
        }
        process.end_turn();
        let (mut sends, mut out) = (Vec::new(), Vec::new());
        for (router, stream) in &mut process.streams {
            while process.lanes.has_output(*router) {
                process.lanes.poll(*router, stream.generation, FRAME, &mut out);
                if bug == Some(Bug::ReplayOutOfOrder) {
                    confuse(&mut out);
                }
                let waited = out.iter().filter_map(|frame| match frame {
                    Outgoing::Publish(publication) if publication.acknowledge => {
                        Some((publication.slot, publication.stamp))
                    }
                    _ => None,
                });
                stream.sent.extend(waited);
                sends.push((stream.router, stream.conn, std::mem::take(&mut out)));
            }
        }
        let leaving = std::mem::take(&mut process.connections.leaving);
        let next = process.lanes.next_timeout();
        for (router, conn, frames) in sends {
            self.stream(Node::Gateway(gateway), Node::Router(router), conn, move |world| {
                world.router_receives(router, conn, frames);
            });
        }
        if let Some(next) = next {
            self.set_timer(gateway, life, self.micros(next));
        }
        self.send_to_store((Node::Gateway(gateway), life));
        self.leave(gateway, leaving);
    }

    /// What a turn has for clients and other gateways.
    fn leave(&mut self, gateway: usize, leaving: Leaving) {
        let node = Node::Gateway(gateway);
        let Leaving { output, closed, taken_over, published } = leaving;
        for (client, number, bytes) in output {
            self.stream(node, Node::Client(client), number, move |world| {
                world.client_receives(client, number, &bytes);
            });
        }
        for (client, number) in closed {
            self.stream(node, Node::Client(client), number, move |world| world.client_closed(client, number));
        }
        for (token, address) in taken_over {
            for other in 0..self.gateways.len() {
                self.datagram(node, Node::Gateway(other), move |world| {
                    let now = world.time();
                    let life = world.gateways.get(other).map_or(0, |host| host.life);
                    let unheard = world.unheard.contains(&(other, life, address.slot()));
                    let process = world.gateway(other).filter(|_| !unheard);
                    let process =
                        process.filter(|process| process.me.is_some_and(|me| me.0 == token.incarnation));
                    if let Some(process) = process {
                        process.taken_over(address, now);
                        world.gateway_turn(other);
                    }
                });
            }
        }
        for (publisher, number, connection, result) in published {
            self.published(publisher, number, connection, result);
        }
    }

    fn set_timer(&mut self, gateway: usize, life: u64, at: Micros) {
        let now = self.now;
        let Some(process) = self.gateway_of(gateway, life) else { return };
        if process.timer.is_some_and(|timer| timer <= at) {
            return;
        }
        process.timer = Some(at);
        self.after(at.saturating_sub(now), Node::Gateway(gateway), move |world| {
            let now = world.instant();
            let Some(process) = world.gateway_of(gateway, life) else { return };
            if process.timer == Some(at) {
                process.timer = None;
                process.lanes.handle_timeout(now);
                world.gateway_turn(gateway);
            }
        });
    }

    /// Streams break, which both ends notice in their own time.
    pub(crate) fn break_streams(&mut self, of: impl Fn(usize, usize) -> bool) {
        let mut broken = Vec::new();
        for (gateway, host) in self.gateways.iter().enumerate() {
            for stream in host.process.iter().flat_map(|process| process.streams.values()) {
                if of(gateway, stream.router) {
                    broken.push((gateway, stream.router, stream.conn));
                }
            }
        }
        for (gateway, router, conn) in broken {
            let (here, there) = (self.random.between(0, 200 * MILLI), self.random.between(0, 200 * MILLI));
            self.after(here, Node::Gateway(gateway), move |world| world.gateway_stream_over(gateway, conn));
            self.after(there, Node::Router(router), move |world| world.router_stream_over(router, conn));
        }
    }

    pub(crate) fn restless_gateways(&self, table: &RoutingTable) -> Option<String> {
        let routers = self.routers.len();
        for (index, host) in self.gateways.iter().enumerate() {
            let Some(process) = &host.process else { return Some(format!("gateway {index} is down")) };
            if process.me.is_none() || process.version != table.version || process.streams.len() != routers {
                return Some(format!("gateway {index} is not in service"));
            }
            if process.lanes.kept_bytes() > 0 || process.waits() {
                let (kept, pending) = (process.lanes.kept_bytes(), &process.pending);
                return Some(format!("gateway {index} keeps {kept} bytes and waits for {pending:?}"));
            }
        }
        None
    }
}

/// Swaps the first two messages of a replay.
fn confuse(frames: &mut [Outgoing]) {
    let mut replayed = frames.iter_mut().filter_map(|frame| match frame {
        Outgoing::Publish(publication) if publication.run > 1 => Some(publication),
        _ => None,
    });
    let Some(first) = replayed.next() else { return };
    if let Some(second) = replayed.find(|second| second.slot == first.slot) {
        let swap = |first: &mut Publication, second: &mut Publication| {
            std::mem::swap(&mut first.message, &mut second.message);
            std::mem::swap(&mut first.from, &mut second.from);
            std::mem::swap(&mut first.once, &mut second.once);
            std::mem::swap(&mut first.acknowledge, &mut second.acknowledge);
        };
        swap(first, second);
    }
}
