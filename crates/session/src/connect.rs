//! CONNECT: what is checked before anyone is asked, and the CONNACK that follows.

use std::sync::Arc;

use fleethaven_mqtt::{
    Connack, ConnackProperties, Connect, Packet, PacketId, PacketType, ReasonCode, Version, Will, encoded_len,
};
use fleethaven_topics::{name, reserved};
use fleethaven_types::{
    EntryId, Message, MessageProperties, Publisher, QoS, SessionId, Timestamp, Utf8Bytes,
};

use crate::aliases::Aliases;
use crate::close::Close;
use crate::inbound::{check_sizes, clamp_expiry};
use crate::keep_alive::KeepAlive;
use crate::queue::QueueState;
use crate::retries::Retries;
use crate::session::{Action, Now, Session, Settings, State, fitting};

/// A CONNECT that obeys the protocol: the shell authenticates, authorises, claims the session, and then calls
/// [`Session::accept`] or [`Session::refuse`].
#[derive(Debug)]
pub struct ConnectRequest {
    /// Protocol version.
    pub version: Version,
    /// Client id; empty when the broker is to assign one.
    pub client_id: Utf8Bytes,
    /// Clean Start.
    pub clean_start: bool,
    /// Session Expiry Interval in seconds, brought within the account's limit; 0 = ends with the connection.
    pub session_expiry: u32,
    /// The will, checked; its permissions are not.
    pub will: Option<WillRequest>,
    /// User Name.
    pub username: Option<Utf8Bytes>,
    /// Password.
    pub password: Option<bytes::Bytes>,
}

/// A will whose form is right.
#[derive(Debug, Clone)]
pub struct WillRequest {
    /// Topic.
    pub topic: Utf8Bytes,
    /// Whether it is to be retained.
    pub retain: bool,
    /// Will Delay Interval in seconds, not above the Session Expiry Interval.
    pub delay: u32,
    template: Box<Message>,
}

impl WillRequest {
    /// The message to publish, as sent by `publisher`.
    pub fn message(&self, publisher: &Arc<Publisher>) -> Arc<Message> {
        Arc::new(Message { publisher: publisher.clone(), ..(*self.template).clone() })
    }
}

/// What the shell decided on a [`ConnectRequest`].
#[derive(Debug)]
pub struct Accepted {
    /// The session.
    pub session: SessionId,
    /// CONNACK Session Present.
    pub session_present: bool,
    /// The client id in use, when the broker assigned it.
    pub assigned_client_id: Option<Utf8Bytes>,
    /// Who publishes on this connection.
    pub publisher: Arc<Publisher>,
    /// The durable queue of a persistent session.
    pub queue: Option<QueueState>,
    /// When entries of the queue were first sent, as an earlier connection left it ([`crate::Ending::first_sent`]).
    pub first_sent: Vec<(EntryId, Timestamp)>,
    /// Queue entries whose messages the client has, in order: they wait for PUBCOMP.
    pub released: Vec<EntryId>,
    /// Identifiers of QoS 2 exchanges that the client began and did not end.
    pub received: Vec<PacketId>,
    /// Filters the resumed session is subscribed to, with their granted QoS.
    pub subscriptions: Vec<(Utf8Bytes, QoS)>,
}

impl Session {
    pub(crate) fn handle_connect(&mut self, connect: Connect, now: Now) {
        self.version = connect.version;
        self.output_limits(&connect);
        match check(&connect, &self.settings, now) {
            Ok(request) => {
                self.state = State::Connecting { keep_alive: connect.keep_alive };
                self.client_id = request.client_id.clone();
                self.session_expiry = request.session_expiry;
                self.requested_expiry = connect.properties.session_expiry_interval;
                self.will_delay = request.will.as_ref().map_or(0, |will| will.delay);
                self.push_action(Action::Connect(Box::new(request)));
            }
            Err((code, detail)) => self.refuse(code, detail),
        }
    }

    fn output_limits(&mut self, connect: &Connect) {
        let properties = &connect.properties;
        self.problem_information = properties.request_problem_information.unwrap_or(true);
        self.wants_response_information = properties.request_response_information.unwrap_or(false);
        let limits = &self.settings.limits;
        let window = properties.receive_maximum.map_or(u16::MAX, |maximum| maximum.get());
        self.outbound.set_window(window.min(limits.inflight_out));
        self.outbound.set_max_packet(properties.maximum_packet_size.map(|size| size.get()));
        let aliases = properties.topic_alias_maximum.unwrap_or(0).min(limits.topic_alias_out_max);
        self.outbound.aliases = Aliases::up_to(aliases);
    }

    /// Refuses the connection: CONNACK with `code` where the version has one, then the end. Nothing was accepted, so
    /// there is no [`Ending`](crate::Ending). Ignored when the connection is over already.
    pub fn refuse(&mut self, code: ReasonCode, detail: impl Into<String>) {
        if !matches!(self.state, State::Opened | State::Connecting { .. }) {
            return;
        }
        let detail = detail.into();
        let code = fitting(code, PacketType::Connack);
        self.state = State::Refused;
        // 3.1.1 has few return codes; beyond them the connection is just closed [MQTT-3.1.4-1, MQTT-3.2.2-6].
        if self.version == Version::V5 || code.v311_return_code().is_some() {
            self.send_refusal(code, &detail);
        }
        self.push_action(Action::Refused { code, detail });
    }

    /// The Reason String is left out when the client does not want it or it does not fit [MQTT-3.2.2-19], and so is a Server
    /// Reference that does not.
    fn send_refusal(&mut self, code: ReasonCode, detail: &str) {
        let v5 = self.version == Version::V5;
        let reference = self.server_reference(code).filter(|_| v5);
        let packet = |reason_string: Option<&str>, server_reference: Option<&str>| {
            let mut connack = Connack::new(false, code);
            connack.properties.reason_string = reason_string.map(Into::into);
            connack.properties.server_reference = server_reference.map(Into::into);
            Packet::Connack(Box::new(connack))
        };
        let fits = |packet: &Packet, most: usize| encoded_len(packet, self.version) <= most;
        let max_packet = self.outbound.max_packet();
        let wanted = Some(detail).filter(|_| v5 && self.problem_information);
        let mut refusal = packet(wanted, reference);
        if !fits(&refusal, max_packet.min(MAX_REFUSAL)) {
            refusal = packet(None, reference);
        }
        if !fits(&refusal, max_packet) {
            refusal = packet(None, None);
        }
        self.send(&refusal);
    }

    /// Accepts the connection: sends CONNACK and starts the keep-alive timer. A will that was asked for is armed.
    ///
    /// Ignored when the connection ended meanwhile ([`Session::is_connected`] tells): what was claimed for it is then the
    /// caller's to release.
    pub fn accept(&mut self, accepted: Accepted, will: Option<Arc<Message>>, now: Now) {
        let State::Connecting { keep_alive: requested } = self.state else { return };
        let keep_alive = KeepAlive::new(requested, &self.settings.limits, now.instant);
        let connack = Packet::Connack(Box::new(self.connack(&accepted, requested, keep_alive.seconds())));
        if let Some(id) = accepted.assigned_client_id {
            self.client_id = id;
        }
        self.keep_alive = keep_alive;
        self.will = will;
        self.session = accepted.session;
        self.publisher = Some(accepted.publisher);
        self.subscriptions =
            accepted.subscriptions.into_iter().map(|(filter, qos)| (filter, Some(qos))).collect();
        self.state = State::Connected;
        let len = encoded_len(&connack, self.version);
        if len > self.outbound.max_packet() {
            // Nothing may be sent to this client, not even a DISCONNECT that says so [MQTT-3.1.2-24].
            let detail = format!("CONNACK of {len} bytes is above the client's Maximum Packet Size");
            return self
                .close(Close { code: None, ..Close::client_error(ReasonCode::PacketTooLarge, detail) });
        }
        self.send(&connack);
        self.inbound.exchanges.resume(accepted.received);
        self.resume_released(accepted.released);
        let retry_secs = self.settings.limits.qos1_retry_secs;
        self.outbound.retries = retry_secs.map(|secs| Retries::new(secs, accepted.first_sent));
        let rate = self.settings.behaviour.stored_drain_rate;
        if self.outbound.resume(accepted.queue, rate, now.instant) {
            self.push_action(Action::ReadQueue { after: self.outbound.position() });
        }
    }

    fn connack(&self, accepted: &Accepted, requested_keep_alive: u16, keep_alive: u16) -> Connack {
        let (limits, behaviour) = (&self.settings.limits, &self.settings.behaviour);
        let mut properties = ConnackProperties::default();
        if self.version == Version::V5 {
            let asked = self.requested_expiry.unwrap_or(0);
            properties = ConnackProperties {
                session_expiry_interval: (asked != self.session_expiry).then_some(self.session_expiry),
                receive_maximum: limits.inflight_in.try_into().ok(),
                maximum_qos: (behaviour.max_qos != QoS::ExactlyOnce).then_some(behaviour.max_qos),
                maximum_packet_size: limits.packet_bytes.try_into().ok(),
                assigned_client_identifier: accepted.assigned_client_id.clone().map(Into::into),
                topic_alias_maximum: Some(limits.topic_alias_max),
                subscription_identifiers_available: Some(behaviour.subscription_identifiers),
                shared_subscription_available: Some(true),
                server_keep_alive: (requested_keep_alive != keep_alive).then_some(keep_alive),
                response_information: self.response_information(accepted).map(Into::into),
                ..ConnackProperties::default()
            };
        }
        Connack { session_present: accepted.session_present, reason: ReasonCode::Success, properties }
    }
}

impl Session {
    /// What the client may begin its response topics with [MQTT5 section 3.2.2.3.15], when it asks [MQTT-3.1.2-28]: unique to
    /// its client id, and `{prefix}${iot:ClientId}/` in a policy for every client id that is one level of a topic.
    fn response_information(&self, accepted: &Accepted) -> Option<String> {
        let prefix = &self.settings.behaviour.response_information_prefix;
        if !self.wants_response_information || prefix.is_empty() {
            return None;
        }
        let client_id = accepted.assigned_client_id.as_ref().unwrap_or(&self.client_id);
        let mut information = prefix.clone();
        for character in client_id.chars() {
            match character {
                '/' => information.push_str("%2F"),
                '+' => information.push_str("%2B"),
                '#' => information.push_str("%23"),
                '%' => information.push_str("%25"),
                other => information.push(other),
            }
        }
        information.push('/');
        (information.len() < self.settings.limits.topic_bytes).then_some(information)
    }
}

type Refusal = (ReasonCode, String);

/// A refusal longer than this goes without its Reason String.
const MAX_REFUSAL: usize = 512;

/// The checks of `spec/broker.md` section 2, steps 4 to 7, in that order.
fn check(connect: &Connect, settings: &Settings, now: Now) -> Result<ConnectRequest, Refusal> {
    let limits = &settings.limits;
    let client_id: Utf8Bytes = connect.client_id.detached().into();
    check_client_id(connect, limits.client_id_bytes)?;
    if let Some(size) = connect.properties.maximum_packet_size
        && size.get() < limits.client_packet_bytes_min
    {
        let detail = format!("a Maximum Packet Size of {size} is below {}", limits.client_packet_bytes_min);
        return Err((ReasonCode::ProtocolError, detail));
    }
    if connect.properties.authentication_method.is_some() {
        let detail = "enhanced authentication is not available".to_owned();
        return Err((ReasonCode::BadAuthenticationMethod, detail));
    }
    let mut will = connect.will.as_deref().map(|will| check_will(will, settings, now)).transpose()?;
    let asked = match connect.version {
        Version::V5 => connect.properties.session_expiry_interval.unwrap_or(0),
        Version::V311 if connect.clean_start => 0,
        Version::V311 => limits.session_expiry_default,
    };
    let session_expiry = asked.min(limits.session_expiry_max);
    if let Some(will) = &mut will {
        // The will is published at the latest when the session ends [MQTT5 section 3.1.3.2.2].
        will.delay = will.delay.min(session_expiry);
    }
    Ok(ConnectRequest {
        version: connect.version,
        client_id,
        clean_start: connect.clean_start,
        session_expiry,
        will,
        username: connect.username.as_ref().map(|name| name.detached().into()),
        password: connect.password.as_ref().map(|password| bytes::Bytes::copy_from_slice(password)),
    })
}

fn check_client_id(connect: &Connect, max_bytes: usize) -> Result<(), Refusal> {
    let id = connect.client_id.as_str();
    let invalid = |detail: &str| Err((ReasonCode::ClientIdentifierNotValid, detail.to_owned()));
    if id.is_empty() && connect.version == Version::V311 && !connect.clean_start {
        return invalid("an empty client id needs CleanSession 1"); // [MQTT-3.1.3-8]
    }
    if id.len() > max_bytes {
        return Err((
            ReasonCode::ClientIdentifierNotValid,
            format!("the client id is longer than {max_bytes} bytes"),
        ));
    }
    if id.starts_with('$') {
        return invalid("a client id does not start with '$'");
    }
    Ok(())
}

fn check_will(will: &Will, settings: &Settings, now: Now) -> Result<WillRequest, Refusal> {
    let (limits, behaviour) = (&settings.limits, &settings.behaviour);
    let topic: Utf8Bytes = will.topic.detached().into();
    let invalid_topic = |detail: String| (ReasonCode::TopicNameInvalid, detail);
    name::validate(&topic, limits).map_err(|error| invalid_topic(format!("will topic: {error}")))?;
    let may_publish = reserved::may_publish(&topic, behaviour);
    if let Err(error @ reserved::Error::System(_)) = may_publish {
        return Err((ReasonCode::NotAuthorized, format!("will topic: {error}")));
    }
    // What is asked below this asks nobody as a will, and reaches subscribers and rules (AWS: device-shadow-comms-app).
    let is_of_a_thing = may_publish.is_ok() && topic.starts_with("$aws/things/") && !will.retain;
    if reserved::is_reserved(&topic, behaviour) && !is_of_a_thing {
        return Err(invalid_topic(format!("the will topic '{topic}' is reserved")));
    }
    if will.qos > behaviour.max_qos {
        return Err((ReasonCode::QosNotSupported, format!("will QoS {} is not supported", will.qos as u8)));
    }
    if will.payload.len() > limits.payload_bytes {
        return Err((ReasonCode::PacketTooLarge, "the will payload is too large".to_owned()));
    }
    let user_properties = &will.properties.user_properties;
    let user_bytes: usize = user_properties.iter().map(|p| p.name.len() + p.value.len()).sum();
    if user_bytes > limits.user_property_bytes {
        return Err((ReasonCode::QuotaExceeded, "the will's User Properties are too large".to_owned()));
    }
    let properties = will_properties(will);
    if let Some(properties) = &properties {
        check_sizes(properties, limits)
            .map_err(|detail| (ReasonCode::ProtocolError, format!("will: {detail}")))?;
    }
    let expires_in = will.properties.message_expiry_interval.map(|seconds| clamp_expiry(seconds, limits));
    Ok(WillRequest {
        topic: topic.clone(),
        retain: will.retain,
        delay: will.properties.will_delay_interval.unwrap_or(0),
        template: Box::new(Message {
            topic,
            payload: bytes::Bytes::copy_from_slice(&will.payload),
            qos: will.qos,
            retain: will.retain,
            properties,
            received_at: now.wall,
            // Counted anew from the moment of publication, by `Session::ended`.
            expires_at: expires_in.map(|seconds| fleethaven_types::Timestamp(u64::from(seconds) * 1000)),
            sequence: 0,
            hops: 0,
            publisher: settings.nobody.clone(),
        }),
    })
}

fn will_properties(will: &Will) -> Option<Box<MessageProperties>> {
    let sent = &will.properties;
    let properties = MessageProperties {
        payload_is_utf8: sent
            .payload_format_indicator
            .map(|format| format == fleethaven_mqtt::PayloadFormat::Utf8),
        content_type: sent.content_type.as_ref().map(|text| text.detached().into()),
        response_topic: sent.response_topic.as_ref().map(|text| text.detached().into()),
        correlation_data: sent.correlation_data.as_ref().map(|data| bytes::Bytes::copy_from_slice(data)),
        user_properties: sent
            .user_properties
            .iter()
            .map(|property| (property.name.detached().into(), property.value.detached().into()))
            .collect(),
    };
    (properties != MessageProperties::default()).then(|| Box::new(properties))
}

/// The will as it is published at `now`: its Message Expiry Interval, kept as a duration since the epoch until then,
/// counts from here [MQTT5 section 3.1.3.2.4]. For whoever publishes a will that the store kept; an
/// [`Ending`](crate::Ending) holds it in this form already.
pub fn published_will(will: &Arc<Message>, now: Now) -> Arc<Message> {
    let mut message = (**will).clone();
    message.received_at = now.wall;
    message.expires_at = message
        .expires_at
        .map(|lifetime| now.wall.after(std::time::Duration::from_millis(lifetime.as_millis())));
    Arc::new(message)
}
