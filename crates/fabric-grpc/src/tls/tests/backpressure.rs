//! Whose lanes a router holds back when its store has fallen behind.

use std::sync::atomic::{AtomicBool, Ordering};

use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::{Routing, RoutingEvent, RoutingRequest, Traces};
use fleethaven_lanes::router::{Gathering, LaneId, Slots};
use fleethaven_storage::Wake;
use fleethaven_types::Scope;
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tonic::Streaming;
use tonic::service::Routes;

use super::*;
use crate::generated::routing::lane_request::Request as Asked;
use crate::generated::routing::lane_response::Response as Answer;
use crate::generated::routing::routing_client::RoutingClient;
use crate::generated::routing::{LaneRequest, LaneResponse, Open, Unsubscribe};
use crate::routing::{Deliveries, RoutingServer};

const ROUTER: u64 = 7;

/// What all lanes of the router share.
#[derive(Default)]
struct Store {
    full: AtomicBool,
    lanes: Mutex<Vec<Arc<dyn Wake>>>,
}

/// A lane that answers at once, and tells in its answer whether the store was full when it was asked.
struct Lane {
    store: Arc<Store>,
    answers: Vec<RoutingEvent>,
}

impl Routing for Lane {
    fn submit(&mut self, requests: &mut Vec<RoutingRequest>) {
        let existed = vec![self.is_congested()];
        self.answers.extend(requests.drain(..).filter_map(|request| match request {
            RoutingRequest::Unsubscribe { ticket, .. } => {
                Some(RoutingEvent::Unsubscribed { ticket, existed: existed.clone() })
            }
            _ => None,
        }));
    }

    fn drain(&mut self, events: &mut Vec<RoutingEvent>) {
        events.append(&mut self.answers);
    }

    fn is_congested(&self) -> bool {
        self.store.full.load(Ordering::SeqCst)
    }

    fn subscription_count(&self, _scope: Scope) -> u64 {
        0
    }

    fn reaches_anyone(&self, _scope: Scope, _topic: &str) -> bool {
        true
    }
}

struct Nobody;

impl Gathering for Nobody {
    fn opened(&self, _lane: LaneId, _cores: u16) {}
    fn level(&self, _lane: LaneId, _version: u64) {}
    fn closed(&self, _lane: LaneId) {}
}

async fn router(tls: &Arc<Tls>, store: &Arc<Store>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, store) = (listener.local_addr().unwrap(), store.clone());
    let server = RoutingServer {
        router: Incarnation(ROUTER),
        slots: Arc::new(Slots::new(tokio::time::Instant::now().into_std())),
        lanes: Arc::new(move |wake| {
            store.lanes.lock().push(wake);
            Box::new(Lane { store: store.clone(), answers: Vec::new() })
        }),
        deliveries: Arc::new(Deliveries::new(|_| ())),
        gathering: Arc::new(Nobody),
    };
    tokio::spawn(serve(
        listener,
        tls.clone(),
        server.add_service(Routes::default()),
        Traces::off(),
        std::future::pending(),
    ));
    address
}

/// Opens a lane and asks for something on it.
async fn ask_router(tls: &Arc<Tls>, address: SocketAddr) -> Streaming<LaneResponse> {
    let channel = tls.channel(&address.to_string(), ServiceRole::Router).unwrap();
    let open = Asked::Open(Open { incarnation: 1, core: 0, cores: 0, router: ROUTER });
    let (filters, owner) = (vec!["a".to_owned()], 0);
    let asked = Asked::Unsubscribe(Unsubscribe { ticket: 1, session: 1, filters, owner });
    let requests = [open, asked].map(|request| LaneRequest { request: Some(request) });
    let requests = stream::iter(requests).chain(stream::pending());
    RoutingClient::new(channel).lane(requests).await.unwrap().into_inner()
}

/// The answer: whether the store was full when the router was asked.
async fn was_full(lane: &mut Streaming<LaneResponse>) -> bool {
    loop {
        let response = lane.message().await.unwrap().unwrap().response;
        if let Some(Answer::Unsubscribed(answer)) = response {
            return answer.existed == [true];
        }
    }
}

#[tokio::test]
async fn who_empties_the_rules_queue_does_not_wait_for_room_in_it() {
    let (ca, store) = (authority(), Arc::new(Store::default()));
    let address = router(&Service::new(&ca, ServiceRole::Router, &[&ca]).open(), &store).await;
    store.full.store(true, Ordering::SeqCst);
    let gateway = Service::new(&ca, ServiceRole::Gateway, &[&ca]).open();
    let worker = Service::new(&ca, ServiceRole::RulesWorker, &[&ca]).open();
    let mut waits = ask_router(&gateway, address).await;
    let mut goes_on = ask_router(&worker, address).await;
    assert!(was_full(&mut goes_on).await);
    store.full.store(false, Ordering::SeqCst);
    store.lanes.lock().iter().for_each(|lane| lane.wake());
    assert!(!was_full(&mut waits).await);
}
