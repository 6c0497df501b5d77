//! Hostile peers cost little: what they make the broker hold is bounded, and a bystander's messages go on.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;

use crate::support::{Broker, Client, clean, persistent, until};
use bytes::{Bytes, BytesMut};
use fleethaven_mqtt::{Packet, Publish, QoS, ReasonCode, Suback, Subscribe, Subscription, Version, encode};
use tempfile::TempDir;

/// What any of these attacks may add to the resident memory of a debug build, in bytes.
const GROWTH: u64 = 100 << 20;

/// Two clients whose messages must arrive whatever happens around them.
struct Bystanders {
    publisher: Client,
    subscriber: Client,
    sent: u32,
}

impl Bystanders {
    fn new(broker: &Broker) -> Self {
        let mut subscriber = broker.connect(clean(Version::V5, "bystander-subscriber"));
        subscriber.subscribe("bystander", QoS::AtLeastOnce);
        let publisher = broker.connect(clean(Version::V311, "bystander-publisher"));
        Self { publisher, subscriber, sent: 0 }
    }

    /// One message there and back, acknowledged at both ends.
    fn talk(&mut self) {
        self.sent += 1;
        let text = self.sent.to_string();
        self.publisher.publish("bystander", text.clone());
        let received = self.subscriber.receive_publish();
        assert_eq!(received.payload, text);
        self.subscriber.acknowledge(&received);
    }
}

/// Runs an attack beside bystanders; returns its result and what memory has grown by at the end.
fn beside<T>(broker: &Broker, attack: impl FnOnce(&mut Bystanders) -> T) -> T {
    let mut bystanders = Bystanders::new(broker);
    bystanders.talk();
    let before = broker.resident();
    let result = attack(&mut bystanders);
    bystanders.talk();
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < GROWTH, "memory grew by {} MiB", grown >> 20);
    result
}

fn closed(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_))
}

fn encoded(packet: &Packet, version: Version) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode(packet, version, &mut bytes).unwrap();
    bytes
}

fn filters(packet_id: u16, filters: impl Iterator<Item = String>) -> Packet {
    let filters = filters.map(|filter| Subscription::new(filter, QoS::AtMostOnce)).collect();
    let (subscription_id, user_properties) = (None, Vec::new());
    Packet::Subscribe(Subscribe {
        packet_id: packet_id.try_into().unwrap(),
        subscription_id,
        user_properties,
        filters,
    })
}

fn suback(client: &mut Client) -> Suback {
    match client.receive() {
        Packet::Suback(suback) => suback,
        other => panic!("not SUBACK: {other:?}"),
    }
}

#[test]
fn handshakes_and_connects_that_never_come_to_an_end_are_cut_off() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "[limits]\nconnect-timeout-secs = 2\n");
    beside(&broker, |bystanders| {
        // The beginning of a ClientHello, the beginning of a CONNECT, and silence.
        let (hello, connect) =
            ([0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3], [0x10, 0x80, 0x80, 0x01, 0, 4, b'M']);
        let mut sockets: Vec<_> = (0..100)
            .flat_map(|_| {
                [(broker.tls_socket(), &hello[..]), (broker.socket(), &connect[..]), (broker.socket(), &[])]
            })
            .collect();
        for (socket, bytes) in &mut sockets {
            socket.write_all(bytes).unwrap();
        }
        bystanders.talk();
        for (number, (socket, _)) in sockets.iter_mut().enumerate() {
            assert!(closed(socket), "socket {number} is still open");
        }
    });
    until("nothing is left of them", || broker.metric("fleethaven_gateway_sockets") == 0.0);
}

#[test]
fn announced_sizes_reserve_nothing() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    beside(&broker, |bystanders| {
        let attackers: Vec<_> = (0..100)
            .map(|number| {
                let mut client = broker.connect(clean(Version::V5, &format!("trickle-{number}")));
                // PUBLISH of just below 8 MiB, of which a few bytes come.
                client.stream.write_all(&[0x30, 0xF0, 0xFF, 0xFF, 0x03, 0, 1, b'a']).unwrap();
                client
            })
            .collect();
        bystanders.talk();
        assert_eq!(broker.metric("fleethaven_mqtt_connections"), 102.0);
        drop(attackers);
    });
}

#[test]
fn a_hundred_thousand_filters_on_one_connection() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    beside(&broker, |bystanders| {
        let mut hoarder = broker.connect(clean(Version::V5, "hoarder"));
        let mut granted = 0;
        for packet in 0..100_u16 {
            hoarder.send(&filters(packet + 1, (0..1000).map(|number| format!("{packet}/{number}/+"))));
            let codes = suback(&mut hoarder).reason_codes;
            granted += codes.iter().filter(|code| !code.is_error()).count();
            assert!(codes.iter().all(|code| !code.is_error() || *code == ReasonCode::QuotaExceeded));
            bystanders.talk();
        }
        assert_eq!(granted, 10_000, "the limit");
    });
}

#[test]
fn long_filters_are_bounded_by_their_bytes() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    beside(&broker, |_| {
        let mut hoarder = broker.connect(clean(Version::V5, "hoarder"));
        let long = "x".repeat(60_000);
        let mut granted = 0;
        for packet in 0..20_u16 {
            hoarder.send(&filters(packet + 1, (0..20).map(|number| format!("{packet}/{number}/{long}"))));
            let codes = suback(&mut hoarder).reason_codes;
            granted += codes.iter().filter(|code| !code.is_error()).count();
        }
        assert_eq!(granted, (2 << 20) / 60_005, "2 MiB of filters");
    });
}

#[test]
fn messages_that_are_never_acknowledged_wait_within_the_bound_of_the_queue() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    for connect in [clean(Version::V5, "silent"), persistent(Version::V5, "silent-persistent")] {
        let mut connect = connect;
        connect.properties.receive_maximum = Some(u16::MAX.try_into().unwrap());
        let mut silent = broker.connect(connect);
        silent.subscribe("flood", QoS::AtLeastOnce);
        beside(&broker, |bystanders| {
            let mut flood = broker.connect(clean(Version::V5, "flood"));
            let payload = vec![7; 4096];
            // 65,535 would be in flight if the client had its way; the broker's own window is 1,000.
            for batch in 0..20_u16 {
                let mut bytes = BytesMut::new();
                for number in 1..=1000 {
                    let publish = crate::support::publish("flood", payload.clone(), number);
                    encode(&Packet::Publish(publish), Version::V5, &mut bytes).unwrap();
                }
                let mut writer = flood.stream.try_clone().unwrap();
                let writing = std::thread::spawn(move || writer.write_all(&bytes).unwrap());
                for _ in 0..1000 {
                    assert!(matches!(flood.receive(), Packet::Puback(_)), "batch {batch}");
                }
                writing.join().unwrap();
                bystanders.talk();
            }
        });
        drop(silent);
    }
}

#[test]
fn a_subscriber_of_everything_that_does_not_read_starves_nobody() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut stuck = broker.connect(clean(Version::V5, "stuck"));
    stuck.subscribe("#", QoS::AtLeastOnce);
    beside(&broker, |bystanders| {
        let mut publisher = broker.connect(clean(Version::V5, "publisher"));
        let payload = vec![7; 256 << 10];
        for number in 0..400 {
            publisher.send(&Packet::Publish(Publish::new(format!("flood/{number}"), payload.clone())));
            bystanders.talk();
        }
        assert_eq!(publisher.ping(), []);
    });
    drop(stuck);
}

#[test]
fn forty_thousand_long_topics_leave_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    beside(&broker, |bystanders| {
        let mut publisher = broker.connect(clean(Version::V5, "publisher"));
        // 160 MB of topics: what the router remembers of them has a bound in bytes.
        let long = "x".repeat(4000);
        for batch in 0..40 {
            let mut bytes = BytesMut::new();
            for number in 0..1000 {
                let publish = Publish::new(format!("{batch}/{number}/{long}"), "x");
                encode(&Packet::Publish(publish), Version::V5, &mut bytes).unwrap();
            }
            publisher.stream.write_all(&bytes).unwrap();
            assert_eq!(publisher.ping(), []);
            bystanders.talk();
        }
    });
}

#[test]
fn five_thousand_client_ids_come_and_go() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "[limits]\nconnect-per-sec-client = 1\n");
    beside(&broker, |bystanders| {
        for batch in 0..10 {
            let mut clients: Vec<_> = (0..500)
                .map(|number| {
                    let mut client = Client::new(broker.socket(), Version::V311);
                    let id = format!("{batch}-{number}-{}", "x".repeat(500));
                    client.send(&Packet::Connect(Box::new(clean(Version::V311, &id))));
                    client
                })
                .collect();
            for client in &mut clients {
                assert!(matches!(client.receive(), Packet::Connack(_)));
            }
            bystanders.talk();
        }
    });
    until("all are gone", || broker.metric("fleethaven_gateway_sockets") == 0.0);
}

#[test]
fn a_reconnect_storm_passes() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    beside(&broker, |bystanders| {
        for _ in 0..5 {
            let storm: Vec<_> = (0..300)
                .map(|number| {
                    let mut socket = broker.socket();
                    let connect = persistent(Version::V5, &format!("storm-{number}"));
                    socket.write_all(&encoded(&Packet::Connect(Box::new(connect)), Version::V5)).unwrap();
                    socket
                })
                .collect();
            bystanders.talk();
            // All at once, without a word and without having read CONNACK.
            drop(storm);
        }
    });
    // A CONNECT of the storm that the broker comes to only now takes the session over once more: a client comes back then.
    until("a client of the storm is served again", || served(&broker, "storm-7"));
}

#[test]
fn what_clients_of_a_storm_send_at_once_is_handled_in_its_order() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    beside(&broker, |bystanders| {
        let mut storm: Vec<_> = (0..200)
            .map(|number| {
                let (id, topic) = (format!("storm-{number}"), format!("storm/{number}"));
                let connect = Packet::Connect(Box::new(clean(Version::V5, &id)));
                let mut said = encoded(&connect, Version::V5);
                said.extend(encoded(&filters(1, std::iter::once(topic.clone())), Version::V5));
                for id in 2..5 {
                    let publish = crate::support::publish(&topic, id.to_string(), id);
                    said.extend(encoded(&Packet::Publish(publish), Version::V5));
                }
                let mut client = Client::new(broker.socket(), Version::V5);
                client.stream.write_all(&said).unwrap();
                client
            })
            .collect();
        bystanders.talk();
        for client in &mut storm {
            assert!(matches!(client.receive(), Packet::Connack(_)));
            let (mut granted, mut acknowledged, mut texts) = (Vec::new(), Vec::new(), Vec::new());
            while granted.len() + acknowledged.len() + texts.len() < 7 {
                match client.receive() {
                    Packet::Suback(suback) => granted.extend(suback.reason_codes),
                    Packet::Puback(ack) => acknowledged.push(ack.packet_id.get()),
                    Packet::Publish(publish) => texts.push(publish.payload),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((granted, acknowledged), (vec![ReasonCode::Success], vec![2, 3, 4]));
            assert_eq!(texts, ["2", "3", "4"].map(Bytes::from));
        }
    });
    until("all are gone", || broker.metric("fleethaven_gateway_sockets") == 0.0);
}

#[test]
fn packets_that_come_byte_by_byte_are_whole_in_the_end() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    beside(&broker, |bystanders| {
        let mut slow: Vec<_> = (0..50)
            .map(|number| {
                let mut client = broker.connect(clean(Version::V5, &format!("slow-{number}")));
                client.subscribe(&format!("slow/{number}"), QoS::AtMostOnce);
                client.stream.set_nodelay(true).unwrap();
                let publish = crate::support::publish(&format!("slow/{number}"), "x".repeat(600), 9);
                (client, encoded(&Packet::Publish(publish), Version::V5))
            })
            .collect();
        let longest = slow.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
        for at in 0..longest {
            for (client, bytes) in &mut slow {
                client.stream.write_all(bytes.get(at..=at).unwrap_or_default()).unwrap();
            }
            if at % 100 == 0 {
                bystanders.talk();
            }
        }
        for (client, _) in &mut slow {
            assert_eq!(client.receive_publish().payload.len(), 600);
            assert!(matches!(client.receive(), Packet::Puback(_)));
            assert_eq!(client.ping(), []);
        }
    });
}

/// Whether a client gets a connection and an answer on it.
fn served(broker: &Broker, client_id: &str) -> bool {
    const PINGREQ: [u8; 2] = [0xC0, 0];
    const PINGRESP: [u8; 2] = [0xD0, 0];
    let connect = persistent(Version::V5, client_id);
    let mut said = encoded(&Packet::Connect(Box::new(connect)), Version::V5).to_vec();
    said.extend(PINGREQ);
    let mut socket = broker.socket();
    socket.write_all(&said).unwrap();
    let mut heard = Vec::new();
    for byte in BufReader::new(socket).bytes() {
        let Ok(byte) = byte else { break };
        heard.push(byte);
        if heard.ends_with(&PINGRESP) {
            return true;
        }
    }
    false
}
