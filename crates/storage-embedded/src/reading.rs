//! Reading and trimming queues, and reading retained messages.

use std::sync::Arc;

use fleethaven_storage::{Append, EntryId, Error, OwnerToken, QueuedMessage, SessionId};
use fleethaven_types::{Message, QoS, Scope, Timestamp, Utf8Bytes};

use crate::disk::Disk;
use crate::engine::Engine;
use crate::queue::Slot;
use crate::record::{self, EntryRow, INLINE, MessageRow, decode};
use crate::sessions::Session;
use crate::space::Space;
use crate::{Stats, keys};

impl Engine {
    /// Forgets entries; nothing happens unless `token` owns the session.
    pub(crate) fn trim(&mut self, id: SessionId, token: OwnerToken, entries: &[EntryId]) {
        if self.sessions.owned(id, token).is_ok() {
            entries.iter().for_each(|entry| self.drop_entry(id.0, entry.0));
        }
    }

    pub(crate) fn drop_entry(&mut self, id: u64, entry: u64) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(body) = session.queue.remove(entry) else { return };
        if entry == session.queue.tail() {
            self.marks.push(id);
        }
        self.forget_entry(id, entry, body);
    }

    /// Entries above `after` up to `limits` (entries, payload bytes; at least one entry), and the tail. Expired ones and those
    /// that are too old are passed over and trimmed.
    pub(crate) fn read_queue(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        after: EntryId,
        limits: (usize, usize),
    ) -> Result<(Vec<QueuedMessage>, EntryId), Error> {
        let session = self.sessions.owned(id, token)?;
        let tail = EntryId(session.queue.tail());
        let (mut read, mut dropped, mut bytes) = (Vec::new(), Vec::new(), 0);
        for slot in session.queue.above(after.0).filter(|slot| !slot.is_released()) {
            if read.len() >= limits.0 || (bytes >= limits.1 && !read.is_empty()) {
                break;
            }
            let queued = queued(&self.disk, id.0, slot)?;
            if let Some(cause) = session.drops(slot.entry, queued.qos, &queued.message, self.now) {
                dropped.push((slot.entry, cause));
                continue;
            }
            bytes += queued.message.payload.len();
            read.push(queued);
        }
        self.drop_entries(id.0, dropped);
        Ok((read, tail))
    }

    fn drop_entries(&mut self, id: u64, entries: Vec<(u64, Dropped)>) {
        for (entry, cause) in entries {
            let counter = match cause {
                Dropped::Expired => &self.stats.expired,
                Dropped::TooOld => &self.stats.too_old,
            };
            Stats::add(counter, 1);
            self.drop_entry(id, entry);
        }
    }

    /// Makes room in the queue of a session without a connection: drops what is at its front and has expired or is too old.
    /// Messages came in about that order; what is missed goes when it is read.
    pub(crate) fn make_room(&mut self, id: u64) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.bounds.secs.is_none() || session.connection.is_some() || session.young_until > self.now {
            return;
        }
        let (mut dropped, mut young_until) = (Vec::new(), self.now);
        for slot in session.queue.above(0).filter(|slot| !slot.is_released()).take(ROOM) {
            // One that cannot be read is reported when its session reads it.
            let Ok((append, message)) = load(&self.disk, id, slot) else { break };
            match session.drops(slot.entry, append.qos, &message, self.now) {
                Some(cause) => dropped.push((slot.entry, cause)),
                None => {
                    young_until = session.over_at(&message).unwrap_or_default();
                    break;
                }
            }
        }
        session.young_until = young_until;
        self.drop_entries(id, dropped);
    }

    /// Retained messages of topics that match `filter`, above `after`, in topic order. Expired ones are deleted.
    pub(crate) fn read_retained(
        &mut self,
        scope: Scope,
        filter: &Utf8Bytes,
        after: Option<&Utf8Bytes>,
        limit: usize,
    ) -> Result<Vec<Arc<Message>>, Error> {
        let page = self.retained.read(scope, filter, after, (limit, self.now))?;
        for topic in page.expired {
            if let Some(number) = self.retained.clear(scope, &topic) {
                self.batch.remove(&self.disk.retained, keys::scoped(scope, number));
            }
        }
        Ok(page.messages)
    }
}

/// Entries looked at in one go for room in a queue.
const ROOM: usize = 256;

/// Why an entry is not delivered any more.
pub(crate) enum Dropped {
    Expired,
    TooOld,
}

impl Session {
    /// Whether an entry is to be dropped at `now`. A QoS 2 message that may have been sent is not: its exchange is carried to
    /// its end.
    fn drops(&self, entry: u64, qos: QoS, message: &Message, now: Timestamp) -> Option<Dropped> {
        if qos == QoS::ExactlyOnce && entry <= self.sent {
            return None;
        }
        if message.is_expired(now) {
            return Some(Dropped::Expired);
        }
        self.over_at(message).is_some_and(|at| at <= now).then_some(Dropped::TooOld)
    }
}

/// The entry in `slot` of a session's or group's queue, from memory or from disk.
pub(crate) fn queued(disk: &Disk, id: u64, slot: &Slot) -> Result<QueuedMessage, Error> {
    let entry = EntryId(slot.entry);
    let (append, message) = load(disk, id, slot).map_err(|reason| {
        tracing::error!(session = id, entry = slot.entry, reason, "a queue entry cannot be read");
        Error::Unavailable(format!("entry {} of session {id}: {reason}", slot.entry))
    })?;
    let Append { qos, retain, identifiers, share, .. } = append;
    Ok(QueuedMessage { entry, qos, retain, identifiers, share, message })
}

/// Options and message of an entry.
pub(crate) fn load(disk: &Disk, id: u64, slot: &Slot) -> Result<(Append, Arc<Message>), String> {
    if let Some(cached) = &slot.cached {
        return Ok((cached.append.clone(), cached.message.clone()));
    }
    let value = get(&disk.queues, &keys::of_session(id, slot.entry))?;
    let (header, row) = EntryRow::decode(&value).map_err(|error| error.to_string())?;
    let append = row.append(SessionId(id), header).map_err(|error| error.to_string())?;
    let message = match header.body {
        INLINE => message(&row.message),
        body => message(&get(&disk.bodies, &keys::number(body))?),
    };
    Ok((append, message.map_err(|error| error.to_string())?))
}

/// The value of a key that must be there.
fn get(keyspace: &Space, key: &[u8]) -> Result<fjall::Slice, String> {
    let found = keyspace.get(key).map_err(|error| error.to_string())?;
    found.ok_or_else(|| format!("nothing at {key:02x?}"))
}

/// Decodes a stored message.
pub(crate) fn message(value: &[u8]) -> Result<Arc<Message>, record::Error> {
    Ok(Arc::new(decode::<MessageRow>(value)?.try_into()?))
}
