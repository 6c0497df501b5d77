//! All groups of shared subscriptions: joining, leaving, and finding them by the names under which shares travel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::membership::Incarnation;
use fleethaven_storage::{EntryId, Error, GroupId, SessionId, Ticket};
use fleethaven_topics::split_shared;
use fleethaven_types::{Scope, Utf8Bytes};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;

use crate::group::Group;
use crate::router::Router;
use crate::tables::{SubscribeOptions, Subscriber, Tables};

/// How often queues are looked into although nothing is known to be in them.
const SWEEP: Duration = Duration::from_secs(5);
/// Groups without a queue are called by numbers that the store does not give.
const OWN: u64 = 1 << 63;

/// What a router knows of groups beyond their scopes' tables.
#[derive(Default)]
pub(crate) struct Groups {
    /// By their own names and by those of their queues.
    by_id: RwLock<FxHashMap<GroupId, Arc<Group>>>,
    last: AtomicU64,
    /// Queues of groups that are gone, to be closed by the next lane that has a turn.
    ended: Mutex<Vec<GroupId>>,
    /// What was claimed of groups that are gone here, to be released in the same way.
    left: Mutex<Vec<(GroupId, EntryId)>>,
    any_ended: AtomicBool,
    /// Groups whose members get queued messages at a pace and have had their share of this second.
    paced: Mutex<Paced>,
    /// When queues were last looked into.
    swept: Mutex<Option<Instant>>,
}

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
            by_id.remove(&group.id);
            if let Some(queue) = group.queue.get() {
                by_id.remove(queue);
                match self.is_home(&group) {
                    true => self.close(*queue),
                    // It may go on elsewhere.
                    false => self.leave_behind(*queue, group.take_held()),
                }
            }
        }
        was_member
    }

    /// The group has a queue now; a second one is not needed, nor one of a group that is gone.
    pub(crate) fn set_queue(&self, group: &Arc<Group>, queue: GroupId) {
        let mut by_id = self.groups.by_id.write();
        let goes_on = by_id.contains_key(&group.id);
        if goes_on && group.queue.set(queue).is_ok() {
            by_id.insert(queue, group.clone());
        } else if group.queue.get() != Some(&queue) && self.is_home(group) {
            self.close(queue);
        }
    }

    fn close(&self, queue: GroupId) {
        self.groups.ended.lock().push(queue);
        self.groups.any_ended.store(true, Ordering::Release);
    }

    /// Entries of a group's queue are for others.
    pub(crate) fn leave_behind(&self, queue: GroupId, entries: Vec<EntryId>) {
        if !entries.is_empty() {
            self.groups.left.lock().extend(entries.into_iter().map(|entry| (queue, entry)));
            self.groups.any_ended.store(true, Ordering::Release);
        }
    }

    /// Queues to be closed, and entries of others to be released.
    pub(crate) fn take_ended(&self) -> (Vec<GroupId>, Vec<(GroupId, EntryId)>) {
        if !self.groups.any_ended.swap(false, Ordering::AcqRel) {
            return (Vec::new(), Vec::new());
        }
        (std::mem::take(&mut *self.groups.ended.lock()), std::mem::take(&mut *self.groups.left.lock()))
    }

    /// Where there is one router: gives the queues that the store has to the groups there are, and those that have none a new one. What waits in them is
    /// read when a member comes. The others are closed.
    pub(crate) fn warm_up_groups(&self, opening: &[Arc<Group>]) -> Result<(), Error> {
        let mut queues: FxHashMap<(Scope, Utf8Bytes), GroupId> = FxHashMap::default();
        for record in self.store.groups()? {
            if let Some(older) = queues.insert((record.scope, record.key), record.group) {
                self.close(older);
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
            group.look_again();
        }
        queues.into_values().for_each(|queue| self.close(queue));
        Ok(())
    }

    /// Groups that have persistent members and no queue.
    pub(crate) fn groups_without_queue(&self) -> Vec<Arc<Group>> {
        let by_id = self.groups.by_id.read();
        let without = by_id.values().filter(|group| group.queue.get().is_none() && group.is_durable());
        without.cloned().collect()
    }

    /// In a cluster, where processes come and go: the groups at home here, if it is time to look into their queues.
    pub(crate) fn take_swept(&self, now: Instant) -> Vec<Arc<Group>> {
        if self.homes.get().is_none() {
            return Vec::new();
        }
        let mut swept = self.groups.swept.lock();
        if swept.is_some_and(|last| now.saturating_duration_since(last) < SWEEP) {
            return Vec::new();
        }
        *swept = Some(now);
        drop(swept);
        let by_id = self.groups.by_id.read();
        let all = by_id.iter().filter(|(id, group)| **id == group.id).map(|(_, group)| group);
        all.filter(|group| group.queue.get().is_some() && self.is_home(group)).cloned().collect()
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
