//! A connection to another broker: MQTT 5 with a clean session, which carries publishes and their acknowledgements.
//!
//! What it carries is bounded by the lane of the connection. When it breaks, everything that is under way fails for a moment, and the
//! next try opens another.

use std::collections::hash_map::Entry;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fleethaven_mqtt::{
    Ack, Connack, Connect, DecodeLimits, Decoder, Disconnect, Packet, PacketId, Publish, ReasonCode, Version,
    encode, encode_pingreq, encode_publish, publish_len,
};
use fleethaven_outbound::Dialer;
use fleethaven_outbound::dial::Stream;
use fleethaven_registry::shapes::Connection;
use fleethaven_types::QoS;
use rustc_hash::FxHashMap;
use tokio::io::AsyncReadExt;
use tokio::time::{MissedTickBehavior, interval};

use super::super::carried::{Carried, Outcome, Publishes, Tell, flush};
use super::super::target::{Address, unreachable};
use super::Error;

/// How often the broker hears of us at least.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Largest packet that is read: nobody publishes to us.
const MAX_PACKET: u32 = 64 << 10;
const VERSION: Version = Version::V5;

/// A way to the broker.
pub(super) type Session = Carried<Publish>;

/// Connects to the broker.
pub(super) async fn open(dialer: &Dialer, connection: &Connection, resource: &str) -> Result<Session, Error> {
    let address = Address::of(connection, "mqtts", (1883, 8883))?;
    let stream = dialer.open(&address.host, address.port, address.secured).await;
    let stream = stream.map_err(|error| unreachable(resource, &error))?;
    let mut carrier = Carrier {
        stream,
        decoder: Decoder::client(VERSION, DecodeLimits { max_packet_size: MAX_PACKET }),
        inbox: BytesMut::new(),
        out: BytesMut::new(),
        under_way: FxHashMap::default(),
        last_id: PacketId::MAX,
        limits: Limits {
            under_way: usize::from(u16::MAX),
            packet: usize::MAX,
            qos: QoS::ExactlyOnce,
            retain: true,
        },
    };
    let connack = carrier.connect(connection).await;
    let connack = connack.map_err(|reason| {
        Error::transient(resource, format!("the broker cannot be connected to: {reason}"))
    })?;
    if connack.reason != ReasonCode::Success {
        let busy = [ReasonCode::ServerUnavailable, ReasonCode::ServerBusy, ReasonCode::QuotaExceeded];
        let transient = busy.contains(&connack.reason);
        let reason = format!("the broker refused the connection: {:?}", connack.reason);
        return Err(Error { transient, ..Error::permanent(resource, reason) });
    }
    carrier.limits = Limits::of(&connack);
    let (session, publishes) = Session::new();
    tokio::spawn(carrier.carry(publishes));
    Ok(session)
}

/// What the broker has said that it takes.
struct Limits {
    /// Publishes that are not acknowledged.
    under_way: usize,
    /// Bytes of a packet.
    packet: usize,
    qos: QoS,
    retain: bool,
}

impl Limits {
    fn of(connack: &Connack) -> Self {
        let told = &connack.properties;
        let size = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            under_way: told.receive_maximum.map_or(usize::from(u16::MAX), |most| usize::from(most.get())),
            packet: told.maximum_packet_size.map_or(usize::MAX, |most| size(most.get())),
            qos: told.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain: told.retain_available.unwrap_or(true),
        }
    }

    fn check(&self, publish: &Publish) -> Result<(), String> {
        if publish.qos > self.qos {
            return Err("the broker takes no QoS 1".to_owned());
        }
        if publish.retain && !self.retain {
            return Err("the broker retains no messages".to_owned());
        }
        match publish_len(VERSION, publish) {
            len if len > self.packet => {
                Err(format!("the broker takes packets of {} bytes, this has {len}", self.packet))
            }
            _ => Ok(()),
        }
    }
}

/// One connection and what is under way on it.
struct Carrier {
    stream: Stream,
    decoder: Decoder,
    inbox: BytesMut,
    out: BytesMut,
    under_way: FxHashMap<PacketId, Tell>,
    last_id: PacketId,
    limits: Limits,
}

impl Carrier {
    async fn connect(&mut self, connection: &Connection) -> Result<Connack, String> {
        let credentials = connection.credentials.as_ref();
        let connect = Connect {
            version: VERSION,
            clean_start: true,
            keep_alive: u16::try_from(KEEP_ALIVE.as_secs()).unwrap_or(u16::MAX),
            // Each worker is a client of its own.
            client_id: format!("fleethaven-{}", uuid::Uuid::new_v4().simple()).into(),
            will: None,
            username: credentials.map(|key| key.id.as_str().into()),
            password: credentials.map(|key| Bytes::copy_from_slice(key.secret.0.as_bytes())),
            properties: Default::default(),
        };
        encode(&Packet::Connect(Box::new(connect)), VERSION, &mut self.out)
            .map_err(|error| error.to_string())?;
        self.flush().await?;
        loop {
            match self.decoder.decode(&mut self.inbox).map_err(|error| error.to_string())? {
                Some(Packet::Connack(connack)) => return Ok(*connack),
                Some(_) => return Err("its first packet is no CONNACK".to_owned()),
                None => match self.stream.read_buf(&mut self.inbox).await {
                    Ok(0) => return Err("it closed the connection".to_owned()),
                    Ok(_) => {}
                    Err(error) => return Err(error.to_string()),
                },
            }
        }
    }

    /// Until nobody holds the session any more, or the connection breaks.
    async fn carry(mut self, mut publishes: Publishes<Publish>) {
        let mut pings = interval(KEEP_ALIVE);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        pings.reset();
        let mut answered = true;
        let reason = loop {
            tokio::select! {
                next = publishes.recv(), if self.under_way.len() < self.limits.under_way => match next {
                    Some((publish, tell)) => {
                        let mut written = Vec::new();
                        self.add(publish, tell, &mut written);
                        while self.under_way.len() < self.limits.under_way && let Ok((publish, tell)) = publishes.try_recv() {
                            self.add(publish, tell, &mut written);
                        }
                        match self.flush().await {
                            Ok(()) => written.into_iter().for_each(|tell: Tell| _ = tell.send(Outcome::Taken)),
                            Err(reason) => break reason,
                        }
                    }
                    None => {
                        let _ = encode(&Packet::Disconnect(Disconnect::new(ReasonCode::NORMAL_DISCONNECTION)), VERSION, &mut self.out);
                        let _ = self.flush().await;
                        return;
                    }
                },
                read = self.stream.read_buf(&mut self.inbox) => match read {
                    Ok(0) => break "it closed the connection".to_owned(),
                    Ok(_) => match self.hear() {
                        Ok(ponged) => answered |= ponged,
                        Err(reason) => break reason,
                    },
                    Err(error) => break error.to_string(),
                },
                _ = pings.tick() => {
                    if !std::mem::take(&mut answered) {
                        break "it answers no ping".to_owned();
                    }
                    encode_pingreq(&mut self.out);
                    if let Err(reason) = self.flush().await {
                        break reason;
                    }
                }
            }
        };
        tracing::warn!(reason, "the connection to another broker broke off");
    }

    /// Has a publish written with the next flush; who must only know that it was is added to `written`.
    fn add(&mut self, mut publish: Publish, tell: Tell, written: &mut Vec<Tell>) {
        if let Err(reason) = self.limits.check(&publish) {
            let _ = tell.send(unfit(reason));
            return;
        }
        if publish.qos == QoS::AtMostOnce {
            match encode_publish(&publish, VERSION, &mut self.out) {
                Ok(()) => written.push(tell),
                Err(error) => _ = tell.send(unfit(error.to_string())),
            }
            return;
        }
        // Fewer are under way than there are identifiers.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(PacketId::MIN);
            let Entry::Vacant(free) = self.under_way.entry(self.last_id) else { continue };
            publish.packet_id = Some(self.last_id);
            match encode_publish(&publish, VERSION, &mut self.out) {
                Ok(()) => _ = free.insert(tell),
                Err(error) => _ = tell.send(unfit(error.to_string())),
            }
            return;
        }
    }

    /// Takes up what has been read; true when a ping was answered.
    fn hear(&mut self) -> Result<bool, String> {
        let mut ponged = false;
        while let Some(packet) = self.decoder.decode(&mut self.inbox).map_err(|error| error.to_string())? {
            match packet {
                Packet::Puback(Ack { packet_id, reason, .. }) => {
                    let outcome = if reason.is_error() { refused(reason) } else { Outcome::Taken };
                    if let Some(tell) = self.under_way.remove(&packet_id) {
                        let _ = tell.send(outcome);
                    }
                }
                Packet::Pingresp => ponged = true,
                Packet::Disconnect(disconnect) => {
                    return Err(format!("it disconnected: {:?}", disconnect.reason));
                }
                other => return Err(format!("it sent {:?}, which nobody asked for", other.packet_type())),
            }
        }
        Ok(ponged)
    }

    async fn flush(&mut self) -> Result<(), String> {
        flush(&mut self.stream, &mut self.out).await
    }
}

/// It cannot be sent to this broker.
fn unfit(reason: String) -> Outcome {
    Outcome::Refused { reason, transient: false }
}

fn refused(reason: ReasonCode) -> Outcome {
    let transient = reason == ReasonCode::QuotaExceeded;
    Outcome::Refused { reason: format!("the broker refused the message: {reason:?}"), transient }
}
