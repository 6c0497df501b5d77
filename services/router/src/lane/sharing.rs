//! Shared subscriptions: one member of each matching group gets a message, and what nobody can take now waits.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleethaven_fabric::RoutingEvent;
use fleethaven_fabric::delivery::{Address, Push};
use fleethaven_fabric::routing::SharedDelivery;
use fleethaven_storage::{
    Append, Appended, ClaimedShares, DurablePublish, EntryId, Error, GroupId, Held, OpenGroup, Request,
    RetainedChange, SessionId, Share, Ticket,
};
use fleethaven_types::{Message, QoS};
use rustc_hash::FxHashMap;

use super::{Lane, NOBODY};
use crate::group::{Backlog, Choice, Group, LiveMember, Wanted};
use crate::plan::GroupPlan;
use crate::router::Router;
use crate::staged::Staged;

/// Entries and bytes claimed from a group's queue at a time.
const CLAIM: (usize, usize) = (256, 1 << 20);
/// Entries asked for where none are known of.
const LOOK: usize = 16;
/// Most held entries that are compared at a time, the oldest.
const HELD: usize = 4096;
/// How often paced members may have more.
const PACE: Duration = Duration::from_secs(1);

/// An answer to SUBSCRIBE that waits until the queues of its groups are there.
pub(super) struct Opening {
    groups: Vec<(Ticket, Arc<Group>)>,
    event: RoutingEvent,
}

/// A message whose group's queue was not there any more when it came to the store. Its publisher waits.
pub(super) struct Homeless {
    ticket: Ticket,
    message: Arc<Message>,
    groups: Vec<Arc<Group>>,
}

/// Where a group's share of one message goes.
pub(super) enum Placement {
    /// A queue in the store, a member's or the group's.
    Queue(Append),
    /// To a member that has no queue, or gets it at QoS 0.
    Push { core: u16, push: Push },
    /// All members are busy: it waits in memory.
    Wait(Arc<Group>),
    /// Nobody is there, and QoS 0 does not wait.
    Dropped,
}

/// What the store's answer to a publish decides on, beside its queues.
#[derive(Default)]
pub(super) struct Withheld {
    /// Shares that nobody may get before the store has made sure that their message is published for the first time.
    pub(super) placements: Vec<Placement>,
    /// Members that were chosen, also those whose queues get it.
    pub(super) charged: Vec<SessionId>,
    /// A share that goes from one queue to another.
    pub(super) moving: Option<SharedDelivery>,
}

/// Chooses for one publish and one group. A member that gets it has less credit from now on.
pub(super) fn place(router: &Router, plan: &GroupPlan, message: &Arc<Message>) -> Placement {
    let GroupPlan { group, live } = plan;
    let wanted = Wanted { qos: message.qos, share: None, pace: None };
    if message.qos == QoS::AtMostOnce {
        return match group.choose(live, &wanted) {
            Choice::Member(member) => Placement::push(member, message.clone(), group.share()),
            Choice::Busy | Choice::Nobody => {
                router.metrics.shared_dropped.inc();
                Placement::Dropped
            }
        };
    }
    let queued_up = group.has_backlog() && router.options.behaviour.share_drain_rate.is_none();
    let choice = if queued_up { Choice::Busy } else { group.choose(live, &wanted) };
    let queue = group.queue.get();
    match choice {
        Choice::Member(member) if member.qos(message.qos) == QoS::AtMostOnce => {
            Placement::push(member, message.clone(), group.share())
        }
        // Without a queue of the group, which is being made, the share is its member's for good.
        Choice::Member(member) if member.persistent || queue.is_some() => {
            Placement::Queue(member.append(message, queue.map(Share::of)))
        }
        Choice::Member(member) => Placement::push(member, message.clone(), group.share()),
        Choice::Busy | Choice::Nobody => match queue {
            Some(queue) => Placement::Queue(nobodys(message, Share::of(queue))),
            None => Placement::Wait(group.clone()),
        },
    }
}

/// Whether one of these groups has a queue in the store, or will have, that this router of several does not know: another makes
/// it.
pub(super) fn await_queues(router: &Router, plans: &[GroupPlan]) -> bool {
    let awaits = |group: &Group| group.queue.get().is_none() && group.is_durable();
    !plans.is_empty() && router.homes.get().is_some() && plans.iter().any(|plan| awaits(&plan.group))
}

impl Placement {
    fn push(member: &LiveMember, message: Arc<Message>, share: Share) -> Self {
        Self::Push { core: member.address.core(), push: pushed(member, message, share, None) }
    }

    /// The member that it cost credit.
    pub(super) fn charged(&self) -> Option<SessionId> {
        let (session, qos) = match self {
            Self::Queue(append) => (append.session, append.qos),
            Self::Push { push: Push::Shared { session, qos, .. }, .. } => (*session, *qos),
            _ => return None,
        };
        (session != SessionId::NOBODY && qos != QoS::AtMostOnce).then_some(session)
    }
}

/// Keeps a message in memory until a member has room; `false` when it is dropped.
fn wait(router: &Router, group: &Group, message: &Arc<Message>) -> bool {
    let mut backlog = group.backlog.lock();
    let delivery = SharedDelivery { message: message.clone(), share: group.share(), held: None };
    let kept = backlog.push_new(delivery, group.bounds());
    if !kept {
        router.metrics.shared_overflows.inc();
    }
    group.note(&backlog);
    kept
}

/// A share in the group's queue that no member could take.
fn nobodys(message: &Message, share: Share) -> Append {
    let (session, identifiers) = (SessionId::NOBODY, Vec::new());
    Append { session, qos: message.qos, retain: false, identifiers, share: Some(share) }
}

/// The push of a share to a member that has no queue, or gets it at QoS 0.
fn pushed(member: &LiveMember, message: Arc<Message>, share: Share, held: Option<EntryId>) -> Push {
    Push::Shared {
        address: member.address,
        session: member.subscriber.session,
        qos: member.qos(message.qos),
        retain: member.retain(&message),
        identifiers: member.identifiers(),
        share,
        held,
        message,
    }
}

fn push(
    staged: &mut Staged,
    member: &LiveMember,
    message: Arc<Message>,
    share: Share,
    held: Option<EntryId>,
) {
    staged.push(member.address.core(), pushed(member, message, share, held));
}

impl Group {
    /// Messages and bytes that wait in it.
    fn bounds(&self) -> (u64, u64) {
        let limits = &self.account.limits;
        (limits.share_queued_messages, limits.share_queued_bytes)
    }

    /// Asks for its queue.
    pub(crate) fn open(&self, ticket: Ticket) -> OpenGroup {
        OpenGroup {
            ticket,
            scope: self.scope,
            key: self.key(),
            bounds: self.bounds(),
            retention_secs: self.account.limits.session_expiry_max,
        }
    }
}

impl Lane {
    /// Hands out the shares of a message that no queue holds.
    pub(super) fn share(&mut self, message: &Arc<Message>, placements: Vec<Placement>) {
        for placement in placements {
            match placement {
                Placement::Push { core, push } => self.staged.push(core, push),
                Placement::Wait(group) => {
                    if wait(&self.router, &group, message) {
                        self.dispatch(&group);
                    }
                }
                Placement::Queue(_) | Placement::Dropped => {}
            }
        }
    }

    /// Keeps something until the store has answered for the message.
    pub(super) fn withhold(&mut self, message: &Arc<Message>, withheld: Withheld) {
        self.withheld.entry(place_of(message)).or_default().push_back(withheld);
    }

    /// What was withheld of a message that the store has answered for.
    pub(super) fn take_withheld(&mut self, message: &Arc<Message>) -> Option<Withheld> {
        if self.withheld.is_empty() {
            return None;
        }
        let Entry::Occupied(mut kept) = self.withheld.entry(place_of(message)) else { return None };
        let withheld = kept.get_mut().pop_front();
        if kept.get().is_empty() {
            kept.remove();
        }
        withheld
    }

    /// The store has refused the message: its members have their credit back, and a share stays where it was.
    pub(super) fn give_up(&mut self, withheld: Withheld) {
        let Withheld { charged, moving, .. } = withheld;
        if let Some(delivery) = moving
            && let Some(group) = self.router.group(delivery.share.group)
        {
            let mut backlog = group.backlog.lock();
            backlog.push_front(delivery);
            group.note(&backlog);
        }
        for member in charged {
            self.router.give_back(member);
            self.ready(member, false);
        }
    }

    /// Answers a SUBSCRIBE once the groups that a persistent session joined with it have their queues.
    pub(super) fn open_groups(&mut self, groups: Vec<Arc<Group>>, event: RoutingEvent) {
        if groups.is_empty() {
            return self.staged.events.push(event);
        }
        let mut opening = Vec::with_capacity(groups.len());
        for group in groups {
            self.next_open += 1;
            let ticket = Ticket(self.next_open);
            let open = group.open(ticket);
            self.staged.durable.push(Request::OpenGroup(Box::new(open)));
            opening.push((ticket, group));
        }
        self.opening.push(Opening { groups: opening, event });
    }

    pub(super) fn group_opened(&mut self, ticket: Ticket, result: Result<GroupId, Error>) {
        let of = |opening: &Opening| opening.groups.iter().position(|(open, _)| *open == ticket);
        let found = self.opening.iter().enumerate().find_map(|(at, opening)| Some((at, of(opening)?)));
        let Some((at, index)) = found else { return };
        let Some(opening) = self.opening.get_mut(at) else { return };
        if let (Ok(queue), Some((_, group))) = (&result, opening.groups.get(index))
            && self.router.is_closing(group, *queue)
        {
            // What deletes it is under way.
            let again = group.open(ticket);
            return self.staged.durable.push(Request::OpenGroup(Box::new(again)));
        }
        let (_, group) = opening.groups.swap_remove(index);
        if opening.groups.is_empty() {
            let Opening { event, .. } = self.opening.swap_remove(at);
            self.staged.events.push(event);
        }
        match result {
            Ok(queue) => self.router.set_queue(&group, queue),
            Err(error) => tracing::error!(%error, group = %group.key(), "a group has no queue"),
        }
        self.dispatch(&group);
    }

    /// The queues of groups to which a message was to be appended are gone: it waits for others, and so does its publisher.
    pub(super) fn lose_queues(
        &mut self,
        ticket: Ticket,
        message: &Arc<Message>,
        lost: impl Iterator<Item = Append>,
    ) -> bool {
        let mut groups = Vec::new();
        for Append { session, share, .. } in lost {
            let Some(share) = share else { continue };
            // A group that has ended has nobody to have it.
            let Some(group) = self.router.group(share.group) else { continue };
            // Another router took the group for ended.
            group.lose_queue(share.group);
            self.router.give_back(session);
            groups.push(group);
        }
        let any = !groups.is_empty();
        if any {
            self.homeless.push(Homeless { ticket, message: message.clone(), groups });
        }
        any
    }

    /// Hands messages to the queues that their groups have got by now.
    pub(super) fn rehouse(&mut self) {
        for homeless in std::mem::take(&mut self.homeless) {
            let Homeless { ticket, message, mut groups } = homeless;
            groups.retain(|group| self.router.group(group.id).is_some());
            if groups.iter().any(|group| group.queue.get().is_none() && group.is_durable()) {
                self.homeless.push(Homeless { ticket, message, groups });
                continue;
            }
            let append = |group: &Arc<Group>| Some(nobodys(&message, Share::of(group.queue.get()?)));
            let queues: Vec<Append> = groups.iter().filter_map(append).collect();
            for group in groups.iter().filter(|group| group.queue.get().is_none()) {
                self.share(&message, vec![Placement::Wait(group.clone())]);
            }
            let Request::Publish(mut publish) = publish(message, queues, None) else { continue };
            publish.ticket = ticket;
            self.staged.durable.push(Request::Publish(publish));
        }
    }

    /// A session has room again; `returned`: what it had of its groups was given back to them.
    pub(super) fn ready(&mut self, session: SessionId, returned: bool) {
        self.dispatch_all(&self.router.groups_of(session), returned);
    }

    pub(super) fn dispatch_all(&mut self, groups: &[Arc<Group>], look_again: bool) {
        for group in groups {
            if look_again {
                group.look_again();
            }
            self.dispatch(group);
        }
    }

    /// Shares that a member did not take, oldest first.
    pub(super) fn returned(&mut self, session: SessionId, shares: Vec<SharedDelivery>, refused: bool) {
        let mut groups: Vec<Arc<Group>> = Vec::new();
        let member = self.router.subscriber(session);
        for mut delivery in shares.into_iter().rev() {
            if let (Some(member), Some(Held::Group(entry))) = (&member, delivery.held) {
                member.unhold(delivery.share.group, entry);
            }
            if refused {
                delivery.share.refuse(session);
            }
            let Some(group) = self.router.group(delivery.share.group) else {
                self.disown(delivery);
                continue;
            };
            group.take_name(&mut delivery);
            let mut backlog = group.backlog.lock();
            backlog.push_front(delivery);
            group.note(&backlog);
            drop(backlog);
            if !groups.iter().any(|known| Arc::ptr_eq(known, &group)) {
                groups.push(group);
            }
        }
        self.dispatch_all(&groups, false);
    }

    /// Gives what waits to members that have room, and reads on in the group's queue.
    pub(super) fn dispatch(&mut self, group: &Arc<Group>) {
        let mut backlog = group.backlog.lock();
        let live = group.live();
        let pace = self.router.options.behaviour.share_drain_rate;
        // Some member has refused these, and those that have not are busy: the next may be for everybody.
        let mut aside = Vec::new();
        while let Some(delivery) = backlog.pop() {
            let wanted = Wanted { qos: delivery.message.qos, share: Some(&delivery.share), pace };
            match group.choose(&live, &wanted) {
                Choice::Member(member) => self.give(group, member, delivery),
                Choice::Busy if self.wait_for_room(group, &live, Some(&delivery.share)) => {
                    backlog.push_front(delivery);
                }
                Choice::Busy if delivery.share.refused.is_some() => aside.push(delivery),
                Choice::Busy => {
                    backlog.push_front(delivery);
                    break;
                }
                Choice::Nobody if live.is_empty() => self.put_back(group, &mut backlog, delivery),
                Choice::Nobody => self.discard(delivery),
            }
        }
        if backlog.waiting.is_empty() && aside.len() < CLAIM.0 {
            self.read_on(group, &live, &mut backlog);
        }
        aside.into_iter().rev().for_each(|delivery| backlog.push_front(delivery));
        group.note(&backlog);
    }

    /// Hands a share to a member: pushed, or by way of the member's queue.
    fn give(&mut self, group: &Group, member: &LiveMember, delivery: SharedDelivery) {
        let SharedDelivery { message, share, held } = delivery;
        let (unacknowledged, replaces) =
            (member.qos(message.qos) == QoS::AtMostOnce, held.map(|held| (share.group, held)));
        match held {
            _ if unacknowledged => {
                push(&mut self.staged, member, message.clone(), share, None);
                if replaces.is_some() {
                    self.staged.durable.push(publish(message, Vec::new(), replaces));
                }
            }
            // What was published at QoS 2 goes by the store, which sees to it that nobody gets it after a crash who must not.
            Some(Held::Group(entry)) if !member.persistent && message.qos != QoS::ExactlyOnce => {
                member.subscriber.hold(share.group, entry);
                push(&mut self.staged, member, message, share, Some(entry));
            }
            None if !member.persistent => push(&mut self.staged, member, message, share, None),
            _ => {
                let charged = vec![member.subscriber.session];
                let moving = Some(SharedDelivery { message: message.clone(), share: share.clone(), held });
                self.withhold(&message, Withheld { charged, moving, ..Withheld::default() });
                let append = member.append(&message, group.queue.get().is_some().then_some(share));
                self.staged.durable.push(publish(message, vec![append], replaces));
            }
        }
    }

    /// Sees to it that the group is looked at when a member that has not refused `share` has room; `true` when one has
    /// already.
    fn wait_for_room(&self, group: &Arc<Group>, live: &[LiveMember], share: Option<&Share>) -> bool {
        let pace = self.router.options.behaviour.share_drain_rate;
        if pace.is_some() {
            self.router.pace(group);
        }
        live.iter().for_each(LiveMember::want_room);
        let may = |member: &&LiveMember| !share.is_some_and(|share| member.has_refused(share));
        live.iter().filter(may).any(|member| member.room(pace) > 0)
    }

    fn read_on(&mut self, group: &Arc<Group>, live: &[LiveMember], backlog: &mut Backlog) {
        let Some(queue) = group.queue.get() else { return };
        if !backlog.unread || backlog.claiming || live.is_empty() {
            return;
        }
        let pace = self.router.options.behaviour.share_drain_rate;
        let room = || live.iter().map(|member| member.room(pace)).sum::<usize>();
        let mut max_entries = room();
        if max_entries == 0 && self.wait_for_room(group, live, None) {
            max_entries = room();
        }
        if max_entries > 0 {
            (backlog.unread, backlog.claiming) = (false, true);
            let (ticket, max_entries) = (NOBODY, max_entries.min(CLAIM.0));
            let claim = Request::ClaimShares { ticket, group: queue, max_entries, max_bytes: CLAIM.1 };
            self.claims.push(queue);
            self.staged.durable.push(claim);
        }
    }

    pub(super) fn shares_claimed(&mut self, queue: GroupId, result: Result<ClaimedShares, Error>) {
        if let Some(at) = self.claims.iter().position(|claimed| *claimed == queue) {
            self.claims.swap_remove(at);
        }
        let Some(group) = self.router.group(queue) else {
            let entries = result.unwrap_or_default().entries.into_iter().map(|queued| queued.entry);
            return self.router.leave_behind(queue, entries.collect());
        };
        let claimed = match result {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::error!(%error, group = %group.key(), "the queue of a group cannot be read");
                // At the next occasion.
                return group.unclaim();
            }
        };
        let mut backlog = group.backlog.lock();
        backlog.claiming = false;
        backlog.unread |= claimed.more;
        for queued in claimed.entries {
            let held = Some(Held::Group(queued.entry));
            let share = queued.share.unwrap_or_else(|| Share::of(queue));
            backlog.waiting.push_back(SharedDelivery { message: queued.message, share, held });
        }
        group.note(&backlog);
        drop(backlog);
        self.dispatch(&group);
    }

    /// Nobody is there: what a queue holds stays in it, what only memory holds goes into the group's, if it has one.
    fn put_back(&mut self, group: &Group, backlog: &mut Backlog, delivery: SharedDelivery) {
        let SharedDelivery { message, share, held } = delivery;
        match (group.queue.get(), held) {
            (Some(queue), Some(Held::Group(entry))) => {
                backlog.unread = true;
                self.staged.durable.push(Request::ReleaseShares { group: queue, entries: vec![entry] });
            }
            (Some(queue), None) if message.qos != QoS::AtMostOnce => {
                let append = nobodys(&message, Share { group: queue, ..share });
                self.staged.durable.push(publish(message, vec![append], None));
            }
            // Its member has gone, too: the store moves it.
            (_, Some(_)) => {}
            (_, None) => self.router.metrics.shared_dropped.inc(),
        }
    }

    /// The group is not known here. Where there are other routers, one of them may know it: what a queue holds is given out by
    /// whoever does.
    fn disown(&mut self, delivery: SharedDelivery) {
        match delivery.held {
            Some(Held::Group(entry)) if self.router.homes.get().is_some() => {
                let (group, entries) = (delivery.share.group, vec![entry]);
                self.staged.durable.push(Request::ReleaseShares { group, entries });
            }
            _ => self.discard(delivery),
        }
    }

    /// No member that is there may have it, or there is no group any more.
    fn discard(&mut self, delivery: SharedDelivery) {
        let SharedDelivery { message, share, held } = delivery;
        tracing::debug!(topic = %message.topic, "no member of a group can have a message");
        self.router.metrics.shared_dropped.inc();
        if let Some(held) = held {
            self.staged.durable.push(publish(message, Vec::new(), Some((share.group, held))));
        }
    }

    /// What became of the append of a share.
    pub(super) fn share_appended(&mut self, message: &Arc<Message>, append: Append, at: Appended) {
        let Some(share) = &append.share else { return };
        let Some(group) = self.router.group(share.group) else { return };
        match at {
            Appended::Held { entry } => return self.push_held(&group, message, append, entry),
            Appended::Waiting => group.look_again(),
            Appended::Overflow => {
                self.router.metrics.shared_overflows.inc();
                tracing::debug!(group = %group.key(), topic = %message.topic, "queue full, message dropped");
            }
            Appended::At { .. } | Appended::NoSession | Appended::Gone => {}
        }
        self.router.give_back(append.session);
        self.dispatch(&group);
    }

    /// A share of a member without a queue is durable in the group's.
    fn push_held(&mut self, group: &Arc<Group>, message: &Arc<Message>, append: Append, entry: EntryId) {
        let Append { session, qos, retain, identifiers, share } = append;
        let share = share.unwrap_or_else(|| group.share());
        let address = self.router.address(session);
        if address == Address::NONE {
            let delivery = SharedDelivery { message: message.clone(), share, held: Some(Held::Group(entry)) };
            return self.returned(session, vec![delivery], false);
        }
        if qos == QoS::AtLeastOnce
            && let Some(member) = self.router.subscriber(session)
        {
            member.hold(share.group, entry);
        }
        let (message, held) = (message.clone(), Some(entry));
        let push = Push::Shared { message, address, session, qos, retain, identifiers, share, held };
        self.staged.push(address.core(), push);
    }

    /// What a member without a queue may have left unacknowledged, as its gateway has gone or the way to it broke, is there for
    /// all members. What it has got all the same, another one gets a second time.
    pub(super) fn take_back(&mut self, left: Vec<(GroupId, EntryId)>) {
        let mut by_queue: FxHashMap<GroupId, Vec<EntryId>> = FxHashMap::default();
        for (queue, entry) in left {
            by_queue.entry(queue).or_default().push(entry);
        }
        let groups: Vec<_> = by_queue.keys().filter_map(|queue| self.router.group(*queue)).collect();
        for (group, entries) in by_queue {
            self.staged.durable.push(Request::ReleaseShares { group, entries });
        }
        self.dispatch_all(&groups, true);
    }

    /// A session without a queue is attached by another stream than before: what was on its way on that one may be lost.
    pub(super) fn moved(&mut self, session: SessionId, address: Address) {
        let Some(member) = self.router.subscriber(session) else { return };
        if member.address() != address && member.address() != Address::NONE {
            self.take_back(member.take_held());
        }
    }

    /// Looks for what processes that are gone have left in the queues of groups: members' shares that the store took back, and
    /// what another router had claimed. Nobody tells of that. A router that is not the home of a group keeps nothing of it that
    /// its members cannot take now: they may be told to others only, by now.
    pub(super) fn sweep_groups(&mut self, now: Instant) {
        let (swept, former) = self.router.take_swept(now);
        let held = |group| Request::HeldShares { ticket: NOBODY, group, max_entries: HELD };
        self.staged.durable.extend(former.into_iter().map(held));
        for group in swept {
            let Some(queue) = group.queue.get() else { continue };
            self.staged.durable.push(Request::HeldShares { ticket: NOBODY, group: queue, max_entries: HELD });
            let busy = group.has_backlog();
            if busy {
                self.dispatch(&group);
            }
            if !self.router.is_home(&group) {
                self.router.leave_behind(queue, group.take_claimed());
                continue;
            }
            let pace = self.router.options.behaviour.share_drain_rate;
            let room: usize = group.live().iter().map(|member| member.room(pace)).sum();
            if room > 0 && !busy {
                let (ticket, max_entries) = (NOBODY, room.min(LOOK));
                let look = Request::ClaimShares { ticket, group: queue, max_entries, max_bytes: CLAIM.1 };
                self.claims.push(queue);
                self.staged.durable.push(look);
            }
        }
    }

    /// What the store says that this process holds of a group's queue: nobody may wait for what no member has.
    pub(super) fn shares_held(&mut self, queue: GroupId, held: &[EntryId]) {
        let Some(group) = self.router.group(queue) else {
            if self.router.is_former(queue) {
                self.router.leave_behind(queue, held.to_vec());
            }
            return;
        };
        let entries = group.held_for_nobody(held);
        if !entries.is_empty() {
            tracing::info!(group = %group.key(), entries = entries.len(), "shares were held for nobody");
            self.staged.durable.push(Request::ReleaseShares { group: queue, entries });
            self.dispatch_all(&[group], true);
        }
    }

    /// Members that get queued messages at a pace may have more.
    pub(super) fn refill(&mut self, now: Instant) {
        for group in self.router.take_paced(now, PACE) {
            group.live().iter().for_each(|member| member.subscriber.reset_drained());
            self.dispatch(&group);
        }
    }
}

/// What tells a message from others that are on their way to the store: it is not dropped before.
fn place_of(message: &Arc<Message>) -> usize {
    Arc::as_ptr(message).addr()
}

/// A write that nobody waits for.
fn publish(message: Arc<Message>, queues: Vec<Append>, replaces: Option<(GroupId, Held)>) -> Request {
    let (rules, retained) = (Vec::new(), RetainedChange::Keep);
    Request::Publish(Box::new(DurablePublish {
        ticket: NOBODY,
        message,
        queues,
        rules,
        retained,
        replaces,
        once: None,
        fence: None,
    }))
}
