//! PUBLISH from the client: topic aliases, Receive Maximum, acknowledgements in the order of receipt [MQTT-4.6.0-2 and
//! MQTT-4.6.0-3].

use std::collections::VecDeque;
use std::sync::Arc;

use fleethaven_mqtt::{
    Ack, Packet, PacketId, PacketType, PayloadFormat, Publish, PublishProperties, ReasonCode, Version, encode,
};
use fleethaven_topics::{name, reserved};
use fleethaven_types::{Limits, Message, MessageProperties, QoS, Utf8Bytes};

use crate::close::Close;
use crate::exchange::{Exchanges, Step};
use crate::session::{Action, Now, Session, fitting};

/// Names the acknowledgement that a QoS ≥ 1 PUBLISH waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AckTicket(pub u32);

/// What the session knows of the client's publishing.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    aliases: Vec<Option<Utf8Bytes>>,
    /// Acknowledgements owed, in the order the PUBLISH packets came in.
    pending: VecDeque<Pending>,
    /// Ticket of the first pending one.
    first: u32,
    /// QoS 2 exchanges.
    pub(crate) exchanges: Exchanges,
    /// Number of the next message.
    sequence: u64,
}

#[derive(Debug)]
struct Pending {
    packet_id: PacketId,
    answer: Answer,
    /// `None` until the message is durable or refused.
    outcome: Option<ReasonCode>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Puback,
    Pubrec,
    /// PUBREC for the repeat of a QoS 2 message: if the first was taken.
    PubrecAgain,
}

impl Answer {
    fn to(qos: QoS) -> Self {
        if qos == QoS::ExactlyOnce { Self::Pubrec } else { Self::Puback }
    }
}

impl Inbound {
    fn owe(&mut self, packet_id: PacketId, answer: Answer) -> AckTicket {
        let ticket = self.first.wrapping_add(self.pending.len() as u32);
        self.pending.push_back(Pending { packet_id, answer, outcome: None });
        AckTicket(ticket)
    }

    fn nobody(&self) -> AckTicket {
        AckTicket(self.first.wrapping_sub(1))
    }

    fn settle(&mut self, ticket: AckTicket, outcome: ReasonCode) {
        let index = ticket.0.wrapping_sub(self.first) as usize;
        if let Some(pending) = self.pending.get_mut(index) {
            pending.outcome = Some(outcome);
        }
    }

    fn next_settled(&mut self) -> Option<(PacketId, Answer, ReasonCode)> {
        let front = self.pending.front()?;
        let settled = (front.packet_id, front.answer, front.outcome?);
        self.pending.pop_front();
        self.first = self.first.wrapping_add(1);
        Some(settled)
    }

    pub(crate) fn unacknowledged(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn is_in_use(&self, packet_id: PacketId) -> bool {
        self.exchanges.step(packet_id).is_some()
            || self.pending.iter().any(|pending| pending.packet_id == packet_id)
    }
}

/// What a PUBLISH turns out to be.
enum Taken {
    Message(Arc<Message>),
    /// Of a QoS 2 message that was taken before.
    Repeat,
}

/// Why a PUBLISH is not taken.
enum Refused {
    /// The connection ends.
    Close(Close),
    /// An MQTT 5 client is told in PUBACK or PUBREC; 3.1.1 and QoS 0 have no such answer, so their connection ends.
    Nack(ReasonCode, String),
}

impl Session {
    pub(crate) fn handle_publish(&mut self, publish: Publish, now: Now) {
        let (qos, packet_id) = (publish.qos, publish.packet_id);
        match self.take_publish(publish, now) {
            Ok(Taken::Message(message)) => {
                let ack = packet_id.map(|id| self.inbound.owe(id, Answer::to(qos)));
                let exchange = packet_id.filter(|_| qos == QoS::ExactlyOnce);
                if let Some(id) = exchange {
                    self.inbound.exchanges.begin(id);
                }
                let received = exchange.filter(|_| self.outbound.queue.is_some());
                self.push_action(Action::Publish { message, ack, received });
            }
            Ok(Taken::Repeat) => {
                if let Some(id) = packet_id {
                    let ticket = self.inbound.owe(id, Answer::PubrecAgain);
                    self.publish_done(ticket, ReasonCode::Success);
                }
            }
            Err(Refused::Close(close)) => self.close(close),
            Err(Refused::Nack(code, detail)) if self.version == Version::V5 && qos != QoS::AtMostOnce => {
                tracing::debug!(client_id = %self.client_id, code = code.name(), detail, "publish refused");
                if let Some(id) = packet_id {
                    let ticket = self.inbound.owe(id, Answer::to(qos));
                    self.publish_done(ticket, code);
                }
            }
            Err(Refused::Nack(code, detail)) => self.close(Close::refused(code, detail)),
        }
    }

    fn take_publish(&mut self, mut publish: Publish, now: Now) -> Result<Taken, Refused> {
        let settings = self.settings.clone();
        let (limits, behaviour) = (&settings.limits, &settings.behaviour);
        if publish.qos > behaviour.max_qos {
            let detail = format!("QoS {} is not supported", publish.qos as u8);
            return Err(Refused::Close(Close::client_error(ReasonCode::QosNotSupported, detail)));
        }
        self.check_receive_maximum(&publish)?;
        // Before anything is refused with PUBACK: the alias is defined whatever becomes of the message.
        let topic = self.resolve_topic(&publish)?;
        if self.check_packet_id(&publish)? {
            return Ok(Taken::Repeat);
        }
        name::validate(&topic, limits)
            .map_err(|error| Refused::Nack(ReasonCode::TopicNameInvalid, error.to_string()))?;
        self.check_reserved(&topic, publish.retain)?;
        if publish.payload.len() > limits.payload_bytes {
            let detail = format!("the payload is larger than {} bytes", limits.payload_bytes);
            return Err(Refused::Close(Close::client_error(ReasonCode::QuotaExceeded, detail)));
        }
        let properties = publish.properties.take();
        let expiry = properties.as_ref().and_then(|properties| properties.message_expiry_interval);
        let properties =
            properties.map(|properties| check_properties(*properties, limits)).transpose()?.flatten();
        let Some(publisher) = self.publisher.clone() else {
            return Err(Refused::Close(Close::client_error(
                ReasonCode::ProtocolError,
                "PUBLISH before CONNACK",
            )));
        };
        self.inbound.sequence += 1;
        Ok(Taken::Message(Arc::new(Message {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties,
            received_at: now.wall,
            expires_at: expiry.map(|seconds| {
                now.wall.after(std::time::Duration::from_secs(u64::from(clamp_expiry(seconds, limits))))
            }),
            sequence: self.inbound.sequence,
            hops: 0,
            publisher,
        })))
    }

    /// Receive Maximum [MQTT-3.3.4-9]. A 3.1.1 client is held back by not being read (`wants_input`).
    fn check_receive_maximum(&self, publish: &Publish) -> Result<(), Refused> {
        let allowed = usize::from(self.settings.limits.inflight_in);
        let counts = self.version == Version::V5 && publish.qos != QoS::AtMostOnce;
        let unfinished = self.inbound.unacknowledged() + self.inbound.exchanges.open();
        if counts && unfinished >= allowed {
            let detail = format!("more than {allowed} unacknowledged messages");
            return Err(Refused::Close(Close::client_error(ReasonCode::ReceiveMaximumExceeded, detail)));
        }
        Ok(())
    }

    /// Whether this repeats a QoS 2 message, DUP or not [MQTT-4.3.3-10]. An identifier that is in use otherwise is refused
    /// [MQTT-2.2.1-3]; but a 3.1.1 client may be repeating a QoS 1 message: that is taken as another one.
    fn check_packet_id(&self, publish: &Publish) -> Result<bool, Refused> {
        let Some(id) = publish.packet_id else { return Ok(false) };
        let step = self.inbound.exchanges.step(id).filter(|_| publish.qos == QoS::ExactlyOnce);
        let in_use = || Refused::Nack(ReasonCode::PacketIdentifierInUse, format!("packet id {id} is in use"));
        match step {
            Some(Step::Publishing | Step::Received) => Ok(true),
            Some(Step::Forgetting) => Err(in_use()),
            None if self.version == Version::V5 && self.is_in_use(id) => Err(in_use()),
            None => Ok(false),
        }
    }

    /// The topic, from the packet or from its alias [MQTT-3.3.2-8 to MQTT-3.3.2-12].
    fn resolve_topic(&mut self, publish: &Publish) -> Result<Utf8Bytes, Refused> {
        let alias = publish.properties.as_ref().and_then(|properties| properties.topic_alias);
        let Some(alias) = alias else { return Ok(publish.topic.clone().into()) };
        let refused = |code, detail: String| Refused::Close(Close::client_error(code, detail));
        let highest = self.settings.limits.topic_alias_max;
        if alias.get() > highest {
            let detail = format!("topic alias {alias} is above {highest}");
            return Err(refused(ReasonCode::TopicAliasInvalid, detail));
        }
        let index = usize::from(alias.get() - 1);
        if publish.topic.is_empty() {
            let known = self.inbound.aliases.get(index).cloned().flatten();
            let code = match self.settings.behaviour.undefined_alias_is_protocol_error {
                true => ReasonCode::ProtocolError,
                false => ReasonCode::TopicAliasInvalid,
            };
            return known.ok_or_else(|| refused(code, format!("topic alias {alias} is not defined")));
        }
        if self.inbound.aliases.len() <= index {
            self.inbound.aliases.resize(index + 1, None);
        }
        let topic: Utf8Bytes = publish.topic.clone().into();
        if let Some(slot) = self.inbound.aliases.get_mut(index) {
            *slot = Some(topic.compact());
        }
        Ok(topic)
    }

    fn check_reserved(&self, topic: &str, retain: bool) -> Result<(), Refused> {
        if !topic.starts_with('$') {
            return Ok(());
        }
        let refused = |detail: String| Err(Refused::Nack(ReasonCode::TopicNameInvalid, detail));
        match reserved::may_publish(topic, &self.settings.behaviour) {
            Err(error @ reserved::Error::System(_)) => {
                Err(Refused::Nack(ReasonCode::NotAuthorized, error.to_string()))
            }
            Err(error) => refused(error.to_string()),
            Ok(reserved::Class::Reserved) if retain => {
                refused(format!("'{topic}' cannot hold a retained message"))
            }
            Ok(_) => Ok(()),
        }
    }

    /// A ticket under which no acknowledgement is owed: for a message at QoS 0 whose end is waited for all the same.
    pub fn unowed_ticket(&self) -> AckTicket {
        self.inbound.nobody()
    }

    /// The outcome of [`Action::Publish`]: a success once the message is durable, or a refusal. The acknowledgement leaves
    /// as soon as all earlier ones have.
    ///
    /// 3.1.1 has no PUBACK or PUBREC that says no. What a rate refused ([`ReasonCode::QuotaExceeded`]) is then just not acknowledged;
    /// any other refusal ends the connection, and the client sends the message again on the next one.
    pub fn publish_done(&mut self, ticket: AckTicket, outcome: ReasonCode) {
        self.inbound.settle(ticket, outcome);
        while self.is_connected()
            && let Some((packet_id, answer, outcome)) = self.inbound.next_settled()
        {
            match answer {
                Answer::Pubrec if outcome.is_error() => self.inbound.exchanges.refuse(packet_id),
                Answer::Pubrec => self.inbound.exchanges.receive(packet_id),
                // What was refused was answered with that.
                Answer::PubrecAgain if self.inbound.exchanges.step(packet_id).is_none() => continue,
                Answer::Puback | Answer::PubrecAgain => {}
            }
            self.acknowledge_publish(packet_id, answer, outcome);
        }
    }

    /// The client may not publish this: MQTT 5 is told at QoS 1 and 2, everything else ends the connection, as nothing that was
    /// refused is ever acknowledged as accepted.
    pub fn publish_denied(&mut self, ack: Option<AckTicket>, detail: &str) {
        match ack {
            Some(ticket) if self.version == Version::V5 => {
                self.publish_done(ticket, ReasonCode::NotAuthorized)
            }
            _ => self.close(Close::unauthorized(detail)),
        }
    }

    fn acknowledge_publish(&mut self, packet_id: PacketId, answer: Answer, outcome: ReasonCode) {
        let tells = self.settings.behaviour.report_no_matching_subscribers || outcome.is_error();
        match (self.version, outcome) {
            (Version::V311, ReasonCode::QuotaExceeded) => {
                tracing::debug!(client_id = %self.client_id, %packet_id, "publish over a rate: not acknowledged");
            }
            (Version::V311, refusal) if refusal.is_error() => {
                self.close(Close::refused(refusal, "a message was refused"));
            }
            (Version::V5, outcome) if tells && outcome != ReasonCode::Success => {
                // The two may carry the same codes [MQTT5 sections 3.4.2.1 and 3.5.2.1].
                let ack = Ack::new(packet_id, fitting(outcome, PacketType::Puback));
                let pubrec = answer != Answer::Puback;
                self.answer(&if pubrec { Packet::Pubrec(ack) } else { Packet::Puback(ack) });
            }
            // The same four bytes in both versions, below any Maximum Packet Size that let CONNACK through.
            _ => {
                let write = match answer {
                    Answer::Puback => encode::encode_puback_ok,
                    Answer::Pubrec | Answer::PubrecAgain => encode::encode_pubrec_ok,
                };
                write(packet_id, self.output.buffer());
                self.output.count_answer(4);
            }
        }
    }
}

/// Message Expiry Interval as AWS takes it: at least one second, at most the account's limit.
pub(crate) fn clamp_expiry(seconds: u32, limits: &Limits) -> u32 {
    match limits.message_expiry_max {
        0 => seconds.max(1),
        highest => seconds.clamp(1, highest),
    }
}

/// The properties that travel on, checked; `None` when there are none.
fn check_properties(
    sent: PublishProperties,
    limits: &Limits,
) -> Result<Option<Box<MessageProperties>>, Refused> {
    if let Some(topic) = &sent.response_topic
        && topic.contains(['+', '#'])
    {
        // [MQTT-3.3.2-14]
        let detail = "the Response Topic contains a wildcard";
        return Err(Refused::Close(Close::client_error(ReasonCode::ProtocolError, detail)));
    }
    let user_bytes: usize = sent.user_properties.iter().map(|p| p.name.len() + p.value.len()).sum();
    if user_bytes > limits.user_property_bytes {
        let detail = format!("user properties are larger than {} bytes", limits.user_property_bytes);
        return Err(Refused::Nack(ReasonCode::QuotaExceeded, detail));
    }
    let properties = MessageProperties {
        payload_is_utf8: sent.payload_format_indicator.map(|format| format == PayloadFormat::Utf8),
        content_type: sent.content_type.map(Into::into),
        response_topic: sent.response_topic.map(Into::into),
        correlation_data: sent.correlation_data,
        user_properties: sent.user_properties.into_iter().map(|p| (p.name.into(), p.value.into())).collect(),
    };
    check_sizes(&properties, limits)
        .map_err(|detail| Refused::Close(Close::client_error(ReasonCode::ProtocolError, detail)))?;
    Ok((properties != MessageProperties::default()).then(|| Box::new(properties)))
}

/// The sizes of a message's properties, within the account's limits; `Err` names the one that is not.
pub(crate) fn check_sizes(properties: &MessageProperties, limits: &Limits) -> Result<(), String> {
    let sizes = [
        ("Content Type", properties.content_type.as_ref().map(|text| text.len()), limits.content_type_bytes),
        (
            "Response Topic",
            properties.response_topic.as_ref().map(|text| text.len()),
            limits.response_topic_bytes,
        ),
        (
            "Correlation Data",
            properties.correlation_data.as_ref().map(bytes::Bytes::len),
            limits.correlation_data_bytes,
        ),
    ];
    match sizes.iter().find(|(_, size, most)| size.is_some_and(|size| size > *most)) {
        Some((name, _, most)) => Err(format!("the {name} is larger than {most} bytes")),
        None => Ok(()),
    }
}
