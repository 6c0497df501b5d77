//! A client that breaks the protocol loses its connection, with a reason; no other client notices.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::Write;

use crate::support::{Broker, Client, VERSIONS, clean, will};
use fleethaven_mqtt::{Connect, Packet, QoS, ReasonCode, Version};
use fleethaven_testkit::packets::{Connection, rows};
use tempfile::TempDir;

#[test]
fn a_broken_packet_ends_only_its_own_connection() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut other = broker.connect(clean(Version::V5, "other"));
    other.subscribe("will", QoS::AtMostOnce);
    other.subscribe("alive", QoS::AtLeastOnce);
    let mut publisher = broker.connect(clean(Version::V311, "publisher"));
    let (malformed, protocol) = (ReasonCode::MalformedPacket, ReasonCode::ProtocolError);
    let table: [(&str, &[u8], ReasonCode); 7] = [
        ("a type that does not exist", &[0x00, 0x00], malformed),
        ("a server's packet", &[0x20, 0x02, 0x00, 0x00], protocol),
        ("QoS 3", &[0x36, 0x05, 0, 1, b'a', 0, 1], malformed),
        ("a length of five bytes", &[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], malformed),
        ("SUBSCRIBE with wrong flags", &[0x80, 0x02, 0, 1], malformed),
        ("SUBSCRIBE without a filter", &[0x82, 0x03, 0, 1, 0], protocol),
        ("a topic that is not UTF-8", &[0x30, 0x05, 0, 2, 0xC3, 0x28, 0], malformed),
    ];
    for (name, bytes, code) in table {
        for version in VERSIONS {
            let mut broken = broker.connect(Connect { will: will("will"), ..clean(version, "broken") });
            let mut sent = bytes.to_vec();
            // More input behind it must not cost the client the answer.
            sent.extend_from_slice(&[0xFF; 8192]);
            broken.stream.write_all(&sent).unwrap();
            if version == Version::V5 {
                match broken.receive() {
                    Packet::Disconnect(disconnect) => {
                        assert_eq!(disconnect.reason, code, "{name}")
                    }
                    answer => panic!("{name}: {answer:?}"),
                }
            }
            assert_eq!(broken.next(), None, "{name}");
            assert_eq!(other.receive_publish().topic.as_str(), "will", "{name}");
            publisher.publish("alive", name);
            let received = other.receive_publish();
            assert_eq!(received.payload, name);
            other.acknowledge(&received);
        }
    }
}

/// A row's side of a connection to the broker.
struct Live(Client);

impl Connection for Live {
    fn send(&mut self, bytes: &[u8]) {
        self.0.stream.write_all(bytes).unwrap();
    }

    fn next(&mut self) -> Option<Packet> {
        self.0.next()
    }
}

#[test]
fn every_row_of_the_table_gets_its_reaction_and_a_bystander_notices_nothing() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut subscriber = broker.connect(clean(Version::V5, "bystander"));
    subscriber.subscribe("alive/#", QoS::AtLeastOnce);
    let mut publisher = broker.connect(clean(Version::V311, "publisher"));
    let mut wrong = Vec::new();
    for (number, row) in VERSIONS.into_iter().flat_map(|version| rows(version).unwrap()).enumerate() {
        let mut connection = Live(Client::new(broker.socket(), row.version));
        wrong.extend(row.play(&mut connection).err());
        let topic = format!("alive/{number}");
        publisher.publish(&topic, row.what);
        let received = subscriber.receive_publish();
        assert_eq!(
            (received.topic.as_str(), &received.payload[..]),
            (&topic[..], row.what.as_bytes()),
            "{row}"
        );
        subscriber.acknowledge(&received);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!((subscriber.ping(), publisher.ping()), (vec![], vec![]));
}
