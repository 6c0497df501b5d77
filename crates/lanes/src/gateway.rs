//! A gateway core's side of its lanes to all routers.
//!
//! Publishes of one slot form one ordered lane (A1). They go to the slot's owner as they come; when the owner refuses them,
//! its stream ends or the slot changes hands, the lane stops, waits for the answers that may still come, and sends
//! everything unanswered again, in order and under the same stamps, before anything new. What is published at QoS 0 is not
//! sent twice: where it is unknown whether it was taken, it is dropped and counted.
//!
//! A subscription is told to the routers that must hold it: a pinned one to owner, next owner and standby of its slot, a
//! spread one to all. A router hears of a session with the first subscription that it must hold, and when its stream begins,
//! of all that concern it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleethaven_fabric::membership::{Incarnation, RoutingTable};
use fleethaven_fabric::routing::SharedDelivery;
use fleethaven_fabric::{RoutingEvent, RoutingRequest};
use fleethaven_storage::SessionId;
use fleethaven_topics::Slot;
use fleethaven_types::Scope;
use rustc_hash::FxHashMap;

use self::link::{Asked, Link};
use self::publishing::lane;
use self::requests::Request;
use self::sessions::Attached;
use self::slot_lane::{Run, SlotLane};
use crate::frame::{Control, Publication, Reply};

mod announcing;
mod link;
mod publishing;
mod requests;
mod sessions;
mod slot_lane;
mod slot_set;
mod subscribing;

/// How long a lane waits before it asks an owner again that has refused it.
const RETRY: Duration = Duration::from_millis(25);
/// How long the answers of an owner that is the owner no more are waited for.
const SETTLE: Duration = Duration::from_millis(300);
/// Sessions announced at a time, between publishes.
const ANNOUNCED_AT_ONCE: usize = 256;
/// Publishes of one slot sent at a time, before it is another slot's turn.
const BURST: usize = 64;

/// Bounds of a core's lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Bytes of publishes that are kept until they are answered; above, publishers are held back.
    pub window_bytes: usize,
    /// The same for one slot that nobody serves now; above, QoS 0 is dropped.
    pub stopped_slot_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { window_bytes: 16 << 20, stopped_slot_bytes: 1 << 20 }
    }
}

/// Something for a router.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// Anything but a publish.
    Control(Control),
    /// A publish.
    Publish(Publication),
}

/// The lanes of one gateway core, or of one service that publishes.
pub struct Lanes {
    options: Options,
    table: Option<Arc<RoutingTable>>,
    links: BTreeMap<Incarnation, Link>,
    /// By [`Slot::index`].
    slots: Vec<SlotLane>,
    sessions: FxHashMap<SessionId, Attached>,
    subscriptions: FxHashMap<Scope, u64>,
    requests: BTreeMap<u64, Request>,
    last_number: u64,
    events: Vec<RoutingEvent>,
    /// Shares of groups that wait for a router which can take them back; the credit of their members bounds them.
    returned: Vec<(SessionId, SharedDelivery, bool)>,
    /// What came before there was a table.
    early: Vec<RoutingRequest>,
    /// Bytes of publishes kept.
    kept: usize,
    dropped: u64,
    /// When lanes are to be looked at.
    timers: BTreeSet<(Instant, Slot)>,
}

impl Lanes {
    /// Lanes that go nowhere until there is a table.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            table: None,
            links: BTreeMap::new(),
            slots: Slot::all().map(|_| SlotLane::default()).collect(),
            sessions: FxHashMap::default(),
            subscriptions: FxHashMap::default(),
            requests: BTreeMap::new(),
            last_number: 0,
            events: Vec::new(),
            returned: Vec::new(),
            early: Vec::new(),
            kept: 0,
            dropped: 0,
            timers: BTreeSet::new(),
        }
    }

    /// Carries out requests in order; the vector is left empty with its capacity.
    pub fn submit(&mut self, requests: &mut Vec<RoutingRequest>) {
        let Some(table) = self.table.clone() else {
            self.kept += requests.iter().map(size_of_early).sum::<usize>();
            return self.early.append(requests);
        };
        for request in requests.drain(..) {
            self.handle(request, &table);
        }
    }

    /// Appends the answers that there are.
    pub fn drain(&mut self, events: &mut Vec<RoutingEvent>) {
        events.append(&mut self.events);
    }

    /// Whether so much is unanswered that publishers should be held back.
    pub fn is_congested(&self) -> bool {
        self.kept >= self.options.window_bytes
    }

    /// Whether something waits to be sent or answered, as far as there is a router for it.
    pub fn has_unsent(&self) -> bool {
        self.kept > 0 || self.links.values().any(Link::has_output)
    }

    /// Bytes of publishes that are kept until they are answered.
    pub fn kept_bytes(&self) -> usize {
        self.kept
    }

    /// Subscriptions of an account and region of clients on this core.
    pub fn subscription_count(&self, scope: Scope) -> u64 {
        self.subscriptions.get(&scope).copied().unwrap_or_default()
    }

    /// Publishes at QoS 0 that were dropped since the last call.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// The routers that streams should go to, and where they are.
    pub fn routers(&self) -> impl Iterator<Item = (Incarnation, &str)> {
        self.links.iter().map(|(router, link)| (*router, link.address.as_str()))
    }

    /// Whether there is something to [`poll`](Self::poll) for a router.
    pub fn has_output(&self, router: Incarnation) -> bool {
        self.links.get(&router).is_some_and(Link::has_output)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, slot)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, slot));
            self.advance(slot, now);
        }
    }

    /// There is a newer table.
    pub fn set_table(&mut self, table: Arc<RoutingTable>, now: Instant) {
        let previous = self.table.replace(table.clone());
        if previous.as_ref().is_some_and(|previous| previous.version >= table.version) {
            self.table = previous;
            return;
        }
        if let Some(before) = previous.as_ref().map(|previous| previous.depths.clone())
            && before != table.depths
        {
            self.place_anew(&before, &table);
            if before.now != table.depths.now {
                self.publish_anew(&table);
            }
        }
        self.set_links(&table, previous.as_deref(), now);
        for slot in Slot::all() {
            self.owner_changed(slot, &table, now);
        }
        let early = std::mem::take(&mut self.early);
        self.kept -= early.iter().map(size_of_early).sum::<usize>();
        for request in early {
            self.handle(request, &table);
        }
        self.pursue_all();
        self.give_back(&table);
    }

    /// A stream to a router is open; returns its number, which [`poll`](Self::poll), [`receive`](Self::receive) and
    /// [`closed`](Self::closed) are told. `None` when the router is gone.
    pub fn opened(&mut self, router: Incarnation, now: Instant) -> Option<u64> {
        self.closed(router, self.links.get(&router)?.generation, now);
        let link = self.links.get_mut(&router)?;
        link.generation += 1;
        link.open = true;
        let generation = link.generation;
        self.announce(router, None);
        self.pursue_all();
        if let Some(table) = self.table.clone() {
            self.give_back(&table);
        }
        for slot in Slot::all() {
            self.advance(slot, now);
        }
        Some(generation)
    }

    /// A stream to a router is over.
    pub fn closed(&mut self, router: Incarnation, generation: u64, now: Instant) {
        let Some(link) =
            self.links.get_mut(&router).filter(|link| link.open && link.generation == generation)
        else {
            return;
        };
        link.close();
        for slot in Slot::all() {
            let lane = lane(&mut self.slots, slot);
            if lane.is_with((router, generation)) {
                self.void(slot);
                self.advance(slot, now);
            }
        }
        self.pursue_all();
    }

    /// What is to be sent to a router next, in order: about `bytes` of publishes at most.
    pub fn poll(&mut self, router: Incarnation, generation: u64, bytes: usize, out: &mut Vec<Outgoing>) {
        let Some(link) =
            self.links.get_mut(&router).filter(|link| link.open && link.generation == generation)
        else {
            return;
        };
        out.extend(link.control.drain(..).map(Outgoing::Control));
        self.poll_announcement(router);
        let Some(link) = self.links.get_mut(&router) else { return };
        out.extend(link.control.drain(..).map(Outgoing::Control));
        let mut left = bytes;
        while let Some(slot) = link.ready.pop_front() {
            let lane = lane(&mut self.slots, slot);
            let to = (router, generation);
            // It may have moved on to another stream, and even come back, since it was put here.
            if lane.queued.take_if(|queued| *queued == to).is_none() {
                continue;
            }
            let Run::Sending { link: of, epoch } = lane.run else { continue };
            if of != to {
                continue;
            }
            let run = lane.number;
            for _ in 0..BURST {
                let Some(next) = lane.next() else { break };
                let item = next.item;
                left = left.saturating_sub(item.size());
                out.push(Outgoing::Publish(Publication {
                    slot,
                    epoch,
                    run,
                    stamp: next.stamp,
                    skipped: next.skipped,
                    acknowledge: item.is_acknowledged(),
                    message: item.message.clone(),
                    from: item.from,
                    once: item.once,
                }));
                if left == 0 {
                    break;
                }
            }
            if lane.has_unsent() {
                lane.queued = Some(to);
                link.ready.push_back(slot);
            }
            if left == 0 {
                break;
            }
        }
    }

    /// A share at QoS ≥ 1 has arrived from a router: it had cost its member credit there.
    pub fn share_received(&mut self, router: Incarnation, session: SessionId) {
        if let Some(received) = self.links.get_mut(&router).and_then(|link| link.attached.get_mut(&session)) {
            *received += 1;
        }
        if let Some(attached) = self.sessions.get(&session) {
            // What is left is told with the next change; that there is less is not what was asked to be told.
            if attached.credit.adjust(-1) {
                attached.credit.want();
            }
        }
    }

    /// A router has answered on a stream.
    pub fn receive(&mut self, router: Incarnation, generation: u64, reply: Reply, now: Instant) {
        if !self.links.get(&router).is_some_and(|link| link.open && link.generation == generation) {
            return;
        }
        let from = (router, generation);
        match reply {
            Reply::Answered { slot, stamp, outcome } => {
                let lane = lane(&mut self.slots, slot);
                if lane.is_with(from)
                    && let Some(item) = lane.answered(stamp)
                {
                    self.kept -= item.size();
                    self.answer(item.ticket, outcome);
                    self.settle(slot, now);
                }
            }
            Reply::Taken { slot, stamp } => {
                let lane = lane(&mut self.slots, slot);
                if lane.is_with(from) {
                    self.kept -= lane.taken(stamp);
                    self.settle(slot, now);
                }
            }
            Reply::Refused { slot, run, from_stamp, reason, .. } => {
                self.refused(slot, from, (run, from_stamp), reason, now);
            }
            Reply::Subscribed { ticket, new, over_quota } => {
                let Some(link) = self.links.get_mut(&router) else { return };
                let Some(Asked { request, places, version, again }) = link.asked.remove(&ticket) else {
                    return;
                };
                if let Some(asked) = self.requests.get_mut(&request) {
                    asked.subscribed((&places, again), &new, &over_quota);
                    asked.confirmed.push((router, version));
                    self.pursue(request);
                }
            }
            Reply::Unsubscribed { ticket, existed } => {
                let Some(link) = self.links.get_mut(&router) else { return };
                let Some(Asked { request, places, version, .. }) = link.asked.remove(&ticket) else { return };
                if let Some(asked) = self.requests.get_mut(&request) {
                    asked.unsubscribed(&places, &existed);
                    asked.confirmed.push((router, version));
                    self.pursue(request);
                }
            }
        }
    }
}

fn size_of_early(request: &RoutingRequest) -> usize {
    match request {
        RoutingRequest::Publish { message, .. } => message.topic.len() + message.payload.len(),
        _ => 0,
    }
}
