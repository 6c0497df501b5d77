//! A gateway core's end of its lanes: `Routing` over a stream to each router.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use fleethaven_fabric::delivery::Push;
use fleethaven_fabric::membership::{Incarnation, TableStream};
use fleethaven_fabric::{Delivery, Routing, RoutingEvent, RoutingRequest};
use fleethaven_lanes::gateway::{self, Lanes, Outgoing};
use fleethaven_storage::Wake;
use fleethaven_types::Scope;
use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::pack::Room;
use super::retry::Retry;
use super::{FRAME, LARGEST, MakeChannel, delivery, publish};
use crate::channel::Channel;
use crate::convert::{lane_request, lane_response};
use crate::generated::delivery::DeliveryFrame;
use crate::generated::routing as wire;
use crate::generated::routing::lane_request::Request as Asked;
use crate::generated::routing::lane_response::Response as Answer;
use crate::generated::routing::routing_client::RoutingClient as Stub;

/// What a client is started with.
pub struct Options {
    /// Incarnation of this process.
    pub incarnation: Incarnation,
    /// The core whose lanes these are.
    pub core: u16,
    /// How many cores of the process open lanes; 0 for a service that only publishes.
    pub cores: u16,
    /// How routers are reached.
    pub channel: MakeChannel,
    /// Where pushes to the core's connections go.
    pub delivery: Arc<dyn Delivery>,
    /// Woken when events are ready.
    pub wake: Arc<dyn Wake>,
    /// The routing tables, as they change.
    pub tables: TableStream,
    /// Told of publishes at QoS 0 that were dropped.
    pub dropped: Arc<dyn Fn(u64) + Send + Sync>,
    /// Bounds.
    pub lanes: gateway::Options,
}

/// The routers as one gateway core sees them.
pub struct RoutingClient {
    shared: Arc<Shared>,
    driver: AbortHandle,
}

impl RoutingClient {
    /// Starts to follow the tables and to open lanes, as tasks of the current runtime, which drives the connections, too: it
    /// must be the core's own.
    pub fn start(options: Options) -> Self {
        let Options { incarnation, core, cores, channel, delivery, wake, tables, dropped, lanes } = options;
        let shared = Arc::new(Shared {
            lanes: Mutex::new(Lanes::new(lanes)),
            wakers: Mutex::default(),
            changed: Notify::new(),
            open: wire::Open {
                incarnation: incarnation.0,
                core: core.into(),
                cores: cores.into(),
                router: 0,
            },
            core,
            channel,
            delivery,
            wake,
            dropped,
        });
        let driver = Driver { shared: shared.clone(), streams: BTreeMap::new() };
        let driver = tokio::spawn(driver.run(tables)).abort_handle();
        Self { shared, driver }
    }
}

impl Routing for RoutingClient {
    fn submit(&mut self, requests: &mut Vec<RoutingRequest>) {
        self.shared.lanes.lock().submit(requests);
        self.shared.send();
    }

    fn drain(&mut self, events: &mut Vec<RoutingEvent>) {
        let mut lanes = self.shared.lanes.lock();
        lanes.drain(events);
        let dropped = lanes.take_dropped();
        drop(lanes);
        if dropped > 0 {
            (self.shared.dropped)(dropped);
        }
    }

    fn is_congested(&self) -> bool {
        self.shared.lanes.lock().is_congested()
    }

    fn has_unsent(&self) -> bool {
        self.shared.lanes.lock().has_unsent()
    }

    /// Of clients on this core: nobody else's are known here.
    fn subscription_count(&self, scope: Scope) -> u64 {
        self.shared.lanes.lock().subscription_count(scope)
    }

    fn reaches_anyone(&self, _: Scope, _: &str) -> bool {
        true
    }
}

impl Drop for RoutingClient {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

struct Shared {
    lanes: Mutex<Lanes>,
    /// Of the streams that are open.
    wakers: Mutex<BTreeMap<Incarnation, Arc<AtomicWaker>>>,
    /// Timeouts may be others than before.
    changed: Notify,
    open: wire::Open,
    core: u16,
    channel: MakeChannel,
    delivery: Arc<dyn Delivery>,
    wake: Arc<dyn Wake>,
    dropped: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Shared {
    /// Wakes the streams that something is to be sent on.
    fn send(&self) {
        let lanes = self.lanes.lock();
        for (router, waker) in &*self.wakers.lock() {
            if lanes.has_output(*router) {
                waker.wake();
            }
        }
    }

    /// To be called after anything that may have led to events, timeouts or output.
    fn turned(&self) {
        self.send();
        self.changed.notify_one();
        self.wake.wake();
    }
}

/// Follows the tables, keeps a task for each router, and watches the time.
struct Driver {
    shared: Arc<Shared>,
    streams: BTreeMap<Incarnation, (String, AbortHandle)>,
}

impl Driver {
    async fn run(mut self, mut tables: TableStream) {
        loop {
            let next = self.shared.lanes.lock().next_timeout();
            tokio::select! {
                table = tables.next() => {
                    let Some(table) = table else { return };
                    self.shared.lanes.lock().set_table(table, Instant::now().into_std());
                    self.follow();
                    self.shared.turned();
                }
                () = wait(next) => {
                    self.shared.lanes.lock().handle_timeout(Instant::now().into_std());
                    self.shared.send();
                    self.shared.wake.wake();
                }
                () = self.shared.changed.notified() => {}
            }
        }
    }

    /// Lets the streams be to the routers that the table names.
    fn follow(&mut self) {
        let lanes = self.shared.lanes.lock();
        let wanted: BTreeMap<_, _> =
            lanes.routers().map(|(router, address)| (router, address.to_owned())).collect();
        drop(lanes);
        self.streams.retain(|router, (address, task)| {
            let stays = wanted.get(router) == Some(address);
            if !stays {
                task.abort();
            }
            stays
        });
        for (router, address) in wanted {
            if !self.streams.contains_key(&router) {
                let link = Link { shared: self.shared.clone(), router, address: address.clone() };
                let task = tokio::spawn(link.run()).abort_handle();
                self.streams.insert(router, (address, task));
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.streams.values().for_each(|(_, task)| task.abort());
    }
}

async fn wait(until: Option<std::time::Instant>) {
    match until {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The lane to one router.
struct Link {
    shared: Arc<Shared>,
    router: Incarnation,
    address: String,
}

/// A stream that is open; tells when it is over, however that comes.
struct Stretch<'a> {
    link: &'a Link,
    generation: u64,
}

impl Drop for Stretch<'_> {
    fn drop(&mut self) {
        let Link { shared, router, .. } = self.link;
        shared.wakers.lock().remove(router);
        shared.lanes.lock().closed(*router, self.generation, Instant::now().into_std());
        // What was on its way from this router has not come, and nobody else has it.
        shared.delivery.lost(shared.core);
        shared.turned();
    }
}

impl Link {
    /// Never returns; the driver aborts it.
    async fn run(self) {
        let channel = match (self.shared.channel)(&self.address) {
            Ok(channel) => channel,
            Err(error) => {
                return tracing::error!(router = self.router.0, address = self.address, error, "no address");
            }
        };
        let stub = Stub::new(channel).max_decoding_message_size(LARGEST).max_encoding_message_size(LARGEST);
        let mut retry = Retry::new();
        loop {
            let end = self.stretch(stub.clone(), &mut retry).await;
            let code = end.as_ref().map_or_else(Status::code, |()| Code::Ok);
            let (pause, news) = retry.broke(code, Instant::now());
            if news {
                let reason = end.as_ref().map_or_else(Status::message, |()| "ended");
                tracing::warn!(router = self.router.0, address = self.address, reason, "lane broken");
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One stream, from `open` to its end.
    async fn stretch(&self, mut stub: Stub<Channel>, retry: &mut Retry) -> Result<(), Status> {
        let waker = Arc::new(AtomicWaker::new());
        let generation = Arc::new(AtomicU64::new(0));
        let open = wire::Open { router: self.router.0, ..self.shared.open };
        let requests = Requests {
            shared: self.shared.clone(),
            router: self.router,
            generation: generation.clone(),
            waker: waker.clone(),
            ready: [wire::LaneRequest { request: Some(Asked::Open(open)) }].into(),
            outgoing: Vec::new(),
            publishes: publish::Encoder::default(),
            room: Room::default(),
        };
        let mut responses = stub.lane(requests).await?.into_inner();
        match responses.message().await?.and_then(|first| first.response) {
            Some(Answer::Opened(_)) => {}
            _ => return Err(Status::internal("a lane's first answer is opened")),
        }
        let number = self.shared.lanes.lock().opened(self.router, Instant::now().into_std());
        let Some(number) = number else { return Err(Status::cancelled("the router is gone")) };
        generation.store(number, Ordering::Release);
        if let Some(broken) = retry.opened(Instant::now()) {
            let after_ms = broken.since.elapsed().as_millis() as u64;
            tracing::info!(router = self.router.0, attempts = broken.attempts, after_ms, "lane open again");
        }
        self.shared.wakers.lock().insert(self.router, waker.clone());
        let _stretch = Stretch { link: self, generation: number };
        waker.wake();
        self.shared.turned();
        let mut deliveries = delivery::Decoder::new(self.shared.core);
        while let Some(response) = responses.message().await? {
            let response = response.response.ok_or_else(|| Status::internal("an empty answer"))?;
            self.answered(response, number, &mut deliveries)?;
        }
        Ok(())
    }

    fn answered(
        &self,
        response: Answer,
        generation: u64,
        deliveries: &mut delivery::Decoder,
    ) -> Result<(), Status> {
        let replies = match response {
            Answer::Delivery(DeliveryFrame { records, lost }) => {
                let mut pushes = deliveries.read(records).map_err(crate::convert::Error::from)?;
                self.count_shares(&pushes);
                self.shared.delivery.push(self.shared.core, &mut pushes);
                if lost {
                    self.shared.delivery.lost(self.shared.core);
                }
                return Ok(());
            }
            Answer::Answers(frame) => {
                publish::read_answers(frame.records).map_err(crate::convert::Error::from)?
            }
            response => lane_response::from_wire(response)?.into_iter().collect(),
        };
        let now = Instant::now().into_std();
        let mut lanes = self.shared.lanes.lock();
        for reply in replies {
            lanes.receive(self.router, generation, reply, now);
        }
        drop(lanes);
        self.shared.turned();
        Ok(())
    }

    /// Shares cost their members credit where they were chosen; here it goes down when they arrive.
    fn count_shares(&self, pushes: &[Push]) {
        let mut lanes = None;
        for session in pushes.iter().filter_map(Push::charged) {
            lanes.get_or_insert_with(|| self.shared.lanes.lock()).share_received(self.router, session);
        }
    }
}

/// What a core asks of one router: pulled by the connection as it has room.
struct Requests {
    shared: Arc<Shared>,
    router: Incarnation,
    /// Number of the stream; 0 until it is open.
    generation: Arc<AtomicU64>,
    waker: Arc<AtomicWaker>,
    ready: VecDeque<wire::LaneRequest>,
    outgoing: Vec<Outgoing>,
    publishes: publish::Encoder,
    room: Room,
}

impl Requests {
    fn pull(&mut self) {
        let generation = self.generation.load(Ordering::Acquire);
        if generation == 0 {
            return;
        }
        self.shared.lanes.lock().poll(self.router, generation, FRAME, &mut self.outgoing);
        if self.outgoing.is_empty() {
            return;
        }
        let mut records = self.room.list();
        for outgoing in self.outgoing.drain(..) {
            match outgoing {
                Outgoing::Publish(publication) => self.publishes.put(&mut records, &publication),
                Outgoing::Control(control) => {
                    pack(&mut self.ready, &mut records);
                    self.ready.push_back(lane_request::to_wire(control));
                }
            }
        }
        self.room.filled(&records);
        pack(&mut self.ready, &mut records);
    }
}

fn pack(ready: &mut VecDeque<wire::LaneRequest>, records: &mut Vec<u8>) {
    if !records.is_empty() {
        let publish = Asked::Publish(wire::PublishFrame { records: std::mem::take(records).into() });
        ready.push_back(wire::LaneRequest { request: Some(publish) });
    }
}

impl Stream for Requests {
    type Item = wire::LaneRequest;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let requests = self.get_mut();
        if requests.ready.is_empty() {
            // Before the look, so that what comes in between is not overlooked.
            requests.waker.register(cx.waker());
            requests.pull();
        }
        match requests.ready.pop_front() {
            Some(request) => Poll::Ready(Some(request)),
            None => Poll::Pending,
        }
    }
}
