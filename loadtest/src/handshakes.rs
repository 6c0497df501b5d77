//! Connections that only open: TCP, TLS, CONNECT to CONNACK, close, over and over.

use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;

use crate::client::Spec;
use crate::clock;
use crate::options::{Common, Handshakes};
use crate::process;
use crate::reactor::{Event, Reactor};
use crate::report::{self, Report};
use crate::target::Target;

/// Source addresses when none are given: closed connections keep their ports for a minute.
const SOURCES: u8 = 64;
/// Longest wait for sockets in one turn.
const PACE: Duration = Duration::from_millis(20);
/// Failures after which the run ends.
const MOST_FAILURES: u64 = 100;

/// Opens and closes for the time given.
pub(crate) fn run(options: &Handshakes) -> anyhow::Result<Report> {
    let common = Common { sources: options.common.sources.or(Some(SOURCES)), ..options.common.clone() };
    let target = Target::new(&common, options.in_flight as usize, options.resume)?;
    let mut opener = Opener::new(target, "h")?;
    opener.until(clock::now() + Duration::from_millis(500), options.in_flight as usize)?;

    opener.latency.reset();
    let (done_before, resumed_before) = (opener.done, opener.resumed);
    let (own, broker) = cpu(&common)?;
    let start = clock::now();
    opener.until(start + Duration::from_secs(options.duration), options.in_flight as usize)?;
    let seconds = start.elapsed().as_secs_f64();
    let (own_after, broker_after) = cpu(&common)?;

    let done = opener.done - done_before;
    let mut report = Report::new("handshakes");
    report.put("target", common.target.as_str());
    report.put("tls", opener.target.is_tls());
    report.put("in_flight", options.in_flight);
    report.put_number("seconds", seconds);
    report.put("handshakes", done);
    report.put("resumed", opener.resumed - resumed_before);
    report.put("failed", opener.failed);
    let full = done - (opener.resumed - resumed_before);
    // Tickets are used once: now and then a client comes before its last connection got it new ones.
    if options.resume && full > done / 50 {
        report.warn(format!("{full} of {done} handshakes were not resumed"));
    }
    report.put_number("handshakes_per_second", done as f64 / seconds);
    report.put_latency(&opener.latency);
    report.put_own_cpu(own_after - own, seconds);
    if let (Some(before), Some(after)) = (broker, broker_after) {
        report.put_number("broker_cpu_seconds", after - before);
        report.put_number("broker_cpu_us_per_handshake", (after - before) * 1e6 / done as f64);
    }
    Ok(report)
}

fn cpu(common: &Common) -> anyhow::Result<(f64, Option<f64>)> {
    Ok((process::own_thread_cpu_seconds()?, common.pid.map(process::cpu_seconds).transpose()?))
}

/// Clients that come and go at an even pace.
pub(crate) struct Churn {
    opener: Opener,
    per_second: u32,
    start: Instant,
    open: Vec<usize>,
}

impl Churn {
    /// Nobody yet; `per_second` of 0 stays so.
    pub(crate) fn new(common: &Common, per_second: u32) -> anyhow::Result<Self> {
        let common = Common { sources: common.sources.or(Some(SOURCES)), ..common.clone() };
        let target = Target::new(&common, per_second as usize, false)?;
        Ok(Self { opener: Opener::new(target, "c")?, per_second, start: clock::now(), open: Vec::new() })
    }

    /// One turn of at most `timeout`: who is due comes, who came goes, every other one without good-bye.
    pub(crate) fn turn(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let due = (self.start.elapsed().as_secs_f64() * f64::from(self.per_second)) as usize;
        while self.opener.started < due && self.opener.reactor.len() <= self.per_second as usize {
            self.opener.start()?;
        }
        self.opener.turn(timeout.min(PACE), &mut self.open)?;
        for key in self.open.drain(..) {
            match key % 2 {
                0 => self.opener.reactor.close(key),
                _ => _ = self.opener.reactor.cut(key),
            }
        }
        Ok(())
    }

    /// How many came.
    pub(crate) fn done(&self) -> u64 {
        self.opener.done
    }

    /// How many tried in vain.
    pub(crate) fn failed(&self) -> u64 {
        self.opener.failed
    }
}

struct Opener {
    reactor: Reactor,
    target: Target,
    /// Tells its client identifiers from others'.
    kind: &'static str,
    started: usize,
    done: u64,
    resumed: u64,
    failed: u64,
    latency: Histogram<u64>,
}

impl Opener {
    fn new(target: Target, kind: &'static str) -> anyhow::Result<Self> {
        Ok(Self {
            reactor: Reactor::new()?,
            target,
            kind,
            started: 0,
            done: 0,
            resumed: 0,
            failed: 0,
            latency: report::histogram()?,
        })
    }

    fn until(&mut self, end: Instant, in_flight: usize) -> anyhow::Result<()> {
        let mut open = Vec::new();
        while clock::now() < end {
            while self.reactor.len() < in_flight {
                self.start()?;
            }
            self.turn(PACE, &mut open)?;
            open.drain(..).for_each(|key| self.reactor.close(key));
            ensure!(self.failed <= MOST_FAILURES, "{} connections failed", self.failed);
        }
        Ok(())
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let (prefix, pid) = (&self.target.client_prefix, process::own_id());
        let client_id = format!("{prefix}-{pid}-{}{}", self.kind, self.started);
        self.reactor.open(&self.target, Spec::bare(self.started, client_id))?;
        self.started += 1;
        Ok(())
    }

    /// One turn; `open` gets the clients that reached CONNACK.
    fn turn(&mut self, timeout: Duration, open: &mut Vec<usize>) -> anyhow::Result<()> {
        let Self { reactor, done, resumed, failed, latency, .. } = self;
        reactor.turn(timeout, |key, client, event, at| {
            match event {
                Event::Packet(packet) if client.establish(&packet)? => {
                    *done += 1;
                    *resumed += u64::from(client.is_tls_resumed());
                    latency.saturating_record(clock::nanos(client.started, at));
                    open.push(key);
                }
                Event::Packet(_) => {}
                Event::Closed(error) => {
                    *failed += 1;
                    report::progress(*failed == 1, &format!("a connection failed: {error:#}"));
                }
            }
            Ok(())
        })
    }
}
