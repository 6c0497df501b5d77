//! What other threads send to a core, in batches, with one wake-up each.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fleethaven_fabric::Delivery;
use fleethaven_fabric::delivery::{Address, Push};
use fleethaven_pki::CertificateId;
use fleethaven_session::Close;
use fleethaven_storage::Wake;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use crate::accept::ListenerKind;
use crate::identity::Principal;
use crate::metrics::Metrics;
use crate::transport::ByteStream;

/// Pushes that may wait in a mailbox; above it direct ones are dropped and queued ones are read from the store later.
const PUSH_BOUND: usize = 65_536;

/// A message to a core about its connections.
pub(crate) enum Control {
    /// A socket that another core accepted.
    Accepted(std::net::TcpStream, SocketAddr, Arc<ListenerKind>),
    /// A connection whose TLS handshake is done and whose client is known (MQTT by ALPN on the HTTPS port).
    Adopt(Box<Adopted>),
    /// A connection over another kind of stream (WebSocket, QUIC), whose client is known.
    AdoptStream(Pin<Box<dyn ByteStream>>, SocketAddr, Principal),
    /// End one connection, if it is still the one at this address.
    Close(Address, Close),
    /// End the connections of these certificates.
    CloseCertificates(Arc<HashSet<CertificateId>>, Close),
    /// Stop accepting, then end all connections.
    Drain,
}

/// A connection handed over by another listener.
pub(crate) struct Adopted {
    pub(crate) tcp: std::net::TcpStream,
    pub(crate) tls: rustls::ServerConnection,
    pub(crate) peer: SocketAddr,
    pub(crate) principal: Principal,
}

#[derive(Default)]
struct Contents {
    pushes: Vec<Push>,
    control: Vec<Control>,
    /// Queued pushes were dropped: persistent sessions must look at their queues.
    lost_pushes: bool,
}

/// One core's mailbox.
pub(crate) struct Mailbox {
    contents: Mutex<Contents>,
    scheduled: AtomicBool,
    waker: AtomicWaker,
    /// Connections on the core, for placing new ones.
    pub(crate) load: AtomicUsize,
}

/// What a core takes out of its mailbox.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) pushes: Vec<Push>,
    pub(crate) control: Vec<Control>,
    pub(crate) lost_pushes: bool,
}

impl Mailbox {
    pub(crate) fn new() -> Self {
        Self {
            contents: Mutex::default(),
            scheduled: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            load: AtomicUsize::new(0),
        }
    }

    /// Sees to it that the core has a turn soon.
    pub(crate) fn schedule(&self) {
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Whether a turn was asked for since the last call; registers `waker` first, so that none is missed.
    pub(crate) fn poll_turn(&self, waker: &std::task::Waker) -> bool {
        self.waker.register(waker);
        self.scheduled.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn send(&self, control: Control) {
        self.contents.lock().control.push(control);
        self.schedule();
    }

    /// Exchanges the contents for `taken`'s empty vectors.
    pub(crate) fn take(&self, taken: &mut Taken) {
        let mut contents = self.contents.lock();
        std::mem::swap(&mut contents.pushes, &mut taken.pushes);
        std::mem::swap(&mut contents.control, &mut taken.control);
        taken.lost_pushes = std::mem::take(&mut contents.lost_pushes);
    }
}

impl Wake for Mailbox {
    fn wake(&self) {
        self.schedule();
    }
}

/// The mailboxes of all cores: how routers reach connections.
pub struct Mailboxes {
    pub(crate) cores: Vec<Arc<Mailbox>>,
    metrics: Metrics,
}

impl Mailboxes {
    /// Mailboxes for `cores` cores.
    pub fn new(cores: u8, metrics: Metrics) -> Self {
        let cores = (0..cores).map(|_| Arc::new(Mailbox::new())).collect();
        Self { cores, metrics }
    }

    pub(crate) fn broadcast(&self, mut control: impl FnMut() -> Control) {
        for core in &self.cores {
            core.send(control());
        }
    }

    /// The core with the fewest connections.
    pub(crate) fn least_loaded(&self) -> Option<&Arc<Mailbox>> {
        self.cores.iter().min_by_key(|core| core.load.load(Ordering::Relaxed))
    }

    /// Connections on all cores.
    pub fn connections(&self) -> usize {
        self.cores.iter().map(|core| core.load.load(Ordering::Relaxed)).sum()
    }
}

impl Delivery for Mailboxes {
    fn push(&self, core: u8, pushes: &mut Vec<Push>) {
        let Some(mailbox) = self.cores.get(usize::from(core)) else {
            pushes.clear();
            return;
        };
        let mut contents = mailbox.contents.lock();
        if contents.pushes.len() + pushes.len() <= PUSH_BOUND {
            contents.pushes.append(pushes);
        } else {
            self.metrics.mailbox_dropped.inc_by(pushes.len() as u64);
            contents.lost_pushes |= pushes.iter().any(|push| matches!(push, Push::Queued { .. }));
            pushes.clear();
        }
        drop(contents);
        mailbox.schedule();
    }
}
