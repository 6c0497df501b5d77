//! What is asked of the store and what it answers.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_types::{Message, QoS, Scope, Timestamp, Utf8Bytes};

use crate::{
    ClaimedShares, EntryId, Error, Fence, GroupId, Held, OpenGroup, OwnerToken, SessionId, Share, Ticket,
};

/// One thing asked of the store. Variants without a ticket have no completion.
#[derive(Debug)]
pub enum Request {
    /// Take ownership of a client id at CONNECT → [`Completion::Claimed`].
    Claim(Box<Claim>),
    /// Add or replace subscriptions of an owned persistent session → [`Completion::Done`]. For a clean session nothing
    /// is kept and the answer is `Ok`.
    Subscribe {
        /// Returned with the completion.
        ticket: Ticket,
        /// The session.
        session: SessionId,
        /// Must be the owner.
        token: OwnerToken,
        /// Replaces those with the same filter.
        subscriptions: Vec<Subscription>,
    },
    /// Remove subscriptions of an owned persistent session → [`Completion::Done`].
    Unsubscribe {
        /// Returned with the completion.
        ticket: Ticket,
        /// The session.
        session: SessionId,
        /// Must be the owner.
        token: OwnerToken,
        /// Filters to remove; unknown ones are passed over.
        filters: Vec<Utf8Bytes>,
    },
    /// Make one message durable everywhere it must be, atomically → [`Completion::Published`].
    Publish(Box<DurablePublish>),
    /// Forget queue entries that the client has acknowledged. Durable eventually; losing it means a redelivery.
    Trim {
        /// The session.
        session: SessionId,
        /// Must be the owner, else nothing happens.
        token: OwnerToken,
        /// Entries in any order.
        entries: Vec<EntryId>,
    },
    /// The client has these QoS 2 entries (PUBREC): they are not sent again, and wait for PUBCOMP without their message
    /// → [`Completion::Done`]. Entries that are not there are passed over.
    Release {
        /// Returned with the completion.
        ticket: Ticket,
        /// The session.
        session: SessionId,
        /// Must be the owner.
        token: OwnerToken,
        /// Entries in any order.
        entries: Vec<EntryId>,
    },
    /// The client ends its QoS 2 exchanges under these identifiers (PUBREL): what it publishes under them next is new
    /// → [`Completion::Done`]. Unknown ones are passed over.
    ForgetReceived {
        /// Returned with the completion.
        ticket: Ticket,
        /// The session.
        session: SessionId,
        /// Must be the owner.
        token: OwnerToken,
        /// The identifiers.
        packet_ids: Vec<NonZeroU16>,
    },
    /// Read queue entries → [`Completion::QueueRead`]. Released ones are passed over;
    /// expired ones, by the store's clock, are passed over and trimmed, unless they are of QoS 2 and may have been sent:
    /// such an exchange is carried to its end, or the client would take a later message under the identifier for a repeat. For
    /// the same reason entries at QoS 2 are told only when they are as durable as what completions confirm.
    ReadQueue {
        /// Returned with the completion.
        ticket: Ticket,
        /// The session.
        session: SessionId,
        /// Must be the owner.
        token: OwnerToken,
        /// Entries above this one.
        after: EntryId,
        /// At most so many.
        max_entries: usize,
        /// Stop after so many payload bytes (at least one entry is returned).
        max_bytes: usize,
    },
    /// The connection is over: start the expiry clock, or wipe a session that ends with it → [`Completion::Done`].
    End(Box<ConnectionEnd>),
    /// The will under this number is not to be published: its client had sent DISCONNECT before it was taken over.
    WithdrawWill {
        /// [`DueWill::number`] of [`PreviousOwner::will`].
        will: SessionId,
    },
    /// The queue of a group, a new one if there is none → [`Completion::GroupOpened`]. There is one for each scope and key: two
    /// routers that both take themselves for its home get the same.
    OpenGroup(Box<OpenGroup>),
    /// A group has no member any more: its queue is deleted.
    CloseGroup {
        /// The group.
        group: GroupId,
        /// Its slot, and the epoch in which the caller is that slot's owner; below the slot's fence the queue stays, as another
        /// says what becomes of it. `None` where there is one router.
        fence: Option<Fence>,
    },
    /// Entries of a group that nobody holds, oldest first; they are held from now on → [`Completion::SharesClaimed`]. Those
    /// that are expired or too old, by the store's clock, are passed over and deleted.
    ClaimShares {
        /// Returned with the completion.
        ticket: Ticket,
        /// The group.
        group: GroupId,
        /// At most so many.
        max_entries: usize,
        /// Stop after so many payload bytes (at least one entry is returned).
        max_bytes: usize,
    },
    /// Held entries of a group were delivered and acknowledged. Durable eventually, like [`Request::Trim`].
    AcknowledgeShares {
        /// The group.
        group: GroupId,
        /// Entries in any order.
        entries: Vec<EntryId>,
    },
    /// Held entries of a group are held no longer, whoever held them: when a slot has changed hands, its new owner is told what
    /// the one before had given out.
    ReleaseShares {
        /// The group.
        group: GroupId,
        /// Entries in any order.
        entries: Vec<EntryId>,
    },
    /// Entries of a group that this process holds, oldest first → [`Completion::SharesHeld`]; without those that an append held
    /// for a clean session at QoS 2.
    HeldShares {
        /// Returned with the completion.
        ticket: Ticket,
        /// The group.
        group: GroupId,
        /// At most so many.
        max_entries: usize,
    },
    /// Which filters match a retained message → [`Completion::RetainedFound`]. Most subscriptions find none, which a store tells of many
    /// at once.
    FindRetained {
        /// Returned with the completion.
        ticket: Ticket,
        /// Whose topics.
        scope: Scope,
        /// Topic filters without `$share`.
        filters: Vec<Utf8Bytes>,
    },
    /// Retained messages whose topic matches, expired ones left out → [`Completion::Retained`]. `a/#` matches `a`.
    ReadRetained {
        /// Returned with the completion.
        ticket: Ticket,
        /// Whose topics.
        scope: Scope,
        /// A topic filter without `$share`.
        filter: Utf8Bytes,
        /// Continue above this topic.
        after: Option<Utf8Bytes>,
        /// At most so many.
        max_entries: usize,
    },
    /// Raise the fences of slots to these epochs, as their new owner → [`Completion::Done`]. From then on what names a lower
    /// epoch is refused with [`Error::Fenced`], and writes nothing. One that is higher already stays as it is, and the answer is
    /// [`Error::Fenced`]: another is the owner.
    RaiseFence {
        /// Returned with the completion.
        ticket: Ticket,
        /// Slots with the epochs of their owner.
        slots: Vec<Fence>,
    },
    /// Which of these queues reach further than their caller knows → [`Completion::Tails`].
    CompareTails {
        /// Returned with the completion.
        ticket: Ticket,
        /// Sessions with the last entry their caller knows of.
        known: Vec<(SessionId, EntryId)>,
    },
    /// Which of these sessions are gone, or not their caller's any more → [`Completion::Owners`]. Who has claimed a session tells
    /// the owner before, but may die first.
    CheckOwners {
        /// Returned with the completion.
        ticket: Ticket,
        /// Sessions with their owners, as the caller knows them.
        owners: Vec<(SessionId, OwnerToken)>,
    },
}

/// Ownership of a client id, asked for at CONNECT.
#[derive(Debug)]
pub struct Claim {
    /// Returned with the completion.
    pub ticket: Ticket,
    /// Account and region.
    pub scope: Scope,
    /// The client id.
    pub client_id: Utf8Bytes,
    /// The new owner.
    pub token: OwnerToken,
    /// Where the new owner can be told that it lost the session (opaque to the store).
    pub owner_address: u64,
    /// Clean Start: wipe what was there.
    pub clean_start: bool,
    /// Session Expiry Interval in seconds; 0 = the session ends with the connection and is never written to disk.
    pub session_expiry: u32,
    /// MQTT protocol level of the client, 4 or 5.
    pub protocol_level: u8,
    /// A session of the other protocol level may be resumed; otherwise it is wiped.
    pub cross_version_resume: bool,
    /// Queue bounds for the session.
    pub queue_bounds: QueueBounds,
    /// Will to publish if the gateway dies, with its delay.
    pub will: Option<StoredWill>,
    /// Certificate id or other principal, for `GetConnection` and for closing by principal.
    pub principal: Option<Utf8Bytes>,
    /// The time of the claim.
    pub now: Timestamp,
}

/// How much waits in one session's queue, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// Messages; above it the newest is dropped.
    pub messages: u64,
    /// Bytes (topics and payloads); above it the newest is dropped.
    pub bytes: u64,
    /// Messages that came so many seconds ago are dropped, except what [`Request::ReadQueue`] keeps beyond its expiry: when
    /// they are read, or when the session has no connection and others need their room. `None`: they wait as long as the
    /// session lasts.
    pub secs: Option<u32>,
}

impl QueueBounds {
    /// No bound at all.
    pub const NONE: Self = Self { messages: u64::MAX, bytes: u64::MAX, secs: None };
}

/// A will kept with the client-id record, so that it is published though its gateway died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWill {
    /// The message to publish.
    pub message: Arc<Message>,
    /// Will Delay Interval in seconds.
    pub delay: u32,
}

/// One subscription of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The filter as the client sent it (with `$share/…/` if shared).
    pub filter: Utf8Bytes,
    /// Granted QoS.
    pub qos: QoS,
    /// No Local [MQTT5 3.8.3.1].
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Retain Handling, 0 to 2.
    pub retain_handling: u8,
    /// Subscription Identifier.
    pub identifier: Option<u32>,
}

/// One message and everything that must hold it before it may be acknowledged.
#[derive(Debug)]
pub struct DurablePublish {
    /// Returned with the completion.
    pub ticket: Ticket,
    /// The message; shared, never copied on its way.
    pub message: Arc<Message>,
    /// Queues of persistent sessions.
    pub queues: Vec<Append>,
    /// Rules that matched; empty for none. Entries of QoS 0 messages are kept in memory only.
    pub rules: Vec<RuleRef>,
    /// What happens to the topic's retained message.
    pub retained: RetainedChange,
    /// The share of a group that this message is, as held so far, and that goes with the same write. When it is not there
    /// any more, nothing is appended: [`Appended::Gone`]. When there is no append, it is only deleted.
    pub replaces: Option<(GroupId, Held)>,
    /// What makes sure that it happens once; checked and changed in the same batch.
    pub once: Option<Once>,
    /// The topic's slot, and the epoch under which the message was matched; below the slot's fence it is refused with
    /// [`Error::Fenced`]. Also one that nothing must hold is checked. `None` where there is one router.
    pub fence: Option<Fence>,
}

/// Why a message that is handed to the store again is not published again: [`Error::AlreadyDone`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once {
    /// An owned persistent session published it at QoS 2 under this packet identifier, which is recorded until
    /// [`Request::ForgetReceived`] [MQTT-4.3.3-10]. Under another token it is refused with [`Error::NotOwner`].
    Received {
        /// The publishing session.
        session: SessionId,
        /// Must be the owner.
        token: OwnerToken,
        /// Identifier of the PUBLISH.
        packet_id: NonZeroU16,
    },
    /// It is the will that waits under this number ([`DueWill::number`]); with this it waits no longer.
    Will(SessionId),
}

/// One session's queue that a message goes to, or the queue of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The session.
    pub session: SessionId,
    /// QoS of the delivery: the lower of publish and subscription.
    pub qos: QoS,
    /// RETAIN flag of the delivery.
    pub retain: bool,
    /// Subscription identifiers to send along.
    pub identifiers: Vec<u32>,
    /// It is the session's share of what a group gets. It goes to the session's queue while the session is connected and
    /// has room there; to the group's queue otherwise, and always when the session has no queue. [`SessionId::NOBODY`] for
    /// a group of which no member can take it now.
    pub share: Option<Share>,
}

/// Effect of a PUBLISH on its topic's retained message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetainedChange {
    /// RETAIN was 0.
    #[default]
    Keep,
    /// Replace it with this message.
    Set,
    /// RETAIN 1 with an empty payload.
    Clear,
}

/// A topic rule in a given version: a message matched under version n is executed by version n or later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RuleRef {
    /// Rule name.
    pub name: Utf8Bytes,
    /// Metastore revision of the rule as matched.
    pub revision: u64,
}

/// The end of one connection.
#[derive(Debug, Clone)]
pub struct ConnectionEnd {
    /// Returned with the completion.
    pub ticket: Ticket,
    /// The session.
    pub session: SessionId,
    /// Must be the owner; otherwise [`Error::NotOwner`]: the claimant has taken over will and event.
    pub token: OwnerToken,
    /// Session Expiry Interval in force now (DISCONNECT may have changed it); 0 ends the session.
    pub session_expiry: u32,
    /// Highest queue entry that was sent: a later redelivery of it carries DUP.
    pub sent: EntryId,
    /// When entries that were not acknowledged were first sent, for the next claim; where nobody asks, empty.
    pub first_sent: Vec<(EntryId, Timestamp)>,
    /// What becomes of the will of the claim: `None` when the client withdrew it; otherwise it is due after so many
    /// seconds, and waits in the store ([`crate::SessionStore::due_wills`]) until it is published under [`Once::Will`].
    pub will_delay: Option<u32>,
    /// How the client left, for [`crate::SessionStore::departure`]; `None` when its CONNECT was never accepted.
    pub departure: Option<Departure>,
    /// The time.
    pub now: Timestamp,
}

/// How a client left last: kept for [`DEPARTURES_KEPT`] at least, also when its session went with the connection, as long as not
/// very many others of its account have left since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// When.
    pub at: Timestamp,
    /// AWS's `disconnectReason`.
    pub reason: Utf8Bytes,
    /// The thing that its principal was attached to.
    pub thing_name: Option<Utf8Bytes>,
    /// Session Expiry Interval in force at the end, in seconds.
    pub session_expiry: u32,
    /// Keep-alive in force, in seconds; 0 is off. `None` when it is not known: its gateway died.
    pub keep_alive: Option<u16>,
}

/// How long it is told how a client left (AWS: GetConnection, thirty minutes).
pub const DEPARTURES_KEPT: Duration = Duration::from_secs(30 * 60);

impl Departure {
    /// What is known of a client whose gateway died: the connection ended at `at`, for `reason`.
    pub fn of_orphan(at: Timestamp, reason: &str, session_expiry: u32) -> Self {
        Self { at, reason: reason.into(), thing_name: None, session_expiry, keep_alive: None }
    }

    /// Whether it is still told at `now`.
    pub fn is_recent(&self, now: Timestamp) -> bool {
        now.since(self.at) < DEPARTURES_KEPT
    }
}

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// The session.
    pub session: SessionId,
    /// CONNACK Session Present.
    pub session_present: bool,
    /// Subscriptions of the resumed session.
    pub subscriptions: Vec<Subscription>,
    /// Everything up to here has been acknowledged: read the queue from here.
    pub trimmed: EntryId,
    /// Last entry of the queue ([`EntryId::NONE`] when it never had one).
    pub tail: EntryId,
    /// Up to here entries may have been sent before. When the last connection did not end in order (it was taken over,
    /// or its gateway died) that is the tail it left.
    pub sent: EntryId,
    /// When entries were first sent, as the last end that was recorded told; also of some that are gone by now.
    pub first_sent: Vec<(EntryId, Timestamp)>,
    /// QoS 2 entries that the client has: they wait for PUBCOMP. In order.
    pub released: Vec<EntryId>,
    /// Packet identifiers under which the client published at QoS 2 and that it has not released, in order.
    pub received: Vec<NonZeroU16>,
    /// versionNumber of lifecycle events: grows with each connection of the client id.
    pub version_number: u64,
    /// The number under which the claim's will waits when its connection has ended; it is no other connection's, as a session may
    /// go on, and end again, before that will is published.
    pub will: Option<SessionId>,
    /// Who had it and must close.
    pub previous: Option<PreviousOwner>,
    /// A session that this claim wiped: its subscriptions are to be forgotten.
    pub wiped: Option<SessionId>,
}

/// The owner that a claim replaced while it was live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousOwner {
    /// Its token.
    pub token: OwnerToken,
    /// Where to tell it.
    pub address: u64,
    /// Its will, if it is to be published: the session does not go on, or the will had no delay [MQTT-3.1.3-9]. From the
    /// claim's own write on it waits in the store, under a number of its own, and is due [`TAKEN_OVER_WILL_WAITS`] later:
    /// until then whoever was taken over publishes it, or calls it off by [`Request::WithdrawWill`].
    pub will: Option<DueWill>,
    /// Its version number, for the `disconnected` event.
    pub version_number: u64,
}

/// How long the will of a connection that was taken over waits for a word of its gateway, which knows whether the client had
/// sent DISCONNECT; after that the gateway has died.
pub const TAKEN_OVER_WILL_WAITS: Duration = Duration::from_secs(5);

/// A will whose time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueWill {
    /// Its own: that of its claim ([`Claimed::will`]), or another after a takeover ([`PreviousOwner::will`]).
    pub number: SessionId,
    /// The message as it came with the claim.
    pub message: Arc<Message>,
}

/// Gateway processes that are gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dead {
    /// In a cluster, whose members are numbered in the order in which they join: of those up to `newest` all but `living`. Who
    /// joins later is not known of yet.
    Left {
        /// The youngest member that is known of, whatever it does.
        newest: u64,
        /// The gateways among the members.
        living: Arc<BTreeSet<u64>>,
    },
    /// All but this one: it is the only process there is.
    AllBut(u64),
}

impl Dead {
    /// Whether the process of `incarnation` is meant.
    pub fn is(&self, incarnation: u64) -> bool {
        match self {
            Self::Left { newest, living } => incarnation <= *newest && !living.contains(&incarnation),
            Self::AllBut(living) => incarnation != *living,
        }
    }
}

/// A client record whose gateway is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Account and region.
    pub scope: Scope,
    /// Client id.
    pub client_id: Utf8Bytes,
    /// The token of the connection that ended.
    pub token: OwnerToken,
    /// Who was connected.
    pub principal: Option<Utf8Bytes>,
    /// versionNumber of the connection that ended.
    pub version_number: u64,
}

/// A persistent session as a router needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// The session.
    pub session: SessionId,
    /// Account and region.
    pub scope: Scope,
    /// Client id.
    pub client_id: Utf8Bytes,
    /// Its subscriptions.
    pub subscriptions: Vec<Subscription>,
    /// Whether a connection owns it now.
    pub live: bool,
    /// Of the connection that owns it, or owned it last: see [`Claimed::version_number`].
    pub version_number: u64,
}

/// A client id as the store knows it: who is connected under it, and the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRecord {
    /// The session. Subscriptions are those of a persistent one; a clean session's are its gateway's.
    pub record: SessionRecord,
    /// The session can outlive its connection.
    pub persistent: bool,
    /// Session Expiry Interval in force, in seconds.
    pub session_expiry: u32,
    /// The live connection's token, and where it is (opaque to the store).
    pub owner: Option<(OwnerToken, u64)>,
}

/// A queue entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Its position.
    pub entry: EntryId,
    /// QoS of the delivery.
    pub qos: QoS,
    /// RETAIN flag of the delivery.
    pub retain: bool,
    /// Subscription identifiers to send along.
    pub identifiers: Vec<u32>,
    /// It is the share of a group.
    pub share: Option<Share>,
    /// The message.
    pub message: Arc<Message>,
}

/// What became of one [`Append`], in the order of [`DurablePublish::queues`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// In the queue at `entry`; the entry before it was `previous`. A gateway delivers a push whose `previous` is the
    /// last entry it holds and reads the store otherwise.
    At {
        /// Position.
        entry: EntryId,
        /// The entry before.
        previous: EntryId,
    },
    /// A share, in the group's queue at `entry`; held for the session that it was meant for, which has no queue.
    Held {
        /// Position.
        entry: EntryId,
    },
    /// A share, in the group's queue, and nobody's: the member it was meant for could not take it.
    Waiting,
    /// The queue was at its bound: this newest message was dropped and counted.
    Overflow,
    /// The session was gone, or the group.
    NoSession,
    /// What it was to replace was not there any more.
    Gone,
}

/// An answer of the store.
#[derive(Debug)]
pub enum Completion {
    /// To [`Request::Claim`].
    Claimed {
        /// Of the request.
        ticket: Ticket,
        /// What was found.
        result: Result<Box<Claimed>, Error>,
    },
    /// To [`Request::Subscribe`], [`Request::Unsubscribe`], [`Request::Release`], [`Request::ForgetReceived`],
    /// [`Request::RaiseFence`] and [`Request::End`].
    Done {
        /// Of the request.
        ticket: Ticket,
        /// Durable, or why not.
        result: Result<(), Error>,
    },
    /// To [`Request::Publish`]: durable everywhere.
    Published {
        /// Of the request.
        ticket: Ticket,
        /// The message, handed back for the push to live owners.
        message: Arc<Message>,
        /// Of the request.
        once: Option<Once>,
        /// Where it went.
        result: Result<Vec<(Append, Appended)>, Error>,
    },
    /// To [`Request::ReadQueue`].
    QueueRead {
        /// Of the request.
        ticket: Ticket,
        /// Entries in order, and the queue's tail at the time of reading.
        result: Result<(Vec<QueuedMessage>, EntryId), Error>,
    },
    /// To [`Request::OpenGroup`].
    GroupOpened {
        /// Of the request.
        ticket: Ticket,
        /// The group's name in the store, durable.
        result: Result<GroupId, Error>,
    },
    /// To [`Request::ClaimShares`].
    SharesClaimed {
        /// Of the request.
        ticket: Ticket,
        /// The group.
        group: GroupId,
        /// What there was; nothing when there is no such group.
        result: Result<ClaimedShares, Error>,
    },
    /// To [`Request::HeldShares`].
    SharesHeld {
        /// Of the request.
        ticket: Ticket,
        /// The group.
        group: GroupId,
        /// The entries; nothing when there is no such group.
        result: Result<Vec<EntryId>, Error>,
    },
    /// To [`Request::FindRetained`].
    RetainedFound {
        /// Of the request.
        ticket: Ticket,
        /// The filters, by their index in the request, in order: all that match something, and perhaps some that do not any more.
        result: Result<Vec<usize>, Error>,
    },
    /// To [`Request::ReadRetained`].
    Retained {
        /// Of the request.
        ticket: Ticket,
        /// Messages in topic order; fewer than asked means that was all.
        result: Result<Vec<Arc<Message>>, Error>,
    },
    /// To [`Request::CompareTails`].
    Tails {
        /// Of the request.
        ticket: Ticket,
        /// Queues that reach further, by their index in the request, with their last entry.
        result: Result<Vec<(usize, EntryId)>, Error>,
    },
    /// To [`Request::CheckOwners`].
    Owners {
        /// Of the request.
        ticket: Ticket,
        /// Sessions that these owners do not have, by their index in the request.
        result: Result<Vec<usize>, Error>,
    },
}
