//! Shares of groups: the window, what is done, what is left behind.

use std::sync::Arc;

use fleethaven_mqtt::{Ack, Packet, QoS, ReasonCode, Version};
use fleethaven_types::Profile::Standard;
use fleethaven_types::{EntryId, GroupId, Message, Share, Timestamp};

use super::pair::{Pair, START, connect, id, message, puback, pubcomp, pubrec, pubrel, settings};
use super::store::{AT_LEAST_ONCE, Store};
use crate::{Delivery, Encoded, LeftShares, Shared};

const V5: Version = Version::V5;

/// A client that may have two messages in flight.
fn narrow() -> Pair {
    Pair::connected_with(settings(Standard, |_, limits| limits.inflight_out = 2), connect(V5))
}

fn deliver(pair: &mut Pair, number: u64, message: Message, delivery: &Delivery<'_>) -> bool {
    let message = Arc::new(message);
    let mut encoded = Encoded::new(message.clone(), pair.now.wall);
    let shared = Shared { message, share: Share::of(GroupId(1)), held: Some(EntryId(number)) };
    let taken = pair.session.deliver_shared(&mut encoded, delivery, shared, pair.now).is_ok();
    pair.run();
    taken
}

fn share(pair: &mut Pair, number: u64) -> bool {
    deliver(pair, number, message("a", number.to_string()), &AT_LEAST_ONCE)
}

fn held(shares: &[Shared]) -> Vec<u64> {
    shares.iter().filter_map(|shared| shared.held).map(|entry| entry.0).collect()
}

#[test]
fn what_is_acknowledged_is_done_and_the_rest_is_left_behind_in_order() {
    let mut pair = narrow();
    assert_eq!(pair.session.share_room(), 2);
    (1..=4).for_each(|number| assert!(share(&mut pair, number)));
    assert_eq!(pair.session.share_room(), 0, "two in flight, two more wait");
    assert_eq!(pair.delivered().len(), 2);
    pair.send(puback(2));
    assert_eq!(pair.delivered().len(), 1);
    assert_eq!(pair.shares_done, [EntryId(2)]);
    assert_eq!(pair.session.share_room(), 0, "one more was sent, and one waits");
    let LeftShares { unacknowledged, finished } = pair.session.take_shares();
    assert_eq!((held(&unacknowledged), finished), (vec![1, 3, 4], vec![]));
}

#[test]
fn at_qos_2_a_share_is_done_with_pubrec_and_stays_with_a_client_that_goes_without() {
    let mut pair = narrow();
    let exactly_once = Delivery { qos: QoS::ExactlyOnce, ..AT_LEAST_ONCE };
    for number in 1..=4 {
        let message = Message { qos: QoS::ExactlyOnce, ..message("a", "x") };
        assert!(deliver(&mut pair, number, message, &exactly_once));
    }
    assert_eq!(pair.delivered().len(), 2);
    assert_eq!(pair.ask(pubrec(2)), [pubrel(2)]);
    assert_eq!(pair.shares_done, [EntryId(2)], "nobody else may get it, whatever happens before PUBCOMP");
    assert_eq!(pair.session.share_room(), 0, "the window opens with PUBCOMP");
    pair.send(pubcomp(2));
    assert_eq!((pair.delivered().len(), &pair.shares_done[..]), (1, &[EntryId(2)][..]));
    let refused = Ack::new(id(3), ReasonCode::QuotaExceeded);
    pair.send(Packet::Pubrec(refused));
    assert_eq!(
        pair.shares_done,
        [EntryId(2), EntryId(3)],
        "what the client refused is its own [MQTT-4.8.2-6]"
    );
    let LeftShares { unacknowledged, finished } = pair.session.take_shares();
    assert_eq!(held(&unacknowledged), [], "[MQTT-4.8.2-5]");
    assert_eq!(finished, [(GroupId(1), EntryId(1)), (GroupId(1), EntryId(4))]);
}

#[test]
fn a_client_that_is_gone_takes_none() {
    let mut pair = narrow();
    pair.session.close(crate::Close::lost("gone"));
    assert!(!share(&mut pair, 1));
    assert_eq!(pair.session.share_room(), 0);
}

#[test]
fn what_cannot_be_sent_is_done() {
    let mut pair = narrow();
    let over = Message { expires_at: Some(Timestamp(START.0 - 1)), ..message("a", "x") };
    assert!(deliver(&mut pair, 1, over, &AT_LEAST_ONCE));
    let mut connect = connect(V5);
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(100);
    let mut small = Pair::connected_with(settings(Standard, |_, _| {}), connect);
    assert!(deliver(&mut small, 2, message("a", vec![b'x'; 200]), &AT_LEAST_ONCE));
    assert_eq!((&pair.shares_done[..], &small.shares_done[..]), (&[EntryId(1)][..], &[EntryId(2)][..]));
    assert_eq!(small.session.in_flight(), 0);
}

#[test]
fn qos_0_is_sent_once_and_not_remembered() {
    let mut pair = narrow();
    let delivery = Delivery { qos: QoS::AtMostOnce, ..AT_LEAST_ONCE };
    assert!(deliver(&mut pair, 1, message("a", "x"), &delivery));
    assert_eq!(pair.delivered().len(), 1);
    assert!(pair.session.take_shares().unacknowledged.is_empty());
}

#[test]
fn a_member_with_older_messages_in_its_queue_has_no_room() {
    let mut store = Store::default();
    for _ in 0..3 {
        store.append(Arc::new(message("a", "old")));
    }
    let settings = settings(Standard, |_, limits| limits.inflight_out = 2);
    let mut connect = connect(V5);
    connect.clean_start = false;
    let mut pair = Pair::resumed(settings, connect, store, EntryId::NONE);
    assert_eq!(pair.session.share_room(), 0);
    pair.received();
    (1..=3).for_each(|id| pair.send(puback(id)));
    assert_eq!(pair.session.share_room(), 2);
}

#[test]
fn a_refused_share_is_passed_over_and_not_acknowledged() {
    let settings = settings(Standard, |_, _| {});
    let mut connect = connect(V5);
    connect.clean_start = false;
    let mut pair = Pair::resumed(settings, connect, Store::default(), EntryId::NONE);
    pair.received();
    let position = pair.store.append(Arc::new(message("a", "refused")));
    pair.session.pass_queued(position);
    pair.run();
    pair.push(message("a", "next"));
    assert_eq!(pair.delivered().len(), 1);
    assert_eq!(pair.store.len(), 2, "it is still in the queue");
}
