//! One event loop: a thread with its own runtime, its connections, its lanes into the router and the store, its timers.
//! Nothing in it is shared with another thread but the mailbox.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::{Routing, RoutingRequest};
use fleethaven_mqtt::ReasonCode;
use fleethaven_session::{ConnectRequest, Ending, Now, Session, Settings};
use fleethaven_storage::{Lane, OwnerToken, Request, Subscription, Ticket};
use fleethaven_types::{Publisher, SessionId, Utf8Bytes};
use prometheus::local::LocalIntCounter;
use rustc_hash::FxHashMap;
use slab::Slab;

use crate::authorize::Denied;
use crate::connection::Connection;
use crate::gateway::Shared;
use crate::identity::Principal;
use crate::mailbox::Mailbox;
use crate::timer::Wheel;
use crate::transport::Transport;

/// A connection's place in the table.
struct Slot {
    generation: u32,
    connection: Rc<RefCell<Connection>>,
}

/// What this turn gathers for the router, the store and the sockets.
#[derive(Default)]
pub(crate) struct Staging {
    pub(crate) routing: Vec<RoutingRequest>,
    pub(crate) store: Vec<Request>,
    pub(crate) write: Vec<Address>,
    pub(crate) trim: Vec<Address>,
    pub(crate) paused: Vec<Address>,
    pending: FxHashMap<Ticket, (Address, Pending)>,
    next_ticket: u64,
}

/// The lanes out of this core.
pub(crate) struct Lanes {
    pub(crate) routing: Box<dyn Routing>,
    pub(crate) store: Box<dyn Lane>,
}

/// What an answer of the store or the router is waited for.
pub(crate) enum Pending {
    /// The claim of a client id.
    Claim(Box<PendingClaim>),
    /// Queue entries.
    Queue,
    /// Subscriptions: first durable, then installed.
    Subscribe { packet_id: u16, outcomes: Vec<(Utf8Bytes, ReasonCode)>, granted: Vec<Subscription> },
    /// Subscriptions being removed: first durably, then in the router.
    Unsubscribe { packet_id: u16, filters: Vec<Utf8Bytes> },
    /// The end of an owned session.
    End(Box<PendingEnd>),
    /// Retained messages for a new subscription.
    Retained(Box<Subscription>),
}

/// A CONNECT that is allowed and waits for its session.
pub(crate) struct PendingClaim {
    pub(crate) request: ConnectRequest,
    pub(crate) assigned: Option<Utf8Bytes>,
    pub(crate) token: OwnerToken,
    pub(crate) publisher: Arc<Publisher>,
}

/// A connection that is over and whose will may have to be published.
pub(crate) struct PendingEnd {
    pub(crate) ending: Ending,
    pub(crate) publisher: Arc<Publisher>,
}

/// Counters of this core, added to the process's once a turn.
pub(crate) struct CoreMetrics {
    pub(crate) publish_in: LocalIntCounter,
    pub(crate) publish_in_denied: LocalIntCounter,
    pub(crate) publish_out: LocalIntCounter,
    pub(crate) publish_out_denied: LocalIntCounter,
    subscribe: LocalIntCounter,
    subscribe_denied: LocalIntCounter,
    subscribe_failed: LocalIntCounter,
}

impl CoreMetrics {
    fn new(shared: &Shared) -> Self {
        let metrics = &shared.metrics;
        let local =
            |family: &prometheus::IntCounterVec, result: &str| family.with_label_values(&[result]).local();
        Self {
            publish_in: local(&metrics.publish_in, "success"),
            publish_in_denied: local(&metrics.publish_in, "auth_error"),
            publish_out: local(&metrics.publish_out, "success"),
            publish_out_denied: local(&metrics.publish_out, "auth_error"),
            subscribe: local(&metrics.subscribe, "success"),
            subscribe_denied: local(&metrics.subscribe, "auth_error"),
            subscribe_failed: local(&metrics.subscribe, "client_error"),
        }
    }

    pub(crate) fn subscribe(&self, code: ReasonCode) {
        match code {
            ReasonCode::NotAuthorized => self.subscribe_denied.inc(),
            code if code.is_error() => self.subscribe_failed.inc(),
            _ => self.subscribe.inc(),
        }
    }

    pub(crate) fn flush(&self) {
        for counter in [
            &self.publish_in,
            &self.publish_in_denied,
            &self.publish_out,
            &self.publish_out_denied,
            &self.subscribe,
            &self.subscribe_denied,
            &self.subscribe_failed,
        ] {
            counter.flush();
        }
    }
}

/// The state of one event loop.
pub(crate) struct Core {
    pub(crate) id: u8,
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) metrics: CoreMetrics,
    /// Where sockets are read into.
    pub(crate) arena: RefCell<BytesMut>,
    pub(crate) lanes: RefCell<Lanes>,
    pub(crate) staging: RefCell<Staging>,
    pub(crate) wheel: RefCell<Wheel>,
    pub(crate) draining: Cell<bool>,
    pub(crate) congested: Cell<bool>,
    drain_notify: tokio::sync::Notify,
    table: RefCell<Slab<Slot>>,
    generation: Cell<u32>,
    now: Cell<Now>,
}

impl Core {
    pub(crate) fn new(id: u8, shared: Arc<Shared>, mailbox: Arc<Mailbox>, lanes: Lanes) -> Rc<Self> {
        let now = read_clock();
        Rc::new(Self {
            id,
            settings: shared.settings.clone(),
            metrics: CoreMetrics::new(&shared),
            shared,
            mailbox,
            arena: RefCell::default(),
            lanes: RefCell::new(lanes),
            staging: RefCell::default(),
            wheel: RefCell::new(Wheel::new(now.instant)),
            draining: Cell::new(false),
            congested: Cell::new(false),
            drain_notify: tokio::sync::Notify::new(),
            table: RefCell::default(),
            generation: Cell::new(0),
            now: Cell::new(now),
        })
    }

    /// Reads the clock.
    pub(crate) fn tick(&self) -> Now {
        let now = read_clock();
        self.now.set(now);
        now
    }

    /// Puts a new connection into the table and starts its task.
    pub(crate) fn open(self: &Rc<Self>, transport: Transport, peer: SocketAddr, principal: Principal) {
        let now = self.tick();
        let generation = self.generation.get().wrapping_add(1).max(1);
        self.generation.set(generation);
        let mut table = self.table.borrow_mut();
        let vacant = table.vacant_entry();
        let address = Address::new(self.id, vacant.key() as u32, generation);
        let session = Session::new(self.settings.clone(), now);
        let deadline = session.poll_timeout();
        let trace = self.shared.next_trace();
        let max_packet = self.settings.limits.packet_bytes;
        let connection = Connection::new(address, peer, principal, transport, session, max_packet, trace);
        let connection = Rc::new(RefCell::new(connection));
        vacant.insert(Slot { generation, connection: connection.clone() });
        drop(table);
        self.mailbox.load.fetch_add(1, Ordering::Relaxed);
        if let Some(deadline) = deadline {
            self.wheel.borrow_mut().insert(deadline, (address.slot(), generation));
        }
        let core = self.clone();
        tokio::task::spawn_local(async move {
            std::future::poll_fn(|cx| connection.borrow_mut().poll(cx, &core)).await;
            core.remove(address);
        });
    }

    fn remove(&self, address: Address) {
        let mut table = self.table.borrow_mut();
        let slot = address.slot() as usize;
        if table.get(slot).is_some_and(|slot| slot.generation == address.generation()) {
            table.remove(slot);
            self.mailbox.load.fetch_sub(1, Ordering::Relaxed);
        }
        if table.is_empty() {
            table.shrink_to_fit();
        }
    }

    /// The connection at `address`, if it is still there.
    pub(crate) fn at(&self, address: Address) -> Option<Rc<RefCell<Connection>>> {
        let table = self.table.borrow();
        let slot = table.get(address.slot() as usize)?;
        (slot.generation == address.generation()).then(|| slot.connection.clone())
    }

    /// The connection that owns `session`. A search: for rare occasions.
    pub(crate) fn owner_of(&self, session: SessionId) -> Option<Rc<RefCell<Connection>>> {
        self.all().into_iter().find(|connection| connection.borrow().session_id() == session)
    }

    /// All connections, for what concerns many of them.
    pub(crate) fn all(&self) -> Vec<Rc<RefCell<Connection>>> {
        self.table.borrow().iter().map(|(_, slot)| slot.connection.clone()).collect()
    }

    /// Connections in the table.
    pub(crate) fn connection_count(&self) -> usize {
        self.table.borrow().len()
    }

    /// Looks at the connections whose deadline may have passed.
    pub(crate) fn fire_timers(self: &Rc<Self>, due: &mut Vec<(u32, u32)>) {
        let now = self.tick();
        self.wheel.borrow_mut().due(now.instant, due);
        for (slot, generation) in due.drain(..) {
            let Some(connection) = self.at(Address::new(self.id, slot, generation)) else { continue };
            let mut connection = connection.borrow_mut();
            connection.session.handle_timeout(now);
            connection.act(self, now);
            connection.mark_dirty(self);
            if let Some(deadline) = connection.session.poll_timeout() {
                self.wheel.borrow_mut().insert(deadline, (slot, generation));
            }
        }
    }

    /// Whether a drain is complete: no connection, nothing waited for.
    pub(crate) fn is_drained(&self) -> bool {
        self.connection_count() == 0 && self.staging.borrow().pending.is_empty()
    }

    /// Returns when the core begins to drain.
    pub(crate) async fn drain_requested(&self) {
        self.drain_notify.notified().await;
    }

    /// Begins to drain.
    pub(crate) fn begin_drain(&self) {
        self.draining.set(true);
        self.drain_notify.notify_one();
    }

    /// Hands a request to the router at the end of this turn.
    pub(crate) fn route(&self, request: RoutingRequest) {
        self.staging.borrow_mut().routing.push(request);
        self.mailbox.schedule();
    }

    /// Hands a request to the store at the end of this turn.
    pub(crate) fn ask_store(&self, request: Request) {
        self.staging.borrow_mut().store.push(request);
        self.mailbox.schedule();
    }

    /// A ticket for an answer that `pending` waits for.
    pub(crate) fn expect(&self, address: Address, pending: Pending) -> Ticket {
        let mut staging = self.staging.borrow_mut();
        staging.next_ticket += 1;
        let ticket = Ticket(staging.next_ticket);
        staging.pending.insert(ticket, (address, pending));
        ticket
    }

    /// What the ticket's answer was waited for, and by whom.
    pub(crate) fn expected(&self, ticket: Ticket) -> Option<(Address, Pending)> {
        self.staging.borrow_mut().pending.remove(&ticket)
    }

    /// A ticket that names a connection and one of its acknowledgements: 20 bits of slot, 12 of generation, 32 of number.
    pub(crate) fn ticket(&self, address: Address, number: u32) -> Ticket {
        let slot = u64::from(address.slot() & 0x000f_ffff) << 44;
        let generation = u64::from(address.generation() & 0x0fff) << 32;
        Ticket(slot | generation | u64::from(number))
    }

    /// The connection that such a ticket names.
    pub(crate) fn ticket_owner(&self, ticket: Ticket) -> Option<Rc<RefCell<Connection>>> {
        let table = self.table.borrow();
        let slot = table.get((ticket.0 >> 44) as usize)?;
        let generation = (ticket.0 >> 32) as u32 & 0x0fff;
        (slot.generation & 0x0fff == generation).then(|| slot.connection.clone())
    }

    /// Has a connection's output written at the end of this turn.
    pub(crate) fn write_later(&self, address: Address) {
        self.staging.borrow_mut().write.push(address);
        self.mailbox.schedule();
    }

    /// Has a connection's acknowledged queue entries trimmed at the end of this turn.
    pub(crate) fn to_trim(&self, address: Address) {
        self.staging.borrow_mut().trim.push(address);
        self.mailbox.schedule();
    }

    /// Has a connection's input looked at again when the store has caught up.
    pub(crate) fn pause(&self, address: Address) {
        self.staging.borrow_mut().paused.push(address);
    }

    /// One line for a refusal.
    pub(crate) fn log_denied(&self, connection: &Connection, event: &'static str, denied: &Denied) {
        let scope = connection.principal.scope;
        tracing::warn!(
            account = %scope.account,
            client_id = %connection.session.client_id(),
            principal_id = connection.principal.certificate_id.map(tracing::field::display),
            source_ip = %connection.peer.ip(),
            trace_id = format_args!("{:016x}", connection.trace),
            event,
            reason = "AUTHORIZATION_FAILURE",
            action = denied.action,
            resource = denied.resource,
            details = denied.because,
            "refused"
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the event loop's clock; tests of time run against the sans-io session"
)]
fn read_clock() -> Now {
    Now { instant: std::time::Instant::now(), wall: fleethaven_daemon::clock::now() }
}
