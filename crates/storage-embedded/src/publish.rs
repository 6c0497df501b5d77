//! Making one message durable everywhere it must be.

use std::sync::Arc;

use bytes::Bytes;
use fleethaven_storage::{
    Append, Appended, Completion, DurablePublish, EntryId, GroupId, Held, RetainedChange, RuleRef,
};
use fleethaven_types::{Message, QoS};

use crate::engine::Engine;
use crate::queue::{Cached, Slot};
use crate::record::{EntryHeader, EntryRow, INLINE, MessageRow, RuleRow, encode, encode_rule, message_cost};
use crate::rules::Waiting;
use crate::{Stats, keys};

/// A cached message is charged this much above its topic and payload: it may keep a network buffer alive.
const CACHED_OVERHEAD: usize = 1024;

/// A message on its way into several queues.
pub(crate) struct Copies<'a> {
    pub(crate) message: &'a Arc<Message>,
    pub(crate) cost: u32,
    encoded: Bytes,
    /// Store the body once and refer to it.
    share: bool,
    /// The shared body's id, once it is written.
    body: u64,
    /// It was accepted before, and is held by another queue until now.
    pub(crate) replaces: bool,
}

impl<'a> Copies<'a> {
    /// A message that moves from one queue to another.
    pub(crate) fn again(message: &'a Arc<Message>, cost: u32) -> Self {
        let encoded = Bytes::from(encode(&MessageRow::from(&**message)));
        Self { message, cost, encoded, share: false, body: 0, replaces: true }
    }
}

impl Engine {
    /// Queues, retained store and rules queue, in this turn's batch.
    pub(crate) fn publish(&mut self, publish: DurablePublish) -> Completion {
        let DurablePublish { ticket, message, queues, rules, retained, replaces, once, fence } = publish;
        if let Some(Err(error)) = fence.map(|fence| self.fences.check(fence)) {
            return Completion::Published { ticket, message, once, result: Err(error) };
        }
        if let Some(Err(error)) = once.map(|once| self.once(once)) {
            return Completion::Published { ticket, message, once, result: Err(error) };
        }
        let appended = match replaces {
            Some((group, held)) => self.replace(&message, queues, group, held),
            None => self.append_all(&message, queues, false),
        };
        self.keep(&message, retained);
        if !rules.is_empty() {
            self.stage(&message, rules);
        }
        Completion::Published { ticket, message, once, result: Ok(appended) }
    }

    /// Gives a share that is held elsewhere to another member.
    fn replace(
        &mut self,
        message: &Arc<Message>,
        mut queues: Vec<Append>,
        group: GroupId,
        held: Held,
    ) -> Vec<(Append, Appended)> {
        if !self.is_held(group, held) {
            return queues.into_iter().map(|append| (append, Appended::Gone)).collect();
        }
        if let Held::Group(entry) = held
            && let Some(append) = queues.pop()
        {
            let mut copies = Copies::again(message, message_cost(message));
            let appended = self.assign((group, entry), &append, &mut copies);
            return vec![(append, appended)];
        }
        let appended = self.append_all(message, queues, true);
        self.drop_held(group, held);
        appended
    }

    fn append_all(
        &mut self,
        message: &Arc<Message>,
        queues: Vec<Append>,
        replaces: bool,
    ) -> Vec<(Append, Appended)> {
        if queues.is_empty() {
            return Vec::new();
        }
        let encoded = Bytes::from(encode(&MessageRow::from(&**message)));
        let share = queues.len() > 1 && encoded.len() * queues.len() > self.options.inline_bytes;
        let cost = message_cost(message);
        let mut copies = Copies { message, cost, encoded, share, body: 0, replaces };
        let append = |append: Append| {
            let appended = match &append.share {
                Some(share) => self.append_share(&append, share, &mut copies),
                None => self.append(&append, &mut copies),
            };
            (append, appended)
        };
        queues.into_iter().map(append).collect()
    }

    fn append(&mut self, append: &Append, copies: &mut Copies<'_>) -> Appended {
        let session = self.sessions.get(append.session.0).filter(|session| session.persistent);
        let Some(session) = session.filter(|session| !session.is_expired(self.now)) else {
            return Appended::NoSession;
        };
        if !session.has_room(copies.cost) {
            let id = append.session.0;
            self.make_room(id);
            if !self.sessions.get(id).is_some_and(|session| session.has_room(copies.cost)) {
                Stats::add(&self.stats.overflowed, 1);
                return Appended::Overflow;
            }
        }
        self.append_to_session(append, copies)
    }

    /// Puts an entry into the queue of a session that is there.
    pub(crate) fn append_to_session(&mut self, append: &Append, copies: &mut Copies<'_>) -> Appended {
        let id = append.session.0;
        let previous = self.sessions.get(id).map_or(0, |session| session.queue.tail());
        let body = self.body_for(copies);
        let slot = self.write_entry((id, previous + 1), append, body, copies);
        if let Some(session) = self.sessions.get_mut(id) {
            session.queue.push(slot);
        }
        Appended::At { entry: EntryId(previous + 1), previous: EntryId(previous) }
    }

    /// The id of the message's shared body, written now if this is its first reference; [`INLINE`] without one.
    pub(crate) fn body_for(&mut self, copies: &mut Copies<'_>) -> u64 {
        if !copies.share {
            return INLINE;
        }
        if copies.body == 0 {
            copies.body = self.bodies.allocate();
            self.batch.insert(&self.disk.bodies, keys::number(copies.body), &copies.encoded[..]);
        }
        self.bodies.retain(copies.body);
        copies.body
    }

    /// Writes an entry of the queue of a session or group; its slot is for the queue's table.
    pub(crate) fn write_entry(
        &mut self,
        (id, entry): (u64, u64),
        append: &Append,
        body: u64,
        copies: &Copies<'_>,
    ) -> Slot {
        let group = append.share.as_ref().map_or(0, |share| share.group.0);
        let header = EntryHeader { cost: copies.cost, body, group };
        let inline = if body == INLINE { copies.encoded.clone() } else { Bytes::new() };
        let value = EntryRow::new(append, inline).encode(header);
        self.batch.insert(&self.disk.queues, keys::of_session(id, entry), value);
        self.durable = true;
        let cached = Box::new(Cached { message: copies.message.clone(), append: append.clone() });
        self.recent.push((id, entry), copies.cost as usize + CACHED_OVERHEAD);
        Stats::add(&self.stats.appended, 1);
        Slot { entry, body, cost: copies.cost, group, gone: false, cached: Some(cached) }
    }

    fn keep(&mut self, message: &Arc<Message>, change: RetainedChange) {
        let scope = message.publisher.scope;
        match change {
            RetainedChange::Keep => {}
            RetainedChange::Set => {
                let number = self.retained.set(scope, message);
                let value = encode(&MessageRow::from(&**message));
                self.batch.insert(&self.disk.retained, keys::scoped(scope, number), value);
                self.durable = true;
            }
            RetainedChange::Clear => {
                if let Some(number) = self.retained.clear(scope, &message.topic) {
                    self.batch.remove(&self.disk.retained, keys::scoped(scope, number));
                    self.durable = true;
                }
            }
        }
    }

    /// Puts a message into the rules queue: on disk, or for QoS 0 in memory while there is room.
    fn stage(&mut self, message: &Arc<Message>, rules: Vec<RuleRef>) {
        let durable = message.qos > QoS::AtMostOnce;
        if !durable && !self.rules.reserve_volatile() {
            return Stats::add(&self.stats.rules_dropped, 1);
        }
        self.last_rule += 1;
        if durable {
            let value = encode_rule(&RuleRow::new(message, &rules), 0);
            self.batch.insert(&self.disk.rules, keys::number(self.last_rule), value);
            self.durable = true;
        }
        self.staged.push(Waiting { id: self.last_rule, durable, content: Some((message.clone(), rules)) });
    }
}
