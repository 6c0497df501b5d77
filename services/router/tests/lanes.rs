//! Gateways and routers over real connections: what is published at one gateway reaches the subscribers of another, through
//! the owner of its topic's slot, in order, and without loss of what was acknowledged when an owner dies.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

#[path = "lanes/cluster.rs"]
mod cluster;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::{Cluster, Gateway, message, subscription};
use fleethaven_fabric::delivery::Push;
use fleethaven_fabric::{RoutingEvent, RoutingRequest};
use fleethaven_storage::{EntryId, SessionId, SessionStore, Ticket};
use fleethaven_types::Message;
use fleethaven_types::QoS::{AtLeastOnce, AtMostOnce};

/// Payloads of direct pushes to a session, in order.
fn direct(pushes: &[Push], session: SessionId) -> Vec<String> {
    let payload = |push: &Push| match push {
        Push::Direct { message, targets, .. } if targets.iter().any(|target| target.session == session) => {
            Some(String::from_utf8(message.payload.to_vec()).unwrap())
        }
        _ => None,
    };
    pushes.iter().filter_map(payload).collect()
}

#[tokio::test]
async fn what_one_gateway_publishes_the_clients_of_another_get() {
    let cluster = Cluster::new();
    let _router = cluster.router().await;
    let (mut here, mut there) = (cluster.gateway(), cluster.gateway());
    let clean = SessionId(1 << 40);
    let address = there.attach(clean, false);
    assert!(there.subscribe(clean, "a/b/c/d", AtLeastOnce).await);
    assert!(!there.subscribe(clean, "a/b/c/d", AtLeastOnce).await, "not new any more");
    assert!(there.subscribe(clean, "+/b/#", AtMostOnce).await);
    assert!(here.publish_acknowledged(message("a/b/c/d", AtLeastOnce, "1")).await);
    assert!(!here.publish_acknowledged(message("nobody", AtLeastOnce, "2")).await);
    here.publish(message("a/b/c/d", AtMostOnce, "3"), None);
    assert!(here.publish_acknowledged(message("x/b", AtLeastOnce, "4")).await);
    let got = there.pushed(|pushes| Some(direct(pushes, clean)).filter(|got| got.len() == 3)).await;
    assert_eq!(got, ["1", "3", "4"]);
    let at = there
        .pushed(|pushes| match &pushes[0] {
            Push::Direct { targets, message, .. } => Some((targets[0].address, message.publisher.clone())),
            _ => None,
        })
        .await;
    assert_eq!(at.0, address, "as the gateway knows it");
    assert_eq!(*at.1, *message("", AtMostOnce, "").publisher);

    let persistent = cluster.claim("persistent").await.session;
    let address = there.attach(persistent, true);
    assert!(there.subscribe(persistent, "q/#", AtLeastOnce).await);
    assert!(here.publish_acknowledged(message("q/1", AtLeastOnce, "5")).await);
    let queued = |pushes: &[Push]| {
        pushes.iter().find_map(|push| match push {
            Push::Queued { address, session, position, .. } if *session == persistent => {
                Some((*address, position.entry))
            }
            _ => None,
        })
    };
    assert_eq!(there.pushed(queued).await, (address, EntryId(1)));
}

/// Topics of many slots.
const TOPICS: usize = 40;

fn topic(index: usize) -> String {
    format!("fleet/{}/{index}/state", index % 7)
}

/// A publisher that numbers its messages, each topic's in order, and knows what was acknowledged.
struct Load {
    gateway: Gateway,
    next: usize,
    open: BTreeMap<Ticket, usize>,
    acknowledged: BTreeSet<usize>,
}

impl Load {
    fn new(gateway: Gateway) -> Self {
        Self { gateway, next: 0, open: BTreeMap::new(), acknowledged: BTreeSet::new() }
    }

    /// Publishes so many more, with 50 unacknowledged at most.
    async fn publish(&mut self, count: usize) {
        for _ in 0..count {
            if self.open.len() >= 50 {
                self.acknowledged().await;
            }
            let ticket = self.gateway.ticket();
            self.open.insert(ticket, self.next);
            let message = message(&topic(self.next % TOPICS), AtLeastOnce, &self.next.to_string());
            self.gateway.publish(message, Some(ticket));
            self.next += 1;
        }
    }

    async fn acknowledged(&mut self) {
        let ticket = self.gateway.event(|event| match event {
            RoutingEvent::Published { ticket, result, .. } => {
                assert_eq!(*result, Ok(()));
                Some(*ticket)
            }
            _ => None,
        });
        let ticket = ticket.await;
        self.acknowledged.insert(self.open.remove(&ticket).unwrap());
    }

    async fn finish(&mut self) {
        while !self.open.is_empty() {
            self.acknowledged().await;
        }
    }

    /// Everything is in the queue, and each topic's messages are in order where they stand first.
    fn check(&self, queue: &[Arc<Message>]) {
        assert_eq!(self.acknowledged.len(), self.next);
        let mut seen = BTreeSet::new();
        let mut last = BTreeMap::new();
        for message in queue {
            let number: usize = std::str::from_utf8(&message.payload).unwrap().parse().unwrap();
            if seen.insert(number) {
                let before = last.insert(number % TOPICS, number);
                assert!(before < Some(number), "{number} comes after {before:?}");
            }
        }
        assert_eq!(seen.len(), self.next, "all that was published");
    }
}

/// A persistent session with a spread filter, at a gateway of its own, and the load.
async fn loaded(cluster: &Cluster) -> (SessionId, Gateway, Load) {
    let session = cluster.claim("subscriber").await.session;
    let mut gateway = cluster.gateway();
    gateway.attach(session, true);
    cluster.record(session, vec![subscription("fleet/+/#", AtLeastOnce)]).await;
    assert!(gateway.subscribe(session, "fleet/+/#", AtLeastOnce).await);
    (session, gateway, Load::new(cluster.gateway()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_an_owner_dies() {
    let cluster = Cluster::new();
    let mut first = cluster.router().await;
    let second = cluster.router().await;
    let (session, _subscriber, mut load) = loaded(&cluster).await;
    load.publish(500).await;
    first.kill();
    load.publish(500).await;
    let mut third = cluster.router().await;
    load.publish(500).await;
    drop(second);
    load.publish(500).await;
    load.finish().await;
    third.until(|standing| standing.serving == 1024).await;
    load.check(&cluster.queue(session).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routers_come_and_go_in_order() {
    let cluster = Cluster::new();
    let mut first = cluster.router().await;
    let (session, _subscriber, mut load) = loaded(&cluster).await;
    load.publish(300).await;
    let mut second = cluster.router().await;
    load.publish(300).await;
    first.drain().await;
    load.publish(300).await;
    second.until(|standing| standing.serving == 1024).await;
    let _third = cluster.router().await;
    load.publish(300).await;
    load.finish().await;
    load.check(&cluster.queue(session).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_has_one_queue_whoever_owns_its_slot() {
    let cluster = Cluster::new();
    let mut first = cluster.router().await;
    let (mut here, mut there) = (cluster.gateway(), cluster.gateway());
    let member = cluster.claim("member").await.session;
    there.attach(member, true);
    let filter = "$share/group/fleet/1/1/state";
    cluster.record(member, vec![subscription(filter, AtLeastOnce)]).await;
    assert!(there.subscribe(member, filter, AtLeastOnce).await);
    let mut publish = async |number: usize| {
        let message = message(&topic(1), AtLeastOnce, &number.to_string());
        assert!(here.publish_acknowledged(message).await);
    };
    publish(0).await;
    let mut second = cluster.router().await;
    publish(1).await;
    first.kill();
    publish(2).await;
    let _third = cluster.router().await;
    second.drain().await;
    publish(3).await;
    let [group] = &cluster.store.groups().unwrap()[..] else { panic!("one group has one queue") };
    let waiting = cluster.shares(group.group).await;
    let waiting: Vec<_> = waiting.iter().map(|message| message.payload.to_vec()).collect();
    assert_eq!(waiting, [b"0", b"1", b"2", b"3"].map(|number| number.to_vec()), "the member has no room");
}

#[tokio::test]
async fn a_member_of_a_group_gets_as_much_as_it_has_room_for() {
    let cluster = Cluster::new();
    let _router = cluster.router().await;
    let (mut here, mut there) = (cluster.gateway(), cluster.gateway());
    let member = SessionId(1 << 40);
    there.attach(member, false);
    assert!(there.subscribe(member, "$share/group/#", AtLeastOnce).await);
    let shares = |count: usize| {
        move |pushes: &[Push]| {
            let of = |push: &&Push| matches!(push, Push::Shared { session, .. } if *session == member);
            (pushes.iter().filter(of).count() >= count).then_some(pushes.len())
        }
    };
    let ready = RoutingRequest::Ready { session: member, returned: false };
    assert!(there.credit.adjust(2), "the lanes have asked to be told");
    there.submit(ready);
    for number in 0..5 {
        assert!(here.publish_acknowledged(message("t", AtLeastOnce, &number.to_string())).await);
    }
    assert_eq!(there.pushed(shares(2)).await, 2);
    assert_eq!(there.credit.room(), 0, "what has arrived was taken off");
    for count in 3..=5 {
        assert!(there.credit.adjust(1));
        there.submit(RoutingRequest::Ready { session: member, returned: false });
        assert_eq!(there.pushed(shares(count)).await, count);
        assert_eq!(there.credit.room(), 0);
    }
}

#[tokio::test]
async fn a_member_that_was_subscribed_to_something_else_before_is_asked_what_it_has_room_for() {
    let cluster = Cluster::new();
    let _router = cluster.router().await;
    let mut gateway = cluster.gateway();
    let member = SessionId(1 << 40);
    gateway.attach(member, false);
    assert!(gateway.subscribe(member, "plain", AtLeastOnce).await);
    assert!(!gateway.credit.adjust(1), "it is in no group");
    assert!(gateway.subscribe(member, "$share/group/#", AtLeastOnce).await);
    assert!(gateway.credit.adjust(1), "the lanes have asked to be told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_has_room_for_fewer_messages_than_there_are_routers_gets_them_all() {
    let cluster = Cluster::new();
    let _routers = [cluster.router().await, cluster.router().await, cluster.router().await];
    let (mut here, mut there) = (cluster.gateway(), cluster.gateway());
    let member = SessionId(1 << 40);
    there.attach(member, false);
    assert!(there.subscribe(member, "$share/group/#", AtLeastOnce).await);
    for number in 0..6 {
        assert!(here.publish_acknowledged(message(&format!("t/{number}"), AtLeastOnce, "x")).await);
    }
    let mut arrived = 0;
    while arrived < 6 {
        there.credit.reset(1);
        there.submit(RoutingRequest::Ready { session: member, returned: false });
        let more = |pushes: &[Push]| {
            let shared = pushes.iter().filter(|push| matches!(push, Push::Shared { .. })).count();
            (shared > arrived).then_some(shared)
        };
        arrived = there.pushed(more).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_over_knows_the_subscriptions_of_all() {
    let cluster = Cluster::new();
    let mut first = cluster.router().await;
    let (mut here, mut there) = (cluster.gateway(), cluster.gateway());
    let offline = cluster.claim("offline").await.session;
    let clean = SessionId(1 << 40);
    there.attach(clean, false);
    let filters: Vec<_> = (0..TOPICS).map(topic).collect();
    for filter in &filters {
        cluster.record(offline, vec![subscription(filter, AtLeastOnce)]).await;
        assert!(there.subscribe(clean, filter, AtMostOnce).await);
    }
    let _second = cluster.router().await;
    first.kill();
    for (number, filter) in filters.iter().enumerate() {
        assert!(here.publish_acknowledged(message(filter, AtLeastOnce, &number.to_string())).await);
    }
    assert_eq!(cluster.queue(offline).await.len(), TOPICS);
    let got = there.pushed(|pushes| Some(direct(pushes, clean)).filter(|got| got.len() >= TOPICS)).await;
    assert_eq!(got, (0..TOPICS).map(|number| number.to_string()).collect::<Vec<_>>());
}
