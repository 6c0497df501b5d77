//! Queues of sessions: what is appended, read, trimmed and released; and what happens once.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_storage::{
    Append, Appended, Completion, DurablePublish, EntryId, Error, Held, Once, OwnerToken, QueuedMessage,
    RetainedChange, SessionId,
};
use fleethaven_types::{Message, QoS, Timestamp};

use crate::Bug;

use super::model::{Holder, Model, NUMBER_BITS};
use super::sessions::Session;

/// A message on its way into queues.
pub(super) struct Copies<'a> {
    pub(super) message: &'a Arc<Message>,
    pub(super) holder: Holder,
    /// It was accepted before, and is held by another queue until now.
    pub(super) replaces: bool,
}

pub(super) fn cost(message: &Message) -> u64 {
    (message.topic.len() + message.payload.len()) as u64
}

impl Session {
    pub(super) fn has_room(&self, message: &Message) -> bool {
        let bytes: u64 = self.queue.values().flatten().map(|queued| cost(&queued.message)).sum();
        (self.queue.len() as u64) < self.bounds.messages && bytes + cost(message) <= self.bounds.bytes
    }

    /// Whether an entry is not delivered any more at `now`. A QoS 2 message that may have been sent is carried to its end.
    fn drops(&self, queued: &QueuedMessage, now: Timestamp) -> bool {
        if queued.qos == QoS::ExactlyOnce && queued.entry <= self.sent {
            return false;
        }
        let kept = self.bounds.secs.map(|secs| Duration::from_secs(u64::from(secs)));
        let too_old = kept.is_some_and(|kept| queued.message.received_at.after(kept) <= now);
        queued.message.is_expired(now) || too_old
    }

    fn drop_over(&mut self, now: Timestamp) {
        let over = self.queue.values().flatten().filter(|queued| self.drops(queued, now));
        let over: Vec<EntryId> = over.map(|queued| queued.entry).collect();
        over.iter().for_each(|entry| drop(self.queue.remove(entry)));
    }

    /// Puts an entry behind all others, in `generation`.
    pub(super) fn push(&mut self, append: &Append, message: &Arc<Message>, generation: u64) -> Appended {
        let previous = self.tail;
        let number = previous.0 & ((1 << NUMBER_BITS) - 1);
        let entry = EntryId((generation << NUMBER_BITS) | (number + 1));
        let Append { qos, retain, identifiers, share, .. } = append.clone();
        let queued = QueuedMessage { entry, qos, retain, identifiers, share, message: message.clone() };
        self.queue.insert(entry, Some(queued));
        self.tail = entry;
        Appended::At { entry, previous }
    }
}

impl Model {
    pub(super) fn publish(&mut self, publish: DurablePublish, holder: Holder) -> Completion {
        let (ticket, once) = (publish.ticket, publish.once);
        let message = publish.message.clone();
        let result = self.let_through(publish, holder);
        Completion::Published { ticket, message, once, result }
    }

    fn let_through(
        &mut self,
        publish: DurablePublish,
        holder: Holder,
    ) -> Result<Vec<(Append, Appended)>, Error> {
        let DurablePublish { message, mut queues, retained, replaces, once, fence, .. } = publish;
        if self.bug == Some(Bug::RetainedAnyway) && retained == RetainedChange::Set {
            self.retained.set(&message);
        }
        fence.map_or(Ok(()), |fence| self.check(fence))?;
        match once {
            Some(Once::Received { session, token, packet_id }) => {
                let session = self.owned(session, token)?;
                if session.persistent && !session.received.insert(packet_id) {
                    return Err(Error::AlreadyDone);
                }
            }
            Some(Once::Will(will)) if !self.wills.remove(will) => return Err(Error::AlreadyDone),
            Some(Once::Will(_)) | None => {}
        }
        let copies = Copies { message: &message, holder, replaces: replaces.is_some() };
        let appended = match replaces {
            Some((group, held)) if !self.is_held(group, held) => {
                queues.into_iter().map(|append| (append, Appended::Gone)).collect()
            }
            Some((group, Held::Group(entry))) if !queues.is_empty() => {
                let append = queues.swap_remove(0);
                let appended = self.assign((group, entry), &append, &copies);
                vec![(append, appended)]
            }
            replaces => {
                let append = |append: Append| (self.append(&append, &copies), append);
                let appended: Vec<_> = queues.into_iter().map(append).collect();
                if let Some((group, held)) = replaces {
                    self.drop_held(group, held);
                }
                appended.into_iter().map(|(appended, append)| (append, appended)).collect()
            }
        };
        match retained {
            RetainedChange::Keep => {}
            RetainedChange::Set => self.retained.set(&message),
            RetainedChange::Clear => self.retained.clear(message.publisher.scope, &message.topic),
        }
        Ok(appended)
    }

    fn append(&mut self, append: &Append, copies: &Copies<'_>) -> Appended {
        if let Some(share) = &append.share {
            return self.append_share(append, share.group, copies);
        }
        let (now, generation) = (self.now, self.generation);
        let session = self.sessions.get_mut(&append.session).filter(|session| session.persistent);
        let Some(session) = session.filter(|session| !session.is_expired(now)) else {
            return Appended::NoSession;
        };
        if !session.has_room(copies.message) && session.connection.is_none() {
            session.drop_over(now);
        }
        match session.has_room(copies.message) {
            true => session.push(append, copies.message, generation),
            false => Appended::Overflow,
        }
    }

    pub(super) fn trim(&mut self, id: SessionId, token: OwnerToken, entries: &[EntryId]) {
        if let Ok(session) = self.owned(id, token) {
            entries.iter().for_each(|entry| drop(session.queue.remove(entry)));
        }
    }

    pub(super) fn release(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        entries: &[EntryId],
    ) -> Result<(), Error> {
        let session = self.owned(id, token)?;
        for entry in entries {
            if let Some(queued) = session.queue.get_mut(entry) {
                *queued = None;
            }
        }
        Ok(())
    }

    pub(super) fn forget_received(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        packet_ids: &[NonZeroU16],
    ) -> Result<(), Error> {
        let session = self.owned(id, token)?;
        session.received.retain(|id| !packet_ids.contains(id));
        Ok(())
    }

    pub(super) fn read_queue(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        after: EntryId,
        (max_entries, max_bytes): (usize, usize),
    ) -> Result<(Vec<QueuedMessage>, EntryId), Error> {
        let now = self.now;
        let session = self.owned(id, token)?;
        session.drop_over(now);
        let (mut read, mut bytes): (Vec<QueuedMessage>, _) = (Vec::new(), 0);
        for queued in session.queue.range(EntryId(after.0 + 1)..).filter_map(|(_, queued)| queued.as_ref()) {
            if read.len() >= max_entries || (bytes >= max_bytes && !read.is_empty()) {
                break;
            }
            bytes += queued.message.payload.len();
            read.push(queued.clone());
        }
        Ok((read, session.tail))
    }

    pub(super) fn compare_tails(&self, known: &[(SessionId, EntryId)]) -> Vec<(usize, EntryId)> {
        let further = |(index, (id, tail)): (usize, &(SessionId, EntryId))| {
            let found = self.sessions.get(id)?.tail;
            (found > *tail).then_some((index, found))
        };
        known.iter().enumerate().filter_map(further).collect()
    }
}
