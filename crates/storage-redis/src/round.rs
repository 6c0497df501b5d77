//! One round of a lane's turn: what is asked of each partition, as one call, and what each answered.

use std::sync::Arc;

use fleethaven_storage::record::{MessageRow, encode, message_cost};
use fleethaven_storage::{Append, EntryId, Error, Fence, SessionId};
use fleethaven_types::Message;
use redis::Value;
use rustc_hash::FxHashMap;

use crate::client::{Batch, Replies, Shared};
use crate::keys::Keys;
use crate::reply;
use crate::script::{Call, Op, Place};

/// How a group's queue is appended to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Something new.
    Back,
    /// What a member had.
    Front,
    /// What the group had, under this number.
    At(u64),
}

/// Who has an entry of a group's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    Nobody,
    /// This store, for a session without a queue.
    Ours,
    /// The same at QoS 2: it may have been sent, and is nobody else's when this store dies [MQTT-4.8.2-5].
    Sent,
}

/// A message as the queues hold it: encoded once for all.
pub(crate) struct Content {
    pub(crate) body: Vec<u8>,
    pub(crate) cost: String,
    payload: usize,
    expiry: String,
    received_at: u64,
}

impl Content {
    pub(crate) fn of(message: &Message) -> Self {
        Self {
            body: encode(&MessageRow::from(message)),
            cost: message_cost(message).to_string(),
            payload: message.payload.len(),
            expiry: message.expires_at.map(|at| at.as_millis().to_string()).unwrap_or_default(),
            received_at: message.received_at.as_millis(),
        }
    }

    /// What the script must know of an entry: the `parts` of `entries.lua`.
    pub(crate) fn header(&self, append: &Append) -> String {
        let Self { cost, payload, expiry, received_at, .. } = self;
        format!("{cost}:{payload}:{expiry}:{}:{received_at}", append.qos as u8)
    }
}

/// What is asked in one round.
pub(crate) struct Round<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    batch: Batch,
    by_partition: FxHashMap<u8, usize>,
    /// The fence that guards what is pushed next to a partition.
    guards: FxHashMap<u8, (Option<Fence>, Place)>,
    /// The stamp under which it is done.
    stamps: FxHashMap<u8, String>,
}

impl<'a> Round<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>) -> Self {
        Self {
            shared,
            batch: Batch::default(),
            by_partition: FxHashMap::default(),
            guards: FxHashMap::default(),
            stamps: FxHashMap::default(),
        }
    }

    pub(crate) fn keys(&self) -> &'a Keys {
        &self.shared.keys
    }

    /// Bytes that go out.
    pub(crate) fn bytes(&self) -> usize {
        self.batch.calls.iter().map(Call::bytes).sum()
    }

    /// Whether nothing is asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.calls.is_empty()
    }

    /// Its answer is to be confirmed as the durability says.
    pub(crate) fn must_last(&mut self) {
        self.batch.durable = true;
    }

    pub(crate) fn push(&mut self, partition: u8, op: Op, arguments: &[&[u8]]) -> Place {
        let (call, number) = self.call_to(partition);
        call.push(op, arguments);
        Place { call: number, reply: call.last_reply() }
    }

    /// As [`push`](Self::push), of words.
    pub(crate) fn words(&mut self, partition: u8, op: Op, words: &[&str]) -> Place {
        let (call, number) = self.call_to(partition);
        call.begin(op, words.len());
        words.iter().for_each(|word| call.argument(word.as_bytes()));
        Place { call: number, reply: call.last_reply() }
    }

    /// The call to a partition, begun if need be, and its number.
    pub(crate) fn call_to(&mut self, partition: u8) -> (&mut Call, usize) {
        let calls = &mut self.batch.calls;
        let number = *self.by_partition.entry(partition).or_insert_with(|| {
            calls.push(Call::new(partition));
            calls.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the map holds only numbers of calls that were pushed")]
        (&mut calls[number], number)
    }

    /// Has a partition compare `fence` before it carries out what is pushed next; the place of its answer.
    pub(crate) fn guard(&mut self, partition: u8, fence: Option<Fence>) -> Option<Place> {
        let standing = self.guards.get(&partition);
        if let Some((_, place)) = standing.filter(|(standing, _)| *standing == fence) {
            return Some(*place);
        }
        if standing.is_none() && fence.is_none() {
            return None;
        }
        let [slot, epoch] =
            fence.map(|fence| [fence.slot.to_string(), fence.epoch.to_string()]).unwrap_or_default();
        let place = self.words(partition, Op::Guard, &[&slot, &epoch]);
        self.guards.insert(partition, (fence, place));
        Some(place)
    }

    /// Puts what is pushed next to a partition under a stamp, empty for none.
    pub(crate) fn stamp(&mut self, partition: u8, stamp: &str) {
        if self.stamps.get(&partition).is_some_and(|standing| standing == stamp)
            || (stamp.is_empty() && !self.stamps.contains_key(&partition))
        {
            return;
        }
        self.words(partition, Op::Stamp, &[stamp]);
        self.stamps.insert(partition, stamp.to_owned());
    }

    /// The stamp is needed no longer but by those who are about to use it too.
    pub(crate) fn fade(&mut self, partition: u8, stamp: &str) {
        let kept = self.shared.options.stamp_kept().as_millis().to_string();
        self.words(partition, Op::Fade, &[stamp, &kept]);
    }

    /// Appends to a group's queue; the message has been pushed.
    pub(crate) fn wait(
        &mut self,
        group: u64,
        (header, cost, delivery): (&str, &str, &[u8]),
        side: Side,
        hold: Hold,
    ) -> Place {
        let (id, lease) = (group.to_string(), self.shared.lease());
        let side = match side {
            Side::Back => "back".to_owned(),
            Side::Front => "front".to_owned(),
            Side::At(number) => number.to_string(),
        };
        let instance = &self.shared.instance;
        let holder = match hold {
            Hold::Nobody => String::new(),
            Hold::Ours => instance.clone(),
            Hold::Sent => format!("{instance}!"),
        };
        if hold != Hold::Nobody {
            self.shared.hold_shares();
        }
        self.must_last();
        let arguments = [
            id.as_bytes(),
            header.as_bytes(),
            cost.as_bytes(),
            delivery,
            side.as_bytes(),
            holder.as_bytes(),
            lease.as_bytes(),
        ];
        self.push(Keys::of_session(group), Op::Wait, &arguments)
    }

    /// What goes out.
    pub(crate) fn finish(self) -> Batch {
        self.batch
    }
}

/// A session and its owner as the script compares them.
pub(crate) fn owned(session: SessionId, token: fleethaven_storage::OwnerToken) -> [String; 2] {
    [session.0.to_string(), owner(token)]
}

/// The owner as the script compares it.
pub(crate) fn owner(token: fleethaven_storage::OwnerToken) -> String {
    format!("{}:{}", token.incarnation, token.counter)
}

/// Entries as the script compares them, for a session's queue.
pub(crate) fn entries(entries: &[EntryId]) -> Vec<String> {
    entries.iter().map(|entry| crate::keys::entry(*entry)).collect()
}

/// What a round answered.
pub(crate) struct Answers<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) replies: Result<Replies, Error>,
}

impl Answers<'_> {
    /// The reply at `place`; each is taken once.
    pub(crate) fn take(&mut self, place: Place) -> Result<Value, Error> {
        let calls = self.replies.as_mut().map_err(|error| error.clone())?;
        let replies = calls.get_mut(place.call).ok_or_else(|| reply::malformed("no such call"))?;
        let replies = replies.as_mut().map_err(|error| error.clone())?;
        replies.get_mut(place.reply).map(std::mem::take).ok_or_else(|| reply::malformed("too few replies"))
    }

    /// The reply at `place`, which others look at too.
    pub(crate) fn peek(&self, place: Place) -> Result<&Value, Error> {
        let calls = self.replies.as_ref().map_err(|error| error.clone())?;
        let replies = calls.get(place.call).ok_or_else(|| reply::malformed("no such call"))?;
        let replies = replies.as_ref().map_err(|error| error.clone())?;
        replies.get(place.reply).ok_or_else(|| reply::malformed("too few replies"))
    }
}
