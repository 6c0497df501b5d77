//! From two moments of a run to its figures.

use std::time::Instant;

use super::{Layout, Run};
use crate::clock;
use crate::process;
use crate::report::Report;

/// The counters at one moment.
pub(super) struct Moment {
    pub(super) at: Instant,
    sent: u64,
    received: u64,
    own_cpu: f64,
    broker_cpu: Option<f64>,
}

impl Run<'_> {
    pub(super) fn moment(&self) -> anyhow::Result<Moment> {
        Ok(Moment {
            own_cpu: process::cpu_seconds(process::own_id())?,
            broker_cpu: self.plan.common.pid.map(process::cpu_seconds).transpose()?,
            sent: self.publishers.sent,
            received: self.receipts.received,
            at: clock::now(),
        })
    }

    /// Rates and CPU time of the part between the moments; losses of the whole run.
    pub(super) fn summary(&self, first: &Moment, last: &Moment) -> Report {
        let mut report = self.conditions();
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64();
        let (sent, received) = (last.sent - first.sent, last.received - first.received);
        report.put_number("seconds", seconds);
        report.put("sent", sent);
        report.put("received", received);
        report.put_number("messages_per_second", sent as f64 / seconds);
        report.put_number("deliveries_per_second", received as f64 / seconds);
        self.put_integrity(&mut report);
        report.put_latency(&self.receipts.latency);
        if self.plan.load.rate.is_some() {
            report.put_number("most_behind_schedule_us", self.publishers.most_late as f64 / 1e3);
        }
        let own = last.own_cpu - first.own_cpu;
        report.put_number("own_cpu_seconds", own);
        report.put_number("own_cpu_share", own / seconds);
        if let (Some(before), Some(after)) = (first.broker_cpu, last.broker_cpu) {
            let broker = after - before;
            report.put_number("broker_cpu_seconds", broker);
            report.put_number("broker_cpu_share", broker / seconds);
            report.put_number("broker_cpu_us_per_message", broker * 1e6 / sent as f64);
            report.put_number("broker_cpu_us_per_delivery", broker * 1e6 / received as f64);
        }
        report
    }

    fn conditions(&self) -> Report {
        let (plan, load) = (self.plan, self.plan.load);
        let mut report = Report::new(plan.scenario);
        report.put("target", plan.common.target.as_str());
        report.put("tls", plan.common.tls);
        report.put("qos", load.qos().bits());
        report.put("payload_bytes", load.payload);
        report.put("publishers", plan.publishers);
        report.put("subscribers", plan.subscribers);
        report.put("shared", plan.layout == Layout::Shared);
        report.put("rate", load.rate);
        report.put("window", load.window);
        report
    }

    fn put_integrity(&self, report: &mut Report) {
        let counts = self.receipts.counts();
        let expected = self.publishers.sent * self.plan.fan();
        report.put("lost", expected.saturating_sub(counts.distinct));
        report.put("duplicated", counts.duplicated);
        // Members of a shared group keep no order among them.
        let ordered = self.plan.layout != Layout::Shared;
        report.put("reordered", ordered.then_some(counts.reordered));
        report.put("stray", self.receipts.stray);
        report.put("refused", self.refused);
        report.put("connections_lost", self.connections_lost);
    }
}
