//! Shares of groups: giving them out, and taking them back from members that leave.

use fleethaven_storage::{
    Append, Appended, ClaimedShares, EntryId, Error, Fence, GroupId, Held, OpenGroup, SessionId, Share,
};
use fleethaven_types::QoS;

use crate::engine::Engine;
use crate::groups::Group;
use crate::publish::Copies;
use crate::queue::{Cached, Slot};
use crate::reading::{load, queued};
use crate::record::{INLINE, encode};
use crate::{Stats, keys};

/// A share that is in memory only.
fn sent(entry: u64, append: &Append, copies: &Copies<'_>) -> Slot {
    let group = append.share.as_ref().map_or(0, |share| share.group.0);
    let cached = Some(Box::new(Cached { message: copies.message.clone(), append: append.clone() }));
    Slot { entry, body: INLINE, cost: copies.cost, group, gone: false, cached }
}

impl Engine {
    /// The group of a key; a new one has an empty queue.
    pub(crate) fn open_group(&mut self, open: OpenGroup) -> GroupId {
        if let Some(known) = self.groups.with_key(open.scope, &open.key) {
            return GroupId(known);
        }
        let id = self.new_session_id();
        let group = Group::new(id, open);
        self.batch.insert(&self.disk.groups, keys::scoped(group.scope, id), encode(&group.row()));
        self.durable = true;
        self.groups.insert(group);
        GroupId(id)
    }

    /// Deletes a group and its queue, if whoever asks may. What members have of it, they keep.
    pub(crate) fn close_group(&mut self, id: GroupId, fence: Option<Fence>) {
        if fence.is_some_and(|fence| self.fences.check(fence).is_err()) {
            return;
        }
        let Some(group) = self.groups.remove(id.0) else { return };
        self.batch.remove(&self.disk.groups, keys::scoped(group.scope, id.0));
        for slot in group.queue.all() {
            self.forget_entry(id.0, slot.entry, slot.body);
        }
    }

    /// Puts a member's share into its queue, or else into the group's.
    pub(crate) fn append_share(
        &mut self,
        append: &Append,
        share: &Share,
        copies: &mut Copies<'_>,
    ) -> Appended {
        let Some(group) = self.groups.get(share.group.0) else { return Appended::NoSession };
        let has_room = group.has_room(copies.cost) || copies.replaces;
        let member = self.sessions.get(append.session.0).filter(|session| session.connection.is_some());
        if member.is_some_and(|session| session.persistent && session.has_room(copies.cost)) {
            return self.append_to_session(append, copies);
        }
        let held = member.is_some_and(|session| !session.persistent);
        if !has_room {
            Stats::add(&self.stats.overflowed, 1);
            return Appended::Overflow;
        }
        let id = share.group.0;
        let Some(group) = self.groups.get_mut(id) else { return Appended::NoSession };
        // What comes from a member is older than what waits.
        let entry = if copies.replaces { group.queue.front() } else { group.queue.back() };
        if held && append.qos == QoS::ExactlyOnce {
            group.queue.insert_sent(sent(entry, append, copies));
            return Appended::Held { entry: EntryId(entry) };
        }
        let body = self.body_for(copies);
        let slot = self.write_entry((id, entry), append, body, copies);
        if let Some(group) = self.groups.get_mut(id) {
            group.queue.insert(slot);
            if held {
                group.queue.hold(entry);
            }
        }
        if held { Appended::Held { entry: EntryId(entry) } } else { Appended::Waiting }
    }

    /// Whether a share is still where it is said to be held.
    pub(crate) fn is_held(&self, group: GroupId, held: Held) -> bool {
        match held {
            Held::Group(entry) => self.groups.get(group.0).is_some_and(|group| group.queue.contains(entry.0)),
            Held::Member(session, entry) => {
                self.sessions.get(session.0).is_some_and(|session| session.queue.contains(entry.0))
            }
        }
    }

    /// Moves a share out of the group's queue into the queue of a member that is there and has room, or holds it for one
    /// without a queue. Otherwise nobody holds it any more.
    pub(crate) fn assign(
        &mut self,
        (group, entry): (GroupId, EntryId),
        append: &Append,
        copies: &mut Copies<'_>,
    ) -> Appended {
        let member = self.sessions.get(append.session.0);
        let takes = member.is_some_and(|session| {
            session.connection.is_some() && session.persistent && session.has_room(copies.cost)
        });
        if takes {
            let appended = self.append_to_session(append, copies);
            self.drop_share(group, entry);
            return appended;
        }
        if member.is_some_and(|session| session.connection.is_some() && !session.persistent) {
            self.hold_for((group, entry), append, copies);
            return Appended::Held { entry };
        }
        self.release_shares(group, &[entry]);
        Appended::Waiting
    }

    /// A clean session is to have a share. At QoS 2 it is on disk no longer: once it may have been sent it is nobody else's,
    /// and a crash ends the session [MQTT-4.8.2-5]. At QoS 1 it is there until it is acknowledged.
    fn hold_for(&mut self, (group, entry): (GroupId, EntryId), append: &Append, copies: &Copies<'_>) {
        if append.qos != QoS::ExactlyOnce {
            self.restore(group, entry);
            if let Some(found) = self.groups.get_mut(group.0) {
                found.queue.hold(entry.0);
            }
            return;
        }
        self.drop_share(group, entry);
        self.durable = true;
        if let Some(found) = self.groups.get_mut(group.0) {
            found.queue.insert_sent(sent(entry.0, append, copies));
        }
    }

    /// A share that was to be sent at QoS 2 and was not is on disk again, and held as before.
    fn restore(&mut self, group: GroupId, entry: EntryId) {
        let found = self.groups.get_mut(group.0).and_then(|found| found.queue.take_sent(entry.0));
        let Some(Slot { cost, cached: Some(cached), .. }) = found else { return };
        let copies = Copies::again(&cached.message, cost);
        let slot = self.write_entry((group.0, entry.0), &cached.append, INLINE, &copies);
        if let Some(found) = self.groups.get_mut(group.0) {
            found.queue.insert(slot);
            found.queue.hold(entry.0);
        }
    }

    /// A share was delivered, or went elsewhere.
    pub(crate) fn drop_held(&mut self, group: GroupId, held: Held) {
        match held {
            Held::Group(entry) => self.drop_share(group, entry),
            Held::Member(session, entry) => self.drop_entry(session.0, entry.0),
        }
    }

    fn drop_share(&mut self, group: GroupId, entry: EntryId) {
        let found = self.groups.get_mut(group.0).and_then(|found| found.queue.remove(entry.0));
        if let Some(body) = found {
            self.forget_entry(group.0, entry.0, body);
        }
    }

    pub(crate) fn acknowledge_shares(&mut self, group: GroupId, entries: &[EntryId]) {
        entries.iter().for_each(|entry| self.drop_share(group, *entry));
    }

    pub(crate) fn release_shares(&mut self, group: GroupId, entries: &[EntryId]) {
        entries.iter().for_each(|entry| self.restore(group, *entry));
        if let Some(group) = self.groups.get_mut(group.0) {
            entries.iter().for_each(|entry| group.queue.release(entry.0));
        }
    }

    /// The oldest entries that are held, at most so many.
    pub(crate) fn held_shares(&self, id: GroupId, most: usize) -> Vec<EntryId> {
        self.groups.get(id.0).map(|group| group.queue.held(most)).unwrap_or_default()
    }

    /// The oldest entries that nobody holds, up to `limits` (entries, payload bytes; at least one entry).
    pub(crate) fn claim_shares(
        &mut self,
        id: GroupId,
        limits: (usize, usize),
    ) -> Result<ClaimedShares, Error> {
        let (mut claimed, mut bytes) = (ClaimedShares::default(), 0);
        let Some(group) = self.groups.get_mut(id.0) else { return Ok(claimed) };
        let mut over = Vec::new();
        while let Some(slot) = group.queue.first() {
            let entries = &mut claimed.entries;
            if entries.len() >= limits.0 || (bytes >= limits.1 && !entries.is_empty()) {
                claimed.more = true;
                break;
            }
            let entry = slot.entry;
            let mut queued = queued(&self.disk, id.0, slot)?;
            group.queue.hold(entry);
            if group.is_over(&queued.message, self.now) {
                over.push(EntryId(entry));
                continue;
            }
            bytes += queued.message.payload.len();
            (queued.qos, queued.retain) = (queued.message.qos, queued.message.retain);
            queued.identifiers = Vec::new();
            entries.push(queued);
        }
        Stats::add(&self.stats.expired, over.len());
        self.acknowledge_shares(id, &over);
        Ok(claimed)
    }

    /// A member leaves: its shares go back to the front of their groups' queues, in their order. A QoS 2 message that may
    /// have been sent stays [MQTT-4.8.2-5], and so does what belongs to a group that is gone.
    pub(crate) fn return_shares(&mut self, id: u64) {
        let Some(session) = self.sessions.get(id) else { return };
        let groups = &self.groups;
        let shares = session.queue.above(EntryId::NONE.0).filter(|slot| groups.get(slot.group).is_some());
        let mut shares: Vec<_> = shares.map(|slot| slot.entry).collect();
        let sent = session.sent;
        shares.reverse();
        for entry in shares {
            self.return_share(id, entry, sent);
        }
    }

    fn return_share(&mut self, id: u64, entry: u64, sent: u64) {
        let Some(slot) = self.sessions.get(id).and_then(|session| session.queue.get(entry)) else { return };
        let (group, body, cost) = (slot.group, slot.body, slot.cost);
        let (append, message) = match load(&self.disk, id, slot) {
            Ok(loaded) => loaded,
            Err(reason) => {
                tracing::error!(session = id, entry, reason, "a queue entry cannot be read");
                return;
            }
        };
        if append.qos == QoS::ExactlyOnce && entry <= sent {
            return;
        }
        let Some(found) = self.groups.get_mut(group) else { return };
        let number = found.queue.front();
        let append = Append {
            session: SessionId::NOBODY,
            qos: message.qos,
            retain: false,
            identifiers: Vec::new(),
            ..append
        };
        let copies = Copies::again(&message, cost);
        let slot = self.write_entry((group, number), &append, body, &copies);
        if let Some(found) = self.groups.get_mut(group) {
            found.queue.insert(slot);
        }
        // A shared body changes hands with its entry.
        if let Some(session) = self.sessions.get_mut(id) {
            session.queue.remove(entry);
            if entry == session.queue.tail() {
                self.marks.push(id);
            }
        }
        self.forget_entry(id, entry, 0);
    }
}
