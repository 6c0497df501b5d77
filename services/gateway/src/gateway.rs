//! Starts the cores and drains them.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleethaven_authorizers::{Attempt, Authorizers};
use fleethaven_fabric::connections::Neighbours;
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::{Routing, Traces};
use fleethaven_logging::Logs;
use fleethaven_quotas::Accounts;
use fleethaven_session::Settings;
use fleethaven_storage::{OwnerToken, RetainedStore, SessionStore, Wake};
use fleethaven_types::{AccountId, Utf8Bytes};
use fleethaven_usage::Usage;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tokio::time::MissedTickBehavior;

use crate::accept::{self, Listener, ListenerKind};
use crate::core::{Core, Lanes};
use crate::identity::{IdentityCache, Principal};
use crate::mailbox::{Adopted, Control, Mailboxes, Place, TakenOver};
use crate::metrics::Metrics;
use crate::timer::Wheel;
use crate::transport::ByteStream;
use crate::turn;

/// What a gateway needs.
pub struct Config {
    /// Behaviour of its listeners, with the limits of accounts that have none of their own.
    pub settings: Arc<Settings>,
    /// What accounts may use and have used.
    pub accounts: Arc<Accounts>,
    /// The retained messages, to count them.
    pub retained: Arc<dyn RetainedStore>,
    /// Unique for each start of the process.
    pub incarnation: u64,
    /// Who clients are.
    pub identity: Arc<IdentityCache>,
    /// Who decides about clients without certificate or signature.
    pub authorizers: Arc<Authorizers>,
    /// Where sessions live.
    pub store: Arc<dyn SessionStore>,
    /// One mailbox per core.
    pub mailboxes: Arc<Mailboxes>,
    /// The other gateways; `()` where there are none.
    pub neighbours: Arc<dyn Neighbours>,
    /// Counters.
    pub metrics: Metrics,
    /// What became of messages.
    pub traces: Traces,
    /// AWS's log entries.
    pub logs: Logs,
    /// What clients use.
    pub usage: Arc<Usage>,
    /// Called by each event loop, with its number: the process watches that they turn.
    pub pulse: Pulse,
}

/// What watches the event loops.
pub type Pulse = Arc<dyn Fn(u8, Beat) + Send + Sync>;

/// A sign of life of an event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// It turns; given once a second.
    Turning,
    /// It has drained: no further sign will follow.
    Ended,
}

/// Makes a core's lane into the router, given the core's number; called on the core's thread, in its runtime.
pub type RoutingFactory = Arc<dyn Fn(u8, Arc<dyn Wake>) -> Box<dyn Routing> + Send + Sync>;

/// What all cores share.
pub(crate) struct Shared {
    pub(crate) settings: Arc<Settings>,
    pub(crate) identity: Arc<IdentityCache>,
    pub(crate) authorizers: Arc<Authorizers>,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) mailboxes: Arc<Mailboxes>,
    pub(crate) neighbours: Arc<dyn Neighbours>,
    pub(crate) metrics: Metrics,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) retained: Arc<dyn RetainedStore>,
    pub(crate) traces: Traces,
    pub(crate) logs: Logs,
    pub(crate) usage: Arc<Usage>,
    account_settings: FxHashMap<AccountId, Arc<Settings>>,
    pulse: Pulse,
    incarnation: u64,
    counter: AtomicU64,
}

impl Shared {
    /// Behaviour and limits for an account's connections.
    pub(crate) fn settings_of(&self, account: AccountId) -> &Arc<Settings> {
        self.account_settings.get(&account).unwrap_or(&self.settings)
    }

    /// A token that no other claim ever has.
    pub(crate) fn next_token(&self) -> OwnerToken {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        OwnerToken { incarnation: self.incarnation, counter }
    }

    /// Whether a token was made by this process.
    pub(crate) fn is_own(&self, token: OwnerToken) -> bool {
        token.incarnation == self.incarnation
    }

    /// The high part of a connection's trace ids.
    pub(crate) fn next_trace(&self) -> u64 {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed);
        self.incarnation.rotate_left(20) ^ counter
    }

    /// A client id that no live or stored session has. Clients may not choose ids that start with `$`.
    pub(crate) fn assign_client_id(&self) -> Utf8Bytes {
        format!("$GEN/{}", uuid::Uuid::new_v4()).into()
    }
}

/// Where a connection comes from and whose it is.
pub struct Arrival {
    /// The client's address.
    pub peer: SocketAddr,
    /// The listener's address, where that is known; a TCP socket is asked itself.
    pub local: Option<SocketAddr>,
    /// Who the client is.
    pub principal: Principal,
    /// The connection is a WebSocket.
    pub websocket: bool,
    /// What is known of a client about whom a custom authorizer is to decide, before its CONNECT.
    pub stranger: Option<Box<Attempt>>,
}

/// A running gateway.
pub struct Gateway {
    pub(crate) shared: Arc<Shared>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl Gateway {
    /// Starts one thread per mailbox. Each core accepts on its own copy of every listener.
    pub fn start(
        config: Config,
        routing: RoutingFactory,
        mut listeners: Vec<Vec<Listener>>,
    ) -> std::io::Result<Self> {
        let own = config.accounts.limits().accounts.iter();
        let account_settings = own
            .map(|(account, limits)| (*account, Arc::new(config.settings.with_limits(limits.clone()))))
            .collect();
        let shared = Arc::new(Shared {
            settings: config.settings,
            identity: config.identity,
            authorizers: config.authorizers,
            store: config.store,
            mailboxes: config.mailboxes,
            neighbours: config.neighbours,
            metrics: config.metrics,
            accounts: config.accounts,
            retained: config.retained,
            traces: config.traces,
            logs: config.logs,
            usage: config.usage,
            account_settings,
            pulse: config.pulse,
            incarnation: config.incarnation,
            counter: AtomicU64::new(1),
        });
        let mut threads = Vec::new();
        for id in 0..shared.mailboxes.cores.len() {
            let listeners = if listeners.is_empty() { Vec::new() } else { listeners.remove(0) };
            let (shared, routing) = (shared.clone(), routing.clone());
            let thread = std::thread::Builder::new()
                .name(format!("gateway-{id}"))
                .spawn(move || run_core(id as u8, shared, &routing, listeners))?;
            threads.push(thread);
        }
        Ok(Self { shared, threads: Mutex::new(threads) })
    }

    /// Takes over a connection whose TLS handshake is done; who the client is, is known or for an authorizer to decide.
    pub fn adopt(&self, tcp: std::net::TcpStream, tls: rustls::ServerConnection, arrival: Arrival) {
        if let Some(core) = self.shared.mailboxes.least_loaded() {
            let place = Place::on(core);
            core.send(Control::Adopt(Box::new(Adopted { tcp, tls, arrival, place })));
        }
    }

    /// Another gateway has taken over the session of the connection at `address`, and publishes its will.
    pub fn taken_over(&self, address: Address) {
        if let Some(mailbox) = self.shared.mailboxes.cores.get(usize::from(address.core())) {
            mailbox.send(Control::TakenOver(TakenOver { address, will: None }));
        }
    }

    /// Takes over a connection over another kind of stream (WebSocket, QUIC) whose client is known.
    pub fn adopt_stream(&self, stream: Pin<Box<dyn ByteStream>>, arrival: Arrival) {
        if let Some(core) = self.shared.mailboxes.least_loaded() {
            core.send(Control::AdoptStream(stream, arrival, Place::on(core)));
        }
    }

    /// Ends all connections, over the time that `drain-spread-secs` says, half of `grace` at most, and stops accepting: see
    /// [`fleethaven_session::Session::drain`] for what clients are told. Returns when the cores are done, or after `grace`.
    pub async fn drain(&self, grace: Duration) {
        let spread = Duration::from_secs(u64::from(self.shared.settings.behaviour.drain_spread_secs));
        let over = spread.min(grace / 2);
        // Clients that do not read are cut off in time for what follows their end: its record, and the will.
        let within = (grace - over) / 2;
        self.shared.mailboxes.broadcast(|| Control::Drain { over, within });
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a core panicked");
                }
            }
        });
        if tokio::time::timeout(grace, joined).await.is_err() {
            tracing::warn!("connections were still open at the end of the grace period");
        }
    }
}

fn run_core(id: u8, shared: Arc<Shared>, routing: &RoutingFactory, listeners: Vec<Listener>) {
    fleethaven_daemon::scheduling::as_event_loop();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "a core could not start"),
    };
    let Some(mailbox) = shared.mailboxes.cores.get(usize::from(id)).cloned() else { return };
    let lanes = {
        let _runtime = runtime.enter();
        Lanes { routing: routing(id, mailbox.clone()), store: shared.store.lane(mailbox.clone()) }
    };
    let local = LocalSet::new();
    let pulse = shared.pulse.clone();
    runtime.block_on(local.run_until(async move {
        let core = Core::new(id, shared, mailbox, lanes);
        serve(core, listeners).await;
    }));
    pulse(id, Beat::Ended);
}

/// Runs a core until it has drained.
async fn serve(core: Rc<Core>, listeners: Vec<Listener>) {
    let handshakes = Arc::new(Semaphore::new(accept::HANDSHAKES));
    let mut accepting = Vec::new();
    for Listener { socket, kind } in listeners {
        match TcpListener::from_std(socket) {
            Ok(socket) => accepting.push(spawn_accept(&core, socket, kind, &handshakes)),
            Err(error) => tracing::error!(%error, "a listener could not be registered"),
        }
    }
    tokio::task::spawn_local(turn::run(core.clone()));
    let renewing = core.clone();
    tokio::task::spawn_local(async move { renewing.budget.renew(|| renewing.chore()).await });
    let mut ticks = tokio::time::interval(Wheel::TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due = Vec::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                (core.shared.pulse)(core.id, Beat::Turning);
                core.fire_timers(&mut due);
                core.record_again();
                core.compare_tails();
                core.check_owners();
                core.end_stale(core.now());
            }
            () = core.closing() => accepting.iter().for_each(tokio::task::JoinHandle::abort),
            () = tokio::time::sleep(DRAIN_POLL), if core.draining.get() => core.drain_on(core.tick()),
        }
        if core.draining.get() && core.is_drained() {
            return core.metering.flush();
        }
    }
}

/// How often a core that drains looks whose turn it is, and whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(10);

fn spawn_accept(
    core: &Rc<Core>,
    socket: TcpListener,
    kind: Arc<ListenerKind>,
    handshakes: &Arc<Semaphore>,
) -> tokio::task::JoinHandle<()> {
    tokio::task::spawn_local(accept::run(core.clone(), socket, kind, handshakes.clone()))
}
