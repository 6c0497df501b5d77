//! The durable queue: pushes, reads, resuming, DUP, the pace of stored messages.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_mqtt::{Connect, Publish, Version};
use fleethaven_types::Profile::{Aws, Standard};
use fleethaven_types::{EntryId, Message, Profile, Timestamp};

use super::pair::{Pair, START, connect, message, puback, settings};
use super::store::{AT_LEAST_ONCE, Store};
use crate::{Action, Encoded};

fn stored(count: usize) -> Store {
    let mut store = Store::default();
    for number in 1..=count {
        store.append(Arc::new(message(&number.to_string(), "x")));
    }
    store
}

/// A persistent client that resumes; CONNACK is taken.
fn resume(profile: Profile, store: Store, sent: u64) -> (Pair, Vec<Publish>) {
    let connect = Connect { clean_start: false, keep_alive: 0, ..connect(Version::V5) };
    let mut pair = Pair::resumed(settings(profile, |_, _| {}), connect, store, EntryId(sent));
    let mut packets = pair.received();
    let fleethaven_mqtt::Packet::Connack(connack) = packets.remove(0) else { panic!() };
    assert!(connack.session_present);
    let publish = |packet| match packet {
        fleethaven_mqtt::Packet::Publish(publish) => publish,
        other => panic!("{other:?}"),
    };
    let publishes = packets.into_iter().map(publish).collect();
    (pair, publishes)
}

fn ids(publishes: &[Publish]) -> Vec<u16> {
    publishes.iter().map(|publish| publish.packet_id.unwrap().get()).collect()
}

#[test]
fn pushes_that_follow_are_delivered_without_a_read() {
    let (mut pair, _) = resume(Standard, Store::default(), 0);
    pair.push(message("a", "x"));
    pair.push(message("b", "x"));
    assert_eq!(ids(&pair.delivered()), [1, 2]);
    assert_eq!(pair.reads, 0);
    pair.send(puback(2));
    assert_eq!(pair.store.len(), 1);
    pair.send(puback(1));
    assert_eq!(pair.store.len(), 0);
}

#[test]
fn a_resume_redelivers_under_the_original_identifiers() {
    let mut store = stored(5);
    store.trim(EntryId(1));
    store.trim(EntryId(3));
    for (profile, dup) in [(Standard, [true, true, false]), (Aws, [false; 3])] {
        let (mut pair, got) = resume(profile, store.clone(), 4);
        assert_eq!(ids(&got), [2, 4, 5]);
        assert_eq!(got.iter().map(|publish| publish.dup).collect::<Vec<_>>(), dup);
        pair.session.close(crate::Close::lost("reset"));
        assert_eq!(pair.ended().unwrap().sent, EntryId(5));
    }
}

#[test]
fn an_end_before_everything_was_redelivered_does_not_forget_what_was_sent() {
    let connect = Connect { clean_start: false, ..connect(Version::V5) };
    let settings = settings(Standard, |_, limits| limits.inflight_out = 2);
    let mut pair = Pair::resumed(settings, connect, stored(5), EntryId(4));
    assert_eq!(pair.received().len(), 3);
    pair.session.close(crate::Close::lost("reset"));
    assert_eq!(pair.ended().unwrap().sent, EntryId(4));
}

#[test]
fn the_queue_is_read_page_by_page() {
    let mut store = stored(100);
    store.page = 7;
    let (mut pair, got) = resume(Standard, store, 0);
    assert!(ids(&got).into_iter().eq(1..=100));
    assert_eq!(pair.reads, 15);
    pair.push(message("live", "x"));
    assert_eq!(ids(&pair.delivered()), [101]);
    assert_eq!(pair.reads, 15);
}

#[test]
fn a_queue_whose_end_is_gone() {
    let mut store = stored(3);
    store.skip_to(10);
    let (mut pair, got) = resume(Standard, store, 0);
    assert_eq!(ids(&got), [1, 2, 3]);
    assert_eq!(pair.reads, 2, "the second says that there is no more");
    pair.push(message("live", "x"));
    assert_eq!(ids(&pair.delivered()), [11]);
    assert_eq!(pair.reads, 2);
}

#[test]
fn a_lost_push_is_read() {
    let (mut pair, _) = resume(Standard, Store::default(), 0);
    pair.store.append(Arc::new(message("lost", "x")));
    pair.push(message("next", "x"));
    assert_eq!(ids(&pair.delivered()), [1, 2]);
    pair.store.append(Arc::new(message("lost, and nothing follows", "x")));
    assert_eq!(pair.delivered(), []);
    let tail = pair.store.tail();
    pair.session.queue_tail(tail);
    assert_eq!(ids(&pair.delivered()), [3]);
    pair.store.append(Arc::new(message("lost again", "x")));
    pair.session.resync();
    assert_eq!(ids(&pair.delivered()), [4]);
    let reads = pair.reads;
    pair.session.queue_tail(tail);
    pair.run();
    assert_eq!(pair.reads, reads, "nothing new");
}

#[test]
fn resync_during_a_read_reads_again() {
    let (mut pair, _) = resume(Standard, Store::default(), 0);
    pair.serving = false;
    pair.session.resync();
    pair.session.resync();
    pair.run();
    assert_eq!(pair.held.len(), 1, "one read at a time");
    let (entries, tail) = pair.store.read(EntryId::NONE);
    pair.store.append(Arc::new(message("appended after that read, its push lost", "x")));
    pair.session.resync();
    pair.session.queue_read(entries, tail, pair.now);
    pair.run();
    assert!(matches!(pair.held[1..], [Action::ReadQueue { after: EntryId::NONE }]), "{:?}", pair.held);
}

#[test]
fn a_push_during_a_read_is_read_next() {
    let (mut pair, _) = resume(Standard, Store::default(), 0);
    pair.serving = false;
    pair.session.resync();
    pair.run();
    let (entries, tail) = pair.store.read(EntryId::NONE);
    pair.push(message("appended after that read", "x"));
    pair.session.queue_read(entries, tail, pair.now);
    pair.run();
    assert_eq!(pair.held.len(), 2);
    assert_eq!(pair.delivered(), []);
    pair.serving = true;
    let read = pair.held.remove(1);
    pair.carry_out(read);
    assert_eq!(ids(&pair.delivered()), [1]);
}

#[test]
fn a_session_without_a_queue_has_nothing_to_resync() {
    let mut pair = Pair::connected(Standard, Version::V5);
    pair.session.resync();
    pair.session.queue_tail(EntryId(5));
    assert!(pair.session.poll_action().is_none());
}

#[test]
fn a_hint_that_the_store_does_not_confirm_is_forgotten() {
    let (mut pair, _) = resume(Standard, Store::default(), 0);
    let mut encoded = Encoded::new(Arc::new(message("a", "x")), START);
    pair.session.deliver_queued(&mut encoded, &AT_LEAST_ONCE, (EntryId(9), EntryId(8)), pair.now);
    assert_eq!(pair.delivered(), []);
    assert_eq!(pair.reads, 1);
}

#[test]
fn the_window_holds_the_queue_back() {
    let settings = settings(Standard, |_, limits| limits.inflight_out = 3);
    let mut pair = Pair::resumed(settings, connect(Version::V5), stored(5), EntryId::NONE);
    assert_eq!(pair.received().len(), 4);
    pair.push(message("live", "x"));
    assert_eq!(pair.delivered(), []);
    pair.send(puback(1));
    assert_eq!(ids(&pair.delivered()), [4]);
    pair.send(puback(3));
    pair.send(puback(2));
    assert_eq!(ids(&pair.delivered()), [5, 6]);
}

#[test]
fn a_client_that_does_not_read_holds_the_queue_back() {
    let (mut pair, _) = resume(Standard, Store::default(), 0);
    pair.reading = false;
    for _ in 0..20 {
        pair.push(message("a", vec![b'x'; 100_000]));
    }
    assert_eq!(pair.session.in_flight(), 11);
    pair.reading = true;
    assert!(ids(&pair.delivered()).into_iter().eq(1..=20));
}

#[test]
fn expired_and_oversized_entries_are_done_with() {
    let mut store = stored(1);
    let expires_at = Some(Timestamp(START.0));
    store.append(Arc::new(Message { expires_at, ..message("expired", "x") }));
    store.append(Arc::new(message("large", vec![0; 200])));
    store.append(Arc::new(message("4", "x")));
    for version in [Version::V311, Version::V5] {
        let mut connect = connect(version);
        if version == Version::V5 {
            connect.properties.maximum_packet_size = 100.try_into().ok();
        }
        let mut pair = Pair::resumed(settings(Standard, |_, _| {}), connect, store.clone(), EntryId::NONE);
        let expected = if version == Version::V5 { 2 } else { 3 };
        assert_eq!(pair.received().len() - 1, expected, "case 25");
        assert_eq!(pair.store.len(), expected);
    }
}

#[test]
fn identifiers_stay_unique_over_a_gap() {
    let mut store = stored(1);
    store.skip_to(65_535);
    store.append(Arc::new(message("same identifier as the first", "x")));
    let (mut pair, got) = resume(Standard, store, 0);
    assert_eq!(ids(&got), [1]);
    assert_eq!(pair.reads, 1);
    pair.send(puback(1));
    assert_eq!(ids(&pair.delivered()), [1]);
}

#[test]
fn nothing_happens_after_the_end() {
    let (mut pair, _) = resume(Standard, Store::default(), 0);
    pair.serving = false;
    pair.push(message("a", "x"));
    pair.session.close(crate::Close::lost("reset"));
    pair.received();
    pair.push(message("b", "x"));
    pair.session.resync();
    pair.session.queue_tail(EntryId(9));
    let (entries, tail) = pair.store.read(EntryId::NONE);
    pair.session.queue_read(entries, tail, pair.now);
    pair.session.send_waiting(pair.now);
    assert_eq!(pair.received(), []);
    assert!(pair.held.is_empty());
    assert_eq!(pair.session.poll_timeout(), None);
}

/// When each message arrived, in milliseconds since the resume.
fn arrivals(pair: &mut Pair, already: Vec<Publish>, until_ms: u64) -> Vec<(u64, u16)> {
    let mut arrivals: Vec<_> = ids(&already).into_iter().map(|id| (0, id)).collect();
    for _ in 0..until_ms / 50 {
        for id in arrivals.iter().map(|(_, id)| *id).collect::<Vec<_>>() {
            pair.send(puback(id));
        }
        pair.elapse(Duration::from_millis(50));
        let at = pair.now.wall.0 - START.0;
        arrivals.extend(ids(&pair.delivered()).into_iter().map(|id| (at, id)));
    }
    arrivals
}

#[test]
fn stored_messages_drain_at_ten_a_second() {
    let (mut pair, got) = resume(Aws, stored(25), 0);
    assert_eq!(got.len(), 10);
    let arrivals = arrivals(&mut pair, got, 5000);
    assert!(arrivals.iter().map(|(_, id)| *id).eq(1..=25), "case 11: none lost, in order");
    assert_eq!(arrivals[24].0, 2000, "case 11");
    for window in arrivals.windows(11) {
        assert!(window[10].0 - window[0].0 >= 1000, "{window:?}");
    }
    let (_, got) = resume(Standard, stored(25), 0);
    assert_eq!(got.len(), 25);
}

#[test]
fn live_messages_wait_behind_stored_ones_and_are_not_slowed_afterwards() {
    let (mut pair, got) = resume(Aws, stored(15), 0);
    assert_eq!(got.len(), 10);
    for _ in 0..30 {
        pair.push(message("live", "x"));
    }
    assert_eq!(pair.delivered(), []);
    let arrivals = arrivals(&mut pair, got, 1000);
    assert!(arrivals.iter().map(|(_, id)| *id).eq(1..=45));
    assert_eq!(arrivals[44].0, 1000, "the last five stored and all live ones");
    let reads = pair.reads;
    pair.push(message("live", "x"));
    assert_eq!(pair.delivered().len(), 1);
    assert_eq!(pair.reads, reads);
}

#[test]
fn pacing_asks_for_one_wakeup_a_second_and_none_when_done() {
    let (mut pair, _) = resume(Aws, stored(25), 0);
    let due = pair.session.poll_timeout().unwrap();
    assert_eq!(due - pair.now.instant, Duration::from_secs(1));
    let reads = pair.reads;
    pair.elapse(Duration::from_millis(999));
    assert_eq!(pair.reads, reads);
    pair.elapse(Duration::from_millis(1));
    assert_eq!(pair.reads, reads + 1);
    pair.elapse(Duration::from_secs(2));
    assert_eq!(pair.delivered().len(), 15);
    let keep_alive = pair.session.poll_timeout().unwrap() - pair.now.instant;
    assert!(keep_alive > Duration::from_secs(1700), "{keep_alive:?}");
}
