//! The connections of clients to a gateway: real sessions, and what carries out what they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use fleethaven_fabric::delivery::{Address, Credit, Push};
use fleethaven_fabric::routing::{OwnerNumber, SharedDelivery};
use fleethaven_fabric::{RoutingEvent, RoutingRequest};
use fleethaven_mqtt::{Packet, PacketId, ReasonCode};
use fleethaven_session::{
    Accepted, Action, Close, ConnectRequest, Delivery, Encoded, LeftShares, Now, QueueState, Session, Shared,
    SubscribeRequest, UnsubscribeRequest, published_will,
};
use fleethaven_storage::request::DueWill;
use fleethaven_storage::{
    Claim, Claimed, Completion, ConnectionEnd, EntryId, Error, GroupId, Held, Once, OwnerToken,
    QueuedMessage, Request, SessionId, StoredWill, Subscription, Ticket,
};
use fleethaven_types::{Message, Publisher, QoS, Utf8Bytes};

use crate::Bug;
use crate::clients::{LASTS, claim, scope};
use crate::gateway::GatewayProcess;
use crate::wills;

/// Entries and bytes read from a queue at a time.
const QUEUE_PAGE: (usize, usize) = (256, 1 << 20);
/// In how many rounds the queues of all sessions are compared with the store.
const ROUND: u32 = 5;
/// Ticket of requests whose answer nobody waits for.
const NOBODY: Ticket = Ticket(0);

/// A client's connection, as the gateway has it.
pub(crate) struct Connection {
    pub(crate) client: usize,
    /// Among the client's.
    pub(crate) number: u64,
    pub(crate) session: Session,
    address: Address,
    owned: Option<OwnerToken>,
    will: Option<Arc<Message>>,
    /// Under which the will waits afterwards.
    will_number: Option<SessionId>,
    /// Which of the session's owners it is.
    owner: OwnerNumber,
    /// Messages are queued in the store.
    has_queue: bool,
    progress: Progress,
    credit: Credit,
    announced: i32,
    shares_received: i32,
}

/// How far a client got, to be told to the store at the end of a turn.
#[derive(Default)]
struct Progress {
    acknowledged: Vec<EntryId>,
    released: Vec<EntryId>,
}

/// What an answer of the store or the routers is about.
#[derive(Debug, Clone)]
pub(crate) enum Pending {
    /// Of a publisher, and the number of its connection.
    Publish {
        publisher: usize,
        number: u64,
        connection: u64,
    },
    Claim {
        slot: u32,
        token: OwnerToken,
        persistent: bool,
    },
    Subscribe {
        slot: u32,
        session: SessionId,
        owner: OwnerNumber,
        packet_id: PacketId,
        subscriptions: Vec<Subscription>,
    },
    Unsubscribe {
        slot: u32,
        session: SessionId,
        owner: OwnerNumber,
        packet_id: PacketId,
        filters: Vec<Utf8Bytes>,
    },
    Queue {
        slot: u32,
    },
    Released {
        slot: u32,
        entries: Vec<EntryId>,
    },
    End {
        session: SessionId,
        persistent: bool,
        address: Address,
        /// The will, to be published at once, and its number.
        will: Option<(Arc<Message>, SessionId)>,
    },
    Tails(Vec<u32>),
}

/// What a gateway has for others at the end of a turn.
#[derive(Default)]
pub(crate) struct Leaving {
    /// Bytes for clients, by client and number of its connection.
    pub(crate) output: Vec<(usize, u64, Bytes)>,
    /// Connections that were closed here.
    pub(crate) closed: Vec<(usize, u64)>,
    /// Owners that claims of this gateway replaced.
    pub(crate) taken_over: Vec<(OwnerToken, Address)>,
    /// Answers for publishers.
    pub(crate) published: Vec<(usize, u64, u64, Result<(), Error>)>,
}

/// All connections of a gateway, and what they have asked for.
#[derive(Default)]
pub(crate) struct Connections {
    by_slot: BTreeMap<u32, Connection>,
    pub(crate) last_slot: u32,
    shares_done: BTreeMap<GroupId, Vec<EntryId>>,
    /// Connections that had a will, whose clients have sent DISCONNECT, and whose end is not recorded.
    withdrawn: BTreeSet<u32>,
    sweeping: bool,
    swept: u32,
    pub(crate) routing: Vec<RoutingRequest>,
    pub(crate) store: Vec<Request>,
    pub(crate) leaving: Leaving,
}

impl GatewayProcess {
    /// A client has connected; the slot of its connection.
    pub(crate) fn open(&mut self, client: usize, number: u64, session: Session) -> u32 {
        self.connections.last_slot += 1;
        let slot = self.connections.last_slot;
        let connection = Connection {
            client,
            number,
            session,
            address: Address::new(0, slot, 1),
            owned: None,
            will: None,
            will_number: None,
            owner: OwnerNumber::UNKNOWN,
            has_queue: false,
            progress: Progress::default(),
            credit: Credit::default(),
            announced: 0,
            shares_received: 0,
        };
        self.connections.by_slot.insert(slot, connection);
        slot
    }

    fn at(&mut self, slot: u32) -> Option<&mut Connection> {
        self.connections.by_slot.get_mut(&slot)
    }

    fn session_at(&mut self, address: Address, session: SessionId) -> Option<(u32, &mut Connection)> {
        let slot = address.slot();
        let connection = self.connections.by_slot.get_mut(&slot)?;
        (connection.session.session_id() == session && connection.owned.is_some())
            .then_some((slot, connection))
    }

    /// A client has sent something.
    pub(crate) fn received(&mut self, slot: u32, packet: Packet, now: Now) {
        if let Some(connection) = self.at(slot) {
            connection.session.handle_packet(packet, now);
            self.act(slot, now);
        }
    }

    /// A connection is to end.
    pub(crate) fn close(&mut self, slot: u32, close: Close, now: Now) {
        if let Some(connection) = self.at(slot) {
            connection.session.close(close);
            self.act(slot, now);
        }
    }

    /// Another gateway's client has claimed the session of the connection at `address`.
    pub(crate) fn taken_over(&mut self, address: Address, now: Now) {
        self.close(address.slot(), Close::taken_over(), now);
    }

    /// Deadlines that have passed.
    pub(crate) fn time_passed(&mut self, now: Now) {
        let due =
            |connection: &Connection| connection.session.poll_timeout().is_some_and(|at| at <= now.instant);
        let due: Vec<u32> =
            self.connections.by_slot.iter().filter(|(_, one)| due(one)).map(|(slot, _)| *slot).collect();
        for slot in due {
            if let Some(connection) = self.at(slot) {
                connection.session.handle_timeout(now);
                self.act(slot, now);
            }
        }
    }

    /// Carries out what the connection's session asks for.
    fn act(&mut self, slot: u32, now: Now) {
        while let Some(action) = self.at(slot).and_then(|connection| connection.session.poll_action()) {
            match action {
                Action::Connect(request) => self.claim(slot, &request, now),
                Action::ReadQueue { after } => self.read_queue(slot, after),
                Action::Acknowledged { entry } => {
                    self.at(slot).into_iter().for_each(|one| one.progress.acknowledged.push(entry));
                }
                Action::Release { entry } => {
                    self.at(slot).into_iter().for_each(|one| one.progress.released.push(entry));
                }
                Action::Subscribe(request) => self.subscribe(slot, request),
                Action::Unsubscribe(request) => self.unsubscribe(slot, request),
                Action::ShareDone { group, entry } => self.share_done(group, entry),
                Action::Close => self.ended(slot, now),
                Action::Refused { .. } => self.gone(slot),
                // These clients publish elsewhere, and nobody sends them anything past their subscriptions.
                Action::Publish { .. } | Action::Forget { .. } | Action::DirectAcknowledged { .. } => {}
            }
        }
        self.announce_room(slot);
    }

    /// Tells routers what the connection can take as the member of groups.
    fn announce_room(&mut self, slot: u32) {
        let Some(connection) = self.at(slot) else { return };
        let room = connection.session.share_room();
        let change = room - connection.announced + std::mem::take(&mut connection.shares_received);
        connection.announced = room;
        if change != 0 && connection.credit.adjust(change) {
            let session = connection.session.session_id();
            self.connections.routing.push(RoutingRequest::Ready { session, returned: false });
        }
    }

    fn share_done(&mut self, group: GroupId, entry: EntryId) {
        self.connections.shares_done.entry(group).or_default().push(entry);
    }

    /// The last bytes go out, then the connection is closed.
    fn gone(&mut self, slot: u32) {
        if let Some(mut connection) = self.connections.by_slot.remove(&slot) {
            let (client, number) = (connection.client, connection.number);
            let left = written(&mut connection.session);
            self.connections.leaving.output.push((client, number, left));
            self.connections.leaving.closed.push((client, number));
        }
    }
}

/// What a session has for its client.
fn written(session: &mut Session) -> Bytes {
    let output = session.output();
    output.copy_to_bytes(output.len())
}

/// From CONNECT to the end.
impl GatewayProcess {
    fn claim(&mut self, slot: u32, request: &ConnectRequest, now: Now) {
        let Some(me) = self.me else { return };
        self.last_token += 1;
        let token = OwnerToken { incarnation: me.0, counter: self.last_token };
        let persistent = request.session_expiry > 0;
        let ticket = self.expect(Pending::Claim { slot, token, persistent });
        let Some(connection) = self.connections.by_slot.get_mut(&slot) else { return };
        connection.will = wills::of_request(request, connection.client, connection.number);
        let will = connection.will.clone().map(|message| StoredWill { message, delay: 0 });
        self.connections.store.push(Request::Claim(Box::new(Claim {
            ticket,
            owner_address: Address::new(0, slot, 1).to_u64(),
            clean_start: request.clean_start,
            session_expiry: request.session_expiry,
            will,
            ..claim(&request.client_id, token, now.wall)
        })));
    }

    fn claimed(
        &mut self,
        (slot, token, persistent): (u32, OwnerToken, bool),
        result: Result<Box<Claimed>, Error>,
        now: Now,
    ) {
        let claimed = match result {
            Ok(claimed) => *claimed,
            Err(error) => {
                if let Some(connection) = self.at(slot) {
                    connection.session.refuse(ReasonCode::ServerUnavailable, error.to_string());
                    self.act(slot, now);
                }
                return;
            }
        };
        if let Some(previous) = &claimed.previous {
            let address = Address::from_u64(previous.address);
            match self.me.is_some_and(|me| me.0 == previous.token.incarnation) {
                true => {
                    self.taken_over(address, now);
                    let withdrawn = self.connections.withdrawn.remove(&address.slot());
                    match &previous.will {
                        Some(DueWill { number, .. }) if withdrawn => {
                            self.connections.store.push(Request::WithdrawWill { will: *number });
                        }
                        Some(will) => self.publish_will(published_will(&will.message, now), will.number),
                        None => {}
                    }
                }
                false => {
                    self.connections.leaving.taken_over.push((previous.token, address));
                    if let Some(will) = &previous.will {
                        self.publish_will(published_will(&will.message, now), will.number);
                    }
                }
            }
        }
        if let Some(session) = claimed.wiped {
            self.connections.routing.push(RoutingRequest::Forget { session });
        }
        match self.at(slot).is_some() {
            true => self.accept(slot, token, persistent, claimed, now),
            // It was gone before: the session ends as if the connection had been lost right after.
            false => {
                let expiry = if persistent { LASTS } else { 0 };
                let address = Address::new(0, slot, 1);
                self.record_end((claimed.session, address, token), (expiry, claimed.sent), None, now);
            }
        }
    }

    fn accept(&mut self, slot: u32, token: OwnerToken, persistent: bool, claimed: Claimed, now: Now) {
        let Some(connection) = self.connections.by_slot.get_mut(&slot) else { return };
        let persistent = persistent || claimed.session_present;
        let (session, address, credit) = (claimed.session, connection.address, connection.credit.clone());
        connection.owned = Some(token);
        let owner = OwnerNumber(claimed.version_number);
        connection.owner = owner;
        connection.will_number = claimed.will;
        connection.has_queue = persistent;
        let (scope, subscriptions) = (scope(), claimed.subscriptions.clone());
        let routing = &mut self.connections.routing;
        routing.push(RoutingRequest::Attach { session, scope, persistent, address, credit, owner });
        if !subscriptions.is_empty() {
            let (ticket, exact) = (NOBODY, None);
            routing.push(RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner });
        }
        let queue = persistent.then_some(QueueState {
            trimmed: claimed.trimmed,
            tail: claimed.tail,
            sent: if claimed.previous.is_some() { claimed.tail } else { claimed.sent },
        });
        let client_id = Some(connection.session.client_id().clone());
        let publisher = Publisher { scope, client_id, principal: None, source_ip: None, trace: 0 };
        let held = claimed.subscriptions.into_iter().map(|held| (held.filter, held.qos));
        let accepted = Accepted {
            session,
            session_present: claimed.session_present,
            assigned_client_id: None,
            publisher: Arc::new(publisher),
            queue,
            first_sent: claimed.first_sent,
            released: claimed.released,
            received: claimed.received,
            subscriptions: held.collect(),
        };
        connection.session.accept(accepted, connection.will.clone(), now);
        self.act(slot, now);
    }

    /// An accepted connection is over: its end is recorded.
    fn ended(&mut self, slot: u32, now: Now) {
        let Some(connection) = self.connections.by_slot.get_mut(&slot) else { return };
        let (Some(ending), Some(token)) = (connection.session.ended(now), connection.owned) else {
            return self.gone(slot);
        };
        let (session, address) = (connection.session.session_id(), connection.address);
        let (had_will, number) = (connection.will.is_some(), connection.will_number);
        let entries = std::mem::take(&mut connection.progress.acknowledged);
        let LeftShares { unacknowledged, finished } = connection.session.take_shares();
        if !entries.is_empty() {
            self.connections.store.push(Request::Trim { session, token, entries });
        }
        self.connections.routing.push(RoutingRequest::Detach { session, address, persistent: true });
        finished.into_iter().for_each(|(group, entry)| self.share_done(group, entry));
        self.return_shares(session, unacknowledged);
        if ending.will.is_none() && had_will {
            self.connections.withdrawn.insert(slot);
        }
        let will = ending.will.map(|(message, _)| message).zip(number);
        self.record_end((session, address, token), (ending.session_expiry, ending.sent), will, now);
        self.gone(slot);
    }

    fn return_shares(&mut self, session: SessionId, shares: Vec<Shared>) {
        if shares.is_empty() {
            return;
        }
        let shared = |shared: Shared| SharedDelivery {
            message: shared.message,
            share: shared.share,
            held: shared.held.map(Held::Group),
        };
        let shares = shares.into_iter().map(shared).collect();
        self.connections.routing.push(RoutingRequest::Return { session, shares, refused: false });
    }

    fn record_end(
        &mut self,
        (session, address, token): (SessionId, Address, OwnerToken),
        (session_expiry, sent): (u32, EntryId),
        will: Option<(Arc<Message>, SessionId)>,
        now: Now,
    ) {
        let will_delay = will.is_some().then_some(0);
        let ticket = self.expect(Pending::End { session, persistent: session_expiry > 0, address, will });
        self.connections.store.push(Request::End(Box::new(ConnectionEnd {
            ticket,
            session,
            token,
            session_expiry,
            sent,
            first_sent: Vec::new(),
            will_delay,
            departure: None,
            now: now.wall,
        })));
    }

    /// Another connection has it by now, or the session may be forgotten, or its shares are there for others.
    fn end_recorded(
        &mut self,
        (session, address): (SessionId, Address),
        persistent: bool,
        will: Option<(Arc<Message>, SessionId)>,
        result: &Result<(), Error>,
    ) {
        if !matches!(result, Err(Error::NotOwner | Error::NoSession)) {
            self.connections.withdrawn.remove(&address.slot());
            self.connections.routing.push(match persistent {
                true => RoutingRequest::Ready { session, returned: true },
                false => RoutingRequest::Forget { session },
            });
        }
        // Without a record of the end, the store still has the will with the connection.
        if let Some((will, number)) = will.filter(|_| result.is_ok()) {
            self.publish_will(will, number);
        }
    }

    /// The store sees to it that nobody else publishes it.
    fn publish_will(&mut self, message: Arc<Message>, will: SessionId) {
        let once = Some(Once::Will(will));
        self.connections.routing.push(RoutingRequest::Publish {
            ticket: None,
            message,
            from: None,
            once,
            fence: None,
        });
    }
}

/// Subscriptions.
impl GatewayProcess {
    fn subscribe(&mut self, slot: u32, request: SubscribeRequest) {
        let Some(connection) = self.connections.by_slot.get(&slot) else { return };
        let (session, owned) = (connection.session.session_id(), connection.owned);
        let (has_queue, owner) = (connection.has_queue, connection.owner);
        let subscription = |filter: fleethaven_session::subscribe::RequestedFilter| Subscription {
            filter: filter.filter,
            qos: filter.options.qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: filter.options.retain_handling as u8,
            identifier: None,
        };
        let (packet_id, filters) = (request.packet_id, request.filters);
        let subscriptions: Vec<_> = filters.into_iter().map(subscription).collect();
        let pending =
            Pending::Subscribe { slot, session, owner, packet_id, subscriptions: subscriptions.clone() };
        let ticket = self.expect(pending);
        match owned.filter(|_| has_queue) {
            Some(token) => {
                self.connections.store.push(Request::Subscribe { ticket, session, token, subscriptions });
            }
            None => {
                let subscribe =
                    RoutingRequest::Subscribe { ticket, session, subscriptions, exact: None, owner };
                self.connections.routing.push(subscribe);
            }
        }
    }

    fn unsubscribe(&mut self, slot: u32, request: UnsubscribeRequest) {
        let Some(connection) = self.connections.by_slot.get(&slot) else { return };
        let (session, owned) = (connection.session.session_id(), connection.owned);
        let (has_queue, owner) = (connection.has_queue, connection.owner);
        let UnsubscribeRequest { packet_id, filters } = request;
        let ticket =
            self.expect(Pending::Unsubscribe { slot, session, owner, packet_id, filters: filters.clone() });
        match owned.filter(|_| has_queue) {
            Some(token) => {
                self.connections.store.push(Request::Unsubscribe { ticket, session, token, filters });
            }
            None => {
                self.connections.routing.push(RoutingRequest::Unsubscribe { ticket, session, filters, owner })
            }
        }
    }

    fn subscribed(&mut self, slot: u32, packet_id: PacketId, subscriptions: &[Subscription], now: Now) {
        let Some(connection) = self.at(slot) else { return };
        let granted = |held: &Subscription| (held.filter.clone(), ReasonCode::granted(held.qos));
        connection.session.subscribe_done(packet_id, subscriptions.iter().map(granted).collect());
        self.act(slot, now);
    }
}

/// The queue of a session.
impl GatewayProcess {
    fn read_queue(&mut self, slot: u32, after: EntryId) {
        let Some(connection) = self.connections.by_slot.get(&slot) else { return };
        let Some(token) = connection.owned else { return };
        let (session, (most, max_bytes)) = (connection.session.session_id(), QUEUE_PAGE);
        let max_entries = connection.session.window_left().clamp(1, most);
        let ticket = self.expect(Pending::Queue { slot });
        let read = Request::ReadQueue { ticket, session, token, after, max_entries, max_bytes };
        self.connections.store.push(read);
    }

    fn queue_read(&mut self, slot: u32, result: Result<(Vec<QueuedMessage>, EntryId), Error>, now: Now) {
        let Some(connection) = self.at(slot) else { return };
        let (entries, tail) = match result {
            Ok(read) => read,
            Err(error) => return self.failed(slot, &error, now),
        };
        let deliveries = entries.iter().map(|queued| {
            let QueuedMessage { entry, qos, retain, identifiers, message, .. } = queued;
            (*entry, message.clone(), Delivery { qos: *qos, retain: *retain, identifiers })
        });
        connection.session.queue_read(deliveries, tail, now);
        connection.session.queue_tail(tail);
        self.act(slot, now);
    }

    /// The store could not do what a connection needs.
    fn failed(&mut self, slot: u32, error: &Error, now: Now) {
        let close = match error {
            Error::NotOwner => Close::taken_over(),
            error => Close::server_error(error.to_string()),
        };
        self.close(slot, close, now);
    }

    /// Compares the queues of some sessions with the store: all have had their turn after so many calls.
    pub(crate) fn sweep(&mut self) {
        if self.connections.sweeping {
            return;
        }
        self.connections.swept = (self.connections.swept + 1) % ROUND;
        let (mut known, mut slots) = (Vec::new(), Vec::new());
        for (slot, connection) in &self.connections.by_slot {
            let tail = connection.session.queue_tail_known().filter(|_| connection.owned.is_some());
            if let Some(tail) = tail.filter(|_| slot % ROUND == self.connections.swept) {
                known.push((connection.session.session_id(), tail));
                slots.push(*slot);
            }
        }
        if !known.is_empty() {
            self.connections.sweeping = true;
            let ticket = self.expect(Pending::Tails(slots));
            self.connections.store.push(Request::CompareTails { ticket, known });
        }
    }

    fn tails_compared(&mut self, slots: &[u32], result: Result<Vec<(usize, EntryId)>, Error>, now: Now) {
        self.connections.sweeping = false;
        for (index, tail) in result.unwrap_or_default() {
            let Some(slot) = slots.get(index) else { continue };
            if let Some(connection) = self.at(*slot) {
                connection.session.queue_tail(tail);
                self.act(*slot, now);
            }
        }
    }

    /// Pushes may have got lost: every session looks at its queue.
    pub(crate) fn lost_pushes(&mut self, now: Now) {
        let slots: Vec<u32> = self.connections.by_slot.keys().copied().collect();
        for slot in slots {
            let Some(connection) = self.at(slot) else { continue };
            connection.session.resync();
            (connection.announced, connection.shares_received) = (connection.session.share_room(), 0);
            connection.credit.reset(connection.announced);
            self.act(slot, now);
        }
    }

    /// A router has pushed something.
    pub(crate) fn pushed(&mut self, push: Push, now: Now) {
        match push {
            Push::Direct { message, targets, .. } => {
                let mut encoded = Encoded::new(message, now.wall);
                for target in targets.iter() {
                    let Some((slot, connection)) = self.session_at(target.address, target.session) else {
                        continue;
                    };
                    let qos = target.qos.min(encoded.message().qos);
                    let delivery = Delivery { qos, retain: false, identifiers: &[] };
                    connection.session.deliver(&mut encoded, &delivery, now);
                    self.act(slot, now);
                }
            }
            Push::Tail { address, session, tail } => {
                if let Some((slot, connection)) = self.session_at(address, session) {
                    connection.session.queue_tail(tail);
                    self.act(slot, now);
                }
            }
            Push::Queued { message, address, session, qos, retain, identifiers, share, position } => {
                if let Some((slot, connection)) = self.session_at(address, session) {
                    connection.shares_received += i32::from(share.is_some());
                    let mut encoded = Encoded::new(message, now.wall);
                    let delivery = Delivery { qos, retain, identifiers: &identifiers };
                    let position = (position.entry, position.previous);
                    connection.session.deliver_queued(&mut encoded, &delivery, position, now);
                    self.act(slot, now);
                }
            }
            Push::Shared { message, address, session, qos, retain, identifiers, share, held } => {
                let shared = Shared { message: message.clone(), share, held };
                let Some((slot, connection)) = self.session_at(address, session) else {
                    return self.return_shares(session, vec![shared]);
                };
                connection.shares_received += i32::from(qos != QoS::AtMostOnce);
                let mut encoded = Encoded::new(message, now.wall);
                let delivery = Delivery { qos, retain, identifiers: &identifiers };
                if let Err(shared) = connection.session.deliver_shared(&mut encoded, &delivery, shared, now) {
                    self.return_shares(session, vec![shared]);
                }
                self.act(slot, now);
            }
        }
    }
}

/// The turn.
impl GatewayProcess {
    /// Hands over what was asked for; hears what is answered. Whether that led to more.
    pub(crate) fn turn(&mut self, bug: Option<Bug>, now: Now) -> bool {
        self.lanes.submit(&mut self.connections.routing);
        self.store.submit(&mut self.connections.store);
        let (mut events, mut completions) = (Vec::new(), Vec::new());
        self.lanes.drain(&mut events);
        self.store.drain(&mut completions);
        events.into_iter().for_each(|event| self.routed(event, now));
        completions.into_iter().for_each(|completion| self.stored(completion, bug, now));
        !self.connections.routing.is_empty() || !self.connections.store.is_empty()
    }

    fn routed(&mut self, event: RoutingEvent, now: Now) {
        match event {
            RoutingEvent::Published { ticket, result, .. } => {
                if let Some(Pending::Publish { publisher, number, connection }) = self.pending.remove(&ticket)
                {
                    self.connections.leaving.published.push((publisher, number, connection, result));
                }
            }
            // No service is beside these routers.
            RoutingEvent::Answered { .. } => {}
            RoutingEvent::Subscribed { ticket, .. } => {
                if let Some(Pending::Subscribe { slot, packet_id, subscriptions, .. }) =
                    self.pending.remove(&ticket)
                {
                    self.subscribed(slot, packet_id, &subscriptions, now);
                }
            }
            RoutingEvent::Unsubscribed { ticket, existed } => {
                if let Some(Pending::Unsubscribe { slot, packet_id, filters, .. }) =
                    self.pending.remove(&ticket)
                    && let Some(connection) = self.at(slot)
                {
                    connection
                        .session
                        .unsubscribe_done(packet_id, filters.into_iter().zip(existed).collect());
                    self.act(slot, now);
                }
            }
        }
    }

    fn stored(&mut self, completion: Completion, bug: Option<Bug>, now: Now) {
        match completion {
            Completion::Claimed { ticket, result } => {
                if let Some(Pending::Claim { slot, token, persistent }) = self.pending.remove(&ticket) {
                    self.claimed((slot, token, persistent), result, now);
                }
            }
            Completion::QueueRead { ticket, result } => {
                if let Some(Pending::Queue { slot }) = self.pending.remove(&ticket) {
                    self.queue_read(slot, result, now);
                }
            }
            Completion::Tails { ticket, result } => {
                if let Some(Pending::Tails(slots)) = self.pending.remove(&ticket) {
                    self.tails_compared(&slots, result, now);
                }
            }
            Completion::Done { ticket, result } => {
                if let Some(pending) = self.pending.remove(&ticket) {
                    self.done(pending, &result, bug, now);
                }
            }
            // Only routers ask for these.
            Completion::Published { .. }
            | Completion::GroupOpened { .. }
            | Completion::SharesClaimed { .. }
            | Completion::SharesHeld { .. }
            | Completion::RetainedFound { .. }
            | Completion::Retained { .. }
            | Completion::Owners { .. } => {}
        }
    }

    fn done(&mut self, pending: Pending, result: &Result<(), Error>, bug: Option<Bug>, now: Now) {
        match (pending, result) {
            (Pending::End { session, persistent, address, will }, result) => {
                self.end_recorded((session, address), persistent, will, result)
            }
            (
                Pending::Subscribe { slot, .. }
                | Pending::Unsubscribe { slot, .. }
                | Pending::Released { slot, .. },
                Err(error),
            ) => self.failed(slot, error, now),
            // Routed though the connection may be gone by now: what the store holds of a session, routers hold, too.
            (Pending::Subscribe { slot, session, owner, packet_id, subscriptions }, Ok(())) => {
                if bug == Some(Bug::EarlySuback) {
                    self.subscribed(slot, packet_id, &subscriptions, now);
                }
                let pending = Pending::Subscribe {
                    slot,
                    session,
                    owner,
                    packet_id,
                    subscriptions: subscriptions.clone(),
                };
                let ticket = self.expect(pending);
                let subscribe =
                    RoutingRequest::Subscribe { ticket, session, subscriptions, exact: None, owner };
                self.connections.routing.push(subscribe);
            }
            (Pending::Unsubscribe { slot, session, owner, packet_id, filters }, Ok(())) => {
                let pending =
                    Pending::Unsubscribe { slot, session, owner, packet_id, filters: filters.clone() };
                let ticket = self.expect(pending);
                self.connections.routing.push(RoutingRequest::Unsubscribe {
                    ticket,
                    session,
                    filters,
                    owner,
                });
            }
            (Pending::Released { slot, entries }, Ok(())) => {
                if let Some(connection) = self.at(slot) {
                    connection.session.released(&entries);
                    self.act(slot, now);
                }
            }
            _ => {}
        }
    }

    /// The end of a turn: the store is told how far clients got, and clients get what was written for them.
    pub(crate) fn end_turn(&mut self) {
        let mut released = Vec::new();
        for (slot, connection) in &mut self.connections.by_slot {
            let Some(token) = connection.owned else { continue };
            let session = connection.session.session_id();
            let Progress { acknowledged: entries, released: begun } =
                std::mem::take(&mut connection.progress);
            if !entries.is_empty() {
                self.connections.store.push(Request::Trim { session, token, entries });
            }
            if !begun.is_empty() {
                released.push((*slot, session, token, begun));
            }
        }
        for (slot, session, token, entries) in released {
            let ticket = self.expect(Pending::Released { slot, entries: entries.clone() });
            self.connections.store.push(Request::Release { ticket, session, token, entries });
        }
        let done = std::mem::take(&mut self.connections.shares_done);
        let done = done.into_iter().map(|(group, entries)| Request::AcknowledgeShares { group, entries });
        self.connections.store.extend(done);
        self.store.submit(&mut self.connections.store);
        for connection in self.connections.by_slot.values_mut() {
            let written = written(&mut connection.session);
            if !written.is_empty() {
                self.connections.leaving.output.push((connection.client, connection.number, written));
            }
        }
    }

    /// Whether something that was asked for is not answered yet.
    pub(crate) fn waits(&self) -> bool {
        !self.pending.is_empty() || !self.connections.store.is_empty() || !self.connections.routing.is_empty()
    }
}
