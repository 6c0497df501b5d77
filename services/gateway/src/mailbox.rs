//! What other threads send to a core, in batches, with one wake-up each.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use fleethaven_fabric::Delivery;
use fleethaven_fabric::delivery::{Address, Push};
use fleethaven_pki::CertificateId;
use fleethaven_session::Close;
use fleethaven_storage::{DueWill, Wake};
use fleethaven_types::{QoS, SessionId};
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use prometheus::IntGauge;

use crate::accept::ListenerKind;
use crate::connections::Ask;
use crate::gateway::Arrival;
use crate::metrics::Metrics;
use crate::transport::ByteStream;

/// Pushes that may wait in a mailbox; above it QoS 0 is dropped, and what stands in a queue is read from the store later.
const PUSH_BOUND: usize = 65_536;
/// The same in payload bytes: a core that is held up must not gather gigabytes.
const BYTES_BOUND: usize = 64 << 20;
/// Above so many times either bound, QoS 1 for sessions without a queue is dropped, too.
const HARD: usize = 4;

/// A message to a core about its connections.
pub(crate) enum Control {
    /// A socket that another core accepted.
    Accepted(std::net::TcpStream, SocketAddr, Arc<ListenerKind>, Place),
    /// A connection whose TLS handshake is done and whose client is known (MQTT by ALPN on the HTTPS port).
    Adopt(Box<Adopted>),
    /// A connection over another kind of stream (WebSocket, QUIC), whose client is known.
    AdoptStream(Pin<Box<dyn ByteStream>>, Arrival, Place),
    /// Another connection owns the session of this one now.
    TakenOver(TakenOver),
    /// A question or an order to one connection.
    Ask(Ask),
    /// A session without a connection was deleted: its subscriptions go.
    SessionEnded { session: SessionId },
    /// End the connections of these certificates.
    CloseCertificates(Arc<HashSet<CertificateId>>, Close),
    /// End the connections of operators who are not there any more.
    CloseOperators(Close),
    /// Refuse new clients and end all connections over this time, then stop accepting; what clients have not read `within`
    /// another they do not get.
    Drain { over: Duration, within: Duration },
}

/// A connection that lost its session to another one.
pub(crate) struct TakenOver {
    pub(crate) address: Address,
    /// Its will, if that is to be published: unless it turns out that the client had sent DISCONNECT in time.
    pub(crate) will: Option<DueWill>,
}

/// A connection's place on a core, counted from the moment it is accepted until it is gone.
pub(crate) struct Place(Arc<Mailbox>);

impl Place {
    pub(crate) fn on(mailbox: &Arc<Mailbox>) -> Self {
        mailbox.load.fetch_add(1, Ordering::Relaxed);
        mailbox.sockets.inc();
        Self(mailbox.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
        self.0.sockets.dec();
    }
}

/// A connection handed over by another listener.
pub(crate) struct Adopted {
    pub(crate) tcp: std::net::TcpStream,
    pub(crate) tls: rustls::ServerConnection,
    pub(crate) arrival: Arrival,
    pub(crate) place: Place,
}

#[derive(Default)]
struct Contents {
    pushes: Vec<Push>,
    /// Payload bytes of `pushes`.
    bytes: usize,
    control: Vec<Control>,
    /// Queued pushes were dropped: persistent sessions must look at their queues.
    lost_pushes: bool,
}

impl Contents {
    /// Takes what may still wait of `pushes`; returns how many deliveries are lost for good.
    fn push_what_fits(&mut self, pushes: &mut Vec<Push>) -> u64 {
        let mut dropped = 0;
        for push in pushes.drain(..) {
            match &push {
                Push::Queued { .. } | Push::Tail { .. } if self.is_full(1) => self.lost_pushes = true,
                Push::Direct { message, targets, .. } if self.is_full(hardness(message.qos)) => {
                    dropped += targets.len() as u64;
                }
                // At QoS ≥ 1 the credit of its members bounds what a group gets.
                Push::Shared { qos: QoS::AtMostOnce, .. } if self.is_full(1) => dropped += 1,
                _ => {
                    self.bytes += payload_len(&push);
                    self.pushes.push(push);
                }
            }
        }
        dropped
    }

    /// Whether `times` a bound is reached.
    fn is_full(&self, times: usize) -> bool {
        self.pushes.len() >= times * PUSH_BOUND || self.bytes >= times * BYTES_BOUND
    }
}

/// How many times a bound must be reached before a message of this QoS is dropped.
fn hardness(qos: QoS) -> usize {
    if qos == QoS::AtMostOnce { 1 } else { HARD }
}

fn payload_len(push: &Push) -> usize {
    match push {
        Push::Direct { message, .. } | Push::Queued { message, .. } | Push::Shared { message, .. } => {
            message.payload.len()
        }
        Push::Tail { .. } => 0,
    }
}

/// One core's mailbox.
pub(crate) struct Mailbox {
    contents: Mutex<Contents>,
    scheduled: AtomicBool,
    waker: AtomicWaker,
    /// Connections on the core and on their way to it, for placing new ones.
    pub(crate) load: AtomicUsize,
    sockets: IntGauge,
}

/// What a core takes out of its mailbox.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) pushes: Vec<Push>,
    pub(crate) control: Vec<Control>,
    pub(crate) lost_pushes: bool,
}

impl Mailbox {
    pub(crate) fn new(sockets: IntGauge) -> Self {
        Self {
            contents: Mutex::default(),
            scheduled: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            load: AtomicUsize::new(0),
            sockets,
        }
    }

    /// Sees to it that the core has a turn soon.
    pub(crate) fn schedule(&self) {
        if !self.scheduled.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    /// Asks for a turn on behalf of the core's own task, which sees to it that it is polled.
    pub(crate) fn ask_again(&self) {
        self.scheduled.store(true, Ordering::Release);
    }

    /// Whether a turn was asked for; registers `waker` first, so that none is missed. [`Mailbox::take`] sees to the request: what
    /// the turn itself sends before that needs no other.
    pub(crate) fn poll_turn(&self, waker: &std::task::Waker) -> bool {
        self.waker.register(waker);
        self.scheduled.load(Ordering::Acquire)
    }

    pub(crate) fn send(&self, control: Control) {
        self.contents.lock().control.push(control);
        self.schedule();
    }

    /// Exchanges the contents for `taken`'s empty vectors. Whoever asked for a turn has sent what it is about: the lanes are to
    /// be looked at after this.
    pub(crate) fn take(&self, taken: &mut Taken) {
        self.scheduled.swap(false, Ordering::AcqRel);
        let mut contents = self.contents.lock();
        std::mem::swap(&mut contents.pushes, &mut taken.pushes);
        contents.bytes = 0;
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
        let sockets = |core: u8| metrics.sockets.with_label_values(&[core.to_string()]);
        let cores = (0..cores).map(|core| Arc::new(Mailbox::new(sockets(core)))).collect();
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
    fn push(&self, core: u16, pushes: &mut Vec<Push>) {
        let Some(mailbox) = self.cores.get(usize::from(core)) else {
            pushes.clear();
            return;
        };
        let bytes: usize = pushes.iter().map(payload_len).sum();
        let mut contents = mailbox.contents.lock();
        if contents.pushes.len() + pushes.len() <= PUSH_BOUND && contents.bytes + bytes <= BYTES_BOUND {
            contents.bytes += bytes;
            contents.pushes.append(pushes);
        } else {
            let dropped = contents.push_what_fits(pushes);
            self.metrics.mailbox_dropped.inc_by(dropped);
        }
        drop(contents);
        mailbox.schedule();
    }

    fn lost(&self, core: u16) {
        if let Some(mailbox) = self.cores.get(usize::from(core)) {
            mailbox.contents.lock().lost_pushes = true;
            mailbox.schedule();
        }
    }
}

#[cfg(test)]
mod tests {
    use fleethaven_fabric::delivery::{Origin, Target};
    use fleethaven_storage::SessionId;
    use fleethaven_types::{Message, Publisher, Scope, Timestamp};
    use prometheus::Registry;

    use super::*;

    fn direct(qos: QoS) -> Push {
        direct_with(qos, 0)
    }

    fn direct_with(qos: QoS, payload: usize) -> Push {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        let publisher = Publisher { scope, client_id: None, principal: None, source_ip: None, trace: 0 };
        let message = Message {
            topic: "t".into(),
            payload: vec![0; payload].into(),
            qos,
            retain: false,
            properties: None,
            received_at: Timestamp(0),
            expires_at: None,
            sequence: 0,
            hops: 0,
            publisher: Arc::new(publisher),
        };
        let target = Target {
            address: Address::NONE,
            session: SessionId(1),
            qos,
            retain_as_published: false,
            origin: Origin::Any,
            identifiers: Box::default(),
        };
        Push::Direct { message: Arc::new(message), targets: [target].into(), from: None }
    }

    #[test]
    fn a_full_mailbox_drops_qos_0_first() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let mailboxes = Mailboxes::new(1, metrics.clone());
        let push = |qos, count| mailboxes.push(0, &mut vec![direct(qos); count]);
        push(QoS::AtMostOnce, PUSH_BOUND);
        assert_eq!(metrics.mailbox_dropped.get(), 0);
        push(QoS::AtMostOnce, 3);
        push(QoS::AtLeastOnce, 5);
        assert_eq!(metrics.mailbox_dropped.get(), 3);
        push(QoS::AtLeastOnce, HARD * PUSH_BOUND);
        let mut taken = Taken::default();
        mailboxes.cores[0].take(&mut taken);
        assert_eq!(taken.pushes.len(), HARD * PUSH_BOUND);
        assert!(!taken.lost_pushes, "none of them stands in a queue");
    }

    #[test]
    fn a_mailbox_is_full_of_bytes_too() {
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let mailboxes = Mailboxes::new(1, metrics.clone());
        let push = |qos| mailboxes.push(0, &mut vec![direct_with(qos, BYTES_BOUND / 2)]);
        for _ in 0..5 {
            push(QoS::AtMostOnce);
        }
        assert_eq!(metrics.mailbox_dropped.get(), 3);
        push(QoS::AtLeastOnce);
        let mut taken = Taken::default();
        mailboxes.cores[0].take(&mut taken);
        assert_eq!(taken.pushes.len(), 3);
        push(QoS::AtMostOnce);
        assert_eq!(metrics.mailbox_dropped.get(), 3, "what was taken does not count any more");
    }

    #[test]
    fn a_place_is_given_back_and_a_wake_up_is_not_lost() {
        let mailboxes = Mailboxes::new(2, Metrics::new(&Registry::new()).unwrap());
        let [first, second] = &mailboxes.cores[..] else { panic!() };
        let places = [Place::on(first), Place::on(first), Place::on(second)];
        assert!(Arc::ptr_eq(mailboxes.least_loaded().unwrap(), second));
        assert_eq!(mailboxes.connections(), 3);
        drop(places);
        assert_eq!(mailboxes.connections(), 0);
        let waker = std::task::Waker::noop();
        assert!(!first.poll_turn(waker));
        first.schedule();
        first.schedule();
        assert!(first.poll_turn(waker));
        first.schedule();
        let mut taken = Taken::default();
        first.take(&mut taken);
        assert!(!first.poll_turn(waker), "one turn sees to all of them");
        first.ask_again();
        assert!(first.poll_turn(waker));
    }
}
