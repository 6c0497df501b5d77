//! The connections of clients to a gateway: real sessions, and what carries out what they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::delivery::{Address, Credit, Push};
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_mqtt::{Packet, PacketId, ReasonCode};
use fleethaven_session::{
    Action, Close, Delivery, Encoded, Now, Session, Shared, SubscribeRequest, UnsubscribeRequest,
};
use fleethaven_storage::{
    EntryId, Error, GroupId, OwnerToken, QueuedMessage, Request, SessionId, Subscription, Ticket,
};
use fleethaven_types::{Message, QoS, Utf8Bytes};

use crate::gateway::GatewayProcess;

mod ends;
mod turn;

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
