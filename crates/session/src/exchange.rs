//! QoS 2 exchanges that the client began: a message is published when its PUBLISH comes, and its identifier remembered until
//! PUBREL, so that a repeat is acknowledged and not published again ("method A" of MQTT5 section 4.3.3).

use fleethaven_mqtt::{Ack, Packet, PacketId, ReasonCode, Version, encode};
use rustc_hash::FxHashMap;

use crate::close::Close;
use crate::session::{Action, Session};

/// How far an exchange is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The message is with the shell: PUBREC is owed.
    Publishing,
    /// PUBREC was sent.
    Received,
    /// PUBREL came, and is being recorded: PUBCOMP is owed.
    Forgetting,
}

#[derive(Debug)]
struct Exchange {
    step: Step,
    /// It was begun on an earlier connection, whose Receive Maximum it counted against.
    resumed: bool,
}

/// The exchanges of one session. There are never more than identifiers; those of one MQTT 5 connection keep to its Receive
/// Maximum.
#[derive(Debug, Default)]
pub(crate) struct Exchanges {
    by_id: FxHashMap<PacketId, Exchange>,
    /// Those of this connection that wait for PUBREL or are owed PUBCOMP.
    open: usize,
}

impl Exchanges {
    /// Those that an earlier connection left behind.
    pub(crate) fn resume(&mut self, received: Vec<PacketId>) {
        let exchange = |id| (id, Exchange { step: Step::Received, resumed: true });
        self.by_id = received.into_iter().map(exchange).collect();
    }

    pub(crate) fn step(&self, packet_id: PacketId) -> Option<Step> {
        self.by_id.get(&packet_id).map(|exchange| exchange.step)
    }

    pub(crate) fn begin(&mut self, packet_id: PacketId) {
        self.by_id.insert(packet_id, Exchange { step: Step::Publishing, resumed: false });
    }

    /// The message is published.
    pub(crate) fn receive(&mut self, packet_id: PacketId) {
        if let Some(exchange) = self.by_id.get_mut(&packet_id) {
            exchange.step = Step::Received;
            self.open += 1;
        }
    }

    /// The message was refused. An exchange that is further is another one, whose identifier was used too early.
    pub(crate) fn refuse(&mut self, packet_id: PacketId) {
        if self.step(packet_id) == Some(Step::Publishing) {
            self.by_id.remove(&packet_id);
        }
    }

    /// The exchange is complete.
    fn end(&mut self, packet_id: PacketId) {
        if self.by_id.remove(&packet_id).is_some_and(|exchange| !exchange.resumed) {
            self.open -= 1;
        }
    }

    /// Exchanges that count against the Receive Maximum beyond what PUBREC is owed for.
    pub(crate) fn open(&self) -> usize {
        self.open
    }
}

impl Session {
    pub(crate) fn handle_pubrel(&mut self, packet_id: PacketId) {
        let exchanges = &mut self.inbound.exchanges;
        match exchanges.step(packet_id) {
            Some(Step::Received) if self.outbound.queue.is_none() => self.complete(packet_id),
            Some(Step::Received) => {
                if let Some(exchange) = exchanges.by_id.get_mut(&packet_id) {
                    exchange.step = Step::Forgetting;
                }
                self.push_action(Action::Forget { packet_id });
            }
            // A repeat: PUBCOMP is on its way.
            Some(Step::Forgetting) => {}
            Some(Step::Publishing) => {
                self.close(Close::client_error(ReasonCode::ProtocolError, "PUBREL before PUBREC"));
            }
            // Not an error: the client may not have got PUBCOMP on its last connection [MQTT5 section 3.6.2.1].
            None if self.version == Version::V5 => {
                let ack = Ack::new(packet_id, ReasonCode::PacketIdentifierNotFound);
                self.answer(&Packet::Pubcomp(ack));
            }
            None => self.send_pubcomp(packet_id),
        }
    }

    /// The outcome of [`Action::Forget`]: the identifiers can be used anew, also by a later connection. PUBCOMP goes out.
    pub fn forgotten(&mut self, packet_ids: &[PacketId]) {
        for packet_id in packet_ids {
            if self.is_connected() && self.inbound.exchanges.step(*packet_id) == Some(Step::Forgetting) {
                self.complete(*packet_id);
            }
        }
    }

    fn complete(&mut self, packet_id: PacketId) {
        self.inbound.exchanges.end(packet_id);
        self.send_pubcomp(packet_id);
    }

    fn send_pubcomp(&mut self, packet_id: PacketId) {
        encode::encode_pubcomp_ok(packet_id, self.output.buffer());
        self.output.count_answer(4);
    }
}
