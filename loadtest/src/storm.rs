//! All connections at once: new ones, or all that were there and were lost together. What do they wait, and
//! what do others notice?

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use fleethaven_mqtt::QoS;
use hdrhistogram::Histogram;

use crate::client::Spec;
use crate::clock;
use crate::options::{Common, Load, Storm};
use crate::process;
use crate::reactor::{Event, Reactor, open_all};
use crate::report::{self, Report};
use crate::target::Target;
use crate::traffic::{Beside, Plan, beside};

/// Payload of the bystanders' messages, in bytes.
const PAYLOAD: u32 = 64;
/// Attempts per connection, on average, after which the storm is called off.
const MOST_ATTEMPTS: usize = 10;
/// Connections from one source address: those of before the storm hold their ports for a while.
const PER_SOURCE: usize = 10_000;
/// What is told of the bystanders before the storm and in it.
const BYSTANDERS: [&str; 4] = ["latency_p50_us", "latency_p99_us", "latency_p999_us", "latency_max_us"];

/// Everyone is new.
pub(crate) fn connect(options: &Storm) -> anyhow::Result<Report> {
    let common = common(options);
    let target = Target::new(&common, options.connections as usize, options.resume)?;
    let mut reactor = Reactor::new()?;
    let specs = specs(options, &target);
    let load = Load::steady(QoS::AtLeastOnce, PAYLOAD, options.rate);
    let outcome = beside(bystanders(options, &load), Duration::from_secs(options.quiet), || {
        blow(options, &target, &mut reactor, specs)
    })?;
    close(&mut reactor, &outcome.outcome);
    Ok(summary("connect-storm", options, outcome))
}

/// Everyone was there and was lost.
pub(crate) fn reconnect(options: &Storm) -> anyhow::Result<Report> {
    let common = common(options);
    let target = Target::new(&common, options.connections as usize, options.resume)?;
    let mut reactor = Reactor::new()?;
    let keys = open_all(&mut reactor, &target, &common, specs(options, &target), |_, _, _| {})?;
    report::progress(common.progress, &format!("{} connections are open", keys.len()));
    let load = Load::steady(QoS::AtLeastOnce, PAYLOAD, options.rate);
    let outcome = beside(bystanders(options, &load), Duration::from_secs(options.quiet), || {
        let lost: Vec<_> = keys.into_iter().filter_map(|key| reactor.cut(key)).collect();
        ensure!(lost.len() == options.connections as usize, "only {} were there to be lost", lost.len());
        blow(options, &target, &mut reactor, lost)
    })?;
    close(&mut reactor, &outcome.outcome);
    Ok(summary("reconnect-storm", options, outcome))
}

fn common(options: &Storm) -> Common {
    let needed = (options.connections as usize).div_ceil(PER_SOURCE).clamp(1, 254);
    let sources = options.common.sources.or(u8::try_from(needed).ok());
    Common { sources, ..options.common.clone() }
}

fn bystanders<'a>(options: &'a Storm, load: &'a Load) -> Plan<'a> {
    Plan::paired("bystanders", &options.common, load, options.bystanders as usize)
}

fn specs(options: &Storm, target: &Target) -> Vec<Spec> {
    let (prefix, pid) = (&target.client_prefix, process::own_id());
    (0..options.connections as usize)
        .map(|number| Spec {
            filter: Some((format!("{prefix}/{pid}/storm/{number}"), QoS::AtLeastOnce)),
            persistent: options.persistent,
            ..Spec::bare(number, format!("{prefix}-{pid}-x{number}"))
        })
        .collect()
}

/// What became of a storm.
struct Outcome {
    seconds: f64,
    open: Vec<usize>,
    /// Attempts that failed and were made again.
    failed: usize,
    /// From the begin of the storm, nanoseconds until each was open.
    open_after: Histogram<u64>,
    own_cpu: f64,
    broker_cpu: Option<f64>,
    broker_memory: Option<(u64, u64)>,
}

/// Opens everyone at once, again and again until all are open.
fn blow(
    options: &Storm,
    target: &Target,
    reactor: &mut Reactor,
    specs: Vec<Spec>,
) -> anyhow::Result<Outcome> {
    let pid = options.common.pid;
    let (own, cpu) = (process::own_thread_cpu_seconds()?, pid.map(process::cpu_seconds).transpose()?);
    let memory = pid.map(process::resident_bytes).transpose()?;
    let start = clock::now();
    let mut front = Front::new(specs)?;
    front.pass(options, target, reactor, start)?;
    let seconds = start.elapsed().as_secs_f64();
    let cpu_after = pid.map(process::cpu_seconds).transpose()?;
    Ok(Outcome {
        seconds,
        open: front.open,
        failed: front.failed,
        open_after: front.open_after,
        own_cpu: process::own_thread_cpu_seconds()? - own,
        broker_cpu: cpu_after.zip(cpu).map(|(after, before)| after - before),
        broker_memory: memory.zip(pid.map(process::peak_resident_bytes).transpose()?),
    })
}

/// Who is still to come, and who has come.
struct Front {
    wanted: usize,
    waiting: VecDeque<Spec>,
    /// On their way.
    under_way: usize,
    open: Vec<usize>,
    failed: usize,
    open_after: Histogram<u64>,
}

impl Front {
    fn new(specs: Vec<Spec>) -> anyhow::Result<Self> {
        Ok(Self {
            wanted: specs.len(),
            waiting: specs.into(),
            under_way: 0,
            open: Vec::new(),
            failed: 0,
            open_after: report::histogram()?,
        })
    }

    fn pass(
        &mut self,
        options: &Storm,
        target: &Target,
        reactor: &mut Reactor,
        start: Instant,
    ) -> anyhow::Result<()> {
        // All at once, unless told otherwise: as many as there are.
        let deadline = start + Duration::from_secs(options.common.connect_timeout);
        let mut told = start;
        while self.open.len() < self.wanted {
            while let Some(spec) = self.waiting.pop_front() {
                reactor.open(target, spec)?;
                self.under_way += 1;
            }
            self.turn(reactor, start)?;
            let open = self.open.len();
            ensure!(self.failed <= self.wanted * MOST_ATTEMPTS, "{} attempts failed", self.failed);
            if clock::now() > deadline {
                bail!("only {open} of {} are open after {} s", self.wanted, options.common.connect_timeout);
            }
            if told.elapsed() > Duration::from_secs(1) {
                told = clock::now();
                let line = format!("{open} of {} open, {} attempts failed", self.wanted, self.failed);
                report::progress(options.common.progress, &line);
            }
        }
        Ok(())
    }

    fn turn(&mut self, reactor: &mut Reactor, start: Instant) -> anyhow::Result<()> {
        reactor.turn(Duration::from_millis(50), |key, client, event, at| {
            match event {
                Event::Packet(packet) if !client.is_open() => {
                    if client.establish(&packet)? {
                        self.open.push(key);
                        self.under_way -= 1;
                        self.open_after.saturating_record(clock::nanos(start, at));
                    }
                }
                Event::Packet(_) => {}
                Event::Closed(error) => {
                    report::progress(self.failed == 0, &format!("an attempt failed: {error:#}"));
                    self.failed += 1;
                    match client.is_open() {
                        true => self.open.retain(|open| *open != key),
                        false => self.under_way -= 1,
                    }
                    self.waiting.push_back(client.spec().clone());
                }
            }
            Ok(())
        })
    }
}

fn close(reactor: &mut Reactor, outcome: &Outcome) {
    outcome.open.iter().for_each(|key| reactor.close(*key));
}

fn summary(scenario: &str, options: &Storm, beside: Beside<Outcome>) -> Report {
    let Beside { before, during, outcome } = beside;
    let count = f64::from(options.connections);
    let mut report = Report::new(scenario);
    report.put("target", options.common.target.as_str());
    report.put("tls", options.common.tls);
    report.put("resume", options.resume);
    report.put("persistent", options.persistent);
    report.put("connections", options.connections);
    report.put_number("seconds_until_all_are_open", outcome.seconds);
    report.put_number("connections_per_second", count / outcome.seconds);
    report.put("failed_attempts", outcome.failed);
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let nanos = outcome.open_after.value_at_quantile(quantile);
        report.put_number(&format!("open_after_{name}_ms"), nanos as f64 / 1e6);
    }
    if let Some(cpu) = outcome.broker_cpu {
        report.put_number("broker_cpu_us_per_connection", cpu * 1e6 / count);
    }
    if let Some((before, peak)) = outcome.broker_memory {
        report.put("broker_resident_bytes_before", before);
        report.put("broker_resident_bytes_peak", peak);
    }
    let slower = ratio(during.number("latency_p99_us"), before.number("latency_p99_us"));
    report.absorb("bystanders_before_", before, &BYSTANDERS);
    report.absorb(
        "bystanders_during_",
        during,
        &[&BYSTANDERS[..], &["lost", "duplicated", "reordered"]].concat(),
    );
    report.put_number("bystanders_p99_times", slower);
    report.put_own_cpu(outcome.own_cpu, outcome.seconds);
    report
}

fn ratio(after: Option<f64>, before: Option<f64>) -> f64 {
    match (after, before) {
        (Some(after), Some(before)) => after / before,
        _ => f64::NAN,
    }
}
