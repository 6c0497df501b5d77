//! One MQTT client: connects, perhaps subscribes, then carries packets.

use std::io;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use bytes::BytesMut;
use fleethaven_mqtt::{
    Connect, ConnectProperties, DecodeLimits, Decoder, Disconnect, MqttString, Packet, PacketId, QoS,
    ReasonCode, Subscribe, Subscription, Version, encode, encode_pingreq,
};

use crate::clock;
use crate::link::{Link, Remains};
use crate::target::Target;

/// Keep alive in seconds; within AWS's bound of 1200.
pub(crate) const KEEP_ALIVE: u16 = 1200;

/// Who a client is to be.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Chooses source address and certificate.
    pub(crate) number: usize,
    pub(crate) client_id: String,
    /// What it subscribes to before it counts as open.
    pub(crate) filter: Option<(String, QoS)>,
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
    filter: Option<(String, QoS)>,
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
        encode(&connect(version, &spec.client_id), version, &mut out)?;
        Ok(Self {
            link: Link::open(target, spec.number)?,
            version,
            decoder: Decoder::client(version, DecodeLimits::default()),
            inbox: BytesMut::new(),
            out,
            phase: Phase::Connack,
            filter: spec.filter,
            receive_maximum: u16::MAX,
            started,
        })
    }

    /// The link, to be registered.
    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.link
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
                self.receive_maximum = connack.properties.receive_maximum.map_or(u16::MAX, |max| max.get());
                self.connected()?;
            }
            (Phase::Suback, Packet::Suback(suback)) => {
                let refused = suback.reason_codes.iter().find(|code| code.is_error());
                ensure!(refused.is_none(), "SUBACK says {refused:?}");
                self.phase = Phase::Open;
            }
            // A retained message may come before SUBACK.
            (Phase::Suback, Packet::Publish(_)) => {}
            (_, Packet::Disconnect(disconnect)) => bail!("DISCONNECT says {:?}", disconnect.reason),
            (phase, packet) => bail!("{:?} instead of {phase:?}", packet.packet_type()),
        }
        Ok(self.is_open())
    }

    fn connected(&mut self) -> anyhow::Result<()> {
        let Some((filter, qos)) = &self.filter else {
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

fn connect(version: Version, client_id: &str) -> Packet {
    Packet::Connect(Box::new(Connect {
        version,
        clean_start: true,
        keep_alive: KEEP_ALIVE,
        client_id: MqttString::from(client_id),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }))
}
