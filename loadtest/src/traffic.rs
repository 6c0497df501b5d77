//! Messages from publishers to subscribers: fan-in, fan-out and pairs, in open or closed loop.
//!
//! - `publishers`: who may send when, and the stamping of payloads
//! - `receipts`: what came, how late, and what is missing
//! - `summary`: from two moments of a run to its figures

mod publishers;
mod receipts;
mod summary;

use std::time::{Duration, Instant};

use fleethaven_mqtt::{Packet, QoS, encode_puback_ok};

use crate::client::{Client, Spec};
use crate::clock;
use crate::options::{Common, FanIn, FanOut, Load, Pairs};
use crate::process;
use crate::reactor::{Event, Reactor, open_all};
use crate::report::{self, Report};
use crate::target::Target;

use publishers::Publishers;
use receipts::Receipts;
use summary::Moment;

/// A closed loop without news for this long at QoS 0 writes its messages off as lost and goes on.
const WRITE_OFF: Duration = Duration::from_secs(1);
/// A run without news for this long ends.
const STALLED: Duration = Duration::from_secs(5);
/// How long repeats are listened for after everything came.
const LINGER: Duration = Duration::from_millis(200);
/// Longest wait for sockets in one turn.
const TURN: Duration = Duration::from_millis(50);

/// Which subscribers get which streams; there is one stream per publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Every subscriber gets every stream.
    Everyone,
    /// Each message goes to one of the subscribers.
    Shared,
    /// Subscriber N gets stream N.
    Paired,
}

/// Who publishes to whom.
pub(crate) struct Plan<'a> {
    scenario: &'static str,
    common: &'a Common,
    load: &'a Load,
    publishers: usize,
    subscribers: usize,
    layout: Layout,
}

impl<'a> Plan<'a> {
    pub(crate) fn fan_in(options: &'a FanIn) -> Self {
        Self {
            scenario: "fan-in",
            common: &options.common,
            load: &options.load,
            publishers: options.publishers as usize,
            subscribers: options.subscribers as usize,
            layout: if options.shared { Layout::Shared } else { Layout::Everyone },
        }
    }

    pub(crate) fn fan_out(options: &'a FanOut) -> Self {
        Self {
            scenario: "fan-out",
            common: &options.common,
            load: &options.load,
            publishers: 1,
            subscribers: options.subscribers as usize,
            layout: Layout::Everyone,
        }
    }

    pub(crate) fn pairs(options: &'a Pairs) -> Self {
        let pairs = options.pairs as usize;
        Self {
            scenario: "pairs",
            common: &options.common,
            load: &options.load,
            publishers: pairs,
            subscribers: pairs,
            layout: Layout::Paired,
        }
    }

    /// Deliveries of one publish.
    fn fan(&self) -> u64 {
        if self.layout == Layout::Everyone { self.subscribers as u64 } else { 1 }
    }

    fn topic(&self, stream: usize) -> String {
        format!("{}/{}/{stream}", self.common.client_prefix, process::own_id())
    }

    fn filter(&self, subscriber: usize) -> String {
        match self.layout {
            Layout::Paired => self.topic(subscriber),
            Layout::Everyone if self.publishers == 1 => self.topic(0),
            Layout::Everyone => format!("{}/{}/+", self.common.client_prefix, process::own_id()),
            Layout::Shared => format!("$share/load/{}/{}/+", self.common.client_prefix, process::own_id()),
        }
    }

    fn subscriber_specs(&self) -> Vec<Spec> {
        let id = |number| format!("{}-{}-s{number}", self.common.client_prefix, process::own_id());
        let filter = |number| Some((self.filter(number), self.load.qos()));
        (0..self.subscribers)
            .map(|number| Spec { number, client_id: id(number), filter: filter(number) })
            .collect()
    }

    fn publisher_specs(&self) -> Vec<Spec> {
        let id = |number| format!("{}-{}-p{number}", self.common.client_prefix, process::own_id());
        (0..self.publishers)
            .map(|stream| Spec { number: self.subscribers + stream, client_id: id(stream), filter: None })
            .collect()
    }
}

/// What a client is for.
#[derive(Clone, Copy, Debug)]
enum Role {
    None,
    Publisher(usize),
    Subscriber(usize),
}

/// A run under way.
struct Run<'a> {
    plan: &'a Plan<'a>,
    reactor: Reactor,
    /// By client key.
    roles: Vec<Role>,
    publishers: Publishers,
    receipts: Receipts,
    refused: u64,
    connections_lost: u64,
    start: Instant,
    /// When a delivery or an acknowledgement last came.
    news: Instant,
    told: Instant,
}

/// Opens everyone, loads, drains, sums up.
pub(crate) fn run(plan: &Plan<'_>) -> anyhow::Result<Report> {
    let target = Target::new(plan.common, plan.publishers + plan.subscribers, false)?;
    let mut reactor = Reactor::new()?;
    let subscribers = open_all(&mut reactor, &target, plan.common, plan.subscriber_specs())?;
    let publishers = open_all(&mut reactor, &target, plan.common, plan.publisher_specs())?;
    let mut run = Run {
        plan,
        roles: roles(&subscribers, &publishers),
        publishers: Publishers::new(plan, &mut reactor, &publishers, target.version)?,
        receipts: Receipts::new(plan)?,
        reactor,
        refused: 0,
        connections_lost: 0,
        start: clock::now(),
        news: clock::now(),
        told: clock::now(),
    };
    let (first, last) = run.drive()?;
    let report = run.summary(&first, &last);
    subscribers.into_iter().chain(publishers).for_each(|key| run.reactor.close(key));
    Ok(report)
}

fn roles(subscribers: &[usize], publishers: &[usize]) -> Vec<Role> {
    let most = subscribers.iter().chain(publishers).max().map_or(0, |key| key + 1);
    let mut roles = vec![Role::None; most];
    let subscribers = subscribers.iter().enumerate().map(|(number, key)| (*key, Role::Subscriber(number)));
    let publishers = publishers.iter().enumerate().map(|(stream, key)| (*key, Role::Publisher(stream)));
    for (key, role) in subscribers.chain(publishers) {
        if let Some(place) = roles.get_mut(key) {
            *place = role;
        }
    }
    roles
}

impl Run<'_> {
    /// Runs to the end; the measured part lies between the two moments given.
    fn drive(&mut self) -> anyhow::Result<(Moment, Moment)> {
        let load = self.plan.load;
        self.start = clock::now();
        self.news = self.start;
        self.load_until(self.start + load.warmup())?;
        self.receipts.latency.reset();
        self.publishers.most_late = 0;
        let first = self.moment()?;
        match load.count {
            None => {
                self.load_until(first.at + load.duration())?;
                let last = self.moment()?;
                self.drain()?;
                self.linger()?;
                Ok((first, last))
            }
            Some(count) => {
                self.load_until_sent(count)?;
                self.drain()?;
                let last = self.moment()?;
                self.linger()?;
                Ok((first, last))
            }
        }
    }

    fn load_until(&mut self, end: Instant) -> anyhow::Result<()> {
        while clock::now() < end && !self.is_stalled() {
            let left = end.saturating_duration_since(clock::now());
            self.turn(self.publishers.wait(self.elapsed()).min(left))?;
            self.publishers.fill(&mut self.reactor, clock::nanos(self.start, clock::now()), u64::MAX)?;
        }
        Ok(())
    }

    fn load_until_sent(&mut self, count: u64) -> anyhow::Result<()> {
        while self.publishers.sent < count && !self.is_stalled() {
            self.publishers.fill(&mut self.reactor, clock::nanos(self.start, clock::now()), count)?;
            self.turn(self.publishers.wait(self.elapsed()))?;
        }
        Ok(())
    }

    /// Waits for what is under way; at QoS 0 some of it may never come.
    fn drain(&mut self) -> anyhow::Result<()> {
        let patience = STALLED / 2;
        self.news = clock::now();
        while !self.is_settled() && self.news.elapsed() < patience {
            self.turn(TURN)?;
        }
        Ok(())
    }

    /// Listens on for repeats of what came already.
    fn linger(&mut self) -> anyhow::Result<()> {
        let end = clock::now() + LINGER;
        while clock::now() < end {
            self.turn(TURN)?;
        }
        Ok(())
    }

    fn is_settled(&self) -> bool {
        let expected = self.publishers.sent * self.plan.fan();
        self.receipts.distinct >= expected && self.publishers.is_acknowledged()
    }

    fn is_stalled(&mut self) -> bool {
        let silent = self.news.elapsed();
        if silent > WRITE_OFF && self.plan.load.qos() == QoS::AtMostOnce {
            self.publishers.write_off();
        }
        // In open loop at a low rate there is nothing to hear for a while.
        silent > STALLED && self.plan.load.rate.is_none_or(|rate| rate > 10)
    }

    fn elapsed(&self) -> u64 {
        clock::nanos(self.start, clock::now())
    }

    fn turn(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let Self { reactor, roles, publishers, receipts, refused, connections_lost, start, news, .. } = self;
        reactor.turn(timeout.min(TURN), |key, client, event, at| {
            let role = roles.get(key).copied().unwrap_or(Role::None);
            match (event, role) {
                (Event::Packet(Packet::Publish(publish)), Role::Subscriber(number)) => {
                    *news = at;
                    acknowledge(client, publish.packet_id);
                    if let Some(stream) = receipts.take(number, &publish.payload, clock::nanos(*start, at)) {
                        publishers.delivered(stream);
                    }
                }
                (Event::Packet(Packet::Puback(ack)), Role::Publisher(stream)) => {
                    *news = at;
                    *refused += u64::from(ack.reason.is_error());
                    publishers.acknowledged(stream);
                }
                (Event::Packet(Packet::Disconnect(disconnect)), _) => {
                    let line = format!("DISCONNECT says {:?}", disconnect.reason);
                    report::progress(*connections_lost == 0, &line);
                }
                (Event::Packet(_), _) => {}
                (Event::Closed(error), _) => {
                    report::progress(*connections_lost == 0, &format!("a connection is lost: {error:#}"));
                    *connections_lost += 1;
                }
            }
            Ok(())
        })?;
        self.tell();
        Ok(())
    }

    fn tell(&mut self) {
        if self.plan.common.progress && self.told.elapsed() > Duration::from_secs(1) {
            self.told = clock::now();
            let line = format!("{} sent, {} received", self.publishers.sent, self.receipts.received);
            report::progress(true, &line);
        }
    }
}

fn acknowledge(client: &mut Client, packet_id: Option<fleethaven_mqtt::PacketId>) {
    if let Some(packet_id) = packet_id {
        encode_puback_ok(packet_id, &mut client.out);
    }
}
