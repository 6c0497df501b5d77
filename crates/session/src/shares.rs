//! Shares of groups [MQTT5 section 4.8.2] on their way to a client without a durable queue: each is remembered until the
//! client has acknowledged it, so that another member can get what this one leaves behind.

use std::collections::VecDeque;
use std::sync::Arc;

use fleethaven_types::{EntryId, GroupId, Message, QoS, Share};
use rustc_hash::FxHashMap;

use crate::encoded::Encoded;
use crate::outbound::{Delivery, detached};
use crate::session::{Action, Now, Session};

/// One member's share of what a group gets.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The message.
    pub message: Arc<Message>,
    /// The group.
    pub share: Share,
    /// The entry of the group's queue that holds it.
    pub held: Option<EntryId>,
}

/// What the client leaves behind.
#[derive(Debug, Default)]
pub struct LeftShares {
    /// Another member should get these; oldest first.
    pub unacknowledged: Vec<Shared>,
    /// QoS 2 messages that may have arrived: nobody else may get them [MQTT-4.8.2-5]. By group, as held in its queue.
    pub finished: Vec<(GroupId, EntryId)>,
}

#[derive(Debug)]
struct Waiting {
    shared: Shared,
    qos: QoS,
    retain: bool,
    identifiers: Box<[u32]>,
}

/// What the session knows of its shares.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// In flight, by the number under which they were sent.
    sent: FxHashMap<EntryId, (Shared, QoS)>,
    /// For the window. Routers choose members that have room, so that few wait here.
    waiting: VecDeque<Waiting>,
}

impl Session {
    /// Delivers a share to a client without a durable queue, or at QoS 0 to any; given back when the client is gone.
    pub fn deliver_shared(
        &mut self,
        encoded: &mut Encoded,
        delivery: &Delivery<'_>,
        shared: Shared,
        now: Now,
    ) -> Result<(), Shared> {
        if !self.is_connected() {
            return Err(shared);
        }
        if encoded.is_expired() {
            self.finish(&shared);
        } else if delivery.qos == QoS::AtMostOnce {
            self.deliver_unacknowledged(encoded, delivery, now);
        } else if self.waiting_shares() == 0 && self.has_room() {
            self.send_shared(encoded, delivery, shared, now);
        } else {
            let Shared { message, share, held } = shared;
            let shared = Shared { message: detached(&message), share, held };
            let (qos, retain, identifiers) = (delivery.qos, delivery.retain, delivery.identifiers.into());
            self.shares.get_or_insert_default().waiting.push_back(Waiting {
                shared,
                qos,
                retain,
                identifiers,
            });
        }
        Ok(())
    }

    fn send_shared(&mut self, encoded: &mut Encoded, delivery: &Delivery<'_>, shared: Shared, now: Now) {
        match self.send_numbered(encoded, delivery, now) {
            Some(entry) => {
                self.shares.get_or_insert_default().sent.insert(entry, (shared, delivery.qos));
            }
            // The client cannot take a message of this size [MQTT-3.1.2-25]; no other member is asked.
            None => self.finish(&shared),
        }
    }

    /// Sends shares that wait for the window.
    pub(crate) fn send_waiting_shares(&mut self, now: Now) {
        while self.is_connected() && self.has_room() {
            let waiting = self.shares.as_mut().and_then(|shares| shares.waiting.pop_front());
            let Some(waiting) = waiting else { break };
            let Waiting { shared, qos, retain, identifiers } = waiting;
            let mut encoded = Encoded::new(shared.message.clone(), now.wall);
            if encoded.is_expired() {
                self.finish(&shared);
                continue;
            }
            let delivery = Delivery { qos, retain, identifiers: &identifiers };
            self.send_shared(&mut encoded, &delivery, shared, now);
        }
    }

    /// The client has what was sent under this number: PUBACK came, or PUBREC.
    pub(crate) fn share_acknowledged(&mut self, entry: EntryId) {
        let sent = self.shares.as_mut().and_then(|shares| shares.sent.remove(&entry));
        if let Some((shared, _)) = sent {
            self.finish(&shared);
        }
    }

    fn finish(&mut self, shared: &Shared) {
        if let Some(entry) = shared.held {
            self.push_action(Action::ShareDone { group: shared.share.group, entry });
        }
    }

    /// Takes the shares that the client has not acknowledged: to be called at the end.
    pub fn take_shares(&mut self) -> LeftShares {
        let Shares { sent, waiting } = self.shares.take().map(|shares| *shares).unwrap_or_default();
        let mut sent: Vec<_> = sent.into_iter().collect();
        sent.sort_unstable_by_key(|(entry, _)| *entry);
        let mut left = LeftShares::default();
        for (_, (shared, qos)) in sent {
            if qos.min(self.settings.behaviour.max_qos) == QoS::ExactlyOnce {
                left.finished.extend(shared.held.map(|entry| (shared.share.group, entry)));
            } else {
                left.unacknowledged.push(shared);
            }
        }
        left.unacknowledged.extend(waiting.into_iter().map(|waiting| waiting.shared));
        left
    }

    /// How many more shares the client can take; 0 while it does not read, and while its own queue has older messages.
    pub fn share_room(&self) -> i32 {
        if !self.is_connected() || !self.has_room() || self.is_behind() {
            return 0;
        }
        let room = i32::try_from(self.window_left()).unwrap_or(i32::MAX);
        room.saturating_sub_unsigned(self.waiting_count() as u32)
    }

    pub(crate) fn waiting_shares(&self) -> usize {
        self.shares.as_ref().map_or(0, |shares| shares.waiting.len())
    }
}
