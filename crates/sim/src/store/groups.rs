//! Queues of groups.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleethaven_storage::{
    Append, Appended, ClaimedShares, EntryId, GroupId, GroupRecord, Held, OpenGroup, QueuedMessage, SessionId,
};
use fleethaven_types::{Message, QoS, Timestamp};

use crate::Bug;

use super::model::{Holder, Model};
use super::queues::{Copies, cost};

/// Where the numbers of entries start: they grow at the back and fall at the front.
const MIDDLE: u64 = 1 << 52;
/// A new generation gives out numbers so far from those of the one before, which may have given out some that are lost.
const LEAP: u64 = 1 << 20;

/// One group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    record: GroupRecord,
    bounds: (u64, u64),
    retention_secs: u32,
    pub(crate) entries: BTreeMap<EntryId, Entry>,
    /// First and last number given out, and the generation of that.
    span: (u64, u64),
    generation: u64,
}

/// One share.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) queued: QueuedMessage,
    pub(crate) holder: Option<Holder>,
    /// A clean session may have it at QoS 2: it is nobody else's, and ends with its holder.
    sent: bool,
}

impl Group {
    pub(crate) fn record(&self) -> &GroupRecord {
        &self.record
    }

    fn has_room(&self, message: &Message) -> bool {
        let bytes: u64 = self.entries.values().map(|entry| cost(&entry.queued.message)).sum();
        (self.entries.len() as u64) < self.bounds.0 && bytes + cost(message) <= self.bounds.1
    }

    fn is_over(&self, message: &Message, now: Timestamp) -> bool {
        let kept = Duration::from_secs(u64::from(self.retention_secs));
        message.is_expired(now) || now.since(message.received_at) >= kept
    }

    /// A number behind all others, or before them.
    fn number(&mut self, front: bool, generation: u64) -> EntryId {
        let step = if self.generation == generation { 1 } else { LEAP };
        self.generation = generation;
        match front {
            true => self.span.0 -= step,
            false => self.span.1 += step,
        }
        EntryId(if front { self.span.0 } else { self.span.1 })
    }

    fn insert(
        &mut self,
        entry: EntryId,
        append: &Append,
        message: QueuedOf<'_>,
        held: (Option<Holder>, bool),
    ) {
        let Append { qos, retain, identifiers, share, .. } = append.clone();
        let queued = QueuedMessage { entry, qos, retain, identifiers, share, message: message.clone() };
        self.entries.insert(entry, Entry { queued, holder: held.0, sent: held.1 });
    }

    /// What holders that are gone held is held by nobody, but what clean sessions may have at QoS 2 is nobody else's.
    fn take_back(&mut self, gone: &BTreeSet<Holder>) {
        let is_left = |entry: &Entry| entry.holder.is_some_and(|holder| gone.contains(&holder));
        self.entries.retain(|_, entry| !is_left(entry) || !entry.sent);
        for entry in self.entries.values_mut().filter(|entry| is_left(entry)) {
            entry.holder = None;
        }
    }
}

type QueuedOf<'a> = &'a std::sync::Arc<Message>;

impl Model {
    pub(crate) fn open_group(&mut self, open: OpenGroup) -> GroupId {
        let OpenGroup { scope, key, bounds, retention_secs, .. } = open;
        let is_its = |group: &&Group| (group.record.scope, &group.record.key) == (scope, &key);
        if let Some(known) = self.groups.values().find(is_its) {
            return known.record.group;
        }
        let id = GroupId(self.new_id());
        let record = GroupRecord { group: id, scope, key };
        let (entries, span, generation) = (BTreeMap::new(), (MIDDLE + 1, MIDDLE), self.generation);
        self.groups.insert(id, Group { record, bounds, retention_secs, entries, span, generation });
        id
    }

    pub(super) fn append_share(&mut self, append: &Append, id: GroupId, copies: &Copies<'_>) -> Appended {
        let Some(group) = self.groups.get_mut(&id) else { return Appended::NoSession };
        let member = self.sessions.get_mut(&append.session).filter(|session| session.connection.is_some());
        let clean = member.as_ref().is_some_and(|session| !session.persistent);
        if let Some(session) = member.filter(|session| session.persistent && session.has_room(copies.message))
        {
            return session.push(append, copies.message, self.generation);
        }
        if !group.has_room(copies.message) && !copies.replaces {
            return Appended::Overflow;
        }
        // What comes from a member is older than what waits.
        let entry = group.number(copies.replaces, self.generation);
        let held = (clean.then_some(copies.holder), clean && append.qos == QoS::ExactlyOnce);
        group.insert(entry, append, copies.message, held);
        if clean { Appended::Held { entry } } else { Appended::Waiting }
    }

    pub(super) fn is_held(&self, group: GroupId, held: Held) -> bool {
        match held {
            Held::Group(entry) => {
                self.groups.get(&group).is_some_and(|group| group.entries.contains_key(&entry))
            }
            Held::Member(session, entry) => {
                self.sessions.get(&session).is_some_and(|s| matches!(s.queue.get(&entry), Some(Some(_))))
            }
        }
    }

    /// Moves a share out of the group's queue into that of a member that can take it, or holds it for one without a queue.
    pub(super) fn assign(
        &mut self,
        (group, entry): (GroupId, EntryId),
        append: &Append,
        copies: &Copies<'_>,
    ) -> Appended {
        let member = self.sessions.get_mut(&append.session).filter(|session| session.connection.is_some());
        let clean = member.as_ref().is_some_and(|session| !session.persistent);
        if let Some(session) = member.filter(|session| session.persistent && session.has_room(copies.message))
        {
            let appended = session.push(append, copies.message, self.generation);
            self.drop_share(group, entry);
            return appended;
        }
        let found = self.groups.get_mut(&group).and_then(|group| group.entries.get_mut(&entry));
        if let Some(found) = found {
            found.holder = clean.then_some(copies.holder);
            found.sent = clean && append.qos == QoS::ExactlyOnce;
        }
        if clean { Appended::Held { entry } } else { Appended::Waiting }
    }

    pub(super) fn drop_held(&mut self, group: GroupId, held: Held) {
        match held {
            Held::Group(entry) => drop(self.drop_share(group, entry)),
            Held::Member(session, entry) => {
                self.sessions.get_mut(&session).into_iter().for_each(|s| drop(s.queue.remove(&entry)));
            }
        }
    }

    pub(super) fn drop_share(&mut self, group: GroupId, entry: EntryId) -> Option<Entry> {
        self.groups.get_mut(&group)?.entries.remove(&entry)
    }

    pub(super) fn release_shares(&mut self, group: GroupId, entries: &[EntryId]) {
        let Some(group) = self.groups.get_mut(&group) else { return };
        for entry in entries {
            if let Some(entry) = group.entries.get_mut(entry) {
                (entry.holder, entry.sent) = (None, false);
            }
        }
    }

    pub(super) fn claim_shares(
        &mut self,
        id: GroupId,
        (max_entries, max_bytes): (usize, usize),
        holder: Holder,
    ) -> ClaimedShares {
        let (mut claimed, mut bytes, now) = (ClaimedShares::default(), 0, self.now);
        let twice = self.bug == Some(Bug::SharesGivenTwice);
        let Some(group) = self.groups.get_mut(&id) else { return claimed };
        group.take_back(&self.gone);
        let free = |group: &Group| {
            let free = |entry: &Entry| entry.holder.is_none();
            group.entries.iter().find(|(_, entry)| free(entry)).map(|(entry, _)| *entry)
        };
        if twice {
            // One at a time.
            group.entries.values_mut().take(1).for_each(|entry| entry.holder = None);
        }
        while let Some(entry) = free(group) {
            let full = bytes >= max_bytes && !claimed.entries.is_empty();
            if claimed.entries.len() >= max_entries || full {
                claimed.more = true;
                break;
            }
            let Some(found) = group.entries.get_mut(&entry) else { break };
            found.holder = Some(holder);
            let mut queued = found.queued.clone();
            if group.is_over(&queued.message, now) {
                group.entries.remove(&entry);
                continue;
            }
            bytes += queued.message.payload.len();
            (queued.qos, queued.retain) = (queued.message.qos, queued.message.retain);
            queued.identifiers = Vec::new();
            claimed.entries.push(queued);
        }
        claimed
    }

    pub(super) fn held_shares(&self, id: GroupId, most: usize, holder: Holder) -> Vec<EntryId> {
        if self.bug == Some(Bug::HeldUntold) {
            return Vec::new();
        }
        let entries = self.groups.get(&id).into_iter().flat_map(|group| &group.entries);
        let held = entries.filter(|(_, entry)| entry.holder == Some(holder) && !entry.sent);
        held.take(most).map(|(entry, _)| *entry).collect()
    }

    /// A member leaves: its shares go back to the front of their groups' queues, in their order. A QoS 2 message that may have
    /// been sent stays, and so does what belongs to a group that is gone.
    pub(super) fn return_shares(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let shares = session.queue.values().flatten().filter(|queued| queued.share.is_some());
        for queued in shares.cloned().collect::<Vec<_>>().into_iter().rev() {
            let group = queued.share.as_ref().and_then(|share| self.groups.get_mut(&share.group));
            let kept = queued.qos == QoS::ExactlyOnce && queued.entry <= session.sent;
            let Some(group) = group.filter(|_| !kept) else { continue };
            session.queue.remove(&queued.entry);
            let entry = group.number(true, self.generation);
            let (qos, identifiers) = (queued.message.qos, Vec::new());
            let queued = QueuedMessage { entry, qos, retain: false, identifiers, ..queued };
            group.entries.insert(entry, Entry { queued, holder: None, sent: false });
        }
    }
}
