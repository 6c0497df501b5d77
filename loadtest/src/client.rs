//! One MQTT client: connects, perhaps subscribes, then carries packets.

use std::io;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use bytes::BytesMut;
use fleethaven_mqtt::{
    Connect, ConnectProperties, DecodeLimits, Decoder, Disconnect, MqttString, Packet, PacketId, QoS,
    ReasonCode, Subscribe, Subscription, Version, encode, encode_pingreq, encode_puback_ok,
    encode_pubcomp_ok, encode_pubrec_ok, encode_pubrel_ok,
};

use crate::clock;
use crate::link::{Link, Remains};
use crate::target::Target;

/// Keep alive in seconds; within AWS's bound of 1200.
pub(crate) const KEEP_ALIVE: u16 = 1200;

/// Seconds that the broker keeps a persistent session without a connection.
const SESSION_EXPIRY: u32 = 3600;

/// What a client is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Only to be there.
    Bare,
    /// Publishes the stream with this number.
    Publisher(usize),
    /// Subscriber with this number.
    Subscriber(usize),
}

/// Who a client is to be.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Chooses source address and certificate.
    pub(crate) number: usize,
    pub(crate) client_id: String,
    pub(crate) role: Role,
    /// What it subscribes to before it counts as open.
    pub(crate) filter: Option<(String, QoS)>,
    /// Its session outlives the connection, and is resumed if there is one.
    pub(crate) persistent: bool,
}

impl Spec {
    /// A client with a clean session that subscribes to nothing.
    pub(crate) fn bare(number: usize, client_id: String) -> Self {
        Self { number, client_id, role: Role::Bare, filter: None, persistent: false }
    }
}

/// What a packet meant for the publishes under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// A message was delivered to this client.
    Delivered,
    /// A publish of this client is complete; `refused` tells how.
    Complete { refused: bool },
    /// Neither.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connack,
    Suback,
    Open,
}

/// A client and its buffers.
pub(crate) struct Client {
    link: Link,
    version: Version,
    decoder: Decoder,
    inbox: BytesMut,
    /// What waits to be written.
    pub(crate) out: BytesMut,
    phase: Phase,
    spec: Spec,
    /// CONNACK said that the session was there already.
    pub(crate) session_present: bool,
    /// How many unacknowledged QoS 1 publishes the broker takes.
    pub(crate) receive_maximum: u16,
    /// When it started to connect.
    pub(crate) started: Instant,
}

impl Client {
    /// Starts to connect, with CONNECT waiting in `out`.
    pub(crate) fn open(target: &Target, spec: Spec) -> anyhow::Result<Self> {
        let started = clock::now();
        let version = target.version;
        let mut out = BytesMut::new();
        encode(&connect(version, &spec), version, &mut out)?;
        Ok(Self {
            link: Link::open(target, spec.number)?,
            version,
            decoder: Decoder::client(version, DecodeLimits::default()),
            inbox: BytesMut::new(),
            out,
            phase: Phase::Connack,
            spec,
            session_present: false,
            receive_maximum: u16::MAX,
            started,
        })
    }

    /// The link, to be registered.
    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    /// Who it is.
    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Whether its TLS handshake resumed an earlier session.
    pub(crate) fn is_tls_resumed(&self) -> bool {
        self.link.is_resumed()
    }

    /// Whether CONNACK, and SUBACK if it subscribes, came.
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Reads once.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> io::Result<Remains> {
        self.link.read(scratch, &mut self.inbox)
    }

    /// The next whole packet. An emptied buffer is given back, so that idle clients stay small.
    pub(crate) fn next_packet(&mut self) -> anyhow::Result<Option<Packet>> {
        let packet = self.decoder.decode(&mut self.inbox).context("the broker breaks the protocol")?;
        if packet.is_none() && self.inbox.is_empty() {
            self.inbox = BytesMut::new();
        }
        Ok(packet)
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() && !self.link.wants_write() {
            return Ok(());
        }
        self.link.write(&mut self.out)
    }

    /// Takes a packet on the way to open; says whether that is reached now.
    pub(crate) fn establish(&mut self, packet: &Packet) -> anyhow::Result<bool> {
        match (self.phase, packet) {
            (Phase::Connack, Packet::Connack(connack)) => {
                ensure!(connack.reason == ReasonCode::Success, "CONNACK says {:?}", connack.reason);
                self.session_present = connack.session_present;
                self.receive_maximum = connack.properties.receive_maximum.map_or(u16::MAX, |max| max.get());
                self.connected()?;
            }
            (Phase::Suback, Packet::Suback(suback)) => {
                let refused = suback.reason_codes.iter().find(|code| code.is_error());
                ensure!(refused.is_none(), "SUBACK says {refused:?}");
                self.phase = Phase::Open;
            }
            // Retained messages, and those of a resumed session, may come before SUBACK.
            (Phase::Suback, Packet::Publish(_) | Packet::Pubrel(_)) => {}
            (_, Packet::Disconnect(disconnect)) => bail!("DISCONNECT says {:?}", disconnect.reason),
            (phase, packet) => bail!("{:?} instead of {phase:?}", packet.packet_type()),
        }
        Ok(self.is_open())
    }

    fn connected(&mut self) -> anyhow::Result<()> {
        let Some((filter, qos)) = &self.spec.filter else {
            self.phase = Phase::Open;
            return Ok(());
        };
        let subscribe = Subscribe {
            packet_id: PacketId::MIN,
            subscription_id: None,
            user_properties: Vec::new(),
            filters: vec![Subscription::new(filter.as_str(), *qos)],
        };
        encode(&Packet::Subscribe(subscribe), self.version, &mut self.out)?;
        self.phase = Phase::Suback;
        Ok(())
    }

    /// Answers what QoS 1 and 2 want answered, and says what the packet meant.
    pub(crate) fn acknowledge(&mut self, packet: &Packet) -> Progress {
        match packet {
            Packet::Publish(publish) => {
                match (publish.qos, publish.packet_id) {
                    (QoS::AtLeastOnce, Some(id)) => encode_puback_ok(id, &mut self.out),
                    (QoS::ExactlyOnce, Some(id)) => encode_pubrec_ok(id, &mut self.out),
                    _ => {}
                }
                Progress::Delivered
            }
            Packet::Pubrel(ack) => {
                encode_pubcomp_ok(ack.packet_id, &mut self.out);
                Progress::Nothing
            }
            Packet::Pubrec(ack) if !ack.reason.is_error() => {
                encode_pubrel_ok(ack.packet_id, &mut self.out);
                Progress::Nothing
            }
            Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubcomp(ack) => {
                Progress::Complete { refused: ack.reason.is_error() }
            }
            _ => Progress::Nothing,
        }
    }

    /// Shows that it is alive.
    pub(crate) fn ping(&mut self) -> io::Result<()> {
        encode_pingreq(&mut self.out);
        self.flush()
    }

    /// Says good-bye as far as the socket takes it; the connection closes when the client is dropped.
    pub(crate) fn disconnect(&mut self) -> anyhow::Result<()> {
        let packet = Packet::Disconnect(Disconnect::new(ReasonCode::Success));
        encode(&packet, self.version, &mut self.out)?;
        self.flush()?;
        Ok(())
    }
}

fn connect(version: Version, spec: &Spec) -> Packet {
    let expiry = (version == Version::V5 && spec.persistent).then_some(SESSION_EXPIRY);
    Packet::Connect(Box::new(Connect {
        version,
        clean_start: !spec.persistent,
        keep_alive: KEEP_ALIVE,
        client_id: MqttString::from(spec.client_id.as_str()),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties { session_expiry_interval: expiry, ..ConnectProperties::default() },
    }))
}
