use std::sync::atomic::Ordering;

use fleethaven_fabric::delivery::{Origin, Target};
use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::routing::{Owned, OwnerNumber};
use fleethaven_lanes::router::{Serving, Slots};
use fleethaven_storage::{Fence, OwnerToken, RuleRef, SessionRecord, Subscription};
use fleethaven_topics::{DepthRules, Placement};
use fleethaven_types::QoS::{AtLeastOnce, AtMostOnce, ExactlyOnce};
use fleethaven_types::{Behaviour, Limits, Profile, Utf8Bytes};

use super::*;
use crate::testing::{Bench, QUEUE_BOUND, message, scope, submit, subscription};

mod rules;
mod threads;

fn only_target(bench: &Bench) -> Target {
    let pushes = bench.pushes();
    let [(_, Push::Direct { targets, .. })] = &pushes[..] else { panic!("{pushes:?}") };
    let [target] = &targets[..] else { panic!("{targets:?}") };
    target.clone()
}

#[test]
fn overlapping_subscriptions_are_one_delivery() {
    let mut bench = Bench::new();
    let address = bench.attach(1, 2, false);
    let first = Subscription { identifier: Some(5), ..subscription("a/+", AtMostOnce) };
    let second =
        Subscription { identifier: Some(6), retain_as_published: true, ..subscription("a/#", ExactlyOnce) };
    assert!(bench.subscribe(1, first));
    assert!(bench.subscribe(1, second.clone()));
    assert!(!bench.subscribe(1, second), "it replaces the one before");
    assert!(bench.publish(message("a/b", AtMostOnce)));
    let mut target = only_target(&bench);
    target.identifiers.sort_unstable();
    let expected = Target {
        address,
        session: SessionId(1),
        qos: ExactlyOnce,
        retain_as_published: true,
        origin: Origin::Any,
        identifiers: [5, 6].into(),
    };
    assert_eq!(target, expected);
}

#[test]
fn what_waits_for_a_queue_does_not_overtake_what_failed_before_it() {
    let mut bench = Bench::new();
    // Another router makes the queues of groups.
    let slots = Slots::new(tokio::time::Instant::now().into_std());
    bench.router.in_cluster(Incarnation(1), Arc::new(slots));
    for (session, filter) in [(1, "$share/g/t"), (2, "u")] {
        bench.attach(session, 0, true);
        bench.subscribe(session, subscription(filter, AtLeastOnce));
    }
    let publish = |ticket, topic| RoutingRequest::Publish {
        ticket: Some(Ticket(ticket)),
        message: Arc::new(message(topic, AtLeastOnce)),
        from: None,
        once: None,
        fence: None,
    };
    assert!(bench.submit(publish(1, "t")).is_empty());
    bench.store.broken.store(true, Ordering::SeqCst);
    let failed = bench.submit(publish(2, "u")).into_iter().filter_map(|event| match event {
        RoutingEvent::Published { ticket, result: Err(Error::Unavailable(_)), .. } => Some(ticket.0),
        _ => None,
    });
    let mut failed: Vec<u64> = failed.collect();
    failed.sort_unstable();
    assert_eq!(failed, [1, 2], "both are sent again, in order");
    assert!(!bench.lane.has_unanswered());
}

/// The router that is to have the slot next may be the one that makes the queue, and gets it when nothing is unanswered here.
#[test]
fn what_waits_for_a_queue_leaves_with_its_slot() {
    let mut bench = Bench::new();
    let slots = Arc::new(Slots::new(tokio::time::Instant::now().into_std()));
    bench.router.in_cluster(Incarnation(1), slots.clone());
    bench.attach(1, 0, true);
    bench.subscribe(1, subscription("$share/g/+/1", AtLeastOnce));
    let Placement::Pinned(slot) = Placement::of(&scope(), "t/1", &DepthRules::default()) else {
        panic!("a topic has one slot");
    };
    slots.set(slot, Serving::Yes, 3);
    let owned = Owned { fence: Fence { slot: slot.index(), epoch: 3 }, doubtful: false };
    let submitted = bench.submit(RoutingRequest::Publish {
        ticket: Some(Ticket(1)),
        message: Arc::new(message("t/1", AtLeastOnce)),
        from: None,
        once: None,
        fence: Some(owned),
    });
    let answered = |event: &RoutingEvent| match event {
        RoutingEvent::Published { ticket: Ticket(1), result, .. } => Some(result.clone()),
        _ => None,
    };
    assert_eq!(submitted.iter().find_map(answered), None);
    slots.set(slot, Serving::Draining, 3);
    let mut events = Vec::new();
    bench.lane.drain(&mut events);
    assert!(matches!(events.iter().find_map(answered), Some(Err(Error::Unavailable(_)))), "{events:?}");
    assert!(!bench.lane.has_unanswered());
}

#[test]
fn cores_get_one_push_each() {
    let mut bench = Bench::new();
    for (session, core) in [(1, 0), (2, 1), (3, 0)] {
        bench.attach(session, core, false);
        bench.subscribe(session, subscription("a", AtMostOnce));
    }
    bench.publish(message("a", AtMostOnce));
    let count = |(core, push): (u16, Push)| match push {
        Push::Direct { targets, .. } => (core, targets.len()),
        Push::Queued { .. } | Push::Shared { .. } | Push::Tail { .. } => (core, 0),
    };
    let mut counts: Vec<_> = bench.pushes().into_iter().map(count).collect();
    counts.sort_unstable();
    assert_eq!(counts, [(0, 2), (1, 1)]);
}

#[test]
fn persistent_sessions_are_queued_and_others_pushed() {
    let mut bench = Bench::new();
    let address = bench.attach(1, 0, true);
    bench.attach(2, 0, false);
    bench.attach(3, 0, true);
    bench.subscribe(1, Subscription { identifier: Some(9), ..subscription("a", AtLeastOnce) });
    bench.subscribe(2, subscription("a", AtLeastOnce));
    bench.subscribe(3, subscription("a", AtMostOnce));
    assert!(bench.publish(message("a", ExactlyOnce)));
    let pushes = bench.pushes();
    let [
        (_, Push::Direct { targets, .. }),
        (_, Push::Queued { address: to, session, qos, identifiers, position, .. }),
    ] = &pushes[..]
    else {
        panic!("{pushes:?}")
    };
    let mut direct: Vec<_> = targets.iter().map(|target| target.session.0).collect();
    direct.sort_unstable();
    assert_eq!(direct, [2, 3], "granted QoS 0 is not queued");
    assert_eq!((*to, *session, *qos, &identifiers[..]), (address, SessionId(1), AtLeastOnce, &[9][..]));
    assert_eq!(*position, QueuePosition { entry: EntryId(1), previous: EntryId::NONE });
    bench.publish(message("a", AtMostOnce));
    assert_eq!(bench.receivers(), [1, 2, 3], "QoS 0 is not queued for anyone");
    assert_eq!(bench.queue_len(1), 1);
}

#[test]
fn retain_is_kept_only_as_published() {
    let mut bench = Bench::new();
    for (session, keep) in [(1, true), (2, false)] {
        bench.attach(session, 0, true);
        let wanted = Subscription { retain_as_published: keep, ..subscription("a", AtLeastOnce) };
        bench.subscribe(session, wanted);
    }
    bench.publish(Message { retain: true, ..message("a", AtLeastOnce) });
    let kept = bench.store.kept.lock();
    let retain = |session| kept.queues[&SessionId(session)][0].0.retain;
    assert!(retain(1) && !retain(2));
}

#[test]
fn no_local_keeps_a_message_from_its_publisher_only() {
    let mut bench = Bench::new();
    for session in [1, 2] {
        bench.attach(session, 0, true);
        bench.subscribe(session, Subscription { no_local: true, ..subscription("a", AtLeastOnce) });
    }
    assert_eq!(bench.publish_from(message("a", AtLeastOnce), Some(1)), Ok(true));
    assert_eq!((bench.queue_len(1), bench.queue_len(2)), (0, 1));
}

#[test]
fn no_local_counts_for_each_of_overlapping_subscriptions() {
    // Both orders of subscribing, and one that would raise the QoS of what comes from the session itself.
    let local = Subscription { identifier: Some(5), ..subscription("a/+", AtMostOnce) };
    let foreign = Subscription { identifier: Some(6), no_local: true, ..subscription("a/#", AtLeastOnce) };
    for subscriptions in [[&local, &foreign], [&foreign, &local]] {
        for persistent in [false, true] {
            let mut bench = Bench::new();
            bench.attach(1, 0, persistent);
            for subscription in subscriptions {
                assert!(bench.subscribe(1, subscription.clone()));
            }
            bench.publish(message("a/b", AtMostOnce));
            let mut got = Vec::new();
            for (_, push) in bench.pushes() {
                let Push::Direct { targets, .. } = push else { panic!("{push:?}") };
                let mut seen = |target: &Target| {
                    let mut identifiers = target.identifiers.to_vec();
                    identifiers.sort_unstable();
                    got.push((target.origin, target.qos, identifiers));
                };
                targets.iter().for_each(&mut seen);
            }
            let expected = [(Origin::Own, AtMostOnce, vec![5]), (Origin::Others, AtLeastOnce, vec![5, 6])];
            assert_eq!(got, expected);
            if persistent {
                assert_eq!(bench.publish_from(message("a/b", AtLeastOnce), Some(1)), Ok(true));
                assert_eq!(bench.queue_len(1), 0, "its own message comes at QoS 0");
                assert_eq!(bench.publish_from(message("a/b", AtLeastOnce), Some(2)), Ok(true));
                assert_eq!(bench.queue_len(1), 1);
            }
        }
    }
}

#[test]
fn offline_sessions_are_queued_and_told_of_it_when_they_come_back() {
    let mut bench = Bench::new();
    let address = bench.attach(1, 0, true);
    bench.subscribe(1, subscription("a", AtLeastOnce));
    bench.detach(1, address, true);
    assert!(bench.publish(message("a", AtLeastOnce)));
    bench.publish(message("a", AtMostOnce));
    assert!(bench.pushes().is_empty() && bench.queue_len(1) == 1);
    let address = bench.attach(1, 1, true);
    let pushes = bench.pushes();
    let [(1, Push::Tail { address: to, session, tail })] = &pushes[..] else { panic!("{pushes:?}") };
    assert_eq!((*to, *session, *tail), (address, SessionId(1), EntryId(1)));
}

#[test]
fn a_queue_at_its_bound_drops_the_newest() {
    let mut bench = Bench::new();
    bench.attach(1, 0, true);
    bench.subscribe(1, subscription("a", AtLeastOnce));
    for _ in 0..=QUEUE_BOUND {
        assert!(bench.publish(message("a", AtLeastOnce)));
    }
    assert_eq!((bench.queue_len(1), bench.pushes().len()), (QUEUE_BOUND, QUEUE_BOUND));
    assert_eq!(bench.router.metrics.queue_overflows.get(), 1);
}

#[test]
fn a_session_that_the_store_does_not_know_is_forgotten() {
    let mut bench = Bench::new();
    bench.attach(1, 0, true);
    bench.subscribe(1, subscription("a", AtLeastOnce));
    bench.store.kept.lock().queues.clear();
    bench.publish(message("a", AtLeastOnce));
    assert_eq!(bench.router.session_count(), 0);
    assert!(!bench.publish(message("a", AtLeastOnce)));
}

#[test]
fn what_could_not_be_made_durable_is_an_error() {
    let mut bench = Bench::new();
    bench.attach(1, 0, true);
    bench.subscribe(1, subscription("a", AtLeastOnce));
    bench.store.broken.store(true, Ordering::SeqCst);
    assert!(bench.publish_from(message("a", AtLeastOnce), None).is_err());
    assert!(bench.pushes().is_empty());
    assert_eq!(bench.publish_from(message("b", AtLeastOnce), None), Ok(false), "nothing to make durable");
}

#[test]
fn a_session_that_ends_takes_its_subscriptions_along() {
    let mut bench = Bench::new();
    let address = bench.attach(1, 0, false);
    bench.subscribe(1, subscription("a", AtMostOnce));
    bench.detach(1, Address::new(0, 1, 99), false);
    assert!(bench.publish(message("a", AtMostOnce)), "another connection's end changes nothing");
    bench.detach(1, address, false);
    assert!(!bench.publish(message("a", AtMostOnce)));
    assert_eq!(bench.router.session_count(), 0);
    assert!(!bench.subscribe(1, subscription("a", AtMostOnce)), "and none can be added");
    assert!(!bench.publish(message("a", AtMostOnce)));
}

#[test]
fn a_session_may_stop_being_persistent() {
    let mut bench = Bench::new();
    bench.attach(1, 0, true);
    bench.subscribe(1, subscription("a", AtLeastOnce));
    bench.publish(message("a", AtLeastOnce));
    bench.attach(1, 1, false);
    bench.pushes();
    bench.publish(message("a", AtLeastOnce));
    assert_eq!((bench.receivers(), bench.queue_len(1)), (vec![1], 1));
}

#[test]
fn what_an_older_owner_says_changes_nothing() {
    let mut bench = Bench::new();
    let (old, new) = (Address::new(0, 1, 1), Address::new(1, 1, 1));
    bench.attach_owner(1, old, true, OwnerNumber(1));
    bench.subscribe(1, subscription("a", AtLeastOnce));
    bench.attach_owner(1, new, true, OwnerNumber(2));
    let subscribe = |filter: &str, exact, owner| RoutingRequest::Subscribe {
        ticket: Ticket(1),
        session: SessionId(1),
        subscriptions: vec![subscription(filter, AtLeastOnce)],
        exact,
        owner: OwnerNumber(owner),
    };
    bench.submit(subscribe("b", None, 2));
    // Its lane is open again, and a request that waited for that comes, too.
    bench.attach_owner(1, old, true, OwnerNumber(1));
    bench.submit(subscribe("a", Some(1), 1));
    let (ticket, session, filters) = (Ticket(1), SessionId(1), vec!["b".into()]);
    bench.submit(RoutingRequest::Unsubscribe { ticket, session, filters, owner: OwnerNumber(1) });
    bench.submit(subscribe("c", None, 1));
    bench.pushes();
    assert!(bench.publish(message("b", AtLeastOnce)), "what the younger one subscribed to is there");
    assert!(matches!(&bench.pushes()[..], [(1, Push::Queued { address, .. })] if *address == new));
    assert!(!bench.publish(message("c", AtLeastOnce)), "what the older one asked for too late is not");
    bench.submit(subscribe("a", Some(1), 2));
    assert!(!bench.publish(message("b", AtLeastOnce)), "the younger one is heard");
}

#[test]
fn a_gateway_that_missed_a_takeover_does_not_take_away_what_was_loaded() {
    let mut bench = Bench::new();
    bench.store.kept.lock().queues.insert(SessionId(1), Vec::new());
    bench.store.records.lock().push(SessionRecord {
        session: SessionId(1),
        scope: scope(),
        client_id: "c".into(),
        subscriptions: ["a", "b"].map(|filter| subscription(filter, AtLeastOnce)).into(),
        live: false,
        version_number: 2,
    });
    assert_eq!(bench.router.warm_up(), Ok(1));
    bench.attach_owner(1, Address::new(0, 1, 1), true, OwnerNumber(1));
    let (ticket, session, exact, owner) = (Ticket(1), SessionId(1), Some(1), OwnerNumber(1));
    let subscriptions = vec![subscription("a", AtLeastOnce)];
    bench.submit(RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner });
    assert!(bench.publish(message("b", AtLeastOnce)));
    assert_eq!((bench.queue_len(1), bench.receivers().len()), (1, 0));
}

/// It lists what this router must hold by its own table.
#[test]
fn a_gateway_with_an_older_table_does_not_take_away_what_it_cannot_know_of() {
    let mut bench = Bench::new();
    let slots = Arc::new(Slots::new(tokio::time::Instant::now().into_std()));
    let place = |filter| Placement::of(&scope(), filter, &DepthRules::default());
    [("a", 5), ("b", 7)].into_iter().for_each(|(filter, since)| slots.hold_since(place(filter), since));
    bench.router.in_cluster(Incarnation(1), slots);
    bench.attach_owner(1, Address::new(0, 1, 1), true, OwnerNumber(1));
    bench.subscribe(1, subscription("a", AtLeastOnce));
    bench.subscribe(1, subscription("b", AtLeastOnce));
    let mut listed = |exact| {
        let (ticket, session, owner) = (Ticket(1), SessionId(1), OwnerNumber(2));
        let subscriptions = vec![subscription("c", AtLeastOnce)];
        bench.submit(RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner });
        ["a", "b", "c"].map(|topic| bench.publish(message(topic, AtMostOnce)))
    };
    assert_eq!(listed(Some(4)), [true; 3]);
    assert_eq!(listed(Some(6)), [false, true, true]);
    assert_eq!(listed(Some(7)), [false, false, true]);
}

#[test]
fn unsubscribing_ends_deliveries() {
    let mut bench = Bench::new();
    bench.attach(1, 0, false);
    bench.subscribe(1, subscription("a", AtMostOnce));
    let (filters, owner) = (vec!["a".into(), "b".into()], OwnerNumber(1));
    let request = RoutingRequest::Unsubscribe { ticket: Ticket(3), session: SessionId(1), filters, owner };
    let events = bench.submit(request);
    let [RoutingEvent::Unsubscribed { ticket: Ticket(3), existed }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(existed[..], [true, false]);
    assert!(!bench.publish(message("a", AtMostOnce)));
}

#[test]
fn retained_messages_are_set_and_cleared() {
    let mut bench = Bench::new();
    let retained =
        |payload: &'static str| Message { retain: true, payload: payload.into(), ..message("a", AtMostOnce) };
    assert!(!bench.publish(retained("on")), "kept, but nobody matched");
    assert!(bench.lane.unmatched.is_empty());
    assert!(!bench.publish(retained("")));
    bench.publish(Message { retain: true, ..message("$aws/things/t/shadow/update", AtLeastOnce) });
    let kept = &bench.store.kept.lock().retained;
    let expected: [(Utf8Bytes, _); 2] =
        [("a".into(), RetainedChange::Set), ("a".into(), RetainedChange::Clear)];
    assert_eq!(kept[..], expected);
}

#[test]
fn reserved_topics_reach_only_those_who_may_have_them() {
    let mut bench = Bench::new();
    bench.attach(1, 0, false);
    bench.subscribe(1, subscription("$aws/things/t/#", AtMostOnce));
    bench.set_rule("all", Some("$aws/things/#"));
    for (topic, delivered, ruled) in [
        ("$aws/things/t/shadow/update/accepted", true, true),
        ("$aws/things/t/jobs/get", false, true),
        ("$aws/things/t/jobs/get/accepted", false, false),
    ] {
        assert_eq!(bench.publish(message(topic, AtMostOnce)), delivered || ruled, "{topic}");
        assert_eq!(bench.receivers().len(), usize::from(delivered), "{topic}");
        assert_eq!(std::mem::take(&mut bench.store.kept.lock().rules).len(), usize::from(ruled), "{topic}");
    }
}

#[test]
fn other_dollar_topics_are_as_the_profile_says() {
    for (profile, delivered) in [(Profile::Standard, true), (Profile::Aws, false)] {
        let mut bench = Bench::with(Behaviour::of(profile));
        bench.attach(1, 0, false);
        bench.subscribe(1, subscription("$x/#", AtMostOnce));
        assert_eq!(bench.publish(message("$x/y", AtMostOnce)), delivered);
    }
}

#[test]
fn stored_sessions_are_there_after_the_warm_up() {
    let mut bench = Bench::new();
    for session in 1..=3 {
        bench.store.kept.lock().queues.insert(SessionId(session), Vec::new());
        bench.store.records.lock().push(SessionRecord {
            session: SessionId(session),
            scope: scope(),
            client_id: "c".into(),
            subscriptions: vec![subscription("a", AtLeastOnce)],
            live: false,
            version_number: 1,
        });
    }
    assert_eq!(bench.router.warm_up(), Ok(3));
    assert!(bench.publish(message("a", AtLeastOnce)));
    assert_eq!((bench.queue_len(1), bench.queue_len(3)), (1, 1));
    assert!(bench.pushes().is_empty());
}

#[test]
fn what_is_queued_for_sessions_that_nobody_is_connected_to_has_a_rate() {
    for (rate, expected) in [(None, 3), (Some(3), 3), (Some(2), 2)] {
        let limits = Limits { queued_per_sec_account: rate, ..Limits::of(Profile::Standard) };
        let mut bench = Bench::with_limits(Behaviour::of(Profile::Standard), limits);
        bench.attach(1, 0, true);
        let away = bench.attach(2, 0, true);
        for session in [1, 2] {
            bench.subscribe(session, subscription("a", AtLeastOnce));
        }
        bench.detach(2, away, true);
        for _ in 0..3 {
            bench.publish(message("a", AtLeastOnce));
        }
        assert_eq!((bench.queue_len(1), bench.queue_len(2)), (3, expected), "{rate:?}");
        assert_eq!(bench.router.metrics.queue_throttled.get(), 3 - expected as u64);
    }
}

#[test]
fn who_would_be_reached_and_how_many_subscriptions_there_are() {
    let mut bench = Bench::new();
    let events = "$aws/events/presence/connected/c";
    let reached = |bench: &Bench, topic: &str| bench.lane.reaches_anyone(scope(), topic);
    assert!(!reached(&bench, events));
    bench.attach(1, 0, false);
    for filter in ["#", "$aws/events/presence/#", "b"] {
        bench.subscribe(1, subscription(filter, AtMostOnce));
    }
    assert!(reached(&bench, events) && !reached(&bench, "$aws/events/subscriptions/subscribed/c"));
    assert_eq!(bench.lane.subscription_count(scope()), 3);
    bench.submit(RoutingRequest::Forget { session: SessionId(1) });
    assert!(!reached(&bench, events));
    assert_eq!(bench.lane.subscription_count(scope()), 0);
    bench.set_rule("seen", Some("$aws/events/#"));
    assert!(reached(&bench, events));
}

/// Session 9 publishes under this packet identifier.
fn received(id: u16) -> Once {
    let token = OwnerToken { incarnation: 1, counter: 1 };
    Once::Received { session: SessionId(9), token, packet_id: id.try_into().unwrap() }
}

#[test]
fn what_happens_once_reaches_live_receivers_once_and_not_before_it_is_recorded() {
    let mut bench = Bench::new();
    bench.attach(1, 0, false);
    bench.subscribe(1, subscription("a", ExactlyOnce));
    let publish = |bench: &mut Bench, id| {
        let outcome = bench.publish_once(message("a", ExactlyOnce), Some(9), Some(received(id)));
        let direct = |push: &(u16, Push)| matches!(push.1, Push::Direct { from: Some(SessionId(9)), .. });
        (outcome, bench.pushes().iter().filter(|push| direct(push)).count())
    };
    assert_eq!(publish(&mut bench, 1), (Ok(true), 1));
    assert_eq!(publish(&mut bench, 1), (Err(Error::AlreadyDone), 0), "a repeat");
    bench.store.broken.store(true, Ordering::SeqCst);
    let (outcome, pushed) = publish(&mut bench, 2);
    assert!(outcome.is_err() && pushed == 0, "nobody gets what is not recorded");
}

/// Publishes once; what is pushed before the store has answered, and after.
fn share_once(bench: &mut Bench, id: u16) -> (usize, usize) {
    let (message, once) = (Arc::new(message("a", ExactlyOnce)), Some(received(id)));
    let (ticket, from) = (Some(Ticket(7)), Some(SessionId(9)));
    bench.lane.submit(&mut vec![RoutingRequest::Publish { ticket, message, from, once, fence: None }]);
    let before = bench.pushes().len();
    bench.lane.drain(&mut Vec::new());
    let pushes = bench.pushes();
    assert!(pushes.iter().all(|(_, push)| matches!(push, Push::Shared { .. })), "{pushes:?}");
    (before, pushes.len())
}

#[test]
fn a_share_of_what_happens_once_is_given_out_once_and_not_before_it_is_recorded() {
    let mut bench = Bench::new();
    bench.attach(1, 0, false);
    bench.subscribe(1, subscription("$share/g/a", ExactlyOnce));
    let credit = bench.router.subscriber(SessionId(1)).unwrap().credit();
    assert!(!credit.adjust(2), "nobody waits");
    assert_eq!(share_once(&mut bench, 1), (0, 1));
    assert_eq!(credit.room(), 1);
    assert_eq!(share_once(&mut bench, 1), (0, 0), "a repeat");
    bench.store.broken.store(true, Ordering::SeqCst);
    assert_eq!(share_once(&mut bench, 2), (0, 0), "nobody gets what is not recorded");
    assert_eq!(credit.room(), 1, "given back");
    assert!(bench.lane.withheld.is_empty());
}

#[test]
fn a_share_of_what_happens_once_waits_once_for_a_member_with_room() {
    let mut bench = Bench::new();
    bench.attach(1, 0, false);
    bench.subscribe(1, subscription("$share/g/a", ExactlyOnce));
    for _ in 0..3 {
        assert_eq!(share_once(&mut bench, 1), (0, 0), "the member has no room");
    }
    assert!(bench.router.subscriber(SessionId(1)).unwrap().credit().adjust(5), "the group waits");
    bench.submit(RoutingRequest::Ready { session: SessionId(1), returned: false });
    assert_eq!(bench.pushes().len(), 1);
}

#[test]
fn where_the_lease_is_in_doubt_the_store_is_asked_before_the_answer() {
    let mut bench = Bench::new();
    let mut publish = |doubtful, ticket: Option<Ticket>| {
        let fence = Some(Owned { fence: Fence { slot: 1, epoch: 1 }, doubtful });
        let message = Arc::new(message("nobody", AtLeastOnce));
        bench.lane.submit(&mut vec![RoutingRequest::Publish {
            ticket,
            message,
            from: None,
            once: None,
            fence,
        }]);
        let asked = bench.store.publishes.swap(0, Ordering::SeqCst);
        let mut events = Vec::new();
        bench.lane.drain(&mut events);
        let ([] | [RoutingEvent::Published { matched: false, result: Ok(()), .. }]) = &events[..] else {
            panic!("{events:?}")
        };
        (asked, events.len())
    };
    assert_eq!(publish(false, Some(Ticket(1))), (0, 1));
    assert_eq!(publish(true, Some(Ticket(2))), (1, 1));
    assert_eq!(publish(true, None), (0, 0));
}
