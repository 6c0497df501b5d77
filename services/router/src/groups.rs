//! All groups of shared subscriptions: joining, leaving, and finding them by the names under which shares travel.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::membership::Incarnation;
use fleethaven_storage::{EntryId, Error, Fence, GroupId, Request, SessionId, Ticket};
use fleethaven_topics::split_shared;
use fleethaven_types::{Scope, Utf8Bytes};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;

use crate::group::{DOUBTED, Group};
use crate::router::Router;
use crate::tables::{SubscribeOptions, Subscriber, Tables};

/// How often queues are looked into although nothing is known to be in them.
pub(crate) const SWEEP: Duration = Duration::from_secs(5);
/// Groups without a queue are called by numbers that the store does not give.
const OWN: u64 = 1 << 63;

/// What a router knows of groups beyond their scopes' tables.
#[derive(Default)]
pub(crate) struct Groups {
    /// By their own names and by those of their queues.
    by_id: RwLock<FxHashMap<GroupId, Arc<Group>>>,
    last: AtomicU64,
    /// Queues of groups that are gone, to be closed by the next lane that has a turn.
    ended: Mutex<Vec<(GroupId, Option<Fence>)>>,
    /// Queues of groups that ended here, with how often it was looked since what of them is held here: what an answer gave that
    /// came later, or never, nobody here has any more.
    former: Mutex<FxHashMap<GroupId, u8>>,
    /// In a cluster, queues of groups that have no member here: other routers may know of one already.
    ending: Mutex<Vec<Ending>>,
    /// Queues that the store was told to delete, under which fence, and how often it was looked since: until it has, it may give
    /// them to whoever asks for one.
    closing: Mutex<FxHashMap<GroupId, (Option<Fence>, u8)>>,
    /// What was claimed of groups that are gone here, to be released in the same way.
    left: Mutex<Vec<(GroupId, EntryId)>>,
    any_ended: AtomicBool,
    /// Groups whose members get queued messages at a pace and have had their share of this second.
    paced: Mutex<Paced>,
    /// When queues were last looked into.
    swept: Mutex<Option<Instant>>,
}

/// The queue of a group that had no member when it was looked last.
struct Ending {
    group: Arc<Group>,
    queue: GroupId,
    /// So often it was found without.
    looks: u8,
}

/// So long it is known that a queue is being deleted: longer than anything is under way to the store.
const CLOSING: u8 = 12;

/// A queue is closed whose group had no member at so many looks, [`SWEEP`] apart: who joined meanwhile is known here by then.
const LOOKS: u8 = 3;

#[derive(Default)]
struct Paced {
    groups: Vec<Arc<Group>>,
    refilled: Option<Instant>,
}

impl Groups {
    /// Lets the names of this router's groups be others than those of any other's: shares travel under them, and may come back
    /// to a router that has taken over.
    pub(crate) fn name_apart(&self, router: Incarnation) {
        self.last.fetch_or((router.0 & 0x7fff_ffff) << 32, Ordering::Relaxed);
    }
}

impl Router {
    /// The group of this name.
    pub(crate) fn group(&self, id: GroupId) -> Option<Arc<Group>> {
        self.groups.by_id.read().get(&id).cloned()
    }

    /// The groups that a session is a member of.
    pub(crate) fn groups_of(&self, session: SessionId) -> Vec<Arc<Group>> {
        self.subscriber(session).map(|subscriber| self.groups_with(&subscriber)).unwrap_or_default()
    }

    pub(crate) fn groups_with(&self, subscriber: &Subscriber) -> Vec<Arc<Group>> {
        if !subscriber.has_shared_subscriptions() {
            return Vec::new();
        }
        let tables = subscriber.tables.tables.read();
        let filters = subscriber.filters();
        let shared =
            filters.iter().flat_map(|filters| filters.shared()).filter_map(|filter| split_shared(filter));
        shared.filter_map(|(name, filter)| tables.groups.get(filter, &name.into()).cloned()).collect()
    }

    /// Makes a session a member of a group; whether it was none, `None` when that is one too many. A group that needs a queue
    /// of its own now is put into `opening`.
    pub(crate) fn join(
        &self,
        tables: &mut Tables,
        subscriber: &Arc<Subscriber>,
        (name, filter): (&str, &str),
        options: SubscribeOptions,
        opening: &mut Vec<Arc<Group>>,
    ) -> Option<bool> {
        let limits = &subscriber.tables.account.limits;
        let key = Utf8Bytes::from(name);
        let group = match tables.groups.get(filter, &key) {
            Some(group) => {
                let full = group.member_count() >= limits.share_subs_group;
                if full && !group.has_member(subscriber.session) {
                    return None;
                }
                group.clone()
            }
            None => {
                if limits.share_groups_account.is_some_and(|most| tables.groups.len() as u64 >= most) {
                    return None;
                }
                let id = GroupId(OWN | self.groups.last.fetch_add(1, Ordering::Relaxed));
                let group = Arc::new(Group::new(id, &subscriber.tables, name, filter));
                tables.groups.insert(filter, key, group.clone());
                self.groups.by_id.write().insert(id, group.clone());
                if let Some(queue) = self.take_ending(&group) {
                    self.set_queue(&group, queue);
                }
                group
            }
        };
        if subscriber.is_persistent() && group.queue.get().is_none() && self.is_home(&group) {
            opening.push(group.clone());
        }
        Some(group.join(subscriber, options))
    }

    /// Ends a membership; whether there was one. A group ends with its last member, and its queue with it.
    pub(crate) fn leave(&self, tables: &mut Tables, shared: (&str, &str), session: SessionId) -> bool {
        let (name, filter) = (Utf8Bytes::from(shared.0), shared.1);
        let Some(group) = tables.groups.get(filter, &name).cloned() else { return false };
        let (was_member, goes_on) = group.leave(session);
        if !goes_on {
            tables.groups.remove(filter, &name);
            let mut by_id = self.groups.by_id.write();
            for name in group.names() {
                by_id.remove(&name);
            }
            drop(by_id);
            if let Some(queue) = group.queue.get() {
                self.end_queue(group, queue);
            }
        }
        was_member
    }

    /// The group has a queue now, or who came after it under its name.
    pub(crate) fn set_queue(&self, group: &Arc<Group>, queue: GroupId) {
        let mut by_id = self.groups.by_id.write();
        let is_it = |other: &&Arc<Group>| other.scope == group.scope && other.key() == group.key();
        let goes_on = by_id.get(&group.id).or_else(|| by_id.values().find(is_it)).cloned();
        match goes_on {
            Some(group) if group.set_queue(queue) => drop(by_id.insert(queue, group)),
            Some(_) => {}
            None => {
                drop(by_id);
                self.end_queue(group.clone(), queue);
            }
        }
    }

    /// What becomes of the queue of a group that has no member here any more.
    fn end_queue(&self, group: Arc<Group>, queue: GroupId) {
        if self.homes.get().is_none() {
            return self.close(queue, None);
        }
        // It may go on elsewhere.
        self.leave_behind(queue, group.take_held());
        self.groups.former.lock().insert(queue, 0);
        if self.is_home(&group) {
            self.groups.ending.lock().push(Ending { group, queue, looks: 0 });
        }
    }

    /// The queue that a group had before it was without members for a moment.
    fn take_ending(&self, group: &Group) -> Option<GroupId> {
        let mut ending = self.groups.ending.lock();
        let is_it = |of: &Ending| of.group.scope == group.scope && of.group.key() == group.key();
        let at = ending.iter().position(is_it)?;
        Some(ending.swap_remove(at).queue)
    }

    /// Looks once more at groups without members; closes the queues of those that are at home here and stay so.
    fn end_groups(&self) {
        self.groups.ending.lock().retain_mut(|of| {
            // Where another router is their home by now, that one closes what is to be closed.
            let Some(fence) = self.home_fence(&of.group) else { return false };
            of.looks += 1;
            let over = of.looks >= LOOKS;
            if over {
                self.close(of.queue, Some(fence));
            }
            !over
        });
    }

    /// Whether the store gives a group a queue that this router, as its home, has told it to delete.
    pub(crate) fn is_closing(&self, group: &Group, queue: GroupId) -> bool {
        let told = self.groups.closing.lock().get(&queue).map(|(fence, _)| *fence);
        // In another epoch it has come to nothing, or is over.
        told.is_some_and(|fence| fence == self.home_fence(group))
    }

    fn close(&self, queue: GroupId, fence: Option<Fence>) {
        self.groups.closing.lock().insert(queue, (fence, 0));
        self.groups.ended.lock().push((queue, fence));
        self.groups.any_ended.store(true, Ordering::Release);
    }

    /// Entries of a group's queue are for others.
    pub(crate) fn leave_behind(&self, queue: GroupId, entries: Vec<EntryId>) {
        if !entries.is_empty() {
            self.groups.left.lock().extend(entries.into_iter().map(|entry| (queue, entry)));
            self.groups.any_ended.store(true, Ordering::Release);
        }
    }

    /// What the store is to be told of queues to be closed, and of entries of others to be released.
    pub(crate) fn take_ended(&self) -> Vec<Request> {
        if !self.groups.any_ended.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        let ended = std::mem::take(&mut *self.groups.ended.lock());
        let left = std::mem::take(&mut *self.groups.left.lock());
        let close = |(group, fence)| Request::CloseGroup { group, fence };
        let release = |(group, entry)| Request::ReleaseShares { group, entries: vec![entry] };
        ended.into_iter().map(close).chain(left.into_iter().map(release)).collect()
    }

    /// Where there is one router: gives the queues that the store has to the groups there are, and those that have none a new
    /// one. What waits in them is read when a member comes. The others are closed.
    pub(crate) fn warm_up_groups(&self, opening: &[Arc<Group>]) -> Result<(), Error> {
        let mut queues: FxHashMap<(Scope, Utf8Bytes), GroupId> = FxHashMap::default();
        for record in self.store.groups()? {
            match queues.entry((record.scope, record.key)) {
                Entry::Vacant(vacant) => drop(vacant.insert(record.group)),
                // Before the store kept one for each key, a crash could leave two.
                Entry::Occupied(_) => self.close(record.group, None),
            }
        }
        for group in opening {
            if group.queue.get().is_some() {
                continue;
            }
            let queue = match queues.remove(&(group.scope, group.key())) {
                Some(queue) => queue,
                None => self.store.open_group(group.open(Ticket(0)))?,
            };
            self.set_queue(group, queue);
        }
        queues.into_values().for_each(|queue| self.close(queue, None));
        Ok(())
    }

    /// Groups that have no queue, as far as they may have one in the store or are to get one.
    pub(crate) fn groups_without_queue(&self) -> Vec<Arc<Group>> {
        let by_id = self.groups.by_id.read();
        let is_wanted = |group: &Group| group.is_durable() || group.may_be_left(self.home_fence(group));
        let without = by_id.values().filter(|group| group.queue.get().is_none() && is_wanted(group));
        without.cloned().collect()
    }

    /// In a cluster, where processes come and go: the groups with a queue, if it is time to look into these, and queues that groups
    /// had here.
    pub(crate) fn take_swept(&self, now: Instant) -> (Vec<Arc<Group>>, Vec<GroupId>) {
        let mut swept = self.groups.swept.lock();
        if swept.is_some_and(|last| now.saturating_duration_since(last) < SWEEP) {
            return Default::default();
        }
        *swept = Some(now);
        drop(swept);
        self.groups.closing.lock().retain(|_, (_, looks)| {
            *looks += 1;
            *looks <= CLOSING
        });
        if self.homes.get().is_none() {
            return Default::default();
        }
        self.end_groups();
        let by_id = self.groups.by_id.read();
        let all = by_id.iter().filter(|(id, group)| **id == group.id).map(|(_, group)| group);
        let swept = all.filter(|group| group.queue.get().is_some()).cloned().collect();
        (swept, self.take_former())
    }

    /// Queues of groups that ended here a while ago.
    pub(crate) fn take_former(&self) -> Vec<GroupId> {
        let mut former = self.groups.former.lock();
        former.retain(|_, looks| {
            *looks += 1;
            *looks <= 2 * DOUBTED
        });
        former.keys().copied().collect()
    }

    /// Whether what is held here of a queue without a group is held for nobody.
    pub(crate) fn is_former(&self, queue: GroupId) -> bool {
        self.groups.former.lock().get(&queue).is_some_and(|looks| *looks >= DOUBTED)
    }

    /// Where a session is.
    pub(crate) fn address(&self, session: SessionId) -> Address {
        self.subscriber(session).map_or(Address::NONE, |subscriber| subscriber.address())
    }

    /// A member's credit was taken for nothing.
    pub(crate) fn give_back(&self, session: SessionId) {
        if let Some(subscriber) = self.subscriber(session) {
            subscriber.credit().give_back();
        }
    }

    /// Has the group looked at when its members may have more.
    pub(crate) fn pace(&self, group: &Arc<Group>) {
        let mut paced = self.groups.paced.lock();
        if !paced.groups.iter().any(|known| Arc::ptr_eq(known, group)) {
            paced.groups.push(group.clone());
        }
    }

    /// The groups whose members may have more, if it is `every` since the last time.
    pub(crate) fn take_paced(&self, now: Instant, every: Duration) -> Vec<Arc<Group>> {
        let mut paced = self.groups.paced.lock();
        if paced.refilled.is_some_and(|last| now.saturating_duration_since(last) < every) {
            return Vec::new();
        }
        paced.refilled = Some(now);
        std::mem::take(&mut paced.groups)
    }
}
