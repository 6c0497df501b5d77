//! The router's end of lanes: each is one stream, polled by its HTTP/2 connection. A poll takes requests, hands them to the
//! router in one batch, and packs what the router answers and pushes. When the gateway does not read, nothing is taken either.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fleethaven_fabric::delivery::Push;
use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::{Routing, RoutingEvent, RoutingRequest};
use fleethaven_lanes::frame::{Control, Publication, Reply};
use fleethaven_lanes::router::{Admission, Asking, Gathering, Intake, LaneId, Slots, Wanted};
use fleethaven_pki::ServiceRole;
use fleethaven_storage::Wake;
use futures_util::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::deliveries::{Deliveries, Outbox};
use super::{FRAME, LARGEST, delivery, publish};
use crate::convert::{lane_request, lane_response};
use crate::generated::delivery::DeliveryFrame;
use crate::generated::routing as wire;
use crate::generated::routing::lane_request::Request as Asked;
use crate::generated::routing::lane_response::Response as Answer;
use crate::generated::routing::routing_server;
use crate::tls::Peer;

/// Messages of the gateway taken before the router has its batch.
const BATCH: usize = 64;
/// How often the router's lane is told that time has passed.
const TICK: Duration = Duration::from_secs(1);
/// How often, and how many times, a lane whose stream is over is looked at until the router has answered everything.
const WIND_DOWN: (Duration, usize) = (Duration::from_millis(50), 200);

/// Makes a lane into the router, which wakes its owner through the argument.
pub type LaneFactory = Arc<dyn Fn(Arc<dyn Wake>) -> Box<dyn Routing> + Send + Sync>;

/// The router's end.
pub struct RoutingServer {
    /// The router's incarnation: lanes that are meant for another are refused.
    pub router: Incarnation,
    /// What it serves.
    pub slots: Arc<Slots>,
    /// Its lanes.
    pub lanes: LaneFactory,
    /// What it pushes through.
    pub deliveries: Arc<Deliveries>,
    /// Who is told how far gateways are.
    pub gathering: Arc<dyn Gathering>,
}

impl RoutingServer {
    /// Adds the service to `routes`.
    ///
    /// It trusts whoever can reach it: the listener authenticates its peers, and gives streams windows of 1 MiB or more.
    pub fn add_service(self, routes: Routes) -> Routes {
        let service = Service { server: Arc::new(self), opened: std::sync::atomic::AtomicU64::new(0) };
        routes.add_service(
            routing_server::RoutingServer::new(service)
                .max_decoding_message_size(LARGEST)
                .max_encoding_message_size(LARGEST),
        )
    }
}

struct Service {
    server: Arc<RoutingServer>,
    opened: std::sync::atomic::AtomicU64,
}

#[tonic::async_trait]
impl routing_server::Routing for Service {
    type LaneStream = Pin<Box<dyn Stream<Item = Result<wire::LaneResponse, Status>> + Send>>;

    async fn lane(
        &self,
        request: Request<Streaming<wire::LaneRequest>>,
    ) -> Result<Response<Self::LaneStream>, Status> {
        // What empties the rules queue must not wait until there is room in it.
        let exempt = request
            .extensions()
            .get::<Peer>()
            .is_some_and(|peer| peer.identity.role() == ServiceRole::RulesWorker);
        let mut requests = request.into_inner();
        let open = match requests.message().await?.and_then(|first| first.request) {
            Some(Asked::Open(open)) => open,
            _ => return Err(Status::invalid_argument("a lane begins with open")),
        };
        if open.router != self.server.router.0 {
            return Err(Status::failed_precondition("another router is meant"));
        }
        let core = u16::try_from(open.core).map_err(|_| Status::invalid_argument("no such core"))?;
        let cores = u16::try_from(open.cores).map_err(|_| Status::invalid_argument("too many cores"))?;
        let outbox = Arc::new(Outbox::default());
        let number = self.server.deliveries.open(&outbox);
        let number = number.ok_or_else(|| Status::resource_exhausted("too many lanes"))?;
        let opened = self.opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id = LaneId { gateway: Incarnation(open.incarnation), core, number: opened };
        self.server.gathering.opened(id, cores);
        Ok(Response::new(Box::pin(Lane::new(self.server.clone(), requests, outbox, (id, number), exempt))))
    }
}

/// One lane: the stream of its responses, which does everything.
struct Lane {
    server: Arc<RoutingServer>,
    id: LaneId,
    /// What the router calls the core at the other end.
    number: u16,
    /// Goes on when the store has fallen behind; how much its service publishes at a time is bounded there.
    exempt: bool,
    requests: Option<Streaming<wire::LaneRequest>>,
    /// `None` once the stream is over.
    router: Option<Box<dyn Routing>>,
    intake: Option<Intake>,
    publishes: publish::Decoder,
    outbox: Arc<Outbox>,
    pushes: VecDeque<Push>,
    deliveries: delivery::Encoder,
    asking: Asking,
    ready: VecDeque<wire::LaneResponse>,
    submit: Vec<RoutingRequest>,
    events: Vec<RoutingEvent>,
    replies: Vec<Reply>,
    tick: Interval,
}

impl Lane {
    fn new(
        server: Arc<RoutingServer>,
        requests: Streaming<wire::LaneRequest>,
        outbox: Arc<Outbox>,
        (id, number): (LaneId, u16),
        exempt: bool,
    ) -> Self {
        let router = Some((server.lanes)(outbox.clone()));
        let intake = Some(Intake::new(server.slots.clone()));
        let asking = Asking::new(number, server.slots.clone(), outbox.clone());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let opened = wire::LaneResponse { response: Some(Answer::Opened(wire::Opened {})) };
        Self {
            server,
            id,
            number,
            exempt,
            requests: Some(requests),
            router,
            intake,
            publishes: publish::Decoder::default(),
            outbox,
            pushes: VecDeque::new(),
            deliveries: delivery::Encoder::default(),
            asking,
            ready: [opened].into(),
            submit: Vec::new(),
            events: Vec::new(),
            replies: Vec::new(),
            tick,
        }
    }

    /// Takes what the gateway has sent; whether there may be more.
    fn take(&mut self, cx: &mut Context<'_>) -> Result<bool, Status> {
        for _ in 0..BATCH {
            let Some(requests) = &mut self.requests else { return Ok(false) };
            match requests.poll_next_unpin(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(None) => self.requests = None,
                Poll::Ready(Some(request)) => self.asked(request?)?,
            }
        }
        Ok(true)
    }

    fn asked(&mut self, request: wire::LaneRequest) -> Result<(), Status> {
        let request = request.request.ok_or_else(|| Status::invalid_argument("an empty request"))?;
        match request {
            Asked::Publish(frame) => {
                let publications = self.publishes.read(frame.records);
                let publications = publications.map_err(crate::convert::Error::from)?;
                let Some(intake) = &mut self.intake else { return Ok(()) };
                let now = Instant::now().into_std();
                for publication in publications {
                    match intake.admit(&publication, now) {
                        Admission::Take { ticket, owned } => {
                            let ticket = ticket.map(Asking::ticket_of_publish);
                            let Publication { message, from, once, .. } = publication;
                            let fence = Some(owned);
                            self.submit.push(RoutingRequest::Publish { ticket, message, from, once, fence });
                        }
                        Admission::Refuse(refused) => self.replies.push(refused),
                        Admission::Pass => {}
                    }
                }
            }
            request => match lane_request::from_wire(request)? {
                Some(control) => self.control(control),
                None => return Err(Status::invalid_argument("open comes once")),
            },
        }
        Ok(())
    }

    fn control(&mut self, control: Control) {
        match self.asking.wanted(control) {
            Wanted::Request(request) => self.submit.push(request),
            Wanted::Level(version) => {
                // Told when the router has what came before.
                self.hand_over();
                self.server.gathering.level(self.id, version);
            }
        }
    }

    /// Gives the router what was taken.
    fn hand_over(&mut self) {
        let (Some(router), Some(intake)) = (&mut self.router, &mut self.intake) else { return };
        if !self.submit.is_empty() {
            router.submit(&mut self.submit);
        }
        intake.submitted(&mut self.replies);
    }

    /// Takes what the router answers and pushes.
    fn answers(&mut self) {
        let (Some(router), Some(intake)) = (&mut self.router, &mut self.intake) else { return };
        router.drain(&mut self.events);
        let now = Instant::now().into_std();
        for event in self.events.drain(..) {
            self.replies.extend(self.asking.reply(event, intake, now));
        }
        self.asking.settled(&mut self.replies);
        let mut records = Vec::new();
        for reply in self.replies.drain(..) {
            if publish::put_answer(&mut records, &reply) {
                continue;
            }
            // In order with the answers around it.
            pack(&mut self.ready, &mut records);
            self.ready.extend(lane_response::to_wire(reply));
        }
        pack(&mut self.ready, &mut records);
        let lost = self.pushes.is_empty() && self.outbox.take(&mut self.pushes);
        if !self.pushes.is_empty() || lost {
            let records = self.deliveries.frame(&mut self.pushes, FRAME);
            let delivery = Answer::Delivery(DeliveryFrame { records, lost });
            self.ready.push_back(wire::LaneResponse { response: Some(delivery) });
        }
    }

    /// A little of what the router has to clear away; what is left has the lane polled again.
    fn tidy(&mut self, cx: &Context<'_>) {
        if self.router.as_mut().is_some_and(|router| router.tidy() && router.has_leftovers()) {
            cx.waker().wake_by_ref();
        }
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<wire::LaneResponse, Status>>> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(response)));
            }
            self.outbox.waker.register(cx.waker());
            while self.tick.poll_tick(cx).is_ready() {
                if let Some(router) = &mut self.router {
                    router.tick(Instant::now().into_std());
                }
            }
            let held_back = !self.exempt && self.router.as_ref().is_some_and(|router| router.is_congested());
            let more = if held_back { false } else { self.take(cx)? };
            self.hand_over();
            self.answers();
            self.tidy(cx);
            if self.ready.is_empty() && !more {
                let over = self.requests.is_none();
                return if over { Poll::Ready(None) } else { Poll::Pending };
            }
        }
    }
}

fn pack(ready: &mut VecDeque<wire::LaneResponse>, records: &mut Vec<u8>) {
    if !records.is_empty() {
        let answers = Answer::Answers(wire::AnswerFrame { records: std::mem::take(records).into() });
        ready.push_back(wire::LaneResponse { response: Some(answers) });
    }
}

impl Stream for Lane {
    type Item = Result<wire::LaneResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_response(cx)
    }
}

impl Drop for Lane {
    /// The gateway is gone, or opens another lane: its connections are where they are no more.
    fn drop(&mut self) {
        self.server.gathering.closed(self.id);
        let (Some(mut router), Some(mut intake)) = (self.router.take(), self.intake.take()) else { return };
        self.submit.extend(self.asking.over());
        router.submit(&mut self.submit);
        intake.submitted(&mut self.replies);
        self.server.deliveries.close(self.number);
        // What was taken is still on its way to the store. Slots are not handed over before it has arrived.
        if let Ok(runtime) = Handle::try_current()
            && (!intake.is_settled() || router.has_unanswered())
        {
            let asking = std::mem::replace(
                &mut self.asking,
                Asking::new(self.number, self.server.slots.clone(), self.outbox.clone()),
            );
            runtime.spawn(wind_down(router, intake, asking));
        }
    }
}

async fn wind_down(mut router: Box<dyn Routing>, mut intake: Intake, mut asking: Asking) {
    let mut events = Vec::new();
    for _ in 0..WIND_DOWN.1 {
        router.drain(&mut events);
        for event in events.drain(..) {
            let _nobody_listens = asking.reply(event, &mut intake, Instant::now().into_std());
        }
        if intake.is_settled() && !router.has_unanswered() {
            return;
        }
        tokio::time::sleep(WIND_DOWN.0).await;
    }
}
