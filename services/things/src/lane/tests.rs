use fleethaven_storage::SessionId;

use super::*;
use crate::testing::{Bell, Bench, FakeLane, Routers, publish};

const UPDATE: &str = "$aws/things/t/shadow/update";
const BODY: &str = r#"{"state":{"reported":{"v":1}}}"#;

struct Scene {
    bench: Bench,
    routers: Arc<Mutex<Routers>>,
    bell: Arc<Bell>,
    lane: DeskLane,
}

impl Scene {
    fn new(is_open: bool) -> Self {
        let bench = Bench::new(is_open, |_| ());
        let (routers, bell) = (Arc::<Mutex<Routers>>::default(), Arc::<Bell>::default());
        let inner = Box::new(FakeLane(routers.clone()));
        let lane = DeskLane::new(inner, bench.desk.clone(), bell.clone());
        Self { bench, routers, bell, lane }
    }

    fn submit(&mut self, topic: &str, ticket: u64) {
        let message = self.bench.message(topic, BODY);
        self.lane.submit(&mut vec![publish(message, Some(ticket), 1)]);
    }

    fn routed(&self, ticket: u64, result: Result<(), Error>) {
        let event = RoutingEvent::Published { ticket: Ticket(ticket), matched: false, result };
        self.routers.lock().events.push(event);
    }

    /// Tickets and results of what is answered now.
    fn drain(&mut self) -> Vec<(u64, bool, Result<(), Error>)> {
        let mut events = Vec::new();
        self.lane.drain(&mut events);
        let published = |event| match event {
            RoutingEvent::Published { ticket, matched, result } => (ticket.0, matched, result),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(published).collect()
    }
}

#[tokio::test]
async fn a_request_is_answered_when_both_have_it() {
    let mut scene = Scene::new(false);
    scene.submit("a", 1);
    scene.submit(UPDATE, 2);
    assert_eq!(scene.routers.lock().submitted, 2, "subscribers and rules get requests too");
    scene.routed(1, Ok(()));
    scene.routed(2, Ok(()));
    assert_eq!(scene.drain(), [(1, false, Ok(()))], "what is no request waits for nobody");
    scene.bench.metadata.permits.add_permits(1);
    scene.bell.0.notified().await;
    assert_eq!(scene.drain(), [(2, true, Ok(()))]);
    // And in the other order.
    scene.submit(UPDATE, 3);
    scene.bench.metadata.permits.add_permits(1);
    scene.bell.0.notified().await;
    assert_eq!(scene.drain(), []);
    scene.routed(3, Ok(()));
    assert_eq!(scene.drain(), [(3, true, Ok(()))]);
    assert!(scene.lane.halves.is_empty());
}

#[tokio::test]
async fn what_the_routers_do_not_take_is_not_acknowledged() {
    let mut scene = Scene::new(true);
    let failed = || Error::Unavailable("broken".to_owned());
    scene.submit(UPDATE, 1);
    scene.routed(1, Err(failed()));
    assert_eq!(scene.drain(), [(1, false, Err(failed()))]);
    scene.bell.0.notified().await;
    assert_eq!(scene.drain(), []);
    // Under the packet identifier of a publish that was recorded: the request is carried out, as it may not have been.
    scene.submit(UPDATE, 2);
    scene.routed(2, Err(Error::AlreadyDone));
    scene.bell.0.notified().await;
    assert_eq!(scene.drain(), [(2, true, Err(Error::AlreadyDone))]);
    assert_eq!(scene.bench.metadata.executed.lock().len(), 2);
}

#[tokio::test]
async fn wills_are_no_requests() {
    let mut scene = Scene::new(true);
    let message = scene.bench.message(UPDATE, BODY);
    let will = |message| RoutingRequest::Publish {
        ticket: Some(Ticket(1)),
        message,
        from: None,
        once: Some(Once::Will(SessionId(1))),
        fence: None,
    };
    scene.lane.submit(&mut vec![will(message.clone())]);
    scene.lane.submit(&mut vec![publish(message, None, 1)]);
    scene.submit("$aws/things/t/shadow/get", 2);
    scene.routed(2, Ok(()));
    scene.bell.0.notified().await;
    scene.drain();
    // The publish at QoS 0 was carried out before the get of the same thing.
    assert_eq!(scene.bench.metadata.executed.lock().len(), 1);
    assert_eq!(scene.bench.told()[0].1["version"], 1);
}

#[tokio::test]
async fn what_is_asked_of_fleet_provisioning_is_for_one_client_alone() {
    let mut scene = Scene::new(true);
    scene.submit("$aws/certificates/create-from-csr/json", 7);
    assert_eq!(scene.routers.lock().submitted, 0, "neither subscribers nor rules get it");
    scene.bell.0.notified().await;
    let mut events = Vec::new();
    scene.lane.drain(&mut events);
    let [RoutingEvent::Answered { ticket, answer }, RoutingEvent::Published { ticket: done, result, .. }] =
        &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((*ticket, *done, result.is_ok()), (Ticket(7), Ticket(7), true));
    assert_eq!(answer.topic.as_str(), "$aws/certificates/create-from-csr/json/rejected");
    assert!(scene.bench.broker.messages.lock().is_empty(), "it is not published");
    // A will asks for nothing, and nobody waits for its answer.
    let message = scene.bench.message("$aws/certificates/create/json", "");
    scene.lane.submit(&mut vec![publish(message, None, 1)]);
    assert_eq!((scene.drain(), scene.routers.lock().submitted), (Vec::new(), 0));
}
