//! Malformed input: each row breaks one statement, which the error names beside MQTT 5's reason code.

use bytes::{BufMut, BytesMut};

use super::decoder;
use crate::{DecodeError, DecodeLimits, Decoder, Role, Version};

/// Who reads, and what it already knows.
#[derive(Clone, Copy, Debug)]
enum End {
    /// A server before CONNECT.
    New,
    /// A server after CONNECT of 3.1.1 or 5.
    S3,
    S5,
    /// A client of 3.1.1 or 5.
    C3,
    C5,
}

impl End {
    fn decoder(self) -> Decoder {
        match self {
            Self::New => Decoder::new(DecodeLimits::default()),
            Self::S3 => decoder(Role::Server, Version::V311),
            Self::S5 => decoder(Role::Server, Version::V5),
            Self::C3 => decoder(Role::Client, Version::V311),
            Self::C5 => decoder(Role::Client, Version::V5),
        }
    }
}

/// A row: what is wrong, who reads, first byte, body in hex, statement, reason code.
type Row = (&'static str, End, u8, &'static str, &'static str, u8);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.bytes().filter(|byte| *byte != b' ').collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn refusal(end: End, stream: &[u8]) -> DecodeError {
    end.decoder().decode(&mut BytesMut::from(stream)).expect_err("must be refused")
}

fn assert_refused(rows: &[Row]) {
    for (what, end, first_byte, body, statement, reason) in rows {
        let body = hex(body);
        let mut stream = BytesMut::from(&[*first_byte, u8::try_from(body.len()).unwrap()][..]);
        stream.put_slice(&body);
        let error = refusal(*end, &stream);
        assert_eq!((error.statement(), error.reason().value()), (*statement, *reason), "{what}: {error}");
    }
}

const MQTT: &str = "0004 4D515454";

/// Rows whose body starts with the protocol name, for CONNECT.
fn assert_connect_refused(rows: &[(&str, &str, &str, u8)]) {
    for (what, rest, statement, reason) in rows {
        let body = hex(&format!("{MQTT} {rest}"));
        let mut stream = BytesMut::from(&[0x10, u8::try_from(body.len()).unwrap()][..]);
        stream.put_slice(&body);
        let error = refusal(End::New, &stream);
        assert_eq!((error.statement(), error.reason().value()), (*statement, *reason), "{what}: {error}");
    }
}

#[test]
fn fixed_header() {
    assert_refused(&[
        ("type 0", End::S5, 0x00, "", "section 2.1.2", 0x81),
        ("type 0 in 3.1.1", End::S3, 0x00, "", "section 2.2.1", 0x81),
        ("AUTH in 3.1.1", End::S3, 0xF0, "", "section 2.2.1", 0x81),
        ("CONNECT flags", End::New, 0x11, "", "MQTT-2.1.3-1", 0x81),
        ("CONNACK flags", End::C5, 0x21, "000000", "MQTT-2.1.3-1", 0x81),
        ("PUBACK flags", End::S5, 0x42, "0001", "MQTT-2.1.3-1", 0x81),
        ("PUBACK flags in 3.1.1", End::S3, 0x42, "0001", "MQTT-2.2.2-2", 0x81),
        ("PUBREC flags", End::S5, 0x52, "0001", "MQTT-2.1.3-1", 0x81),
        ("PUBREL flags", End::S5, 0x60, "0001", "MQTT-3.6.1-1", 0x81),
        ("PUBREL flags in 3.1.1", End::S3, 0x60, "0001", "MQTT-3.6.1-1", 0x81),
        ("PUBCOMP flags", End::S5, 0x71, "0001", "MQTT-2.1.3-1", 0x81),
        ("SUBSCRIBE flags", End::S5, 0x80, "0001 00 0001 61 00", "MQTT-3.8.1-1", 0x81),
        ("SUBSCRIBE flags in 3.1.1", End::S3, 0x81, "0001 0001 61 00", "MQTT-3.8.1-1", 0x81),
        ("SUBACK flags", End::C5, 0x92, "0001 00 00", "MQTT-2.1.3-1", 0x81),
        ("UNSUBSCRIBE flags", End::S5, 0xA0, "0001 00 0001 61", "MQTT-3.10.1-1", 0x81),
        ("UNSUBACK flags in 3.1.1", End::C3, 0xB1, "0001", "MQTT-2.2.2-2", 0x81),
        ("PINGREQ flags", End::S5, 0xC1, "", "MQTT-2.1.3-1", 0x81),
        ("PINGRESP flags", End::C5, 0xD8, "", "MQTT-2.1.3-1", 0x81),
        ("DISCONNECT flags", End::S5, 0xE1, "", "MQTT-3.14.1-1", 0x81),
        ("DISCONNECT flags in 3.1.1", End::S3, 0xE2, "", "MQTT-3.14.1-1", 0x81),
        ("AUTH flags", End::S5, 0xF1, "", "MQTT-3.15.1-1", 0x81),
        ("PUBLISH QoS 3", End::S5, 0x36, "0001 61 0001 00", "MQTT-3.3.1-4", 0x81),
        ("PUBLISH QoS 3 in 3.1.1", End::S3, 0x36, "0001 61 0001", "MQTT-3.3.1-4", 0x81),
        ("DUP at QoS 0", End::S5, 0x38, "0001 61 00", "MQTT-3.3.1-2", 0x81),
        ("DUP at QoS 0 in 3.1.1", End::S3, 0x39, "0001 61", "MQTT-3.3.1-2", 0x81),
    ]);
}

#[test]
fn order_and_direction() {
    assert_refused(&[
        ("PINGREQ before CONNECT", End::New, 0xC0, "", "MQTT-3.1.0-1", 0x82),
        ("PUBLISH before CONNECT", End::New, 0x30, "0001 61", "MQTT-3.1.0-1", 0x82),
        ("second CONNECT", End::S5, 0x10, "", "MQTT-3.1.0-2", 0x82),
        ("second CONNECT in 3.1.1", End::S3, 0x10, "", "MQTT-3.1.0-2", 0x82),
        ("CONNECT to a client", End::C5, 0x10, "", "section 2.1.2", 0x82),
        ("CONNACK to a server", End::S5, 0x20, "000000", "section 2.1.2", 0x82),
        ("SUBSCRIBE to a client", End::C5, 0x82, "0001 00 0001 61 00", "section 2.1.2", 0x82),
        ("SUBACK to a server", End::S3, 0x90, "0001 00", "section 2.2.1", 0x82),
        ("UNSUBSCRIBE to a client", End::C3, 0xA2, "0001 0001 61", "section 2.2.1", 0x82),
        ("UNSUBACK to a server", End::S5, 0xB0, "0001 00 00", "section 2.1.2", 0x82),
        ("PINGREQ to a client", End::C5, 0xC0, "", "section 2.1.2", 0x82),
        ("PINGRESP to a server", End::S5, 0xD0, "", "section 2.1.2", 0x82),
        ("DISCONNECT to a client of 3.1.1", End::C3, 0xE0, "", "section 2.2.1", 0x82),
    ]);
}

#[test]
fn remaining_length() {
    let five = refusal(End::S5, &[0x30, 0x80, 0x80, 0x80, 0x80, 0x01]);
    assert_eq!((five.statement(), five.reason().value()), ("section 1.5.5", 0x81));
    let five = refusal(End::S3, &[0x30, 0xFF, 0xFF, 0xFF, 0xFF]);
    assert_eq!((five.statement(), five.reason().value()), ("section 2.2.3", 0x81));
    let long = refusal(End::S5, &[0xC0, 0x80, 0x00]);
    assert_eq!((long.statement(), long.reason().value()), ("MQTT-1.5.5-1", 0x81));
    let connect = hex(&format!("10 8D00 {MQTT} 05 02 0000 00 0000"));
    assert_eq!(refusal(End::New, &connect).statement(), "MQTT-1.5.5-1");
}

#[test]
fn an_over_long_remaining_length_is_no_error_in_3_1_1() {
    let connect = hex(&format!("10 8C00 {MQTT} 04 02 0000 0000"));
    assert!(matches!(End::New.decoder().decode(&mut BytesMut::from(&connect[..])), Ok(Some(_))));
    let ping = &mut BytesMut::from(&[0xC0, 0x80, 0x00][..]);
    assert!(matches!(End::S3.decoder().decode(ping), Ok(Some(_))));
}

#[test]
fn connect() {
    assert_connect_refused(&[
        ("reserved flag", "04 03 0000 0000", "MQTT-3.1.2-3", 0x81),
        ("reserved flag in 5", "05 03 0000 00 0000", "MQTT-3.1.2-3", 0x81),
        ("will QoS 3", "05 1E 0000 00 0000 00 0001 61 0000", "MQTT-3.1.2-12", 0x81),
        ("will QoS 3 in 3.1.1", "04 1E 0000 0000 0001 61 0000", "MQTT-3.1.2-14", 0x81),
        ("will QoS without will", "05 0A 0000 00 0000", "MQTT-3.1.2-11", 0x81),
        ("will QoS without will in 3.1.1", "04 0A 0000 0000", "MQTT-3.1.2-13", 0x81),
        ("will retain without will", "05 22 0000 00 0000", "MQTT-3.1.2-13", 0x81),
        ("will retain without will in 3.1.1", "04 22 0000 0000", "MQTT-3.1.2-15", 0x81),
        ("password without user name in 3.1.1", "04 42 0000 0000 0001 61", "MQTT-3.1.2-22", 0x81),
        ("no client id", "05 02 0000 00", "MQTT-3.1.3-3", 0x81),
        ("no client id in 3.1.1", "04 02 0000", "MQTT-3.1.3-3", 0x81),
        ("no will fields", "05 06 0000 00 0000", "MQTT-3.1.2-9", 0x81),
        ("no will payload", "04 06 0000 0000 0001 61", "MQTT-3.1.2-9", 0x81),
        ("no user name", "05 82 0000 00 0000", "MQTT-3.1.2-17", 0x81),
        ("no user name in 3.1.1", "04 82 0000 0000", "MQTT-3.1.2-19", 0x81),
        ("no password", "05 42 0000 00 0000", "MQTT-3.1.2-19", 0x81),
        ("no password in 3.1.1", "04 C2 0000 0000 0000", "MQTT-3.1.2-21", 0x81),
        ("user name without flag", "04 02 0000 0000 0001 61", "section 2.2.3", 0x81),
        ("keep alive cut off", "05 02 00", "section 2.1.4", 0x81),
        ("client id cut off", "05 02 0000 00 0005 61", "section 2.1.4", 0x81),
        ("surrogate in client id", "05 02 0000 00 0003 EDA080", "MQTT-1.5.4-1", 0x81),
        ("ill-formed client id in 3.1.1", "04 02 0000 0001 FF", "MQTT-1.5.3-1", 0x81),
        ("null in client id", "05 02 0000 00 0001 00", "MQTT-1.5.4-2", 0x81),
        ("null in client id in 3.1.1", "04 02 0000 0001 00", "MQTT-1.5.3-2", 0x81),
        ("null in will topic", "04 06 0000 0000 0001 00 0000", "MQTT-1.5.3-2", 0x81),
        ("ill-formed user name", "05 82 0000 00 0000 0001 C0", "MQTT-1.5.4-1", 0x81),
    ]);
}

#[test]
fn connect_properties() {
    assert_connect_refused(&[
        ("unknown property", "05 02 0000 02 04 00 0000", "section 2.2.2.2", 0x81),
        ("property of another packet", "05 02 0000 03 23 0001 0000", "section 2.2.2.2", 0x81),
        ("block longer than packet", "05 02 0000 09 21 0001 0000", "section 2.1.4", 0x81),
        ("property over the block's end", "05 02 0000 02 21 00 01 0000", "section 2.1.4", 0x81),
        ("over-long block length", "05 02 0000 8000 0000", "MQTT-1.5.5-1", 0x81),
        ("five byte block length", "05 02 0000 8080808001 0000", "section 1.5.5", 0x81),
        ("over-long identifier", "05 02 0000 04 A100 0001 0000", "MQTT-1.5.5-1", 0x81),
        ("receive maximum 0", "05 02 0000 03 21 0000 0000", "section 3.1.2.11.3", 0x82),
        ("maximum packet size 0", "05 02 0000 05 27 00000000 0000", "section 3.1.2.11.4", 0x82),
        ("boolean 2", "05 02 0000 02 17 02 0000", "section 2.2.2.2", 0x82),
        ("request response information 7", "05 02 0000 02 19 07 0000", "section 2.2.2.2", 0x82),
        ("session expiry twice", "05 02 0000 0A 11 00000000 11 00000000 0000", "section 2.2.2.2", 0x82),
        ("receive maximum twice", "05 02 0000 06 21 0001 21 0001 0000", "section 2.2.2.2", 0x82),
        ("method twice", "05 02 0000 08 15 0001 61 15 0001 61 0000", "section 2.2.2.2", 0x82),
        ("data without method", "05 02 0000 04 16 0001 61 0000", "section 3.1.2.11.10", 0x82),
        ("null in user property", "05 02 0000 06 26 0001 00 0000 0000", "MQTT-1.5.4-2", 0x81),
        (
            "delay twice",
            "05 06 0000 00 0000 0A 18 00000000 18 00000000 0001 61 0000",
            "section 2.2.2.2",
            0x82,
        ),
        ("session expiry in will", "05 06 0000 00 0000 05 11 00000000 0001 61 0000", "section 2.2.2.2", 0x81),
        ("payload format 2 in will", "05 06 0000 00 0000 02 01 02 0001 61 0000", "section 2.2.2.2", 0x82),
        ("wildcard response", "05 06 0000 00 0000 04 08 0001 23 0001 61 0000", "MQTT-3.3.2-14", 0x82),
    ]);
}

#[test]
fn unsupported_protocols() {
    for (body, level, version) in [
        ("0004 4D515454 06 02 0000 00 0000", 6, Version::V5),
        ("0004 4D515454 03 02 0000 0000", 3, Version::V311),
        ("0004 4D515454 00 02 0000 0000", 0, Version::V311),
        ("0006 4D5149736470 03 02 0000 0000", 3, Version::V311),
        ("0004 6D717474 04 02 0000 0000", 4, Version::V311),
    ] {
        let body = hex(body);
        let mut stream = BytesMut::from(&[0x10, u8::try_from(body.len()).unwrap()][..]);
        stream.put_slice(&body);
        let error = refusal(End::New, &stream);
        assert_eq!(error, DecodeError::UnsupportedProtocol { level });
        assert_eq!((error.answer_version(), error.reason().value()), (Some(version), 0x84));
    }
}

#[test]
fn publish() {
    assert_refused(&[
        ("packet id 0", End::S5, 0x32, "0001 61 0000 00", "MQTT-2.2.1-3", 0x82),
        ("packet id 0 in 3.1.1", End::S3, 0x32, "0001 61 0000", "MQTT-2.3.1-1", 0x82),
        ("no topic", End::S5, 0x30, "", "section 2.1.4", 0x81),
        ("topic cut off", End::S3, 0x30, "0005 61", "section 2.2.3", 0x81),
        ("packet id cut off", End::S3, 0x32, "0001 61 00", "section 2.2.3", 0x81),
        ("no property length", End::S5, 0x30, "0001 61", "section 2.1.4", 0x81),
        ("empty topic without alias", End::S5, 0x30, "0000 00", "section 3.3.2.1", 0x82),
        ("empty topic in 3.1.1", End::S3, 0x30, "0000", "MQTT-4.7.3-1", 0x82),
        ("ill-formed topic", End::S3, 0x30, "0001 80", "MQTT-1.5.3-1", 0x81),
        ("null in topic", End::S5, 0x30, "0002 6100 00", "MQTT-1.5.4-2", 0x81),
        ("alias 0", End::S5, 0x30, "0001 61 03 23 0000", "MQTT-3.3.2-8", 0x94),
        ("alias twice", End::S5, 0x30, "0001 61 06 23 0001 23 0001", "section 2.2.2.2", 0x82),
        ("payload format 2", End::S5, 0x30, "0001 61 02 01 02", "section 2.2.2.2", 0x82),
        ("payload format twice", End::S5, 0x30, "0001 61 04 01 01 01 01", "section 2.2.2.2", 0x82),
        ("content type twice", End::S5, 0x30, "0001 61 06 03 0000 03 0000", "section 2.2.2.2", 0x82),
        ("wildcard in response topic", End::S5, 0x30, "0001 61 04 08 0001 2B", "MQTT-3.3.2-14", 0x82),
        ("reason string", End::S5, 0x30, "0001 61 04 1F 0001 61", "section 2.2.2.2", 0x81),
        ("subscription id of a client", End::S5, 0x30, "0001 61 02 0B 01", "MQTT-3.3.4-6", 0x82),
        ("subscription id 0", End::C5, 0x30, "0001 61 02 0B 00", "section 3.8.2.1.2", 0x82),
    ]);
}

#[test]
fn acknowledgements() {
    assert_refused(&[
        ("PUBACK id 0", End::S5, 0x40, "0000", "MQTT-2.2.1-3", 0x82),
        ("PUBACK without id", End::S5, 0x40, "", "section 2.1.4", 0x81),
        ("PUBACK trailing byte in 3.1.1", End::S3, 0x40, "0001 00", "section 2.2.3", 0x81),
        ("PUBACK trailing byte", End::S5, 0x40, "0001 00 00 00", "section 2.1.4", 0x81),
        ("PUBACK unknown reason", End::S5, 0x40, "0001 7F", "section 2.4", 0x81),
        ("PUBACK foreign reason", End::S5, 0x40, "0001 01", "MQTT-3.4.2-1", 0x82),
        ("PUBREC foreign reason", End::S5, 0x50, "0001 92", "MQTT-3.5.2-1", 0x82),
        ("PUBREL foreign reason", End::S5, 0x62, "0001 80", "MQTT-3.6.2-1", 0x82),
        ("PUBCOMP foreign reason", End::S5, 0x70, "0001 10", "MQTT-3.7.2-1", 0x82),
        ("reason string twice", End::S5, 0x40, "0001 00 06 1F 0000 1F 0000", "section 2.2.2.2", 0x82),
        ("foreign property", End::S5, 0x40, "0001 00 03 21 0001", "section 2.2.2.2", 0x81),
        ("SUBACK without code", End::C5, 0x90, "0001 00", "MQTT-3.8.4-6", 0x82),
        ("SUBACK without code in 3.1.1", End::C3, 0x90, "0001", "MQTT-3.8.4-5", 0x82),
        ("SUBACK foreign reason", End::C5, 0x90, "0001 00 11", "MQTT-3.9.3-2", 0x82),
        ("SUBACK return code 3", End::C3, 0x90, "0001 03", "MQTT-3.9.3-2", 0x81),
        ("UNSUBACK without code", End::C5, 0xB0, "0001 00", "MQTT-3.11.3-1", 0x82),
        ("UNSUBACK foreign reason", End::C5, 0xB0, "0001 00 01", "MQTT-3.11.3-2", 0x82),
        ("UNSUBACK with payload in 3.1.1", End::C3, 0xB0, "0001 00", "section 2.2.3", 0x81),
    ]);
}

#[test]
fn subscribe_and_unsubscribe() {
    assert_refused(&[
        ("SUBSCRIBE id 0", End::S5, 0x82, "0000 00 0001 61 00", "MQTT-2.2.1-3", 0x82),
        ("SUBSCRIBE id 0 in 3.1.1", End::S3, 0x82, "0000 0001 61 00", "MQTT-2.3.1-1", 0x82),
        ("no filter", End::S5, 0x82, "0001 00", "MQTT-3.8.3-2", 0x82),
        ("no filter in 3.1.1", End::S3, 0x82, "0001", "MQTT-3.8.3-3", 0x82),
        ("no options", End::S5, 0x82, "0001 00 0001 61", "section 2.1.4", 0x81),
        ("empty filter", End::S5, 0x82, "0001 00 0000 00", "MQTT-4.7.3-1", 0x81),
        ("empty filter in 3.1.1", End::S3, 0x82, "0001 0000 00", "MQTT-4.7.3-1", 0x81),
        ("reserved option bit 6", End::S5, 0x82, "0001 00 0001 61 40", "MQTT-3.8.3-5", 0x81),
        ("reserved option bit 7", End::S5, 0x82, "0001 00 0001 61 80", "MQTT-3.8.3-5", 0x81),
        ("no local in 3.1.1", End::S3, 0x82, "0001 0001 61 04", "MQTT-3-8.3-4", 0x81),
        ("QoS 3", End::S5, 0x82, "0001 00 0001 61 03", "section 3.8.3.1", 0x82),
        ("QoS 3 in 3.1.1", End::S3, 0x82, "0001 0001 61 03", "MQTT-3-8.3-4", 0x82),
        ("retain handling 3", End::S5, 0x82, "0001 00 0001 61 30", "section 3.8.3.1", 0x82),
        ("no local on shared", End::S5, 0x82, "0001 00 000A 2473686172652F672F61 04", "MQTT-3.8.3-4", 0x82),
        ("subscription id 0", End::S5, 0x82, "0001 02 0B 00 0001 61 00", "section 3.8.2.1.2", 0x82),
        ("subscription id twice", End::S5, 0x82, "0001 04 0B 01 0B 02 0001 61 00", "section 2.2.2.2", 0x82),
        (
            "subscription id of five bytes",
            End::S5,
            0x82,
            "0001 06 0B 8080808001 0001 61 00",
            "section 1.5.5",
            0x81,
        ),
        ("ill-formed filter", End::S5, 0x82, "0001 00 0001 FE 00", "MQTT-1.5.4-1", 0x81),
        ("null in filter", End::S3, 0x82, "0001 0001 00 00", "MQTT-1.5.3-2", 0x81),
        ("UNSUBSCRIBE id 0", End::S5, 0xA2, "0000 00 0001 61", "MQTT-2.2.1-3", 0x82),
        ("UNSUBSCRIBE without filter", End::S5, 0xA2, "0001 00", "MQTT-3.10.3-2", 0x82),
        ("UNSUBSCRIBE without filter in 3.1.1", End::S3, 0xA2, "0001", "MQTT-3.10.3-2", 0x82),
        ("UNSUBSCRIBE empty filter", End::S5, 0xA2, "0001 00 0000", "MQTT-4.7.3-1", 0x81),
        ("UNSUBSCRIBE subscription id", End::S5, 0xA2, "0001 02 0B 01 0001 61", "section 2.2.2.2", 0x81),
    ]);
}

#[test]
fn connack_ping_disconnect_and_auth() {
    assert_refused(&[
        ("CONNACK flags", End::C5, 0x20, "02 00 00", "MQTT-3.2.2-1", 0x81),
        ("CONNACK flags in 3.1.1", End::C3, 0x20, "80 00", "section 3.2.2.1", 0x81),
        ("CONNACK session beside failure", End::C5, 0x20, "01 87 00", "MQTT-3.2.2-6", 0x82),
        ("CONNACK session beside failure in 3.1.1", End::C3, 0x20, "01 05", "MQTT-3.2.2-4", 0x82),
        ("CONNACK return code 6", End::C3, 0x20, "00 06", "section 3.2.2.3", 0x81),
        ("CONNACK foreign reason", End::C5, 0x20, "00 8B 00", "MQTT-3.2.2-8", 0x82),
        ("CONNACK maximum QoS 2", End::C5, 0x20, "00 00 02 24 02", "section 3.2.2.3.4", 0x82),
        ("CONNACK retain available 2", End::C5, 0x20, "00 00 02 25 02", "section 2.2.2.2", 0x82),
        ("CONNACK receive maximum 0", End::C5, 0x20, "00 00 03 21 0000", "section 3.1.2.11.3", 0x82),
        ("CONNACK without properties", End::C5, 0x20, "00 00", "section 2.1.4", 0x81),
        ("PINGREQ with body", End::S5, 0xC0, "00", "section 2.1.4", 0x81),
        ("PINGRESP with body in 3.1.1", End::C3, 0xD0, "00", "section 2.2.3", 0x81),
        ("DISCONNECT with body in 3.1.1", End::S3, 0xE0, "00", "section 2.2.3", 0x81),
        ("DISCONNECT unknown reason", End::S5, 0xE0, "03", "section 2.4", 0x81),
        ("DISCONNECT foreign reason", End::S5, 0xE0, "85", "MQTT-3.14.2-1", 0x82),
        ("DISCONNECT expiry of a server", End::C5, 0xE0, "00 05 11 00000001", "MQTT-3.14.2-2", 0x82),
        ("DISCONNECT trailing byte", End::S5, 0xE0, "00 00 00", "section 2.1.4", 0x81),
        ("AUTH foreign reason", End::S5, 0xF0, "87 00", "MQTT-3.15.2-1", 0x82),
        ("AUTH without method", End::S5, 0xF0, "18 00", "section 3.15.2.2.2", 0x82),
        ("AUTH method twice", End::S5, 0xF0, "18 08 15 0001 61 15 0001 61", "section 2.2.2.2", 0x82),
        ("AUTH without property length", End::S5, 0xF0, "18", "section 2.1.4", 0x81),
    ]);
}

#[test]
fn the_version_is_known_even_when_the_rest_of_connect_is_refused() {
    let mut decoder = Decoder::new(DecodeLimits::default());
    let stream = hex(&format!("10 0D {MQTT} 05 03 0000 00 0000"));
    decoder.decode(&mut BytesMut::from(&stream[..])).unwrap_err();
    assert_eq!(decoder.version(), Some(Version::V5));
}

#[test]
fn the_message_names_rule_value_and_statement() {
    let error = refusal(End::S5, &[0x36]);
    assert_eq!(error.to_string(), "PUBLISH QoS 3 (value 0x36) [MQTT-3.3.1-4]");
}
