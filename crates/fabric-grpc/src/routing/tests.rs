//! Packed frames: what is written is read again, whatever came before on the stream; what is damaged is an error.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU16;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_fabric::delivery::{Address, Origin, Push, Target};
use fleethaven_fabric::routing::{QueuePosition, SharedDelivery};
use fleethaven_lanes::frame::{Outcome, Publication, Reply};
use fleethaven_storage::{EntryId, Error, GroupId, Held, Once, OwnerToken, SessionId, Share};
use fleethaven_topics::Slot;
use fleethaven_types::{Message, MessageProperties, Publisher, QoS, Scope, Timestamp, Utf8Bytes};
use proptest::prelude::*;

use super::{delivery, pack_shares, publish, read_shares};

const CORE: u16 = 5;

fn text() -> impl Strategy<Value = Utf8Bytes> {
    "[a-zäß/]{0,12}".prop_map(Utf8Bytes::from)
}

fn qos() -> impl Strategy<Value = QoS> {
    prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])
}

fn publisher() -> impl Strategy<Value = Arc<Publisher>> {
    let ip = prop_oneof![
        Just(None),
        any::<[u8; 4]>().prop_map(|ip| Some(IpAddr::V4(Ipv4Addr::from(ip)))),
        any::<[u8; 16]>().prop_map(|ip| Some(IpAddr::V6(Ipv6Addr::from(ip)))),
    ];
    (prop::option::of(text()), prop::option::of(text()), ip, any::<u64>()).prop_map(
        |(client_id, principal, source_ip, trace)| {
            let scope =
                Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
            Arc::new(Publisher { scope, client_id, principal, source_ip, trace })
        },
    )
}

fn properties() -> impl Strategy<Value = Option<Box<MessageProperties>>> {
    let data = prop::option::of(prop::collection::vec(any::<u8>(), 0..8).prop_map(Bytes::from));
    let user = prop::collection::vec((text(), text()), 0..3);
    let parts =
        (prop::option::of(any::<bool>()), prop::option::of(text()), prop::option::of(text()), data, user);
    prop::option::of(parts.prop_map(
        |(payload_is_utf8, content_type, response_topic, correlation_data, user_properties)| {
            Box::new(MessageProperties {
                payload_is_utf8,
                content_type,
                response_topic,
                correlation_data,
                user_properties,
            })
        },
    ))
}

/// Messages of few publishers.
fn messages() -> impl Strategy<Value = Vec<Arc<Message>>> {
    prop::collection::vec(publisher(), 1..4).prop_flat_map(|publishers| {
        let message = (
            prop::sample::select(publishers),
            text(),
            prop::collection::vec(any::<u8>(), 0..200),
            (qos(), any::<bool>(), properties()),
            (any::<u64>(), prop::option::of(any::<u64>()), any::<u64>(), any::<u8>()),
        );
        let message = message.prop_map(|(publisher, topic, payload, head, numbers)| {
            let ((qos, retain, properties), (received_at, expires_at, sequence, hops)) = (head, numbers);
            let (received_at, expires_at) = (Timestamp(received_at), expires_at.map(Timestamp));
            let payload = payload.into();
            Arc::new(Message {
                topic,
                payload,
                qos,
                retain,
                properties,
                received_at,
                expires_at,
                sequence,
                hops,
                publisher,
            })
        });
        prop::collection::vec(message, 1..8)
    })
}

fn once() -> impl Strategy<Value = Option<Once>> {
    let received =
        (any::<u64>(), any::<u64>(), any::<u64>(), 1..=u16::MAX).prop_map(|(session, i, c, id)| {
            let token = OwnerToken { incarnation: i, counter: c };
            Once::Received { session: SessionId(session), token, packet_id: NonZeroU16::new(id).unwrap() }
        });
    let will = any::<u64>().prop_map(|session| Once::Will(SessionId(session)));
    prop::option::of(prop_oneof![received, will])
}

fn share() -> impl Strategy<Value = Share> {
    let refused = prop::option::of(prop::collection::vec(any::<u64>().prop_map(SessionId), 1..3));
    (any::<u64>(), refused)
        .prop_map(|(group, refused)| Share { group: GroupId(group), refused: refused.map(Into::into) })
}

fn address() -> impl Strategy<Value = Address> {
    (0..1_u32 << 20, any::<u32>()).prop_map(|(slot, generation)| Address::new(CORE, slot, generation))
}

fn identifiers() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(any::<u32>(), 0..3)
}

fn targets() -> impl Strategy<Value = Arc<[Target]>> {
    let origin = prop::sample::select(vec![Origin::Any, Origin::Others, Origin::Own]);
    let target = (address(), any::<u64>(), qos(), any::<bool>(), origin, identifiers()).prop_map(
        |(address, session, qos, retain_as_published, origin, identifiers)| Target {
            address,
            session: SessionId(session),
            qos,
            retain_as_published,
            origin,
            identifiers: identifiers.into(),
        },
    );
    prop::collection::vec(target, 0..4).prop_map(Arc::from)
}

/// Pushes of few messages to few lists.
fn pushes() -> impl Strategy<Value = Vec<Push>> {
    (messages(), prop::collection::vec(targets(), 1..3)).prop_flat_map(|(messages, lists)| {
        let message = || prop::sample::select(messages.clone());
        let session = || any::<u64>().prop_map(SessionId);
        let direct = (message(), prop::sample::select(lists), prop::option::of(session()))
            .prop_map(|(message, targets, from)| Push::Direct { message, targets, from });
        let tail = (address(), session(), any::<u64>()).prop_map(|(address, session, tail)| Push::Tail {
            address,
            session,
            tail: EntryId(tail),
        });
        let one = || (message(), address(), session(), qos(), any::<bool>(), identifiers());
        let queued = (one(), prop::option::of(share()), any::<u64>(), any::<u64>()).prop_map(
            |((message, address, session, qos, retain, identifiers), share, entry, previous)| {
                let position = QueuePosition { entry: EntryId(entry), previous: EntryId(previous) };
                Push::Queued { message, address, session, qos, retain, identifiers, share, position }
            },
        );
        let shared = (one(), share(), prop::option::of(any::<u64>().prop_map(EntryId))).prop_map(
            |((message, address, session, qos, retain, identifiers), share, held)| Push::Shared {
                message,
                address,
                session,
                qos,
                retain,
                identifiers,
                share,
                held,
            },
        );
        prop::collection::vec(prop_oneof![direct, tail, queued, shared], 0..12)
    })
}

fn publications() -> impl Strategy<Value = Vec<Publication>> {
    messages().prop_flat_map(|messages| {
        let numbers = (0..1024_u16, any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>());
        let from = prop::option::of(any::<u64>().prop_map(SessionId));
        let one = (prop::sample::select(messages), numbers, any::<bool>(), from, once()).prop_map(
            |(message, (slot, epoch, run, stamp, skipped), acknowledge, from, once)| {
                let slot = Slot::new(slot).unwrap();
                Publication { slot, epoch, run, stamp, skipped, acknowledge, message, from, once }
            },
        );
        prop::collection::vec(one, 0..8)
    })
}

fn replies() -> impl Strategy<Value = Vec<Reply>> {
    let outcome = prop_oneof![
        any::<bool>().prop_map(|matched| Outcome::Durable { matched }),
        prop::sample::select(vec![Error::NotOwner, Error::NoSession, Error::AlreadyDone])
            .prop_map(Outcome::Failed),
        "[a-z ]{0,20}".prop_map(|why| Outcome::Failed(Error::Unavailable(why))),
    ];
    let slot = || (0..1024_u16).prop_map(|slot| Slot::new(slot).unwrap());
    let reply = prop_oneof![
        (slot(), any::<u64>(), outcome).prop_map(|(slot, stamp, outcome)| Reply::Answered {
            slot,
            stamp,
            outcome
        }),
        (slot(), any::<u64>()).prop_map(|(slot, stamp)| Reply::Taken { slot, stamp }),
    ];
    prop::collection::vec(reply, 0..20)
}

/// Equal, if they print the same: not all of what travels can be compared.
fn same<T: std::fmt::Debug>(a: &T, b: &T) {
    assert_eq!(format!("{a:?}"), format!("{b:?}"));
}

proptest! {
    #[test]
    fn publishes_are_read_as_they_were_written(frames in prop::collection::vec(publications(), 1..4)) {
        let (mut encoder, mut decoder) = (publish::Encoder::default(), publish::Decoder::default());
        for frame in frames {
            let mut records = Vec::new();
            frame.iter().for_each(|publication| encoder.put(&mut records, publication));
            same(&decoder.read(records.into()).unwrap(), &frame);
        }
    }

    #[test]
    fn answers_are_read_as_they_were_written(replies in replies()) {
        let mut records = Vec::new();
        assert!(replies.iter().all(|reply| publish::put_answer(&mut records, reply)));
        same(&publish::read_answers(records.into()).unwrap(), &replies);
    }

    #[test]
    fn deliveries_are_read_as_they_were_written(frames in prop::collection::vec(pushes(), 1..4), bytes in 1..400_usize) {
        let (mut encoder, mut decoder) = (delivery::Encoder::default(), delivery::Decoder::new(CORE));
        for frame in frames {
            let (mut left, mut read) = (frame.clone().into(), Vec::new());
            while !std::collections::VecDeque::is_empty(&left) {
                let records = encoder.frame(&mut left, bytes);
                read.extend(decoder.read(records).unwrap());
            }
            same(&read, &frame);
        }
    }

    #[test]
    fn shares_are_read_as_they_were_written(
        messages in messages(), share in share(), entry in any::<u64>(), member in any::<u64>(),
    ) {
        let held = [
            None,
            Some(Held::Group(EntryId(entry))),
            Some(Held::Member(SessionId(member), EntryId(entry))),
        ];
        let shares = messages.into_iter().zip(held.into_iter().cycle());
        let shares: Vec<_> =
            shares.map(|(message, held)| SharedDelivery { message, share: share.clone(), held }).collect();
        assert_eq!(read_shares(pack_shares(&shares)).unwrap(), shares);
    }

    #[test]
    fn a_frame_that_is_cut_is_an_error(frame in publications(), part in 0.0..1.0_f64) {
        let (mut encoder, mut records) = (publish::Encoder::default(), Vec::new());
        let mut ends = vec![0];
        for publication in &frame {
            encoder.put(&mut records, publication);
            ends.push(records.len());
        }
        let cut = (records.len() as f64 * part) as usize;
        let read = publish::Decoder::default().read(Bytes::from(records).slice(..cut));
        assert_eq!(read.is_ok(), ends.contains(&cut));
    }
}

#[test]
fn more_publishers_than_are_remembered_are_told_anew() {
    let (mut encoder, mut decoder) = (publish::Encoder::default(), publish::Decoder::default());
    let scope = Scope { account: "123456789012".parse().unwrap(), region: "eu-west-1".parse().unwrap() };
    let publication = |trace: u64| {
        let publisher = Publisher { scope, client_id: None, principal: None, source_ip: None, trace };
        let message = Message {
            topic: "t".into(),
            payload: Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            received_at: Timestamp(1),
            expires_at: None,
            sequence: 1,
            hops: 0,
            publisher: Arc::new(publisher),
        };
        let (message, slot) = (Arc::new(message), Slot::new(1).unwrap());
        let (acknowledge, from, once) = (false, None, None);
        Publication { slot, epoch: 1, run: 1, stamp: trace, skipped: 0, acknowledge, message, from, once }
    };
    let all: Vec<_> = (0..40_000).map(publication).collect();
    for frame in all.chunks(1000) {
        let mut records = Vec::new();
        frame.iter().for_each(|publication| encoder.put(&mut records, publication));
        let read = decoder.read(records.into()).unwrap();
        assert!(read.iter().zip(frame).all(|(read, sent)| read.message == sent.message));
    }
}
