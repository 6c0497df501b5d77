//! How long deliveries at QoS 1 are tried, in virtual time.

use std::time::Duration;

use fleethaven_mqtt::{Connect, Packet, QoS, Version};
use fleethaven_types::{EntryId, Message, Profile, Timestamp};

use super::pair::{Pair, connect, message, puback, settings};
use super::store::{AT_LEAST_ONCE, Store};
use crate::{Close, Delivery, DropCause};

const MINUTE: Duration = Duration::from_secs(60);

/// A client of an account that tries deliveries for ten minutes; two may be in flight. CONNACK is taken.
fn resume(version: Version, store: Store, sent: u64) -> (Pair, Vec<u16>) {
    let settings = settings(Profile::Standard, |_, limits| {
        (limits.qos1_retry_secs, limits.inflight_out) = (Some(600), 2);
    });
    let connect = Connect { clean_start: false, keep_alive: 0, ..connect(version) };
    let mut pair = Pair::resumed(settings, connect, store, EntryId(sent));
    let mut packets = pair.received();
    assert!(matches!(packets.remove(0), Packet::Connack(_)));
    let id = |packet| match packet {
        Packet::Publish(publish) => publish.packet_id.unwrap().get(),
        other => panic!("{other:?}"),
    };
    (pair, packets.into_iter().map(id).collect())
}

fn delivered(pair: &mut Pair) -> Vec<u16> {
    pair.delivered().iter().map(|publish| publish.packet_id.unwrap().get()).collect()
}

#[test]
fn a_delivery_that_is_not_acknowledged_in_time_is_given_up_and_its_place_is_free() {
    for version in [Version::V311, Version::V5] {
        let (mut pair, _) = resume(version, Store::default(), 0);
        pair.push(message("a", "1"));
        pair.elapse(MINUTE);
        for payload in ["2", "3", "4"] {
            pair.push(message("a", payload));
        }
        assert_eq!(delivered(&mut pair), [1, 2]);
        pair.elapse(8 * MINUTE);
        assert_eq!((delivered(&mut pair), pair.store.len()), (vec![], 4), "nothing is sent twice");
        pair.elapse(MINUTE);
        assert_eq!(delivered(&mut pair), [3]);
        assert_eq!((pair.store.len(), pair.session.dropped()), (3, 1));
        assert_eq!(pair.session.last_drop(), Some(DropCause::GivenUp));
        pair.send(puback(1));
        assert_eq!(pair.store.len(), 3, "too late, and no harm");
        pair.send(puback(2));
        assert_eq!(delivered(&mut pair), [4]);
        pair.elapse(9 * MINUTE);
        assert_eq!(pair.store.len(), 2);
        pair.elapse(MINUTE);
        assert_eq!((pair.store.len(), pair.session.dropped()), (0, 3));
        assert!(pair.session.is_connected());
    }
}

#[test]
fn the_time_goes_on_over_reconnects() {
    let (mut pair, _) = resume(Version::V5, Store::default(), 0);
    for payload in ["1", "2", "3"] {
        pair.push(message("a", payload));
        pair.elapse(MINUTE);
    }
    assert_eq!(delivered(&mut pair), [1, 2]);
    pair.session.close(Close::lost("reset"));
    let first_sent = pair.ended().unwrap().first_sent;
    assert_eq!(first_sent.iter().map(|(entry, _)| entry.0).collect::<Vec<_>>(), [1, 2], "3 was never sent");
    let mut store = pair.store.clone();
    // The next connection's time begins anew: 10.5 minutes after the first was sent.
    let earlier = |(entry, at): (EntryId, Timestamp)| (entry, Timestamp(at.0 - 630_000));
    store.first_sent = first_sent.into_iter().map(earlier).collect();
    let (mut pair, got) = resume(Version::V5, store, 2);
    assert_eq!(got, [2, 3]);
    assert_eq!((pair.store.len(), pair.session.dropped()), (2, 0));
    pair.elapse(MINUTE);
    assert_eq!(pair.store.len(), 1);
    pair.elapse(9 * MINUTE);
    assert_eq!(pair.store.len(), 0);
}

#[test]
fn an_end_tells_of_what_it_did_not_come_to() {
    let mut store = Store::default();
    for payload in ["1", "2", "3", "4"] {
        store.append(message("a", payload).into());
    }
    let now = super::pair::START;
    store.first_sent = (1..=4).map(|entry| (EntryId(entry), now)).collect();
    // The second is gone: it had expired.
    store.trim(EntryId(2));
    let (mut pair, got) = resume(Version::V5, store, 4);
    assert_eq!(got, [1, 3]);
    pair.send(puback(1));
    assert_eq!(delivered(&mut pair), [4]);
    pair.session.close(Close::lost("reset"));
    assert_eq!(pair.ended().unwrap().first_sent, [(EntryId(3), now), (EntryId(4), now)]);
}

#[test]
fn a_session_without_a_queue_gives_up_too() {
    let settings = settings(Profile::Standard, |_, limits| {
        (limits.qos1_retry_secs, limits.inflight_out) = (Some(600), 1);
    });
    let mut pair = Pair::connected_with(settings, Connect { keep_alive: 0, ..connect(Version::V5) });
    pair.deliver(message("a", "1"), &AT_LEAST_ONCE);
    pair.deliver(message("a", "2"), &AT_LEAST_ONCE);
    assert_eq!(delivered(&mut pair), [1]);
    pair.elapse(10 * MINUTE);
    assert_eq!(delivered(&mut pair), [2]);
    let message = Message { qos: QoS::AtMostOnce, ..message("a", "3") };
    pair.deliver(message, &Delivery { qos: QoS::AtMostOnce, ..AT_LEAST_ONCE });
    assert_eq!(pair.delivered().len(), 1);
    pair.session.close(Close::lost("reset"));
    assert_eq!(pair.ended().unwrap().first_sent, []);
}

#[test]
fn only_the_aws_profile_gives_up() {
    for (profile, secs) in [(Profile::Aws, Some(3600)), (Profile::Standard, None)] {
        assert_eq!(settings(profile, |_, _| {}).limits.qos1_retry_secs, secs);
    }
}
