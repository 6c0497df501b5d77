//! QoS 2 from end to end: each exchange in each state, resumed after a broken connection and after SIGKILL. Whatever breaks,
//! the receiver gets a message once.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

use crate::support::{Broker, Client, VERSIONS, clean, persistent};
use fleethaven_mqtt::{Ack, Packet, PacketId, Publish, QoS, ReasonCode, Version};
use tempfile::TempDir;

fn id(number: u16) -> PacketId {
    number.try_into().unwrap()
}

fn publish(number: u16, payload: &str) -> Packet {
    let qos = QoS::ExactlyOnce;
    Packet::Publish(Publish { qos, packet_id: Some(id(number)), ..Publish::new("two", payload.to_owned()) })
}

fn pubrec(number: u16) -> Packet {
    Packet::Pubrec(Ack::ok(id(number)))
}

fn pubrel(number: u16) -> Packet {
    Packet::Pubrel(Ack::ok(id(number)))
}

fn pubcomp(number: u16) -> Packet {
    Packet::Pubcomp(Ack::ok(id(number)))
}

/// Reads the acknowledgement that must come, whether or not it tells that someone got the message.
fn expect_pubrec(client: &mut Client, number: u16) {
    match client.receive() {
        Packet::Pubrec(ack) => assert!(ack.packet_id == id(number) && !ack.reason.is_error(), "{ack:?}"),
        other => panic!("not PUBREC: {other:?}"),
    }
}

/// The whole exchange.
fn send(client: &mut Client, number: u16, payload: &str) {
    client.send(&publish(number, payload));
    expect_pubrec(client, number);
    client.send(&pubrel(number));
    assert_eq!(client.receive(), pubcomp(number));
}

/// Takes so many QoS 2 messages, each with the whole exchange.
fn take(client: &mut Client, count: usize) -> Vec<String> {
    let (mut payloads, mut done) = (Vec::new(), 0);
    while done < count {
        match client.receive() {
            Packet::Publish(publish) => {
                assert_eq!(publish.qos, QoS::ExactlyOnce);
                client.send(&pubrec(publish.packet_id.unwrap().get()));
                payloads.push(String::from_utf8(publish.payload.to_vec()).unwrap());
            }
            Packet::Pubrel(ack) => {
                client.send(&pubcomp(ack.packet_id.get()));
                done += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    payloads
}

fn finish(client: &mut Client, publish: &Publish) {
    let number = publish.packet_id.unwrap().get();
    client.send(&pubrec(number));
    assert_eq!(client.receive(), pubrel(number));
    client.send(&pubcomp(number));
}

/// What an offline subscriber's queue holds, `count` messages and no more.
fn queued(broker: &Broker, subscriber: &str, count: usize) -> Vec<String> {
    let mut client = broker.connect(persistent(Version::V5, subscriber));
    let payloads = take(&mut client, count);
    assert_eq!(client.ping(), [], "a message came twice");
    client.disconnect();
    payloads
}

/// A persistent session that is subscribed at QoS 2 and offline.
fn subscribed(broker: &Broker, id: &str) {
    let mut client = broker.connect(persistent(Version::V5, id));
    client.subscribe("two", QoS::ExactlyOnce);
    client.disconnect();
}

#[test]
fn messages_cross_versions_and_kinds_of_sessions() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    for from in VERSIONS {
        for to in VERSIONS {
            for connect in [clean, persistent] {
                let mut subscriber = broker.connect(connect(to, "subscriber"));
                subscriber.subscribe("two", QoS::ExactlyOnce);
                let mut publisher = broker.connect(connect(from, "publisher"));
                for number in 1..=20 {
                    send(&mut publisher, number, &number.to_string());
                }
                let got = take(&mut subscriber, 20);
                assert!(
                    got.iter().enumerate().all(|(n, payload)| *payload == (n + 1).to_string()),
                    "{got:?}"
                );
                assert_eq!(subscriber.ping(), []);
                publisher.disconnect();
                subscriber.disconnect();
                broker.connect(clean(from, "publisher")).disconnect();
                broker.connect(clean(to, "subscriber")).disconnect();
            }
        }
    }
}

#[test]
fn the_lower_of_both_levels_is_delivered() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for granted in levels {
        let mut subscriber = broker.connect(clean(Version::V5, "subscriber"));
        subscriber.subscribe("two", granted);
        let mut publisher = broker.connect(clean(Version::V5, "publisher"));
        for published in levels {
            let packet_id = (published != QoS::AtMostOnce).then(|| id(1));
            publisher.send(&Packet::Publish(Publish {
                qos: published,
                packet_id,
                ..Publish::new("two", "")
            }));
            let got = subscriber.receive_publish();
            assert_eq!(got.qos, granted.min(published), "[MQTT-3.8.4-8]");
            match got.qos {
                QoS::AtMostOnce => {}
                QoS::AtLeastOnce => subscriber.acknowledge(&got),
                QoS::ExactlyOnce => finish(&mut subscriber, &got),
            }
            match published {
                QoS::AtMostOnce => {}
                QoS::AtLeastOnce => assert!(matches!(publisher.receive(), Packet::Puback(_))),
                QoS::ExactlyOnce => {
                    expect_pubrec(&mut publisher, 1);
                    publisher.send(&pubrel(1));
                    assert_eq!(publisher.receive(), pubcomp(1));
                }
            }
        }
    }
}

/// How a publisher's connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    /// The socket closes.
    Connection,
    /// The broker is killed.
    Broker,
}

const BREAKS: [Break; 2] = [Break::Connection, Break::Broker];

/// The broker after the break.
fn broken(how: Break, broker: Broker, client: Client, dir: &TempDir) -> Broker {
    match how {
        Break::Connection => {
            drop(client);
            broker
        }
        Break::Broker => {
            drop(broker);
            Broker::start(dir)
        }
    }
}

#[test]
fn a_publisher_resumes_in_each_state() {
    let dir = TempDir::new().unwrap();
    let mut broker = Broker::start(&dir);
    subscribed(&broker, "subscriber");
    for how in BREAKS {
        for version in VERSIONS {
            let mut publisher = broker.connect(persistent(version, "publisher"));
            // PUBREC may have been sent, and was not read.
            publisher.send(&publish(1, "sent"));
            broker = broken(how, broker, publisher, &dir);
            let mut publisher = broker.connect(persistent(version, "publisher"));
            publisher.send(&publish(1, "sent"));
            expect_pubrec(&mut publisher, 1);
            // PUBREC was read.
            broker = broken(how, broker, publisher, &dir);
            let (mut publisher, connack) = broker.try_connect(persistent(version, "publisher"));
            assert!(connack.session_present);
            publisher.send(&publish(1, "sent"));
            expect_pubrec(&mut publisher, 1);
            // PUBREL was sent, PUBCOMP may have been, and was not read.
            publisher.send(&pubrel(1));
            broker = broken(how, broker, publisher, &dir);
            let mut publisher = broker.connect(persistent(version, "publisher"));
            publisher.send(&pubrel(1));
            match publisher.receive() {
                Packet::Pubcomp(ack) => assert_eq!(ack.packet_id, id(1)),
                other => panic!("not PUBCOMP: {other:?}"),
            }
            // PUBCOMP was read: the identifier is free, for good.
            broker = broken(how, broker, publisher, &dir);
            let mut publisher = broker.connect(persistent(version, "publisher"));
            send(&mut publisher, 1, "next");
            publisher.disconnect();
            assert_eq!(queued(&broker, "subscriber", 2), ["sent", "next"], "{how:?}, {version:?}");
        }
    }
}

#[test]
fn a_subscriber_resumes_in_each_state() {
    let dir = TempDir::new().unwrap();
    let mut broker = Broker::start(&dir);
    for how in BREAKS {
        for version in VERSIONS {
            let name = format!("subscriber-{how:?}-{version:?}");
            let mut client = broker.connect(persistent(version, &name));
            client.subscribe("two", QoS::ExactlyOnce);
            let mut publisher = broker.connect(clean(Version::V5, "publisher"));
            for number in 1..=4 {
                send(&mut publisher, number, &number.to_string());
            }
            publisher.disconnect();
            // 1 is not answered; 2 is answered, and PUBREL not read; of 3, PUBREL is read; 4 is done with.
            let first: Vec<_> = (0..4).map(|_| client.receive_publish()).collect();
            for number in [4, 3, 2] {
                client.send(&pubrec(number));
                assert_eq!(client.receive(), pubrel(number));
            }
            client.send(&pubcomp(4));
            client.ping();
            broker = broken(how, broker, client, &dir);
            let mut client = broker.connect(persistent(version, &name));
            assert_eq!(client.receive(), pubrel(2), "[MQTT-4.4.0-1]");
            assert_eq!(client.receive(), pubrel(3));
            if how == Break::Broker {
                // That 4 was done with may not have reached the disk.
                loop_pubrels(&mut client);
            } else {
                again(client.receive_publish(), &first[0], &mut client);
            }
            for number in [2, 3] {
                client.send(&pubcomp(number));
            }
            assert_eq!(client.ping(), []);
            broker = broken(how, broker, client, &dir);
            let mut client = broker.connect(persistent(version, &name));
            client.ping();
            client.disconnect();
            broker.connect(clean(version, &name)).disconnect();
        }
    }
}

/// Message 1 comes again; a release of 4 may come before.
fn loop_pubrels(client: &mut Client) {
    loop {
        match client.receive() {
            Packet::Pubrel(ack) if ack.packet_id == id(4) => client.send(&pubcomp(4)),
            Packet::Publish(publish) => {
                assert_eq!((publish.packet_id, publish.dup), (Some(id(1)), true));
                return finish(client, &publish);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn again(publish: Publish, first: &Publish, client: &mut Client) {
    assert!(publish.dup);
    assert_eq!((publish.packet_id, &publish.payload), (first.packet_id, &first.payload));
    finish(client, &publish);
}

#[test]
fn nothing_is_lost_or_doubled_when_the_broker_is_killed_under_load() {
    let dir = TempDir::new().unwrap();
    let mut broker = Broker::start(&dir);
    subscribed(&broker, "subscriber");
    let mut sent = Vec::new();
    for round in 0..4_u16 {
        let payload = |number: u16| format!("{round}/{number}");
        let mut publisher = broker.connect(persistent(Version::V5, "publisher"));
        let numbers = 1..=200_u16;
        for number in numbers.clone() {
            publisher.send(&publish(number, &payload(number)));
        }
        for number in 1..=20 * (round + 1) {
            expect_pubrec(&mut publisher, number);
            if number % 3 == 0 {
                publisher.send(&pubrel(number));
            }
        }
        drop(broker);
        broker = Broker::start(&dir);
        // The client goes on as the text has it: PUBREL where it had PUBREC, PUBLISH again where it had not.
        let mut publisher = broker.connect(persistent(Version::V5, "publisher"));
        let received = 20 * (round + 1);
        for number in numbers.clone().skip_while(|number| *number <= received) {
            publisher.send(&publish(number, &payload(number)));
            expect_pubrec(&mut publisher, number);
        }
        for number in numbers {
            publisher.send(&pubrel(number));
            assert!(matches!(publisher.receive(), Packet::Pubcomp(ack) if ack.packet_id == id(number)));
            sent.push(payload(number));
        }
        publisher.disconnect();
    }
    assert_eq!(queued(&broker, "subscriber", sent.len()), sent);
}

#[test]
fn a_live_subscriber_without_a_queue_gets_no_repeat() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut subscriber = broker.connect(clean(Version::V5, "subscriber"));
    subscriber.subscribe("two", QoS::ExactlyOnce);
    for version in VERSIONS {
        for _ in 0..20 {
            // The second connection takes over while the first one's message may be on its way.
            let mut first = broker.connect(persistent(version, "publisher"));
            first.send(&publish(1, "once"));
            let mut second = broker.connect(persistent(version, "publisher"));
            second.send(&publish(1, "once"));
            expect_pubrec(&mut second, 1);
            second.send(&pubrel(1));
            assert_eq!(second.receive(), pubcomp(1));
            assert_eq!(take(&mut subscriber, 1), ["once"]);
            assert_eq!(subscriber.ping(), []);
            second.disconnect();
        }
    }
}

#[test]
fn the_aws_profile_refuses_qos_2() {
    let dir = TempDir::new().unwrap();
    let broker =
        Broker::start_with(&dir, "profile = \"aws\"\n[limits]\nconnect-per-sec-client = \"unlimited\"\n");
    for version in VERSIONS {
        let mut client = broker.connect(clean(version, "device"));
        client.send(&publish(1, "x"));
        client.expect_end(Some(ReasonCode::QosNotSupported));
    }
}
