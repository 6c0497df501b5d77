//! From two moments of a run to its figures.

use std::time::Instant;

use super::{Layout, Run};
use crate::clock;
use crate::process;
use crate::report::Report;

/// Lateness of this generator, in nanoseconds at the 99th percentile, from which on it is worth a warning.
const LATE: u64 = 1_000_000;
/// Share of the scheduled rate below which an open loop was none.
const ON_SCHEDULE: f64 = 0.99;

/// The counters at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) at: Instant,
    sent: u64,
    received: u64,
    own_cpu: f64,
    broker: Option<Broker>,
}

#[derive(Clone, Copy)]
struct Broker {
    cpu: f64,
    sleeps: u64,
}

impl Moment {
    /// CPU seconds that the broker used since an earlier moment, if it is known.
    pub(crate) fn broker_cpu_since(&self, earlier: &Self) -> Option<f64> {
        Some(self.broker?.cpu - earlier.broker?.cpu)
    }

    /// CPU seconds that this thread used since an earlier moment.
    pub(crate) fn own_cpu_since(&self, earlier: &Self) -> f64 {
        self.own_cpu - earlier.own_cpu
    }
}

impl Run<'_> {
    /// Forgets the latencies so far and gives the moment from which on they count.
    pub(crate) fn begin_measuring(&mut self) -> anyhow::Result<Moment> {
        self.flow.receipts.latency.reset();
        self.flow.publishers.lateness.reset();
        self.flow.publishers.held = 0;
        self.moment()
    }

    pub(crate) fn moment(&self) -> anyhow::Result<Moment> {
        let broker =
            |pid| anyhow::Ok(Broker { cpu: process::cpu_seconds(pid)?, sleeps: process::sleeps(pid)? });
        Ok(Moment {
            own_cpu: process::own_thread_cpu_seconds()?,
            broker: self.plan.common.pid.map(broker).transpose()?,
            sent: self.flow.publishers.sent,
            received: self.flow.receipts.received,
            at: clock::now(),
        })
    }

    /// Rates and CPU time of the part between the moments; losses of the whole run.
    pub(crate) fn summary(&self, first: &Moment, last: &Moment) -> Report {
        let mut report = self.conditions();
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        let (sent, received) = (last.sent - first.sent, last.received - first.received);
        report.put_number("seconds", seconds);
        report.put("sent", sent);
        report.put("received", received);
        report.put_number("messages_per_second", sent as f64 / seconds);
        report.put_number("deliveries_per_second", received as f64 / seconds);
        self.put_integrity(&mut report);
        report.put_latency(&self.flow.receipts.latency);
        if let Some(rate) = self.plan.load.rate {
            self.put_schedule(&mut report, sent as f64 / seconds / rate as f64);
        }
        let own = last.own_cpu_since(first);
        if self.plan.load.spin {
            report.put_number("own_cpu_share", own / seconds);
        } else {
            report.put_own_cpu(own, seconds);
        }
        if let (Some(before), Some(after)) = (first.broker, last.broker) {
            let broker = after.cpu - before.cpu;
            report.put_number("broker_cpu_seconds", broker);
            report.put_number("broker_cpu_share", broker / seconds);
            report.put_number("broker_cpu_us_per_message", broker * 1e6 / sent as f64);
            report.put_number("broker_cpu_us_per_delivery", broker * 1e6 / received as f64);
            let sleeps = after.sleeps.saturating_sub(before.sleeps) as f64;
            report.put_number("broker_sleeps_per_message", sleeps / sent as f64);
        }
        report
    }

    /// What the run is.
    pub(crate) fn conditions(&self) -> Report {
        let (plan, load) = (&self.plan, self.plan.load);
        let mut report = Report::new(plan.scenario);
        report.put("target", plan.common.target.as_str());
        report.put("tls", plan.common.tls);
        report.put("mqtt", plan.common.mqtt.name());
        report.put("qos", load.qos().bits());
        report.put("payload_bytes", load.payload);
        report.put("publishers", plan.publishers);
        report.put("subscribers", plan.subscribers);
        report.put("shared", plan.layout == Layout::Shared);
        report.put("rate", load.rate);
        report.put("window", load.window);
        report
    }

    /// What was lost, came twice or out of order.
    pub(crate) fn put_integrity(&self, report: &mut Report) {
        let counts = self.flow.receipts.counts();
        let expected = self.flow.publishers.sent * self.plan.fan();
        report.put("lost", expected.saturating_sub(counts.distinct));
        report.put("duplicated", counts.duplicated);
        // Members of a shared group keep no order among them.
        let ordered = self.plan.layout != Layout::Shared;
        report.put("reordered", ordered.then_some(counts.reordered));
        report.put("stray", self.flow.receipts.stray);
        report.put("refused", self.flow.refused);
        report.put("connections_lost", self.flow.connections_lost);
    }

    /// How late the acknowledgements of a run came whose subscribers were away, and how well its schedule was kept, if it had one.
    pub(crate) fn put_acknowledgements(&self, report: &mut Report, first: &Moment, last: &Moment) {
        report.put_percentiles("acknowledgement", &self.flow.publishers.acknowledgement);
        if let Some(rate) = self.plan.load.rate {
            let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
            self.put_schedule(report, (last.sent - first.sent) as f64 / seconds / rate as f64);
        }
    }

    /// How well an open loop kept its schedule, and who kept it from that.
    fn put_schedule(&self, report: &mut Report, kept: f64) {
        let publishers = &self.flow.publishers;
        let late = publishers.lateness.value_at_quantile(0.99);
        report.put_number("behind_schedule_p99_us", late as f64 / 1e3);
        report.put_number("behind_schedule_max_us", publishers.lateness.max() as f64 / 1e3);
        report.put_number("schedule_kept", kept);
        if late < LATE && kept >= ON_SCHEDULE {
            return;
        }
        let who = match publishers.held {
            0 => "by itself: its latencies are not the broker's alone",
            _ => "held back by full windows or sockets: the broker is too slow for this rate",
        };
        report
            .warn(format!("the generator fell behind its schedule (p99 {:.1} ms), {who}", late as f64 / 1e6));
    }
}
