//! What happens once although it is asked for twice: QoS 2 in both directions, and wills
//! (`docs/decisions/0006-qos-2-routes-at-publish.md`).

use std::num::NonZeroU16;

use fleethaven_storage::{EntryId, Error, Once, OwnerToken, SessionId};

use crate::engine::Engine;
use crate::keys;
use crate::record::EntryRow;

impl Engine {
    /// Notes that it happens now; an error when it has happened before, or must not.
    pub(crate) fn once(&mut self, once: Once) -> Result<(), Error> {
        match once {
            Once::Received { session, token, packet_id } => self.receive(session, token, packet_id),
            Once::Will(number) => self.take_will(number.0),
        }
    }

    fn receive(&mut self, id: SessionId, token: OwnerToken, packet_id: NonZeroU16) -> Result<(), Error> {
        let session = self.sessions.owned(id, token)?;
        if !session.persistent {
            // Nothing of it outlives its connection, which remembers the identifier itself.
            return Ok(());
        }
        if !session.received.insert(packet_id) {
            return Err(Error::AlreadyDone);
        }
        self.batch.insert(&self.disk.received, keys::of_session(id.0, packet_id.get().into()), []);
        self.durable = true;
        Ok(())
    }

    /// The client ends exchanges that it began.
    pub(crate) fn forget_received(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        packet_ids: &[NonZeroU16],
    ) -> Result<(), Error> {
        let session = self.sessions.owned(id, token)?;
        for packet_id in packet_ids {
            if session.received.remove(packet_id) {
                let key = keys::of_session(id.0, packet_id.get().into());
                self.batch.remove(&self.disk.received, key);
                self.durable = true;
            }
        }
        Ok(())
    }

    /// The client has these entries: what is left of them is their place in the queue.
    pub(crate) fn release(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        entries: &[EntryId],
    ) -> Result<(), Error> {
        self.sessions.owned(id, token)?;
        for entry in entries {
            let session = self.sessions.get_mut(id.0);
            let Some(body) = session.and_then(|session| session.queue.release(entry.0)) else { continue };
            self.batch.insert(&self.disk.queues, keys::of_session(id.0, entry.0), EntryRow::released());
            self.release_body(body);
            self.durable = true;
        }
        Ok(())
    }

    /// Which of these queues reach further, by their index.
    pub(crate) fn compare_tails(&self, known: &[(SessionId, EntryId)]) -> Vec<(usize, EntryId)> {
        let further = |(index, (id, tail)): (usize, &(SessionId, EntryId))| {
            let found = EntryId(self.sessions.get(id.0)?.queue.tail());
            (found > *tail).then_some((index, found))
        };
        known.iter().enumerate().filter_map(further).collect()
    }
}
