//! Reading and trimming queues, and reading retained messages.

use std::sync::Arc;

use fleethaven_storage::{Append, EntryId, Error, OwnerToken, QueuedMessage, SessionId};
use fleethaven_types::{Message, QoS, Scope, Utf8Bytes};

use crate::disk::Disk;
use crate::engine::Engine;
use crate::queue::Slot;
use crate::record::{self, EntryRow, INLINE, MessageRow, decode};
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

    /// Entries above `after` up to `limits` (entries, payload bytes; at least one entry), and the tail. Expired ones
    /// are passed over and trimmed.
    pub(crate) fn read_queue(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        after: EntryId,
        limits: (usize, usize),
    ) -> Result<(Vec<QueuedMessage>, EntryId), Error> {
        let session = self.sessions.owned(id, token)?;
        let tail = EntryId(session.queue.tail());
        let (mut read, mut expired, mut bytes) = (Vec::new(), Vec::new(), 0);
        for slot in session.queue.above(after.0).filter(|slot| !slot.is_released()) {
            if read.len() >= limits.0 || (bytes >= limits.1 && !read.is_empty()) {
                break;
            }
            let queued = queued(&self.disk, id.0, slot)?;
            let begun = queued.qos == QoS::ExactlyOnce && slot.entry <= session.sent;
            if queued.message.is_expired(self.now) && !begun {
                expired.push(slot.entry);
                continue;
            }
            bytes += queued.message.payload.len();
            read.push(queued);
        }
        Stats::add(&self.stats.expired, expired.len());
        expired.into_iter().for_each(|entry| self.drop_entry(id.0, entry));
        Ok((read, tail))
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
fn get(keyspace: &fjall::Keyspace, key: &[u8]) -> Result<fjall::Slice, String> {
    let found = keyspace.get(key).map_err(|error| error.to_string())?;
    found.ok_or_else(|| format!("nothing at {key:02x?}"))
}

/// Decodes a stored message.
pub(crate) fn message(value: &[u8]) -> Result<Arc<Message>, record::Error> {
    Ok(Arc::new(decode::<MessageRow>(value)?.try_into()?))
}
