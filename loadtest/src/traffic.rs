//! Messages from publishers to subscribers: fan-in, fan-out and pairs, in open or closed loop.
//!
//! - `plan`: who publishes what to whom
//! - `publishers`: who may send when, and the stamping of payloads
//! - `receipts`: what came, how late, and what is missing
//! - `flow`: both together, fed with what the sockets bring
//! - `summary`: from two moments of a run to its figures
//! - `beside`: a light load in the background of something else

mod beside;
mod flow;
mod plan;
mod publishers;
mod receipts;
mod summary;

use std::time::{Duration, Instant};

use crate::clock;
use crate::process;
use crate::reactor::{Reactor, open_all};
use crate::report::{self, Report};
use crate::target::Target;

pub(crate) use beside::{Beside, beside};
use flow::Flow;
pub(crate) use plan::{Layout, Plan};
pub(crate) use summary::Moment;

/// A closed loop without news for this long at QoS 0 writes its messages off as lost and goes on.
const WRITE_OFF: Duration = Duration::from_secs(1);
/// A run without news for this long ends.
const STALLED: Duration = Duration::from_secs(5);
/// How long repeats are listened for after everything came.
const LINGER: Duration = Duration::from_millis(200);
/// Longest wait for sockets in one turn.
const TURN: Duration = Duration::from_millis(50);

/// A run under way.
pub(crate) struct Run<'a> {
    plan: Plan<'a>,
    target: Target,
    reactor: Reactor,
    flow: Flow,
    told: Told,
}

/// What the watcher was last told.
struct Told {
    at: Instant,
    sent: u64,
    received: u64,
    broker_cpu: f64,
}

/// Opens everyone, loads, drains, sums up.
pub(crate) fn run(plan: Plan<'_>) -> anyhow::Result<Report> {
    let mut run = Run::new(plan)?;
    let subscribers = run.open_subscribers()?;
    let publishers = run.open_publishers()?;
    let (first, last) = run.drive()?;
    let report = run.summary(&first, &last);
    run.close(subscribers.into_iter().chain(publishers));
    Ok(report)
}

impl<'a> Run<'a> {
    /// A run with nobody there yet.
    pub(crate) fn new(plan: Plan<'a>) -> anyhow::Result<Self> {
        let told = Told { at: clock::now(), sent: 0, received: 0, broker_cpu: 0.0 };
        Ok(Self {
            target: Target::new(plan.common, plan.publishers + plan.subscribers, false)?,
            reactor: Reactor::new()?,
            flow: Flow::new(&plan)?,
            told,
            plan,
        })
    }

    /// Opens the subscribers and gives their keys.
    pub(crate) fn open_subscribers(&mut self) -> anyhow::Result<Vec<usize>> {
        let Self { plan, target, reactor, flow, .. } = self;
        open_all(reactor, target, plan.common, plan.subscriber_specs(), |client, event, at| {
            flow.take(client, event, at);
        })
    }

    /// Opens the publishers and gives their keys.
    pub(crate) fn open_publishers(&mut self) -> anyhow::Result<Vec<usize>> {
        let Self { plan, target, reactor, flow, .. } = self;
        let keys = open_all(reactor, target, plan.common, plan.publisher_specs(), |client, event, at| {
            flow.take(client, event, at);
        })?;
        flow.publishers.enrol(plan, reactor, &keys, target.version)?;
        Ok(keys)
    }

    /// Closes these clients in order.
    pub(crate) fn close(&mut self, keys: impl IntoIterator<Item = usize>) {
        keys.into_iter().for_each(|key| self.reactor.close(key));
    }

    /// Whether the broker said that it had kept this client's session.
    pub(crate) fn is_session_present(&mut self, key: usize) -> bool {
        self.reactor.client(key).is_some_and(|client| client.session_present)
    }

    /// Ends the subscribers' sessions in the broker.
    pub(crate) fn forget_sessions(&mut self) -> anyhow::Result<()> {
        self.plan.persistent = false;
        let keys = self.open_subscribers()?;
        self.close(keys);
        Ok(())
    }

    /// The stamps' time begins.
    pub(crate) fn begin(&mut self) {
        self.flow.start = clock::now();
        self.flow.news = self.flow.start;
    }

    /// Runs to the end; the measured part lies between the two moments given.
    fn drive(&mut self) -> anyhow::Result<(Moment, Moment)> {
        let load = self.plan.load;
        self.begin();
        self.load_while(load.warmup(), || true)?;
        let first = self.begin_measuring()?;
        match load.count {
            None => {
                self.load_while(load.duration(), || true)?;
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

    /// Publishes for so long, while `wanted` says so and something comes back.
    pub(crate) fn load_while(
        &mut self,
        time: Duration,
        mut wanted: impl FnMut() -> bool,
    ) -> anyhow::Result<()> {
        let end = clock::now() + time;
        while clock::now() < end && wanted() && !self.is_stalled() {
            let left = end.saturating_duration_since(clock::now());
            self.turn(self.flow.publishers.wait(self.elapsed()).min(left))?;
            self.fill(u64::MAX)?;
        }
        Ok(())
    }

    /// Publishes until this many messages are sent in all.
    pub(crate) fn load_until_sent(&mut self, count: u64) -> anyhow::Result<()> {
        while self.flow.publishers.sent < count && !self.is_stalled() {
            self.fill(count)?;
            self.turn(self.flow.publishers.wait(self.elapsed()))?;
        }
        Ok(())
    }

    fn fill(&mut self, most: u64) -> anyhow::Result<()> {
        let now = self.elapsed();
        self.flow.publishers.fill(&mut self.reactor, now, most)
    }

    /// Waits for what is under way; at QoS 0 some of it may never come.
    pub(crate) fn drain(&mut self) -> anyhow::Result<()> {
        let expected = self.flow.publishers.sent * self.plan.fan();
        self.wait_until(|flow| flow.receipts.distinct >= expected && flow.publishers.is_acknowledged())
    }

    /// Waits until `done`, or until nothing comes any more.
    pub(crate) fn wait_until_acknowledged(&mut self) -> anyhow::Result<()> {
        self.wait_until(|flow| flow.publishers.is_acknowledged())
    }

    fn wait_until(&mut self, done: impl Fn(&Flow) -> bool) -> anyhow::Result<()> {
        let patience = if self.plan.may_lose() { STALLED / 2 } else { STALLED };
        self.flow.news = clock::now();
        while !done(&self.flow) && self.flow.news.elapsed() < patience {
            self.turn(TURN)?;
        }
        Ok(())
    }

    /// Listens on for repeats of what came already.
    pub(crate) fn linger(&mut self) -> anyhow::Result<()> {
        let end = clock::now() + LINGER;
        while clock::now() < end {
            self.turn(TURN)?;
        }
        Ok(())
    }

    fn is_stalled(&mut self) -> bool {
        let silent = self.flow.news.elapsed();
        if silent > WRITE_OFF && self.plan.may_lose() {
            self.flow.publishers.write_off();
        }
        // In open loop at a low rate there is nothing to hear for a while.
        silent > STALLED && self.plan.load.rate.is_none_or(|rate| rate > 10)
    }

    fn elapsed(&self) -> u64 {
        clock::nanos(self.flow.start, clock::now())
    }

    fn turn(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let Self { reactor, flow, .. } = self;
        reactor.turn(timeout.min(TURN), |_, client, event, at| {
            flow.take(client, event, at);
            Ok(())
        })?;
        if self.plan.common.progress && self.told.at.elapsed() > Duration::from_secs(1) {
            self.tell()?;
        }
        Ok(())
    }

    /// One line for the watcher.
    fn tell(&mut self) -> anyhow::Result<()> {
        let broker_cpu = self.plan.common.pid.map(process::cpu_seconds).transpose()?;
        let told = Told {
            at: clock::now(),
            sent: self.flow.publishers.sent,
            received: self.flow.receipts.received,
            broker_cpu: broker_cpu.unwrap_or(0.0),
        };
        let seconds = told.at.saturating_duration_since(self.told.at).as_secs_f64();
        let per_second = |now: u64, before: u64| (now - before) as f64 / seconds;
        let broker = match broker_cpu {
            Some(cpu) => {
                format!(", broker {:.0} % of a core", (cpu - self.told.broker_cpu) / seconds * 100.0)
            }
            None => String::new(),
        };
        let line = format!(
            "{:6.1} s: {:.0} sent/s, {:.0} received/s, p99 {:.2} ms so far{broker}",
            self.flow.start.elapsed().as_secs_f64(),
            per_second(told.sent, self.told.sent),
            per_second(told.received, self.told.received),
            self.flow.receipts.latency.value_at_quantile(0.99) as f64 / 1e6,
        );
        report::progress(true, &line);
        self.told = told;
        Ok(())
    }
}
