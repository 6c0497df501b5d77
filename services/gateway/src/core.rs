//! One event loop: a thread with its own runtime, its connections, its lanes into the router and the store, its timers.
//! Nothing in it is shared with another thread but the mailbox.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::{Routing, RoutingRequest};
use fleethaven_session::{DirectTicket, Now, Session, Settings};
use fleethaven_storage::{EntryId, GroupId, Lane, Request, Ticket};
use rustc_hash::FxHashMap;
use slab::Slab;

use crate::authorize::Denied;
use crate::authorizing::Waiting;
use crate::budget::Budget;
use crate::chores::Chores;
use crate::connection::{Connection, Phase};
use crate::drain::Drain;
use crate::ending::WITHDRAWN_KEPT;
use crate::gateway::{Arrival, Shared};
use crate::mailbox::{Mailbox, Place};
use crate::metering::Metering;
use crate::metrics::CoreMetrics;
use crate::pending::Pending;
use crate::spans::Spans;
use crate::sweep::Sweep;
use crate::timer::Wheel;
use crate::transport::{Farewell, Transport};
use crate::unrecorded::Unrecorded;

/// Slots that acknowledgement tickets can name (20 bits).
const MAX_SLOTS: usize = 1 << 20;
/// How long a client may take to read what it is sent at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// A connection's slot in the table.
struct Slot {
    generation: u32,
    connection: Rc<RefCell<Connection>>,
    /// Given back with the slot.
    _place: Place,
}

/// What this turn gathers for the router, the store and the sockets.
#[derive(Default)]
pub(crate) struct Staging {
    pub(crate) routing: Vec<RoutingRequest>,
    pub(crate) store: Vec<Request>,
    pub(crate) write: Vec<Address>,
    pub(crate) progress: Vec<Address>,
    /// Entries of groups' queues that were delivered.
    pub(crate) shares_done: Vec<(GroupId, Vec<EntryId>)>,
    pub(crate) paused: Vec<Address>,
    pending: FxHashMap<Ticket, (Address, Pending)>,
    next_ticket: u64,
}

impl Staging {
    /// Whether anything waits for a turn.
    fn has_work(&self) -> bool {
        let nothing = self.routing.is_empty() && self.store.is_empty() && self.write.is_empty();
        !(nothing && self.progress.is_empty() && self.shares_done.is_empty())
    }
}

/// The lanes out of this core.
pub(crate) struct Lanes {
    pub(crate) routing: Box<dyn Routing>,
    pub(crate) store: Box<dyn Lane>,
}

/// The state of one event loop.
pub(crate) struct Core {
    pub(crate) id: u8,
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) metrics: CoreMetrics,
    pub(crate) metering: Metering,
    /// Where sockets are read into.
    pub(crate) arena: RefCell<BytesMut>,
    pub(crate) lanes: RefCell<Lanes>,
    pub(crate) staging: RefCell<Staging>,
    pub(crate) wheel: RefCell<Wheel>,
    /// New clients are refused.
    pub(crate) draining: Cell<bool>,
    /// While clients are ended one after the other.
    pub(crate) drain: RefCell<Option<Drain>>,
    /// Nobody is accepted any more.
    closed: Cell<bool>,
    pub(crate) congested: Cell<bool>,
    /// How long a client may take to read what it is sent at the end.
    pub(crate) close_within: Cell<Duration>,
    /// Connections whose will was withdrawn by DISCONNECT, until their end is recorded: whoever takes the session over
    /// meanwhile is not to publish it.
    pub(crate) withdrawn: RefCell<FxHashMap<Address, Instant>>,
    closed_notify: tokio::sync::Notify,
    /// Who waits for an authorizer.
    pub(crate) waiting: Waiting,
    /// What is known of clients is too old, and the part of the connections that was ended last for that.
    pub(crate) cut_off: Cell<bool>,
    pub(crate) cut_off_part: Cell<usize>,
    /// Ends that the store could not record.
    pub(crate) unrecorded: Unrecorded,
    pub(crate) tails: Sweep,
    pub(crate) owners: Sweep,
    /// Streams that are saying goodbye.
    closing: Cell<usize>,
    /// What is done between two looks at the sockets beside messages.
    pub(crate) budget: Budget,
    pub(crate) chores: Chores,
    /// Within a turn, what is staged is seen to at its end.
    in_turn: Cell<bool>,
    table: RefCell<Slab<Slot>>,
    generation: Cell<u32>,
    directs: Cell<u64>,
    now: Cell<Now>,
    /// Empty where traces are off.
    pub(crate) spans: RefCell<Spans>,
}

impl Core {
    pub(crate) fn new(id: u8, shared: Arc<Shared>, mailbox: Arc<Mailbox>, lanes: Lanes) -> Rc<Self> {
        let now = read_clock();
        Rc::new(Self {
            id,
            settings: shared.settings.clone(),
            metrics: CoreMetrics::new(&shared.metrics),
            metering: Metering::new(shared.usage.clone(), now.instant),
            shared,
            mailbox,
            arena: RefCell::default(),
            lanes: RefCell::new(lanes),
            staging: RefCell::default(),
            wheel: RefCell::new(Wheel::new(now.instant)),
            draining: Cell::new(false),
            drain: RefCell::default(),
            closed: Cell::new(false),
            congested: Cell::new(false),
            close_within: Cell::new(CLOSE_WITHIN),
            withdrawn: RefCell::default(),
            closed_notify: tokio::sync::Notify::new(),
            waiting: Waiting::default(),
            cut_off: Cell::new(false),
            cut_off_part: Cell::new(0),
            unrecorded: Unrecorded::default(),
            tails: Sweep::default(),
            owners: Sweep::default(),
            closing: Cell::new(0),
            budget: Budget::new(),
            chores: Chores::default(),
            in_turn: Cell::new(false),
            table: RefCell::default(),
            generation: Cell::new(0),
            directs: Cell::new(0),
            now: Cell::new(now),
            spans: RefCell::default(),
        })
    }

    /// Reads the clock.
    pub(crate) fn tick(&self) -> Now {
        let now = read_clock();
        self.now.set(now);
        now
    }

    /// The time of this turn or of the last poll.
    pub(crate) fn now(&self) -> Now {
        self.now.get()
    }

    /// Puts a new connection into the table and starts its task. A core that has drained, or is full, closes it at once.
    pub(crate) fn open(self: &Rc<Self>, transport: Transport, arrival: Arrival, place: Place) {
        if self.closed.get() || self.connection_count() >= MAX_SLOTS {
            return;
        }
        let now = self.tick();
        let generation = self.generation.get().wrapping_add(1).max(1);
        self.generation.set(generation);
        let mut table = self.table.borrow_mut();
        let vacant = table.vacant_entry();
        let address = Address::new(u16::from(self.id), vacant.key() as u32, generation);
        let settings = self.shared.settings_of(arrival.principal.scope.account);
        let session = Session::new(settings.clone(), now);
        let trace = self.shared.next_trace();
        let account = self.shared.accounts.get(arrival.principal.scope);
        let mut connection = Connection::new(address, arrival, transport, session, account, trace);
        connection.limit_lifetime(now);
        self.arm(&mut connection);
        let connection = Rc::new(RefCell::new(connection));
        vacant.insert(Slot { generation, connection: connection.clone(), _place: place });
        drop(table);
        let core = self.clone();
        tokio::task::spawn_local(async move {
            std::future::poll_fn(|cx| connection.borrow_mut().poll(cx, &core)).await;
            core.remove_finished(&mut connection.borrow_mut());
        });
    }

    /// Gives the slot of a finished connection back once no ticket names it any more: a ticket must never be taken for one
    /// of the slot's next connection.
    pub(crate) fn remove_finished(&self, connection: &mut Connection) {
        if connection.phase != Phase::Gone || connection.outstanding > 0 {
            return;
        }
        connection.count_deliveries(self, self.now());
        self.discard(connection.session.take_filters());
        let address = connection.address;
        let mut table = self.table.borrow_mut();
        let slot = address.slot() as usize;
        if table.get(slot).is_some_and(|slot| slot.generation == address.generation()) {
            table.remove(slot);
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

    /// All connections, for what concerns many of them.
    pub(crate) fn all(&self) -> Vec<Rc<RefCell<Connection>>> {
        self.table.borrow().iter().map(|(_, slot)| slot.connection.clone()).collect()
    }

    /// Every `step`th connection, from slot `first` on.
    pub(crate) fn every(&self, step: usize, first: usize) -> Vec<Rc<RefCell<Connection>>> {
        let table = self.table.borrow();
        let slots = (first..table.capacity()).step_by(step).filter_map(|slot| table.get(slot));
        slots.map(|slot| slot.connection.clone()).collect()
    }

    /// Connections in the table.
    pub(crate) fn connection_count(&self) -> usize {
        self.table.borrow().len()
    }

    /// Sees to it that the connection is looked at when its deadline has passed.
    pub(crate) fn arm(&self, connection: &mut Connection) {
        let Some(deadline) = connection.deadline() else { return };
        let mut wheel = self.wheel.borrow_mut();
        if wheel.has_passed(connection.armed) || wheel.second_of(deadline) < connection.armed {
            let address = connection.address;
            connection.armed = wheel.insert(deadline, (address.slot(), address.generation()));
        }
    }

    /// A second has passed: has the connections looked at whose deadline may have.
    pub(crate) fn fire_timers(self: &Rc<Self>, due: &mut Vec<(u32, u32)>) {
        let now = self.tick();
        self.lanes.borrow_mut().routing.tick(now.instant);
        self.metering.tick(now.instant);
        self.wheel.borrow_mut().due(now.instant, due);
        self.look_later(due);
        self.withdrawn
            .borrow_mut()
            .retain(|_, at| now.instant.saturating_duration_since(*at) < WITHDRAWN_KEPT);
    }

    /// Whether a drain is complete: no connection, nothing waited for, nothing left to hand over.
    pub(crate) fn is_drained(&self) -> bool {
        let staging = self.staging.borrow();
        let waiting = self.closing.get() > 0 || !staging.pending.is_empty();
        let handed_over = !staging.has_work() && !self.lanes.borrow().routing.has_unsent();
        self.closed.get() && self.connection_count() == 0 && !waiting && handed_over
    }

    /// A turn begins: what is staged from here on is seen to at its end.
    pub(crate) fn begin_turn(&self) -> Now {
        self.in_turn.set(true);
        self.tick()
    }

    /// A turn ends; whether something was staged too late for it and needs another one.
    pub(crate) fn end_turn(&self) -> bool {
        self.in_turn.set(false);
        if self.lanes.borrow().routing.has_leftovers() {
            self.budget.want_chores();
        }
        self.staging.borrow().has_work()
    }

    /// Asks for a turn, unless this is one.
    pub(crate) fn want_turn(&self) {
        if !self.in_turn.get() {
            self.mailbox.schedule();
        }
    }

    /// Says goodbye to a peer, within bounds.
    pub(crate) fn shut_down(self: &Rc<Self>, mut farewell: Farewell) {
        let core = self.clone();
        core.closing.set(core.closing.get() + 1);
        let within = farewell.patience().min(self.close_within.get());
        tokio::task::spawn_local(async move {
            // A peer that is gone cannot be told; nothing is lost by giving up.
            let _ = tokio::time::timeout(within, farewell.say()).await;
            // Many may have run out of patience at the same time, and each closes a socket.
            core.budget.admitted().await;
            let before = core.tick();
            drop(farewell);
            core.charge_since(before);
            core.closing.set(core.closing.get() - 1);
        });
    }

    /// Returns when nobody is to be accepted any more.
    pub(crate) async fn closing(&self) {
        self.closed_notify.notified().await;
    }

    /// Accepts nobody any more.
    pub(crate) fn stop_accepting(&self) {
        self.closed.set(true);
        self.closed_notify.notify_one();
    }

    /// Clients get at most `within` to read what they are sent at the end.
    pub(crate) fn limit_goodbyes(&self, within: Duration) {
        self.close_within.set(within.min(CLOSE_WITHIN));
    }

    /// Hands a request to the router at the end of this turn.
    pub(crate) fn route(&self, request: RoutingRequest) {
        self.staging.borrow_mut().routing.push(request);
        self.want_turn();
    }

    /// Hands a request to the store at the end of this turn.
    pub(crate) fn ask_store(&self, request: Request) {
        self.staging.borrow_mut().store.push(request);
        self.want_turn();
    }

    /// A ticket for an answer that `pending` waits for.
    pub(crate) fn expect(&self, address: Address, pending: Pending) -> Ticket {
        let mut staging = self.staging.borrow_mut();
        staging.next_ticket += 1;
        let ticket = Ticket(staging.next_ticket);
        staging.pending.insert(ticket, (address, pending));
        ticket
    }

    /// Whether the ticket's answer is waited for, and for something that `is_it`.
    pub(crate) fn is_expected(&self, ticket: Ticket, is_it: impl FnOnce(&Pending) -> bool) -> bool {
        self.staging.borrow().pending.get(&ticket).is_some_and(|(_, pending)| is_it(pending))
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

    /// A name for a direct message that is to be acknowledged.
    pub(crate) fn next_direct(&self) -> DirectTicket {
        self.directs.set(self.directs.get() + 1);
        DirectTicket(self.directs.get())
    }

    /// Has a connection's output written at the end of this turn.
    pub(crate) fn write_later(&self, address: Address) {
        self.staging.borrow_mut().write.push(address);
        self.want_turn();
    }

    /// Has the store told at the end of this turn how far a connection's client is.
    pub(crate) fn tell_progress(&self, address: Address) {
        self.staging.borrow_mut().progress.push(address);
        self.want_turn();
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
            principal_id = connection.principal.identifier().map(tracing::field::display),
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
