//! How the client's bytes were cut into reads makes no difference.

use fleethaven_mqtt::{Packet, ReasonCode, Version, encode};
use fleethaven_types::Profile::Standard;
use proptest::prelude::*;

use super::pair::{Pair, connect, disconnect, puback, publish, settings, subscribe, unsubscribe};

fn packet() -> impl Strategy<Value = Packet> {
    let topic = prop_oneof!["[a-c]/[a-c]", Just("$aws/rules/r/a".to_owned()), Just("bad/#".to_owned())];
    prop_oneof![
        6 => (0..5_u16, topic.clone()).prop_map(|(id, topic)| publish(id, &topic)),
        2 => (1..5_u16, topic.clone()).prop_map(|(id, filter)| subscribe(id, &[&filter])),
        2 => (1..5_u16, topic).prop_map(|(id, filter)| unsubscribe(id, &[&filter])),
        1 => (1..5_u16).prop_map(puback),
        1 => Just(Packet::Pingreq),
        1 => Just(disconnect(ReasonCode::DisconnectWithWillMessage)),
    ]
}

/// What the session does with a stream that comes in pieces of these sizes.
fn outcome(stream: &[u8], sizes: &[usize], version: Version) -> String {
    let mut pair = Pair::new(settings(Standard, |_, _| {}), version);
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        pair.send_bytes(piece);
        rest = after;
    }
    let answers = pair.received();
    let messages: Vec<_> =
        pair.published.iter().map(|(message, ack)| (message.topic.clone(), *ack)).collect();
    let ending = pair.session.ended(pair.now);
    format!("{messages:?} {answers:?} {:?} {} {ending:?}", pair.refused, pair.closed)
}

proptest! {
    #[test]
    fn any_split_has_the_same_outcome(
        packets in prop::collection::vec(packet(), 0..20),
        damage in prop::option::weighted(0.3, (0..200_usize, any::<u8>())),
        sizes in prop::collection::vec(1..40_usize, 1..10),
        v5 in any::<bool>(),
    ) {
        let version = if v5 { Version::V5 } else { Version::V311 };
        let mut stream = bytes::BytesMut::new();
        encode(&Packet::Connect(Box::new(connect(version))), version, &mut stream).unwrap();
        for packet in packets {
            encode(&packet, version, &mut stream).unwrap();
        }
        let protocol = stream[2..9].to_vec();
        if let Some((at, value)) = damage
            && let Some(byte) = stream.get_mut(at)
        {
            *byte = value;
        }
        // A CONNECT with a damaged protocol name or level asks for another version, and is answered in one that this client
        // does not read.
        prop_assume!(stream[2..9] == protocol);
        let whole = outcome(&stream, &[stream.len()], version);
        for sizes in [&[1][..], &sizes] {
            prop_assert_eq!(&outcome(&stream, sizes, version), &whole);
        }
    }
}
