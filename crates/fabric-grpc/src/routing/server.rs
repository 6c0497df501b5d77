//! The router's end of lanes: each is one stream, polled by its HTTP/2 connection. A poll takes requests, hands them to the
//! router in one batch, and packs what the router answers and pushes. When the gateway does not read, nothing is taken either.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use fleethaven_fabric::delivery::{Address, Credit, Push};
use fleethaven_fabric::membership::Incarnation;
use fleethaven_fabric::{Routing, RoutingEvent, RoutingRequest};
use fleethaven_lanes::frame::{Control, Publication, Reply};
use fleethaven_lanes::router::{Admission, Gathering, Intake, LaneId, Slots};
use fleethaven_pki::ServiceRole;
use fleethaven_storage::{SessionId, Ticket, Wake};
use futures_util::{Stream, StreamExt};
use rustc_hash::FxHashMap;
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

/// A session with a connection at the other end.
struct Attached {
    address: Address,
    persistent: bool,
    credit: Credit,
    /// What its credit was set to last, and how much of it was taken before that.
    set: i32,
    taken: u64,
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
    attached: FxHashMap<SessionId, Attached>,
    /// Tickets of the gateway, for those that the router is given.
    asked: FxHashMap<Ticket, u64>,
    next_ticket: u64,
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
            attached: FxHashMap::default(),
            asked: FxHashMap::default(),
            next_ticket: 0,
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
                            let ticket = ticket.map(ticket_of_publish);
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
        match control {
            Control::Attach { session, scope, persistent, address, room } => {
                let (address, credit) = (address.at_core(self.number), Credit::default());
                credit.reset(room);
                let attached = Attached { address, persistent, credit: credit.clone(), set: room, taken: 0 };
                self.attached.insert(session, attached);
                self.submit.push(RoutingRequest::Attach { session, scope, persistent, address, credit });
            }
            Control::Detach { session, address, persistent } => {
                let address = address.at_core(self.number);
                if self.attached.get(&session).is_some_and(|attached| attached.address == address) {
                    self.attached.remove(&session);
                }
                self.submit.push(RoutingRequest::Detach { session, address, persistent });
            }
            Control::Forget { session } => {
                self.attached.remove(&session);
                self.submit.push(RoutingRequest::Forget { session });
            }
            Control::Ready { session, returned, room, received } => {
                if let (Some(attached), Some(room)) = (self.attached.get_mut(&session), room) {
                    attached.set_room(room, received);
                }
                self.submit.push(RoutingRequest::Ready { session, returned });
            }
            Control::Return { session, shares, refused } => {
                self.submit.push(RoutingRequest::Return { session, shares, refused });
            }
            Control::Subscribe { ticket, session, subscriptions, exact } => {
                let ticket = self.ticket(ticket);
                self.submit.push(RoutingRequest::Subscribe { ticket, session, subscriptions, exact });
            }
            Control::Unsubscribe { ticket, session, filters } => {
                let ticket = self.ticket(ticket);
                self.submit.push(RoutingRequest::Unsubscribe { ticket, session, filters });
            }
            Control::Level { version } => {
                // Told when the router has what came before.
                self.hand_over();
                self.server.gathering.level(self.id, version);
            }
        }
    }

    fn ticket(&mut self, asked: u64) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket << 1 | 1);
        self.asked.insert(ticket, asked);
        ticket
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
            match event {
                RoutingEvent::Published { ticket, matched, result } => {
                    let ticket = Ticket(ticket.0 >> 1);
                    self.replies.extend(intake.published(ticket, matched, result, now));
                }
                // Services stand beside the routers, at the gateway.
                RoutingEvent::Answered { .. } => {}
                RoutingEvent::Subscribed { ticket, new, over_quota } => {
                    let asked = self.asked.remove(&ticket).unwrap_or_default();
                    self.replies.push(Reply::Subscribed { ticket: asked, new, over_quota });
                }
                RoutingEvent::Unsubscribed { ticket, existed } => {
                    let asked = self.asked.remove(&ticket).unwrap_or_default();
                    self.replies.push(Reply::Unsubscribed { ticket: asked, existed });
                }
            }
        }
        let mut records = BytesMut::new();
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

/// Tickets of publishes are even, the others odd.
fn ticket_of_publish(ticket: Ticket) -> Ticket {
    Ticket(ticket.0 << 1)
}

fn pack(ready: &mut VecDeque<wire::LaneResponse>, records: &mut BytesMut) {
    if !records.is_empty() {
        let answers = Answer::Answers(wire::AnswerFrame { records: records.split().freeze() });
        ready.push_back(wire::LaneResponse { response: Some(answers) });
    }
}

impl Attached {
    /// The gateway says what there is room for, knowing of `received` shares. Those that have been taken and had not arrived
    /// then go off that.
    fn set_room(&mut self, room: i32, received: u64) {
        let left = self.credit.room();
        let taken = self.set.saturating_sub(left);
        self.taken = self.taken.saturating_add_signed(i64::from(taken));
        let on_its_way = i32::try_from(self.taken.saturating_sub(received)).unwrap_or(i32::MAX);
        self.set = room.saturating_sub(on_its_way);
        // The router looks at its groups right after this, whether it asked to be told or not.
        let _ = self.credit.adjust(self.set.saturating_sub(left));
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
        let detach = |(session, attached): (SessionId, Attached)| {
            let Attached { address, persistent, .. } = attached;
            RoutingRequest::Detach { session, address, persistent }
        };
        self.submit.extend(self.attached.drain().map(detach));
        router.submit(&mut self.submit);
        intake.submitted(&mut self.replies);
        self.server.deliveries.close(self.number);
        // What was taken is still on its way to the store. Slots are not handed over before it has arrived.
        if let Ok(runtime) = Handle::try_current()
            && !intake.is_settled()
        {
            runtime.spawn(wind_down(router, intake));
        }
    }
}

async fn wind_down(mut router: Box<dyn Routing>, mut intake: Intake) {
    let mut events = Vec::new();
    for _ in 0..WIND_DOWN.1 {
        router.drain(&mut events);
        for event in events.drain(..) {
            if let RoutingEvent::Published { ticket, matched, result } = event {
                let _nobody_listens =
                    intake.published(Ticket(ticket.0 >> 1), matched, result, Instant::now().into_std());
            }
        }
        if intake.is_settled() {
            return;
        }
        tokio::time::sleep(WIND_DOWN.0).await;
    }
}
