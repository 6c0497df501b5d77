//! A gateway core's lane into the routers.

use std::sync::Arc;

use fleethaven_storage::{EntryId, Fence, Held, Once, SessionId, Share, Subscription, Ticket};
use fleethaven_types::{Message, Scope, Utf8Bytes};

use crate::delivery::{Address, Credit};
use crate::metadata::BoxFuture;

/// One thing asked of the routers. Requests of one lane are carried out in the order submitted.
#[derive(Debug)]
pub enum RoutingRequest {
    /// Match and fan out a message. With a ticket it is answered by [`RoutingEvent::Published`] once it is held durably
    /// by every queue that must hold it (invariant 1).
    Publish {
        /// `None` when nobody waits for the answer.
        ticket: Option<Ticket>,
        /// The message.
        message: Arc<Message>,
        /// The publishing session, for No Local.
        from: Option<SessionId>,
        /// What makes sure that it happens once. Nobody gets the message before that is recorded; an event with
        /// [`Error::AlreadyDone`](fleethaven_storage::Error::AlreadyDone) says that it had been.
        once: Option<Once>,
        /// How the router owns the topic's slot. `None` where there is one router.
        fence: Option<Owned>,
    },
    /// A connection owns this session now: deliveries go to `address`.
    Attach {
        /// The session.
        session: SessionId,
        /// Account and region.
        scope: Scope,
        /// Its messages are queued in the session store.
        persistent: bool,
        /// Where deliveries go.
        address: Address,
        /// What it can take as the member of groups.
        credit: Credit,
        /// Which of the session's owners this is.
        owner: OwnerNumber,
    },
    /// The connection at `address` is gone. A session that is not persistent is forgotten; otherwise it goes offline.
    /// Without effect when the session is attached elsewhere by now.
    Detach {
        /// The session.
        session: SessionId,
        /// The connection that ended.
        address: Address,
        /// The session goes on without a connection.
        persistent: bool,
    },
    /// The session was wiped or has expired: its subscriptions go.
    Forget {
        /// The session.
        session: SessionId,
    },
    /// A member of groups has room again (see [`Credit::want`]), or the store has taken back what it left unacknowledged.
    Ready {
        /// The session.
        session: SessionId,
        /// Its groups' queues have new entries.
        returned: bool,
    },
    /// A member's shares that it does not take: another one gets them.
    Return {
        /// The member.
        session: SessionId,
        /// Oldest first.
        shares: Vec<SharedDelivery>,
        /// It may not receive them, and is not to be asked again; otherwise it is gone.
        refused: bool,
    },
    /// Install subscriptions → [`RoutingEvent::Subscribed`]. For a persistent session they are in the store already.
    Subscribe {
        /// Returned with the event.
        ticket: Ticket,
        /// The session.
        session: SessionId,
        /// Replaces those with the same filter.
        subscriptions: Vec<Subscription>,
        /// The session has no others, as far as somebody can tell who knows this version of the routing table: what else is found
        /// under its name is left over, but for what is held here since a later one.
        exact: Option<u64>,
        /// Which of the session's owners says so.
        owner: OwnerNumber,
    },
    /// Remove subscriptions → [`RoutingEvent::Unsubscribed`].
    Unsubscribe {
        /// Returned with the event.
        ticket: Ticket,
        /// The session.
        session: SessionId,
        /// The filters.
        filters: Vec<Utf8Bytes>,
        /// Which of the session's owners says so.
        owner: OwnerNumber,
    },
}

/// Which of the owners that a session has one after the other: the version number that the store gave to its claim. A gateway
/// that was not told that it is the owner no more goes on telling routers of the session; what an older owner says changes
/// nothing once a younger one is known of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct OwnerNumber(pub u64);

impl OwnerNumber {
    /// Not known: such an owner is taken for the youngest.
    pub const UNKNOWN: Self = Self(0);

    /// Whether what this one says is out of date where `known` is known of.
    pub fn is_older_than(self, known: Self) -> bool {
        self != Self::UNKNOWN && self < known
    }
}

/// How a router owns the slot of a message's topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    /// In this epoch: the store refuses what is from an older one.
    pub fence: Fence,
    /// Perhaps no longer, as its lease could not be renewed: only the store can tell, and is asked before the answer also when
    /// nothing must hold the message.
    pub doubtful: bool,
}

/// An answer of the routers.
#[derive(Debug)]
pub enum RoutingEvent {
    /// The message is durable wherever it must be.
    Published {
        /// Of the request.
        ticket: Ticket,
        /// Whether anyone (session or rule) matched.
        matched: bool,
        /// `Err` when it could not be made durable: it must not be acknowledged.
        result: Result<(), fleethaven_storage::Error>,
    },
    /// A service beside the routers answers what was published under this ticket. The answer is for that client alone, and
    /// comes before its [`Published`](Self::Published).
    Answered {
        /// Of the request.
        ticket: Ticket,
        /// The answer.
        answer: Arc<Message>,
    },
    /// The subscriptions receive messages from now on.
    Subscribed {
        /// Of the request.
        ticket: Ticket,
        /// For each subscription, whether the filter was new to the session.
        new: Vec<bool>,
        /// Subscriptions (by index) that were not installed: the account has too many groups, or the group too many members.
        over_quota: Vec<usize>,
    },
    /// The subscriptions are gone.
    Unsubscribed {
        /// Of the request.
        ticket: Ticket,
        /// For each filter, whether there was a subscription.
        existed: Vec<bool>,
    },
}

/// The routers as one gateway core (or one service that publishes) sees them. Synchronous and batched: `submit` is called
/// once per turn, and never blocks.
pub trait Routing: Send {
    /// Hands over all requests; the vector is left empty with its capacity.
    fn submit(&mut self, requests: &mut Vec<RoutingRequest>);

    /// Time has passed; called about once a second.
    fn tick(&mut self, _now: std::time::Instant) {}

    /// Appends the events that have become ready.
    fn drain(&mut self, events: &mut Vec<RoutingEvent>);

    /// Whether the routers' tables hold what can go a little at a time, by [`Self::tidy`]: filters of sessions that are gone.
    fn has_leftovers(&self) -> bool {
        false
    }

    /// Takes some of that out; whether there was any.
    fn tidy(&mut self) -> bool {
        false
    }

    /// Whether so much is outstanding that publishers should be held back.
    fn is_congested(&self) -> bool;

    /// Whether something that was submitted has not been handed on yet: who ends waits for that.
    fn has_unsent(&self) -> bool {
        false
    }

    /// Whether something that others wait for too is not answered yet: who has no more use for these routers goes on to
    /// [`drain`](Self::drain) until it is.
    fn has_unanswered(&self) -> bool {
        false
    }

    /// Subscriptions of an account and region, of clients that are connected and of sessions that are not.
    fn subscription_count(&self, scope: Scope) -> u64;

    /// Whether a message on `topic` would reach any subscriber or rule now; `true` when that is not known here. For
    /// services that need not make messages which nobody gets.
    fn reaches_anyone(&self, scope: Scope, topic: &str) -> bool;
}

/// One member's share of what a group gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedDelivery {
    /// The message.
    pub message: Arc<Message>,
    /// The group, and who may not receive this message.
    pub share: Share,
    /// Where it is held durably, if it is.
    pub held: Option<Held>,
}

/// The position of a delivery in a persistent session's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePosition {
    /// This entry.
    pub entry: EntryId,
    /// The entry before: a gateway that does not hold it reads the store instead (a push is a hint).
    pub previous: EntryId,
}

/// Publishing for services that are not an event loop: HTTPS publish, republish actions, `$aws` answers. They enter by the
/// same door as clients.
pub trait Publish: Send + Sync + 'static {
    /// Publishes; the answer comes when the message is durable wherever it must be, and tells whether anyone matched.
    fn publish(&self, message: Arc<Message>) -> BoxFuture<'_, Result<bool, fleethaven_storage::Error>>;
}
