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
    let owner = |number| (number < owned).then_some(ROUTER);
    let slot = |number| SlotOwner { owner: owner(number), next: None, standby: None, epoch: 1 };
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
    let (ticket, subscriptions, exact) = (Ticket(1), vec![subscription], false);
    lanes.submit(&mut vec![
        RoutingRequest::Attach { session, scope, persistent: true, address, credit, owner },
        RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner },
    ]);
}

/// The router does what it is asked.
fn confirm(lanes: &mut Lanes, generation: u64, now: Instant) {
    let mut out = Vec::new();
    lanes.poll(ROUTER, generation, usize::MAX, &mut out);
    for frame in out {
        if let Outgoing::Control(Control::Subscribe { ticket, subscriptions, .. }) = frame {
            let new = vec![true; subscriptions.len()];
            let reply = Reply::Subscribed { ticket, new, over_quota: Vec::new() };
            lanes.receive(ROUTER, generation, reply, now);
        }
    }
}

fn is_answered(lanes: &mut Lanes) -> bool {
    let mut events = Vec::new();
    lanes.drain(&mut events);
    events.iter().any(|event| matches!(event, RoutingEvent::Subscribed { ticket: Ticket(1), .. }))
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
