//! What the client answers to deliveries: PUBACK; at QoS 2 PUBREC, then PUBCOMP to our PUBREL.

use fleethaven_mqtt::{Ack, Packet, PacketId, ReasonCode, Version, encode};
use fleethaven_types::{EntryId, QoS};

use crate::close::Close;
use crate::outbound::{InFlight, Step};
use crate::session::{Action, Now, Session};

impl Session {
    pub(crate) fn handle_puback(&mut self, packet_id: PacketId, now: Now) {
        if self.acknowledge_direct(packet_id) {
            return self.send_waiting(now);
        }
        match self.outbound.step(packet_id) {
            // Not in flight: a duplicate, or an identifier the client made up. Neither harms [MQTT5 4.3.2].
            None => {}
            Some(Step::Published(QoS::AtLeastOnce)) => self.done(packet_id, now),
            Some(_) => self.out_of_step("PUBACK for a QoS 2 message"),
        }
    }

    /// PUBREC: the message is the client's, and is not sent again. That is recorded before PUBREL says so.
    pub(crate) fn handle_pubrec(&mut self, ack: &Ack, now: Now) {
        let (packet_id, queued) = (ack.packet_id, self.outbound.queue.is_some());
        let Some(delivery) = self.outbound.delivery(packet_id) else {
            return self.release_unknown(ack);
        };
        match delivery.step {
            // A refusal ends the exchange [MQTT-4.3.3-4].
            Step::Published(QoS::ExactlyOnce) if ack.reason.is_error() => self.done(packet_id, now),
            Step::Published(QoS::ExactlyOnce) if queued => {
                delivery.step = Step::Receiving;
                let entry = delivery.entry;
                self.push_action(Action::Release { entry });
            }
            Step::Published(QoS::ExactlyOnce) => {
                delivery.step = Step::Released;
                let entry = delivery.entry;
                self.send_pubrel(packet_id);
                // No other member of a group may get it from now on.
                self.share_acknowledged(entry);
            }
            Step::Released => self.send_pubrel(packet_id),
            // A repeat: PUBREL is on its way.
            Step::Receiving | Step::Done => {}
            Step::Published(_) => self.out_of_step("PUBREC for a QoS 1 message"),
        }
    }

    /// The client may have kept its side of an exchange that is over here: PUBREL lets it end that.
    fn release_unknown(&mut self, ack: &Ack) {
        match self.version {
            _ if ack.reason.is_error() => {}
            Version::V5 => {
                let ack = Ack::new(ack.packet_id, ReasonCode::PacketIdentifierNotFound);
                self.answer(&Packet::Pubrel(ack));
            }
            Version::V311 => self.send_pubrel(ack.packet_id),
        }
    }

    fn send_pubrel(&mut self, packet_id: PacketId) {
        encode::encode_pubrel_ok(packet_id, self.output.buffer());
        self.output.count_answer(4);
    }

    /// The outcome of [`Action::Release`]: no later connection sends these entries again. PUBREL goes out, in the order in
    /// which PUBREC came [MQTT-4.6.0-4].
    pub fn released(&mut self, entries: &[EntryId]) {
        for entry in entries {
            let delivery = self.outbound.delivery(entry.packet_id());
            let Some(delivery) = delivery.filter(|delivery| delivery.step == Step::Receiving) else {
                continue;
            };
            delivery.step = Step::Released;
            if self.is_connected() {
                self.send_pubrel(entry.packet_id());
            }
        }
    }

    /// Goes on with what an earlier connection released: PUBREL again, with the original identifiers [MQTT-4.4.0-1].
    pub(crate) fn resume_released(&mut self, entries: Vec<EntryId>) {
        for entry in entries {
            self.outbound.insert(InFlight { entry, step: Step::Released });
            self.send_pubrel(entry.packet_id());
        }
    }

    pub(crate) fn handle_pubcomp(&mut self, packet_id: PacketId, now: Now) {
        match self.outbound.step(packet_id) {
            // The end of an exchange that is over here, whatever its reason [MQTT5 section 3.7.2.1].
            None => {}
            Some(Step::Released) => self.done(packet_id, now),
            Some(_) => self.out_of_step("PUBCOMP without PUBREL"),
        }
    }

    /// The delivery is over: its entry may be forgotten, and the window has room.
    pub(crate) fn done(&mut self, packet_id: PacketId, now: Now) {
        let entry = self.outbound.finish(packet_id);
        if let Some(entry) = entry.filter(|_| self.outbound.queue.is_some()) {
            self.push_action(Action::Acknowledged { entry });
        }
        if let Some(entry) = entry {
            self.share_acknowledged(entry);
        }
        self.send_waiting(now);
    }

    fn out_of_step(&mut self, detail: &str) {
        self.close(Close::client_error(ReasonCode::ProtocolError, detail));
    }
}
