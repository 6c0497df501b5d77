//! The groups of shared subscriptions [MQTT5 section 4.8.2]: their members, the choice among those that are there, and what
//! waits until one of them has room.
//!
//! A publish chooses by an atomic cursor over a list that changes only when members come and go. What nobody can take now
//! waits: in the group's queue in the store when the group has one, because a persistent member joined; otherwise here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use fleethaven_fabric::delivery::{Address, Credit};
use fleethaven_fabric::routing::SharedDelivery;
use fleethaven_quotas::Account;
use fleethaven_storage::{Append, EntryId, Fence, GroupId, Held, SessionId, Share};
use fleethaven_types::{Message, QoS, Scope, Utf8Bytes};
use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::tables::{ScopeTables, SubscribeOptions, Subscriber};

/// One group.
pub(crate) struct Group {
    /// The router's own name for it, under which shares travel while it has no queue.
    pub(crate) id: GroupId,
    pub(crate) scope: Scope,
    /// Whose limits bound it.
    pub(crate) account: Arc<Account>,
    pub(crate) name: Utf8Bytes,
    pub(crate) filter: Utf8Bytes,
    /// Its queue in the store; once it has one, until the store has it no more.
    pub(crate) queue: QueueName,
    /// All queues that it has had.
    queues: Mutex<Vec<GroupId>>,
    /// The epoch in which its home looked last whether the store has one.
    sought: AtomicU64,
    members: Mutex<Vec<(Arc<Subscriber>, SubscribeOptions)>>,
    live: RwLock<Arc<[LiveMember]>>,
    cursor: AtomicUsize,
    has_backlog: AtomicBool,
    pub(crate) backlog: Mutex<Backlog>,
    doubts: Mutex<Doubts>,
}

/// The name of a group's queue, read with each publish.
pub(crate) struct QueueName(AtomicU64);

impl QueueName {
    /// No store gives this one.
    const NONE: u64 = u64::MAX;

    pub(crate) fn get(&self) -> Option<GroupId> {
        let name = self.0.load(Ordering::Acquire);
        (name != Self::NONE).then_some(GroupId(name))
    }

    /// Whether there was none.
    fn set(&self, queue: GroupId) -> bool {
        self.change(Self::NONE, queue.0)
    }

    /// Whether it was this one.
    fn forget(&self, queue: GroupId) -> bool {
        self.change(queue.0, Self::NONE)
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Default for QueueName {
    fn default() -> Self {
        Self(AtomicU64::new(Self::NONE))
    }
}

/// Entries that the store says are held here and nobody here knows of, and how often that was seen.
#[derive(Default)]
struct Doubts(FxHashMap<EntryId, u8>);

/// Seen so often, [`SWEEP`](crate::groups::SWEEP) apart, an entry is held for nobody: no answer of the store is waited for as
/// long as that.
pub(crate) const DOUBTED: u8 = 4;

/// A member with a connection.
pub(crate) struct LiveMember {
    pub(crate) subscriber: Arc<Subscriber>,
    pub(crate) address: Address,
    /// It has a queue of its own.
    pub(crate) persistent: bool,
    pub(crate) options: SubscribeOptions,
    credit: Credit,
}

/// What waits for a member with room.
#[derive(Default)]
pub(crate) struct Backlog {
    /// In order. Those that are held durably count against nothing: they are few, as only what members can take is read.
    pub(crate) waiting: VecDeque<SharedDelivery>,
    /// Messages in `waiting` that are held nowhere else, and their bytes.
    pub(crate) unheld: (u64, u64),
    /// The group's queue may have entries that nobody holds.
    pub(crate) unread: bool,
    /// A claim of entries is on its way.
    pub(crate) claiming: bool,
}

/// The outcome of a choice.
pub(crate) enum Choice<'a> {
    /// This one gets it.
    Member(&'a LiveMember),
    /// Not now.
    Busy,
    /// Nobody who is there may have it.
    Nobody,
}

/// A message that is to be given to a member.
pub(crate) struct Wanted<'a> {
    pub(crate) qos: QoS,
    pub(crate) share: Option<&'a Share>,
    /// Most queued messages a second for one member.
    pub(crate) pace: Option<u32>,
}

impl Group {
    pub(crate) fn new(id: GroupId, tables: &ScopeTables, name: &str, filter: &str) -> Self {
        Self {
            id,
            scope: tables.scope,
            account: tables.account.clone(),
            name: name.into(),
            filter: filter.into(),
            queue: QueueName::default(),
            queues: Mutex::default(),
            sought: AtomicU64::new(0),
            members: Mutex::default(),
            live: RwLock::new(Arc::new([])),
            cursor: AtomicUsize::new(0),
            has_backlog: AtomicBool::new(false),
            backlog: Mutex::default(),
            doubts: Mutex::default(),
        }
    }

    /// What tells it from others of its scope.
    pub(crate) fn key(&self) -> Utf8Bytes {
        format!("{}/{}", self.name, self.filter).into()
    }

    /// How shares of it are called.
    pub(crate) fn share(&self) -> Share {
        Share::of(self.queue.get().unwrap_or(self.id))
    }

    /// Makes a session a member, or changes its options; whether it was none.
    pub(crate) fn join(&self, subscriber: &Arc<Subscriber>, options: SubscribeOptions) -> bool {
        let mut members = self.members.lock();
        let known = members.iter_mut().find(|(member, _)| member.session == subscriber.session);
        let new = known.is_none();
        match known {
            Some((_, before)) => *before = options,
            None => members.push((subscriber.clone(), options)),
        }
        self.refresh_live(&members);
        new
    }

    /// Ends a membership: whether there was one, and whether members are left.
    pub(crate) fn leave(&self, session: SessionId) -> (bool, bool) {
        let mut members = self.members.lock();
        let before = members.len();
        members.retain(|(member, _)| member.session != session);
        self.refresh_live(&members);
        (members.len() < before, !members.is_empty())
    }

    pub(crate) fn has_member(&self, session: SessionId) -> bool {
        self.members.lock().iter().any(|(member, _)| member.session == session)
    }

    /// The owner of its slot has looked whether the store has a queue for it.
    pub(crate) fn sought_by(&self, home: Option<Fence>) {
        self.sought.store(home.map_or(0, |home| home.epoch), Ordering::Release);
    }

    /// Whether a queue may wait in the store that an owner of its slot before left: of members that are all gone but those without
    /// queues of their own, which nobody looks for otherwise.
    pub(crate) fn may_be_left(&self, home: Option<Fence>) -> bool {
        home.is_some_and(|home| self.sought.load(Ordering::Acquire) != home.epoch)
    }

    /// Whether it is to have a queue in the store.
    pub(crate) fn is_durable(&self) -> bool {
        self.members.lock().iter().any(|(member, _)| member.is_persistent())
    }

    pub(crate) fn member_count(&self) -> usize {
        self.members.lock().len()
    }

    /// A member has come or gone.
    pub(crate) fn refresh(&self) {
        self.refresh_live(&self.members.lock());
    }

    fn refresh_live(&self, members: &[(Arc<Subscriber>, SubscribeOptions)]) {
        let live = members.iter().filter(|(member, _)| member.address() != Address::NONE);
        let live = live.map(|(member, options)| LiveMember {
            subscriber: member.clone(),
            address: member.address(),
            persistent: member.is_persistent(),
            options: *options,
            credit: member.credit(),
        });
        *self.live.write() = live.collect();
    }

    /// The members that are there.
    pub(crate) fn live(&self) -> Arc<[LiveMember]> {
        self.live.read().clone()
    }

    /// Whether messages wait, so that new ones have to queue up behind them.
    pub(crate) fn has_backlog(&self) -> bool {
        self.has_backlog.load(Ordering::Acquire)
    }

    /// To be called with the backlog locked, after a change.
    pub(crate) fn note(&self, backlog: &Backlog) {
        let any = !backlog.waiting.is_empty() || backlog.unread || backlog.claiming;
        self.has_backlog.store(any, Ordering::Release);
    }

    /// Gives it a queue; whether it had none.
    pub(crate) fn set_queue(&self, queue: GroupId) -> bool {
        let new = self.queue.set(queue);
        if new {
            self.queues.lock().push(queue);
            // It may be that of an owner before.
            self.look_again();
        }
        new
    }

    /// The names under which shares of it may travel.
    pub(crate) fn names(&self) -> Vec<GroupId> {
        let queues = self.queues.lock();
        std::iter::once(self.id).chain(queues.iter().copied()).collect()
    }

    /// The store does not have its queue any more: what was claimed of it is held nowhere else now.
    pub(crate) fn lose_queue(&self, queue: GroupId) {
        if !self.queue.forget(queue) {
            return;
        }
        let mut backlog = self.backlog.lock();
        let waiting = std::mem::take(&mut backlog.waiting);
        backlog.unheld = (0, 0);
        for delivery in waiting.into_iter().rev() {
            let held = delivery.held.filter(|held| matches!(held, Held::Member(..)));
            backlog.push_front(SharedDelivery { held, ..delivery });
        }
        self.note(&backlog);
    }

    /// A share of it has come back: what it is called now, and whether a queue holds it still.
    pub(crate) fn take_name(&self, delivery: &mut SharedDelivery) {
        let name = self.share().group;
        if delivery.share.group != name && matches!(delivery.held, Some(Held::Group(_))) {
            delivery.held = None;
        }
        delivery.share.group = name;
    }

    /// Its queue may have entries that nobody holds.
    pub(crate) fn look_again(&self) {
        if self.queue.get().is_some() {
            let mut backlog = self.backlog.lock();
            backlog.unread = true;
            self.note(&backlog);
        }
    }

    /// Takes what waits here and stands in its queue.
    pub(crate) fn take_held(&self) -> Vec<EntryId> {
        let mut backlog = self.backlog.lock();
        let entry = |delivery: SharedDelivery| match delivery.held {
            Some(Held::Group(entry)) => Some(entry),
            _ => None,
        };
        let held = backlog.waiting.drain(..).filter_map(entry).collect();
        backlog.unheld = (0, 0);
        self.note(&backlog);
        held
    }

    /// Takes what waits here and stands in the group's queue; what only memory holds stays.
    pub(crate) fn take_claimed(&self) -> Vec<EntryId> {
        let mut backlog = self.backlog.lock();
        let mut claimed = Vec::new();
        backlog.waiting.retain(|delivery| match delivery.held {
            Some(Held::Group(entry)) => {
                claimed.push(entry);
                false
            }
            _ => true,
        });
        self.note(&backlog);
        claimed
    }

    /// The store says what is held here of the group's queue: what nobody here has known of for so long that it was given out
    /// for nothing. An answer of the store that got lost leaves such entries, and so does an acknowledgement.
    pub(crate) fn held_for_nobody(&self, held: &[EntryId]) -> Vec<EntryId> {
        let known = self.known();
        let mut doubts = self.doubts.lock();
        let mut next = FxHashMap::default();
        let mut nobodys = Vec::new();
        for entry in held.iter().filter(|entry| !known.contains(entry)) {
            let seen = doubts.0.get(entry).copied().unwrap_or_default() + 1;
            if seen < DOUBTED {
                next.insert(*entry, seen);
            } else {
                nobodys.push(*entry);
            }
        }
        doubts.0 = next;
        nobodys
    }

    /// What waits here, and what members may have.
    fn known(&self) -> FxHashSet<EntryId> {
        let members = self.members.lock();
        let mut known: FxHashSet<EntryId> =
            members.iter().flat_map(|(member, _)| member.held_of(self.queue.get())).collect();
        drop(members);
        let backlog = self.backlog.lock();
        known.extend(backlog.waiting.iter().filter_map(|delivery| match delivery.held {
            Some(Held::Group(entry)) => Some(entry),
            _ => None,
        }));
        known
    }

    /// Entries that were asked for will not come.
    pub(crate) fn unclaim(&self) {
        let mut backlog = self.backlog.lock();
        (backlog.claiming, backlog.unread) = (false, true);
        self.note(&backlog);
    }

    /// Chooses one of `live`, in turns among those that have room. What is to be acknowledged costs the member credit.
    pub(crate) fn choose<'a>(&self, live: &'a [LiveMember], wanted: &Wanted<'_>) -> Choice<'a> {
        if live.is_empty() {
            return Choice::Nobody;
        }
        let start = self.cursor.fetch_add(1, Ordering::Relaxed) % live.len();
        let (before, after) = live.split_at(start);
        let mut fallback = None;
        for (passed, member) in after.iter().chain(before).enumerate() {
            if wanted.share.is_some_and(|share| member.has_refused(share)) {
                continue;
            }
            fallback.get_or_insert(member);
            if member.takes(wanted) {
                // The next turn is that of the one behind.
                self.cursor.fetch_add(passed, Ordering::Relaxed);
                return Choice::Member(member);
            }
        }
        match fallback {
            // QoS 0 does not wait.
            Some(member) if wanted.qos == QoS::AtMostOnce => Choice::Member(member),
            Some(_) => Choice::Busy,
            None => Choice::Nobody,
        }
    }
}

impl LiveMember {
    /// QoS at which it gets a message.
    pub(crate) fn qos(&self, published: QoS) -> QoS {
        published.min(self.options.qos)
    }

    /// RETAIN of what it gets.
    pub(crate) fn retain(&self, message: &Message) -> bool {
        message.retain && self.options.retain_as_published
    }

    pub(crate) fn identifiers(&self) -> Vec<u32> {
        self.options.identifier.into_iter().collect()
    }

    /// The append of its share.
    pub(crate) fn append(&self, message: &Message, share: Option<Share>) -> Append {
        Append {
            session: self.subscriber.session,
            qos: self.qos(message.qos),
            retain: self.retain(message),
            identifiers: self.identifiers(),
            share,
        }
    }

    fn takes(&self, wanted: &Wanted<'_>) -> bool {
        if wanted.pace.is_some_and(|pace| self.subscriber.drained() >= pace) {
            return false;
        }
        let acknowledged = self.qos(wanted.qos) != QoS::AtMostOnce;
        let takes = if acknowledged { self.credit.take() } else { self.credit.room() > 0 };
        if takes && wanted.pace.is_some() {
            self.subscriber.count_drained();
        }
        takes
    }

    pub(crate) fn has_refused(&self, share: &Share) -> bool {
        share.is_refused_by(self.subscriber.session)
    }

    /// How many queued messages it can take now.
    pub(crate) fn room(&self, pace: Option<u32>) -> usize {
        let room = self.credit.room().max(0) as usize;
        let paced = pace.map(|pace| pace.saturating_sub(self.subscriber.drained()) as usize);
        room.min(paced.unwrap_or(usize::MAX))
    }

    /// Asks to be told when it has room.
    pub(crate) fn want_room(&self) {
        self.credit.want();
    }
}

impl Backlog {
    /// Adds a message that is held nowhere else; `false` at the bounds.
    pub(crate) fn push_new(&mut self, delivery: SharedDelivery, bounds: (u64, u64)) -> bool {
        let size = size(&delivery);
        let fits = self.unheld.0 < bounds.0 && self.unheld.1 + size <= bounds.1;
        if fits {
            self.unheld = (self.unheld.0 + 1, self.unheld.1 + size);
            self.waiting.push_back(delivery);
        }
        fits
    }

    /// Adds a message in front.
    pub(crate) fn push_front(&mut self, delivery: SharedDelivery) {
        if delivery.held.is_none() {
            self.unheld = (self.unheld.0 + 1, self.unheld.1 + size(&delivery));
        }
        self.waiting.push_front(delivery);
    }

    pub(crate) fn pop(&mut self) -> Option<SharedDelivery> {
        let delivery = self.waiting.pop_front()?;
        if delivery.held.is_none() {
            let size = size(&delivery);
            self.unheld = (self.unheld.0.saturating_sub(1), self.unheld.1.saturating_sub(size));
        }
        Some(delivery)
    }
}

fn size(delivery: &SharedDelivery) -> u64 {
    (delivery.message.topic.len() + delivery.message.payload.len()) as u64
}
