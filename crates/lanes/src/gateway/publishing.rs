//! The publishes of each slot, in order.

use std::collections::BTreeMap;
use std::time::Instant;

use fleethaven_fabric::RoutingEvent;
use fleethaven_fabric::membership::{Incarnation, RoutingTable};
use fleethaven_storage::{Error, Ticket};
use fleethaven_topics::{Depths, Slot, slot::slot};

use super::link::Link;
use super::slot_lane::{LinkId, Outstanding, Run, SlotLane};
use super::{Lanes, RETRY, SETTLE};
use crate::frame::{Outcome, Refusal};

impl Lanes {
    pub(super) fn publish(&mut self, item: Outstanding, table: &RoutingTable) {
        let slot = slot(&item.message.publisher.scope, &item.message.topic, &table.depths.now);
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
    pub(super) fn start(&mut self, slot: Slot, table: &RoutingTable) {
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
    pub(super) fn advance(&mut self, slot: Slot, now: Instant) {
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
    pub(super) fn settle(&mut self, slot: Slot, now: Instant) {
        if matches!(lane(&mut self.slots, slot).run, Run::Settling { .. }) {
            self.advance(slot, now);
        }
    }

    /// What was sent will not be answered any more.
    pub(super) fn void(&mut self, slot: Slot) {
        let mut dropped = Vec::new();
        self.kept -= lane(&mut self.slots, slot).void(&mut |item| dropped.push(item.ticket));
        self.drop_all(dropped);
    }

    pub(super) fn drop_all(&mut self, dropped: Vec<Option<Ticket>>) {
        self.dropped += dropped.len() as u64;
        for ticket in dropped.into_iter().flatten() {
            let lost = Error::Unavailable("a router was lost, and QoS 0 is not sent twice".to_owned());
            self.events.push(RoutingEvent::Published { ticket, matched: false, result: Err(lost) });
        }
    }

    pub(super) fn refused(
        &mut self,
        slot: Slot,
        from: LinkId,
        (run, stamp): (u32, u64),
        reason: Refusal,
        now: Instant,
    ) {
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

    pub(super) fn owner_changed(&mut self, slot: Slot, table: &RoutingTable, now: Instant) {
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

    pub(super) fn answer(&mut self, ticket: Option<Ticket>, outcome: Outcome) {
        let Some(ticket) = ticket else { return };
        self.events.push(match outcome {
            Outcome::Durable { matched } => RoutingEvent::Published { ticket, matched, result: Ok(()) },
            Outcome::Failed(error) => RoutingEvent::Published { ticket, matched: true, result: Err(error) },
        });
    }

    /// Other rules say which slots topics have: everything unanswered gets another lane, in order. What is answered was answered
    /// before: no owner lets go of a slot while it has anything of it.
    pub(super) fn publish_anew(&mut self, table: &RoutingTable) {
        let mut items = Vec::new();
        for slot in Slot::all() {
            self.void(slot);
            items.extend(lane(&mut self.slots, slot).take_all());
        }
        self.kept = 0;
        items.into_iter().for_each(|item| self.publish(item, table));
    }

    /// Other rules say where subscriptions are held. Routers are told anew what they have to hold, unless that was so `before`.
    pub(super) fn place_anew(&mut self, before: &Depths, table: &RoutingTable) {
        for session in self.sessions.values_mut() {
            let scope = session.scope;
            for (filter, placed) in &mut session.subscriptions {
                placed.places = table.depths.places(&scope, filter);
            }
        }
        for request in self.requests.values_mut() {
            let Some(attached) = self.sessions.get(&request.session) else { continue };
            for (filter, held) in &mut request.filters {
                *held = table.depths.places(&attached.scope, filter);
            }
        }
        if before.cover(&table.depths) {
            return;
        }
        let open: Vec<_> =
            self.links.iter().filter(|(_, link)| link.open).map(|(router, _)| *router).collect();
        open.into_iter().for_each(|router| self.announce(router, None));
    }
}

#[expect(clippy::indexing_slicing, reason = "there is a lane for each slot")]
pub(super) fn lane(slots: &mut [SlotLane], slot: Slot) -> &mut SlotLane {
    &mut slots[usize::from(slot.index())]
}

pub(super) fn enqueue(links: &mut BTreeMap<Incarnation, Link>, lane: &mut SlotLane, to: LinkId, slot: Slot) {
    if lane.queued != Some(to)
        && let Some(link) = links.get_mut(&to.0)
    {
        lane.queued = Some(to);
        link.ready.push_back(slot);
    }
}
