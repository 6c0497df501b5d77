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
/// Failures after which the run ends.
const MOST_FAILURES: u64 = 100;

/// Opens and closes for the time given.
pub(crate) fn run(options: &Handshakes) -> anyhow::Result<Report> {
    let common = Common { sources: options.common.sources.or(Some(SOURCES)), ..options.common.clone() };
    let target = Target::new(&common, options.in_flight as usize, options.resume)?;
    let mut opener = Opener {
        reactor: Reactor::new()?,
        target,
        started: 0,
        done: 0,
        failed: 0,
        latency: report::histogram()?,
    };
    opener.until(clock::now() + Duration::from_millis(500), options.in_flight as usize)?;

    opener.latency.reset();
    let done_before = opener.done;
    let (own, broker) = cpu(&common)?;
    let start = clock::now();
    opener.until(start + Duration::from_secs(options.duration), options.in_flight as usize)?;
    let seconds = start.elapsed().as_secs_f64();
    let (own_after, broker_after) = cpu(&common)?;

    let done = opener.done - done_before;
    let mut report = Report::new("handshakes");
    report.put("target", common.target.as_str());
    report.put("tls", opener.target.is_tls());
    report.put("resumed", options.resume);
    report.put("in_flight", options.in_flight);
    report.put_number("seconds", seconds);
    report.put("handshakes", done);
    report.put("failed", opener.failed);
    report.put_number("handshakes_per_second", done as f64 / seconds);
    report.put_latency(&opener.latency);
    report.put_number("own_cpu_seconds", own_after - own);
    report.put_number("own_cpu_share", (own_after - own) / seconds);
    if let (Some(before), Some(after)) = (broker, broker_after) {
        report.put_number("broker_cpu_seconds", after - before);
        report.put_number("broker_cpu_us_per_handshake", (after - before) * 1e6 / done as f64);
    }
    Ok(report)
}

fn cpu(common: &Common) -> anyhow::Result<(f64, Option<f64>)> {
    Ok((process::cpu_seconds(process::own_id())?, common.pid.map(process::cpu_seconds).transpose()?))
}

struct Opener {
    reactor: Reactor,
    target: Target,
    started: usize,
    done: u64,
    failed: u64,
    latency: Histogram<u64>,
}

impl Opener {
    fn until(&mut self, end: Instant, in_flight: usize) -> anyhow::Result<()> {
        let mut open = Vec::new();
        while clock::now() < end {
            while self.reactor.len() < in_flight {
                self.start()?;
            }
            self.turn(&mut open)?;
            open.drain(..).for_each(|key| self.reactor.close(key));
            ensure!(self.failed <= MOST_FAILURES, "{} connections failed", self.failed);
        }
        Ok(())
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let client_id = format!("{}-{}-h{}", self.target.client_prefix, process::own_id(), self.started);
        self.reactor.open(&self.target, Spec { number: self.started, client_id, filter: None })?;
        self.started += 1;
        Ok(())
    }

    /// One turn; `open` gets the clients that reached CONNACK.
    fn turn(&mut self, open: &mut Vec<usize>) -> anyhow::Result<()> {
        let Self { reactor, done, failed, latency, .. } = self;
        reactor.turn(Duration::from_millis(20), |key, client, event, at| {
            match event {
                Event::Packet(packet) if client.establish(&packet)? => {
                    *done += 1;
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
