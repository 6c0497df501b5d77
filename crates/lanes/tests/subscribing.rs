//! When a subscription is answered.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Instant;

use fleethaven_fabric::delivery::{Address, Credit};
use fleethaven_fabric::membership::{Incarnation, Member, Phase, Role, RoutingTable, SlotOwner};
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_fabric::{RoutingEvent, RoutingRequest};
use fleethaven_lanes::Lanes;
use fleethaven_lanes::frame::{Control, Reply};
use fleethaven_lanes::gateway::{Options, Outgoing};
use fleethaven_storage::{SessionId, Subscription, Ticket};
use fleethaven_topics::{Depths, Slot};
use fleethaven_types::{QoS, Scope};

const ROUTER: Incarnation = Incarnation(7);

/// One router, which owns so many of the slots.
fn table(version: u64, owned: usize) -> Arc<RoutingTable> {
    table_in(version, owned, 1)
}

fn table_in(version: u64, owned: usize, epoch: u64) -> Arc<RoutingTable> {
    let owner = |number| (number < owned).then_some(ROUTER);
    let slot = |number| SlotOwner { owner: owner(number), next: None, standby: None, epoch };
    let member = Member {
        incarnation: ROUTER,
        role: Role::Router,
        address: String::new(),
        phase: Phase::Serving,
        version: String::new(),
    };
    let slots: Vec<_> = (0..Slot::all().count()).map(slot).collect();
    let (depths, change, members) = (Depths::default(), None, vec![member].into());
    Arc::new(RoutingTable { version, depths, change, slots: slots.into(), members })
}

fn subscribe(lanes: &mut Lanes, filter: &str) {
    let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
    let (session, owner) = (SessionId(1), OwnerNumber(1));
    let (address, credit) = (Address::new(0, 1, 1), Credit::default());
    let subscription = Subscription {
        filter: filter.into(),
        qos: QoS::AtLeastOnce,
        no_local: false,
        retain_as_published: false,
        retain_handling: 0,
        identifier: None,
    };
    let (ticket, subscriptions, exact) = (Ticket(1), vec![subscription], None);
    lanes.submit(&mut vec![
        RoutingRequest::Attach { session, scope, persistent: true, address, credit, owner },
        RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner },
    ]);
}

/// What the router is asked for and somebody waits for: tickets, and the versions of the table.
fn asked(lanes: &mut Lanes, generation: u64) -> Vec<(u64, u64)> {
    let mut out = Vec::new();
    lanes.poll(ROUTER, generation, usize::MAX, &mut out);
    let asked = out.into_iter().filter_map(|frame| match frame {
        Outgoing::Control(Control::Subscribe { ticket, version, .. }) => Some((ticket, version)),
        _ => None,
    });
    asked.filter(|(ticket, _)| *ticket != 0).collect()
}

fn answer(lanes: &mut Lanes, generation: u64, ticket: u64, new: bool, now: Instant) {
    let reply = Reply::Subscribed { ticket, new: vec![new], over_quota: Vec::new() };
    lanes.receive(ROUTER, generation, reply, now);
}

/// The router does what it is asked.
fn confirm(lanes: &mut Lanes, generation: u64, now: Instant) {
    for (ticket, _) in asked(lanes, generation) {
        answer(lanes, generation, ticket, true, now);
    }
}

/// Whether the filter was new, once that is answered.
fn answered(lanes: &mut Lanes) -> Option<bool> {
    let mut events = Vec::new();
    lanes.drain(&mut events);
    events.iter().find_map(|event| match event {
        RoutingEvent::Subscribed { ticket: Ticket(1), new, .. } => new.first().copied(),
        _ => None,
    })
}

fn is_answered(lanes: &mut Lanes) -> bool {
    answered(lanes).is_some()
}

/// The owner before may acknowledge publishes to the slots that have none now, and matches them without.
#[test]
#[expect(clippy::disallowed_methods, reason = "some moment to count from")]
fn one_with_a_wildcard_waits_until_every_slot_has_an_owner() {
    let (mut lanes, now, slots) = (Lanes::new(Options::default()), Instant::now(), Slot::all().count());
    lanes.set_table(table(1, slots - 1), now);
    subscribe(&mut lanes, "t/#");
    let generation = lanes.opened(ROUTER, now).unwrap();
    confirm(&mut lanes, generation, now);
    assert!(!is_answered(&mut lanes), "one slot has nobody");
    lanes.set_table(table(2, slots), now);
    confirm(&mut lanes, generation, now);
    assert!(is_answered(&mut lanes));
}

/// What it said before it was the owner says nothing of what the owner before may acknowledge until its fence is raised.
#[test]
#[expect(clippy::disallowed_methods, reason = "some moment to count from")]
fn who_becomes_the_owner_of_a_slot_is_asked_again() {
    let (mut lanes, now, slots) = (Lanes::new(Options::default()), Instant::now(), Slot::all().count());
    lanes.set_table(table(1, slots - 1), now);
    subscribe(&mut lanes, "t/#");
    let generation = lanes.opened(ROUTER, now).unwrap();
    let first = asked(&mut lanes, generation);
    assert!(matches!(first[..], [(_, 1)]), "{first:?}");
    answer(&mut lanes, generation, first[0].0, true, now);
    lanes.set_table(table(2, slots), now);
    let second = asked(&mut lanes, generation);
    assert!(matches!(second[..], [(_, 2)]), "{second:?}");
    assert!(!is_answered(&mut lanes));
    answer(&mut lanes, generation, second[0].0, false, now);
    assert_eq!(answered(&mut lanes), Some(true), "that it is there now is what was asked for first");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "some moment to count from")]
fn an_answer_from_before_another_epoch_does_not_count() {
    let (mut lanes, now, slots) = (Lanes::new(Options::default()), Instant::now(), Slot::all().count());
    lanes.set_table(table(1, slots), now);
    subscribe(&mut lanes, "t/#");
    let generation = lanes.opened(ROUTER, now).unwrap();
    let first = asked(&mut lanes, generation);
    lanes.set_table(table_in(2, slots, 2), now);
    lanes.set_table(table_in(3, slots, 2), now);
    answer(&mut lanes, generation, first[0].0, true, now);
    assert!(!is_answered(&mut lanes));
    let second = asked(&mut lanes, generation);
    assert!(matches!(second[..], [(_, 2)]), "asked once, as nothing changed with the third: {second:?}");
    answer(&mut lanes, generation, second[0].0, true, now);
    assert!(is_answered(&mut lanes));
}
