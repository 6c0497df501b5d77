//! The life of a connection, from its first packet to its [`Ending`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use fleethaven_mqtt::{
    DecodeError, Disconnect, DisconnectProperties, Packet, PacketId, PacketType, ReasonCode, Version, encode,
    encoded_len,
};
use fleethaven_types::{
    Behaviour, EntryId, GroupId, Limits, Message, Profile, Publisher, QoS, Scope, SessionId, Timestamp,
    Utf8Bytes,
};

use crate::close::{Close, DisconnectReason, Ending};
use crate::connect::{ConnectRequest, published_will};
use crate::direct::DirectTicket;
use crate::filters::{Filters, Leftovers};
use crate::inbound::{AckTicket, Inbound};
use crate::keep_alive::KeepAlive;
use crate::outbound::Outbound;
use crate::output::Output;
use crate::shares::Shares;
use crate::subscribe::{OpenRequests, SubscribeRequest, UnsubscribeRequest};

/// The time, read once per turn: monotonic for timers, wall clock for what messages carry.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For timers.
    pub instant: Instant,
    /// For messages.
    pub wall: Timestamp,
}

/// What a listener and an account allow; shared by all sessions of the listener.
#[derive(Debug)]
pub struct Settings {
    /// Where AWS and the MQTT text differ.
    pub behaviour: Behaviour,
    /// Sizes, counts and rates.
    pub limits: Limits,
    /// Stands for the publisher of a will until the connection is accepted.
    pub(crate) nobody: Arc<Publisher>,
}

impl Settings {
    /// The same behaviour under other limits.
    pub fn with_limits(&self, limits: Limits) -> Self {
        Self { behaviour: self.behaviour.clone(), limits, nobody: self.nobody.clone() }
    }

    /// Settings with this behaviour and these limits.
    pub fn new(behaviour: Behaviour, limits: Limits, scope: Scope) -> Self {
        let nobody = Publisher { scope, client_id: None, principal: None, source_ip: None, trace: 0 };
        Self { behaviour, limits, nobody: Arc::new(nobody) }
    }

    /// The bundle of a profile.
    pub fn of(profile: Profile, scope: Scope) -> Self {
        Self::new(Behaviour::of(profile), Limits::of(profile), scope)
    }
}

/// What the shell has to do, in order.
#[derive(Debug)]
pub enum Action {
    /// Decide on a CONNECT: [`Session::accept`] or [`Session::refuse`]. No further packet is handled before.
    Connect(Box<ConnectRequest>),
    /// Authorise and route a message: [`Session::publish_done`] once it is durable, or [`Session::publish_denied`].
    Publish {
        /// The message.
        message: Arc<Message>,
        /// `None` at QoS 0.
        ack: Option<AckTicket>,
        /// Of a QoS 2 message of a session that outlives its connection: to be recorded together with the message.
        received: Option<PacketId>,
    },
    /// The client ended a QoS 2 exchange whose identifier was recorded: forget it, then [`Session::forgotten`].
    Forget {
        /// The identifier.
        packet_id: PacketId,
    },
    /// The client has the message of a QoS 2 queue entry: record that, then [`Session::released`].
    Release {
        /// The entry.
        entry: EntryId,
    },
    /// Authorise and install subscriptions: [`Session::subscribe_done`].
    Subscribe(SubscribeRequest),
    /// Remove subscriptions: [`Session::unsubscribe_done`].
    Unsubscribe(UnsubscribeRequest),
    /// Read the durable queue: [`Session::queue_read`].
    ReadQueue {
        /// Entries above this one.
        after: EntryId,
    },
    /// The client has a queue entry: it may be forgotten.
    Acknowledged {
        /// The entry.
        entry: EntryId,
    },
    /// The client has a direct message that it was to acknowledge.
    DirectAcknowledged {
        /// Of [`Session::deliver_direct`].
        ticket: DirectTicket,
    },
    /// The client has what an entry of a group's queue held: it may be forgotten.
    ShareDone {
        /// The group.
        group: GroupId,
        /// The entry.
        entry: EntryId,
    },
    /// CONNECT was refused: write the output, then close the socket.
    Refused {
        /// What the client was told.
        code: ReasonCode,
        /// The cause, for the log.
        detail: String,
    },
    /// Write the output, then close the socket; [`Session::ended`] tells what is left to do.
    Close,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Before CONNECT.
    Opened,
    /// CONNECT is with the shell.
    Connecting { keep_alive: u16 },
    /// CONNACK 0 was sent.
    Connected,
    /// CONNECT was refused.
    Refused,
    /// Over.
    Closed,
}

/// The protocol state of one connection.
#[derive(Debug)]
pub struct Session {
    pub(crate) settings: Arc<Settings>,
    pub(crate) state: State,
    pub(crate) version: Version,
    pub(crate) client_id: Utf8Bytes,
    pub(crate) session: SessionId,
    pub(crate) publisher: Option<Arc<Publisher>>,
    pub(crate) problem_information: bool,
    pub(crate) session_expiry: u32,
    pub(crate) requested_expiry: Option<u32>,
    pub(crate) wants_response_information: bool,
    pub(crate) will: Option<Arc<Message>>,
    pub(crate) will_delay: u32,
    pub(crate) keep_alive: KeepAlive,
    /// Filters held, with their granted QoS, and those asked for: both count against the limit.
    pub(crate) subscriptions: Filters,
    pub(crate) requests: OpenRequests,
    pub(crate) inbound: Inbound,
    pub(crate) outbound: Outbound,
    /// Of a member of groups that has got any.
    pub(crate) shares: Option<Box<Shares>>,
    pub(crate) output: Output,
    actions: VecDeque<Action>,
    connect_deadline: Instant,
    closed: Option<Box<Close>>,
}

impl Session {
    /// A connection that was just opened: CONNECT must arrive in time.
    pub fn new(settings: Arc<Settings>, now: Now) -> Self {
        let timeout = std::time::Duration::from_secs(u64::from(settings.limits.connect_timeout_secs));
        Self {
            keep_alive: KeepAlive::new(0, &settings.limits, now.instant),
            settings,
            state: State::Opened,
            version: Version::V311,
            client_id: Utf8Bytes::EMPTY,
            session: SessionId(0),
            publisher: None,
            problem_information: true,
            session_expiry: 0,
            requested_expiry: None,
            wants_response_information: false,
            will: None,
            will_delay: 0,
            subscriptions: Filters::default(),
            requests: OpenRequests::default(),
            inbound: Inbound::default(),
            outbound: Outbound::default(),
            shares: None,
            output: Output::default(),
            actions: VecDeque::new(),
            connect_deadline: now.instant + timeout,
            closed: None,
        }
    }

    /// Handles a packet that the decoder accepted.
    pub fn handle_packet(&mut self, packet: Packet, now: Now) {
        match (self.state, packet) {
            (State::Opened, Packet::Connect(connect)) => self.handle_connect(*connect, now),
            // The first packet must be CONNECT [MQTT-3.1.0-1]; the decoder sees to it.
            (State::Opened, _) => {
                self.close(Close::client_error(ReasonCode::ProtocolError, "the first packet is not CONNECT"))
            }
            (State::Connected, packet) => {
                self.keep_alive.touch(now.instant);
                self.handle_connected(packet, now);
            }
            // A second CONNECT while the first is being decided, or anything after the end.
            (State::Connecting { .. }, _) => {
                self.close(Close::client_error(ReasonCode::ProtocolError, "a packet before CONNACK"));
            }
            (State::Refused | State::Closed, _) => {}
        }
    }

    fn handle_connected(&mut self, packet: Packet, now: Now) {
        match packet {
            Packet::Publish(publish) => self.handle_publish(publish, now),
            Packet::Puback(ack) => self.handle_puback(ack.packet_id, now),
            Packet::Pubrec(ack) => self.handle_pubrec(&ack, now),
            Packet::Pubrel(ack) => self.handle_pubrel(ack.packet_id),
            Packet::Pubcomp(ack) => self.handle_pubcomp(ack.packet_id, now),
            Packet::Subscribe(subscribe) => self.handle_subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(unsubscribe),
            Packet::Pingreq => {
                encode::encode_pingresp(self.output.buffer());
                self.output.count_answer(2);
            }
            Packet::Disconnect(disconnect) => self.handle_disconnect(&disconnect),
            // [MQTT-3.1.0-2]
            Packet::Connect(_) => {
                self.close(Close::client_error(ReasonCode::ProtocolError, "a second CONNECT"))
            }
            Packet::Auth(_) => {
                self.close(Close::client_error(
                    ReasonCode::ProtocolError,
                    "AUTH without enhanced authentication",
                ));
            }
            // The decoder accepts no packet that only servers send.
            Packet::Connack(_) | Packet::Suback(_) | Packet::Unsuback(_) | Packet::Pingresp => {
                self.close(Close::client_error(ReasonCode::ProtocolError, "a packet that only servers send"));
            }
        }
    }

    fn handle_disconnect(&mut self, disconnect: &Disconnect) {
        let asked = disconnect.properties.as_ref().and_then(|properties| properties.session_expiry_interval);
        if let Some(seconds) = asked {
            if self.session_expiry == 0 && seconds > 0 {
                // [MQTT-3.14.2-2 and section 3.14.2.2.2]
                let detail = "DISCONNECT raises a Session Expiry Interval of 0";
                return self.close(Close::client_error(ReasonCode::ProtocolError, detail));
            }
            self.session_expiry = seconds.min(self.settings.limits.session_expiry_max);
        }
        // Any other reason than a normal end leaves the will in force [MQTT-3.14.4-3, section 3.1.2.5].
        if disconnect.reason == ReasonCode::NORMAL_DISCONNECTION {
            self.will = None;
        }
        let reason = DisconnectReason::ClientInitiatedDisconnect;
        let detail = disconnect.reason.name().to_owned();
        self.close(Close { reason, code: None, detail });
    }

    /// Handles bytes that the decoder refused. `version` is the decoder's: `None` while CONNECT has not told it.
    pub fn handle_malformed(&mut self, error: &DecodeError, version: Option<Version>) {
        let detail = error.to_string();
        match self.state {
            State::Opened => {
                let version = version.or(error.answer_version());
                self.version = version.unwrap_or(Version::V311);
                self.refuse(error.reason(), detail);
            }
            _ => self.close(Close::client_error(error.reason(), detail)),
        }
    }

    /// The next action to carry out.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Session::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Opened | State::Connecting { .. } => Some(self.connect_deadline),
            State::Connected => {
                let deadlines = [self.keep_alive.deadline(), self.pace_deadline(), self.give_up_deadline()];
                deadlines.into_iter().flatten().min()
            }
            State::Refused | State::Closed => None,
        }
    }

    /// Acts on deadlines that have passed.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.poll_timeout().is_none_or(|at| at > now.instant) {
            return;
        }
        match self.state {
            State::Opened => {
                let detail = "no CONNECT in time".to_owned();
                self.close(Close { reason: DisconnectReason::ClientError, code: None, detail });
            }
            State::Connecting { .. } => self.close(Close::server_error("CONNECT was not decided in time")),
            _ if self.keep_alive.deadline().is_some_and(|at| at <= now.instant) => {
                let detail = format!("nothing received for 1.5 × {} s", self.keep_alive.seconds());
                let code = Some(ReasonCode::KeepAliveTimeout);
                self.close(Close { reason: DisconnectReason::MqttKeepAliveTimeout, code, detail });
            }
            _ => {
                self.handle_pace(now.instant);
                self.give_up(now);
            }
        }
    }

    /// Ends the connection: an MQTT 5 client is told why, output is written, and [`Action::Close`] follows.
    pub fn close(&mut self, close: Close) {
        if matches!(self.state, State::Refused | State::Closed) {
            return;
        }
        if self.state == State::Connected
            && self.version == Version::V5
            && let Some(code) = close.code
        {
            self.send_disconnect(code, &close.detail);
        }
        if self.state != State::Connected {
            self.will = None;
        }
        self.state = State::Closed;
        self.closed = Some(Box::new(close));
        self.push_action(Action::Close);
    }

    /// Ends the connection for the connections API: with `clean_session` the session too, with `prevent_will` without its
    /// will.
    pub fn close_by_api(&mut self, clean_session: bool, prevent_will: bool) {
        if clean_session {
            self.session_expiry = 0;
        }
        if prevent_will {
            self.will = None;
        }
        let detail = "DeleteConnection".to_owned();
        let code = Some(ReasonCode::AdministrativeAction);
        self.close(Close { reason: DisconnectReason::ApiInitiatedDisconnect, code, detail });
    }

    /// Ends the connection, or refuses its CONNECT, because the broker shuts down: `drain-server-reference`,
    /// `drain-server-moved` and `drain-will` say how [MQTT5 section 4.11].
    pub fn drain(&mut self) {
        let behaviour = &self.settings.behaviour;
        if !behaviour.drain_will {
            self.will = None;
        }
        let connecting = matches!(self.state, State::Connecting { .. });
        let code = match behaviour.drain_server_reference.is_empty() {
            false if behaviour.drain_server_moved => ReasonCode::ServerMoved,
            false => ReasonCode::UseAnotherServer,
            true if connecting => ReasonCode::ServerUnavailable,
            true => ReasonCode::ServerShuttingDown,
        };
        let detail = "the broker is shutting down";
        match connecting {
            true => self.refuse(code, detail),
            false => self.close(Close::server(code, detail)),
        }
    }

    /// The Server Reference that goes with `code`.
    pub(crate) fn server_reference(&self, code: ReasonCode) -> Option<&str> {
        let reference = self.settings.behaviour.drain_server_reference.as_str();
        let redirects = matches!(code, ReasonCode::UseAnotherServer | ReasonCode::ServerMoved);
        Some(reference).filter(|reference| redirects && !reference.is_empty())
    }

    fn send_disconnect(&mut self, code: ReasonCode, detail: &str) {
        let code = fitting(code, PacketType::Disconnect);
        let reference = self.server_reference(code);
        let packet = |reason_string: Option<&str>| {
            let properties = DisconnectProperties {
                reason_string: reason_string.map(Into::into),
                server_reference: reference.map(Into::into),
                ..Default::default()
            };
            let properties = (reason_string.is_some() || reference.is_some()).then(|| Box::new(properties));
            Packet::Disconnect(Disconnect { reason: code, properties })
        };
        // DISCONNECT may carry a Reason String whatever Request Problem Information says [MQTT-3.1.2-29], unless that
        // makes it too large for the client [MQTT-3.14.2-3].
        let mut told = packet(Some(detail));
        if encoded_len(&told, self.version) > self.outbound.max_packet().min(MAX_DISCONNECT) {
            told = packet(None);
        }
        // Nothing may be sent that is larger still [MQTT-3.1.2-24].
        if encoded_len(&told, self.version) <= self.outbound.max_packet() {
            self.send(&told);
        }
    }

    /// What is left to do after the end; `None` when the connection had never been accepted, or is not over.
    pub fn ended(&mut self, now: Now) -> Option<Ending> {
        let close = *self.closed.take()?;
        self.publisher.as_ref()?;
        let delay = self.will_delay.min(self.session_expiry);
        let will = self.will.take().map(|will| (published_will(&will, now), delay));
        let (session_expiry, sent, first_sent) =
            (self.session_expiry, self.outbound.sent(), self.first_sent());
        Some(Ending { close, will, session_expiry, sent, first_sent })
    }

    /// Bytes to write.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// Whether the next packet may be handled: not while CONNECT is being decided, not while a client has more
    /// unacknowledged messages than it may (3.1.1 has no Receive Maximum, so it is held back by not being read), and not
    /// while it leaves answers unread or has many subscriptions asked for.
    pub fn wants_input(&self) -> bool {
        match self.state {
            State::Opened => true,
            State::Connected => {
                let within_receive_maximum = self.version == Version::V5
                    || self.inbound.unacknowledged() < usize::from(self.settings.limits.inflight_in);
                within_receive_maximum && !self.requests.are_many() && !self.output.is_flooded()
            }
            State::Connecting { .. } | State::Refused | State::Closed => false,
        }
    }

    /// Whether CONNACK 0 was sent and the connection is not over.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The client id.
    pub fn client_id(&self) -> &Utf8Bytes {
        &self.client_id
    }

    /// The session in the store; meaningful once connected.
    pub fn session_id(&self) -> SessionId {
        self.session
    }

    /// What the listener and the account allow.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Keep-alive in force, in seconds; 0 is off.
    pub fn keep_alive_seconds(&self) -> u16 {
        self.keep_alive.seconds()
    }

    /// Whether the filter has been granted.
    pub fn is_subscribed(&self, filter: &str) -> bool {
        self.subscriptions.is_granted(filter)
    }

    /// Takes the filters out of a session that is over.
    pub fn take_filters(&mut self) -> Leftovers {
        Leftovers::of(std::mem::take(&mut self.subscriptions))
    }

    /// Filters with their granted QoS, in no order.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&Utf8Bytes, QoS)> {
        self.subscriptions.iter().filter_map(|(filter, qos)| Some((filter, (*qos)?)))
    }

    /// Session Expiry Interval in force, in seconds.
    pub fn session_expiry(&self) -> u32 {
        self.session_expiry
    }

    pub(crate) fn push_action(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Answers the client. An answer above the client's Maximum Packet Size may not be sent [MQTT-3.1.2-24], and
    /// without it the client would wait for ever: the connection ends.
    pub(crate) fn answer(&mut self, packet: &Packet) {
        let len = encoded_len(packet, self.version);
        if len > self.outbound.max_packet() {
            let detail = format!("an answer of {len} bytes is above the client's Maximum Packet Size");
            return self.close(Close::client_error(ReasonCode::PacketTooLarge, detail));
        }
        self.send(packet);
        self.output.count_answer(len);
    }

    pub(crate) fn send(&mut self, packet: &Packet) {
        if let Err(error) = encode(packet, self.version, self.output.buffer()) {
            // Only a text longer than MQTT can carry gets here; the packet is left out rather than cut.
            tracing::warn!(client_id = %self.client_id, %error, "a packet could not be encoded");
        }
    }
}

/// A DISCONNECT longer than this goes without its Reason String.
const MAX_DISCONNECT: usize = 512;

/// `code`, or Unspecified error where `packet` cannot carry it.
pub(crate) fn fitting(code: ReasonCode, packet: PacketType) -> ReasonCode {
    if code.may_stand_in(packet) { code } else { ReasonCode::UnspecifiedError }
}
