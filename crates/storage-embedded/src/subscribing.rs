//! Subscriptions of persistent sessions.

use fleethaven_storage::{Error, OwnerToken, SessionId, Subscription};
use fleethaven_types::Utf8Bytes;

use crate::engine::Engine;
use crate::keys;
use crate::record::{SubscriptionRow, encode};
use crate::sessions::Numbered;

impl Engine {
    /// Adds subscriptions, or replaces those with the same filter. A clean session's are nobody's business but its
    /// gateway's: nothing is kept and the answer is yes.
    pub(crate) fn subscribe(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        subscriptions: Vec<Subscription>,
    ) -> Result<(), Error> {
        let session = self.sessions.owned(id, token)?;
        if !session.persistent {
            return Ok(());
        }
        let mut last = session.subscriptions.values().map(|numbered| numbered.number).max().unwrap_or(0);
        for mut subscription in subscriptions {
            let known = session.subscriptions.get(&subscription.filter).map(|known| known.number);
            let number = known.unwrap_or(last + 1);
            last = last.max(number);
            let row = encode(&SubscriptionRow::from(&subscription));
            self.batch.insert(&self.disk.subscriptions, keys::of_session(id.0, number), row);
            self.durable = true;
            subscription.filter = subscription.filter.compact();
            session.subscriptions.insert(subscription.filter.clone(), Numbered { number, subscription });
        }
        Ok(())
    }

    /// Removes subscriptions; unknown filters are passed over.
    pub(crate) fn unsubscribe(
        &mut self,
        id: SessionId,
        token: OwnerToken,
        filters: &[Utf8Bytes],
    ) -> Result<(), Error> {
        let session = self.sessions.owned(id, token)?;
        for filter in filters {
            if let Some(numbered) = session.subscriptions.remove(filter) {
                self.batch.remove(&self.disk.subscriptions, keys::of_session(id.0, numbered.number));
                self.durable = true;
            }
        }
        Ok(())
    }
}
