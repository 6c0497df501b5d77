//! A first packet that is not a good CONNECT: what each version is answered, to the byte, and that the socket closes.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::io::{Read, Write};

use crate::support::{Broker, clean, will};
use bytes::BytesMut;
use fleethaven_mqtt::{Connect, Packet, QoS, ReasonCode, Version, encode};
use tempfile::TempDir;

/// Sends raw bytes; returns all that comes back until the broker closes.
fn answer(broker: &Broker, bytes: &[u8]) -> Vec<u8> {
    let mut socket = broker.socket();
    socket.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    answer
}

fn bytes(connect: Connect) -> BytesMut {
    let version = connect.version;
    let mut bytes = BytesMut::new();
    encode(&Packet::Connect(Box::new(connect)), version, &mut bytes).unwrap();
    bytes
}

#[test]
fn bytes_that_are_no_connect() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let table: [(&str, &[u8], &[u8]); 8] = [
        ("PINGREQ", &[0xC0, 0], &[]),
        ("PUBLISH", &[0x30, 3, 0, 1, b'a'], &[]),
        ("a packet type that does not exist", &[0x00, 0], &[]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n", &[]),
        ("a length of five bytes", &[0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], &[]),
        ("3.1", b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01a", &[0x20, 2, 0, 1]),
        ("3.1.1 with the reserved flag", b"\x10\x0d\x00\x04MQTT\x04\x03\x00\x00\x00\x01a", &[]),
        (
            "3.1.1 without client id, session kept",
            b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00",
            &[0x20, 2, 0, 2],
        ),
    ];
    for (name, sent, expected) in table {
        assert_eq!(answer(&broker, sent), expected, "{name}");
    }
    // These go on with a Reason String.
    let table: [(&str, &[u8], u8); 2] = [
        ("5 with the reserved flag", b"\x10\x0e\x00\x04MQTT\x05\x03\x00\x00\x00\x00\x01a", 0x81),
        ("version 6", b"\x10\x0d\x00\x04MQTT\x06\x02\x00\x00\x00\x01a", 0x84),
    ];
    for (name, sent, code) in table {
        let answer = answer(&broker, sent);
        assert_eq!((answer[0], answer[2], answer[3]), (0x20, 0, code), "{name}");
    }
}

#[test]
fn connects_that_are_refused() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "[behaviour]\nmax-qos = 1\n");
    let with_will = |version, topic: &str, qos| {
        let mut connect = Connect { will: will(topic), ..clean(version, "refused") };
        connect.will.as_mut().unwrap().qos = qos;
        connect
    };
    let one = QoS::AtLeastOnce;
    let id_of = |version, bytes| clean(version, &"x".repeat(bytes));
    let mut enhanced = clean(Version::V5, "refused");
    enhanced.properties.authentication_method = Some("SCRAM".into());
    let table: [(&str, Connect, Option<u8>); 11] = [
        ("$ id, 3.1.1", clean(Version::V311, "$a"), Some(2)),
        ("$ id, 5", clean(Version::V5, "$a"), Some(0x85)),
        ("long id, 3.1.1", id_of(Version::V311, 1025), Some(2)),
        ("long id, 5", id_of(Version::V5, 1025), Some(0x85)),
        ("will on a filter, 3.1.1", with_will(Version::V311, "a/#", one), None),
        ("will on a filter, 5", with_will(Version::V5, "a/#", one), Some(0x90)),
        ("will on $aws, 5", with_will(Version::V5, "$aws/certificates/create/json", one), Some(0x90)),
        ("will at QoS 2, 3.1.1", with_will(Version::V311, "a", QoS::ExactlyOnce), None),
        ("will at QoS 2, 5", with_will(Version::V5, "a", QoS::ExactlyOnce), Some(0x9B)),
        ("enhanced authentication", enhanced, Some(0x8C)),
        ("longest id", id_of(Version::V5, 1024), Some(0)),
    ];
    for (name, connect, expected) in table {
        let mut socket = broker.socket();
        socket.write_all(&bytes(connect)).unwrap();
        let mut head = [0; 4];
        let count = socket.read(&mut head).unwrap();
        let code = (count == 4).then_some(head[3]);
        assert_eq!(code, expected, "{name}");
    }
    crate::support::until("what was accepted is gone", || {
        broker.metric("fleethaven_mqtt_connections") == 0.0
    });
}

#[test]
fn input_after_a_refused_connect_does_not_cost_the_answer() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start(&dir);
    let mut sent = bytes(clean(Version::V311, "$a")).to_vec();
    sent.extend_from_slice(&[0x30; 60_000]);
    assert_eq!(answer(&broker, &sent), [0x20, 2, 0, 2]);
}

#[test]
fn a_client_that_says_nothing_is_closed_and_a_second_connect_ends_the_connection() {
    let dir = TempDir::new().unwrap();
    let broker = Broker::start_with(&dir, "[limits]\nconnect-timeout-secs = 1\n");
    let mut silent = broker.socket();
    let mut half = broker.socket();
    half.write_all(&[0x10, 13, 0]).unwrap();
    for version in crate::support::VERSIONS {
        let mut client = broker.connect(clean(version, "twice"));
        client.send(&Packet::Connect(Box::new(clean(version, "twice"))));
        client.expect_end(Some(ReasonCode::ProtocolError));
    }
    for socket in [&mut silent, &mut half] {
        assert_eq!(socket.read(&mut [0; 16]).unwrap(), 0);
    }
}
