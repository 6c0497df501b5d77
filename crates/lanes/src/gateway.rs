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
use fleethaven_storage::{Error, SessionId, Subscription, Ticket};
use fleethaven_topics::{DepthRules, Placement, Slot, slot::slot};
use fleethaven_types::{Scope, Utf8Bytes};
use rustc_hash::FxHashMap;

use self::link::{Announcement, Asked, Link};
use self::requests::{Request, What};
use self::sessions::{Attached, placement};
use self::slot_lane::{LinkId, Outstanding, Run, SlotLane};
use self::slot_set::SlotSet;
use crate::frame::{Control, Outcome, Publication, Refusal, Reply};

mod link;
mod requests;
mod sessions;
mod slot_lane;
mod slot_set;

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
        if previous.is_some_and(|previous| previous.depth != table.depth) {
            self.place_anew(&table);
        }
        self.set_links(&table, now);
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
                let Some(Asked { request, places }) = link.asked.remove(&ticket) else { return };
                if let Some(asked) = self.requests.get_mut(&request) {
                    asked.subscribed(&places, &new, &over_quota);
                    asked.confirmed.push(router);
                    self.pursue(request);
                }
            }
            Reply::Unsubscribed { ticket, existed } => {
                let Some(link) = self.links.get_mut(&router) else { return };
                let Some(Asked { request, places }) = link.asked.remove(&ticket) else { return };
                if let Some(asked) = self.requests.get_mut(&request) {
                    asked.unsubscribed(&places, &existed);
                    asked.confirmed.push(router);
                    self.pursue(request);
                }
            }
        }
    }
}

/// Publishes.
impl Lanes {
    fn publish(&mut self, item: Outstanding, table: &RoutingTable) {
        let slot = slot(&item.message.publisher.scope, &item.message.topic, &table.depth);
        let lane = lane(&mut self.slots, slot);
        let stopped = !matches!(lane.run, Run::Sending { .. });
        if stopped && !item.is_acknowledged() && lane.bytes >= self.options.stopped_slot_bytes {
            self.dropped += 1;
            return;
        }
        self.kept += item.size();
        lane.push(item);
        match lane.run {
            Run::Stopped => self.start(slot, table),
            Run::Sending { link, .. } => enqueue(&mut self.links, lane, link, slot),
            Run::Settling { .. } => {}
        }
    }

    /// Starts the lane's next run, if the owner can be reached.
    fn start(&mut self, slot: Slot, table: &RoutingTable) {
        let owner = table.slot(slot);
        let Some(router) = owner.owner else { return };
        let Some(link) = self.links.get(&router).filter(|link| link.open) else { return };
        let lane = lane(&mut self.slots, slot);
        if lane.is_empty() || lane.run != Run::Stopped {
            return;
        }
        let to = (router, link.generation);
        lane.start(to, owner.epoch);
        enqueue(&mut self.links, lane, to, slot);
    }

    /// Goes on with a lane that may have come to rest.
    fn advance(&mut self, slot: Slot, now: Instant) {
        let Some(table) = self.table.clone() else { return };
        let lane = lane(&mut self.slots, slot);
        if let Run::Settling { until, retry_at, .. } = lane.run {
            let over = until.is_some_and(|until| until <= now);
            if !lane.is_settled() && !over {
                return;
            }
            if retry_at > now {
                self.timers.insert((retry_at, slot));
                return;
            }
            self.void(slot);
        }
        self.start(slot, &table);
    }

    /// An answer has come: the lane may have waited for it.
    fn settle(&mut self, slot: Slot, now: Instant) {
        if matches!(lane(&mut self.slots, slot).run, Run::Settling { .. }) {
            self.advance(slot, now);
        }
    }

    /// What was sent will not be answered any more.
    fn void(&mut self, slot: Slot) {
        let mut dropped = Vec::new();
        self.kept -= lane(&mut self.slots, slot).void(&mut |item| dropped.push(item.ticket));
        self.drop_all(dropped);
    }

    fn drop_all(&mut self, dropped: Vec<Option<Ticket>>) {
        self.dropped += dropped.len() as u64;
        for ticket in dropped.into_iter().flatten() {
            let lost = Error::Unavailable("a router was lost, and QoS 0 is not sent twice".to_owned());
            self.events.push(RoutingEvent::Published { ticket, matched: false, result: Err(lost) });
        }
    }

    fn refused(&mut self, slot: Slot, from: LinkId, (run, stamp): (u32, u64), reason: Refusal, now: Instant) {
        let lane = lane(&mut self.slots, slot);
        if !lane.is_with(from) || lane.number != run {
            return;
        }
        let unknown = reason == Refusal::Fenced;
        if !unknown {
            self.kept -= lane.taken(stamp.saturating_sub(1));
        }
        let mut dropped = Vec::new();
        let retry_at = now + if unknown { SETTLE } else { RETRY };
        self.kept -= lane.refused(from, stamp, unknown, retry_at, &mut |item| dropped.push(item.ticket));
        self.drop_all(dropped);
        self.timers.insert((retry_at, slot));
    }

    fn owner_changed(&mut self, slot: Slot, table: &RoutingTable, now: Instant) {
        let owner = table.slot(slot);
        let lane = lane(&mut self.slots, slot);
        match lane.run {
            Run::Sending { link, epoch } if (Some(link.0), epoch) != (owner.owner, owner.epoch) => {
                let until = now + SETTLE;
                lane.run = Run::Settling { link, until: Some(until), retry_at: now };
                self.timers.insert((until, slot));
            }
            Run::Settling { link, until, .. } if Some(link.0) != owner.owner => {
                let until = until.unwrap_or(now + SETTLE);
                lane.run = Run::Settling { link, until: Some(until), retry_at: now };
                self.timers.insert((until, slot));
            }
            Run::Stopped | Run::Settling { .. } => {}
            Run::Sending { .. } => return,
        }
        self.advance(slot, now);
    }

    fn answer(&mut self, ticket: Option<Ticket>, outcome: Outcome) {
        let Some(ticket) = ticket else { return };
        self.events.push(match outcome {
            Outcome::Durable { matched } => RoutingEvent::Published { ticket, matched, result: Ok(()) },
            Outcome::Failed(error) => RoutingEvent::Published { ticket, matched: true, result: Err(error) },
        });
    }

    /// Another rule says which slots topics have: everything unanswered gets another lane, in order, and every router is
    /// told anew what it has to hold.
    fn place_anew(&mut self, table: &RoutingTable) {
        let mut items = Vec::new();
        for slot in Slot::all() {
            self.void(slot);
            items.extend(lane(&mut self.slots, slot).take_all());
        }
        self.kept = 0;
        for session in self.sessions.values_mut() {
            let scope = session.scope;
            for (filter, placed) in &mut session.subscriptions {
                placed.placement = placement(&scope, filter, &table.depth);
            }
        }
        for request in self.requests.values_mut() {
            let Some(attached) = self.sessions.get(&request.session) else { continue };
            for (filter, place) in &mut request.filters {
                *place = placement(&attached.scope, filter, &table.depth);
            }
        }
        let open: Vec<_> =
            self.links.iter().filter(|(_, link)| link.open).map(|(router, _)| *router).collect();
        open.into_iter().for_each(|router| self.announce(router, None));
        items.into_iter().for_each(|item| self.publish(item, table));
    }
}

/// Sessions and subscriptions.
impl Lanes {
    fn handle(&mut self, request: RoutingRequest, table: &RoutingTable) {
        match request {
            RoutingRequest::Publish { ticket, message, from, once, .. } => {
                self.publish(Outstanding { ticket, message, from, once }, table);
            }
            RoutingRequest::Attach { session, scope, persistent, address, credit } => {
                let previous = self.sessions.remove(&session);
                let subscriptions = previous.map(|previous| previous.subscriptions).unwrap_or_default();
                let attached = Attached { scope, persistent, address, credit, subscriptions };
                for link in self.links.values_mut() {
                    if let Some(received) = link.attached.get_mut(&session) {
                        *received = 0;
                        link.control.push_back(attach(session, &attached));
                    }
                }
                self.sessions.insert(session, attached);
            }
            RoutingRequest::Detach { session, address, persistent } => {
                if self.sessions.get(&session).is_none_or(|attached| attached.address != address) {
                    return;
                }
                self.remove(session);
                for link in self.links.values_mut() {
                    if link.attached.remove(&session).is_some() {
                        link.control.push_back(Control::Detach { session, address, persistent });
                    }
                }
            }
            RoutingRequest::Forget { session } => {
                self.remove(session);
                self.tell_all(|link| {
                    link.attached.remove(&session);
                    Control::Forget { session }
                });
            }
            RoutingRequest::Ready { session, returned } => self.ready(session, returned),
            RoutingRequest::Return { session, shares, refused } => {
                self.returned.extend(shares.into_iter().map(|share| (session, share, refused)));
                self.give_back(table);
            }
            RoutingRequest::Subscribe { ticket, session, subscriptions, .. } => {
                self.subscribe(ticket, session, subscriptions, &table.depth);
            }
            RoutingRequest::Unsubscribe { ticket, session, filters } => {
                self.unsubscribe(ticket, session, filters, &table.depth);
            }
        }
    }

    /// Hands shares back to the owners of their topics' slots, as far as these can be reached.
    fn give_back(&mut self, table: &RoutingTable) {
        for (session, share, refused) in std::mem::take(&mut self.returned) {
            let message = &share.message;
            let owner = table.slot(slot(&message.publisher.scope, &message.topic, &table.depth)).owner;
            let link = owner.and_then(|router| self.links.get_mut(&router)).filter(|link| link.open);
            let Some(link) = link else {
                self.returned.push((session, share, refused));
                continue;
            };
            match link.control.back_mut() {
                // Those that come together are put back in their order.
                Some(Control::Return { session: of, shares, refused: too })
                    if (*of, *too) == (session, refused) =>
                {
                    shares.push(share);
                }
                _ => link.control.push_back(Control::Return { session, shares: vec![share], refused }),
            }
        }
    }

    fn remove(&mut self, session: SessionId) {
        if let Some(attached) = self.sessions.remove(&session)
            && let Some(count) = self.subscriptions.get_mut(&attached.scope)
        {
            *count = count.saturating_sub(attached.subscriptions.len() as u64);
        }
    }

    fn tell_all(&mut self, control: impl Fn(&mut Link) -> Control) {
        for link in self.links.values_mut().filter(|link| link.open) {
            let control = control(link);
            link.control.push_back(control);
        }
    }

    fn ready(&mut self, session: SessionId, returned: bool) {
        let told = |link: &Link| link.open && link.attached.contains_key(&session);
        let count = self.links.values().filter(|link| told(link)).count() as i32;
        let room = self.sessions.get(&session).map(Attached::room);
        for link in self.links.values_mut().filter(|link| told(link) || (link.open && returned)) {
            let received = link.attached.get(&session).copied();
            let share = room.filter(|_| received.is_some()).map(|room| room.div_euclid(count.max(1)));
            let received = received.unwrap_or_default();
            link.control.push_back(Control::Ready { session, returned, room: share, received });
        }
    }

    fn subscribe(
        &mut self,
        ticket: Ticket,
        session: SessionId,
        subscriptions: Vec<Subscription>,
        depth: &DepthRules,
    ) {
        let mut filters = Vec::with_capacity(subscriptions.len());
        let mut new = Vec::with_capacity(subscriptions.len());
        let attached = &mut self.sessions.get_mut(&session);
        for subscription in &subscriptions {
            let filter = subscription.filter.clone();
            // A session that is gone by now is offline: whoever knows it is told.
            let Some(attached) = attached else {
                filters.push((filter, Placement::Spread));
                new.push(true);
                continue;
            };
            filters.push((filter, placement(&attached.scope, &subscription.filter, depth)));
            let held = attached.subscribe(subscription, depth);
            new.push(!held);
            *self.subscriptions.entry(attached.scope).or_default() += u64::from(!held);
        }
        let over_quota = vec![false; new.len()];
        let what = What::Subscribe { subscriptions, new, over_quota };
        self.ask(Request { ticket, session, filters, what, confirmed: Vec::new(), asked: Vec::new() });
    }

    fn unsubscribe(
        &mut self,
        ticket: Ticket,
        session: SessionId,
        filters: Vec<Utf8Bytes>,
        depth: &DepthRules,
    ) {
        let existed = self.withdraw(session, &filters);
        let attached = self.sessions.get(&session);
        let place = |filter: Utf8Bytes| {
            let placement =
                attached.map_or(Placement::Spread, |attached| placement(&attached.scope, &filter, depth));
            (filter, placement)
        };
        let filters = filters.into_iter().map(place).collect();
        let what = What::Unsubscribe { existed };
        self.ask(Request { ticket, session, filters, what, confirmed: Vec::new(), asked: Vec::new() });
    }

    /// Takes subscriptions out of the session's own record.
    fn withdraw(&mut self, session: SessionId, filters: &[Utf8Bytes]) -> Vec<bool> {
        let Some(attached) = self.sessions.get_mut(&session) else { return vec![false; filters.len()] };
        let removed = filters.iter().map(|filter| attached.subscriptions.remove(filter).is_some());
        let removed: Vec<bool> = removed.collect();
        if let Some(count) = self.subscriptions.get_mut(&attached.scope) {
            *count = count.saturating_sub(removed.iter().filter(|removed| **removed).count() as u64);
        }
        removed
    }

    fn ask(&mut self, request: Request) {
        self.last_number += 1;
        let number = self.last_number;
        self.requests.insert(number, request);
        self.pursue(number);
    }

    fn pursue_all(&mut self) {
        let all: Vec<u64> = self.requests.keys().copied().collect();
        all.into_iter().for_each(|request| self.pursue(request));
    }

    /// Asks the routers that are still to be asked, and answers when all have done their part that must.
    fn pursue(&mut self, number: u64) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        let Some(table) = self.table.as_deref() else { return };
        let mut waits = request.filters.iter().any(|(_, placement)| !has_owner(table, *placement));
        let subscribes = matches!(request.what, What::Subscribe { .. });
        for (router, link) in &mut self.links {
            if request.confirmed.contains(router) {
                continue;
            }
            // What is removed is removed wherever it may be, also where it need not be any more.
            let removes = !subscribes && link.attached.contains_key(&request.session);
            let part = request.part(|placement| removes || link.must_hold(placement));
            if part.is_empty() {
                continue;
            }
            // A router that will serve, and was not told while it loaded, would know nothing of what is promised now.
            waits = true;
            if !link.open {
                continue;
            }
            let stream = (*router, link.generation);
            if request.asked.contains(&stream) {
                continue;
            }
            request.asked.push(stream);
            self.last_number += 1;
            let ticket = self.last_number;
            let attached = self.sessions.get(&request.session).filter(|_| subscribes);
            let unknown = attached.filter(|_| !link.attached.contains_key(&request.session));
            let places = match unknown {
                // With the first of its subscriptions the router is told of the session, and of all that it must hold.
                Some(attached) => {
                    let told = introduce(link, request.session, attached, ticket);
                    let place = |filter: &Utf8Bytes| told.iter().position(|told| told == filter);
                    let found = part.iter().filter_map(|index| {
                        let (filter, _) = request.filters.get(*index)?;
                        Some((*index, place(filter)?))
                    });
                    found.collect()
                }
                None => {
                    link.control.push_back(request.control(ticket, &part));
                    part.into_iter().enumerate().map(|(place, index)| (index, place)).collect()
                }
            };
            link.asked.insert(ticket, Asked { request: number, places });
        }
        if !waits {
            self.complete(number);
        }
    }

    fn complete(&mut self, number: u64) {
        let Some(request) = self.requests.remove(&number) else { return };
        let over = request.over_quota();
        if !over.is_empty() {
            let session = request.session;
            self.withdraw(session, &over);
            for link in self.links.values_mut().filter(|link| link.attached.contains_key(&session)) {
                // Nobody waits for the answer.
                link.control.push_back(Control::Unsubscribe { ticket: 0, session, filters: over.clone() });
            }
        }
        self.events.push(request.event());
    }
}

/// Links.
impl Lanes {
    fn set_links(&mut self, table: &RoutingTable, now: Instant) {
        let gone = |router: &Incarnation| !table.routers().any(|member| member.incarnation == *router);
        let gone: Vec<_> = self.links.iter().filter(|(router, _)| gone(router)).collect();
        let gone: Vec<_> = gone.into_iter().map(|(router, link)| (*router, link.generation)).collect();
        for (router, generation) in gone {
            self.closed(router, generation, now);
            self.links.remove(&router);
        }
        let mut holds = BTreeMap::<Incarnation, SlotSet>::new();
        for slot in Slot::all() {
            let at = table.slot(slot);
            for router in [at.owner, at.next, at.standby].into_iter().flatten() {
                holds.entry(router).or_default().insert(slot);
            }
        }
        let routers: Vec<_> = table.routers().map(|member| (member.incarnation, &member.address)).collect();
        for (router, address) in routers {
            let link = self.links.entry(router).or_default();
            link.address.clone_from(address);
            let holds = holds.get(&router).copied().unwrap_or_default();
            let gained = holds.without(&link.holds);
            link.holds = holds;
            if link.open {
                self.announce(router, Some(gained));
            }
        }
    }

    /// Tells a router of what it has to hold from now on; `None`: of everything.
    fn announce(&mut self, router: Incarnation, gained: Option<SlotSet>) {
        let Some(link) = self.links.get_mut(&router) else { return };
        let gained = match (link.announcement.take(), gained) {
            (Some(Announcement { gained: Some(mut before), .. }), Some(gained)) => {
                before.extend(&gained);
                Some(before)
            }
            (Some(_), _) => None,
            (None, gained) => gained,
        };
        let nothing = gained.as_ref().is_some_and(SlotSet::is_empty);
        let sessions = if nothing { Vec::new() } else { self.sessions.keys().copied().collect() };
        link.announcement = Some(Announcement { sessions, gained });
    }

    fn poll_announcement(&mut self, router: Incarnation) {
        let Some(link) = self.links.get_mut(&router) else { return };
        let Some(mut announcement) = link.announcement.take() else { return };
        for _ in 0..ANNOUNCED_AT_ONCE {
            let Some(session) = announcement.sessions.pop() else { break };
            let Some(attached) = self.sessions.get(&session) else { continue };
            let concerns = |placement: Placement| match (&announcement.gained, placement) {
                (None, placement) => link.must_hold(placement),
                (Some(gained), Placement::Pinned(slot)) => gained.contains(slot),
                (Some(_), Placement::Spread) => false,
            };
            let wanted = attached.subscriptions.values().filter(|placed| concerns(placed.placement));
            let subscriptions: Vec<_> = wanted.map(|placed| placed.subscription.clone()).collect();
            if subscriptions.is_empty() {
                continue;
            }
            if link.attached.contains_key(&session) {
                // Nobody waits for the answer.
                link.control.push_back(Control::Subscribe {
                    ticket: 0,
                    session,
                    subscriptions,
                    exact: false,
                });
            } else {
                introduce(link, session, attached, 0);
            }
        }
        if announcement.sessions.is_empty() {
            let version = self.table.as_ref().map_or(0, |table| table.version);
            link.control.push_back(Control::Level { version });
        } else {
            link.announcement = Some(announcement);
        }
    }
}

fn attach(session: SessionId, attached: &Attached) -> Control {
    let Attached { scope, persistent, address, .. } = attached;
    Control::Attach {
        session,
        scope: *scope,
        persistent: *persistent,
        address: *address,
        room: attached.room(),
    }
}

/// Tells a router of a session and all its subscriptions that it must hold; returns their filters in the order told.
fn introduce(link: &mut Link, session: SessionId, attached: &Attached, ticket: u64) -> Vec<Utf8Bytes> {
    let wanted = attached.subscriptions.values().filter(|placed| link.must_hold(placed.placement));
    let subscriptions: Vec<_> = wanted.map(|placed| placed.subscription.clone()).collect();
    let filters = subscriptions.iter().map(|subscription| subscription.filter.clone()).collect();
    link.control.push_back(attach(session, attached));
    link.control.push_back(Control::Subscribe { ticket, session, subscriptions, exact: true });
    link.attached.insert(session, 0);
    filters
}

/// Whether there is somebody who can be told of such a subscription.
fn has_owner(table: &RoutingTable, placement: Placement) -> bool {
    match placement {
        Placement::Pinned(slot) => table.slot(slot).owner.is_some(),
        Placement::Spread => true,
    }
}

fn size_of_early(request: &RoutingRequest) -> usize {
    match request {
        RoutingRequest::Publish { message, .. } => message.topic.len() + message.payload.len(),
        _ => 0,
    }
}

#[expect(clippy::indexing_slicing, reason = "there is a lane for each slot")]
fn lane(slots: &mut [SlotLane], slot: Slot) -> &mut SlotLane {
    &mut slots[usize::from(slot.index())]
}

fn enqueue(links: &mut BTreeMap<Incarnation, Link>, lane: &mut SlotLane, to: LinkId, slot: Slot) {
    if lane.queued != Some(to)
        && let Some(link) = links.get_mut(&to.0)
    {
        lane.queued = Some(to);
        link.ready.push_back(slot);
    }
}
