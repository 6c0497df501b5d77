//! The highest open-loop rate that the broker sustains: bounded latency, nothing lost.

use crate::options::Sustained;
use crate::report::{self, Report};
use crate::traffic::{self, Plan};

/// Share of a rate that must really have been sent and come back.
const KEPT: f64 = 0.99;
/// What the 99th percentile is compared with, when the schedule itself is kept.
const LATENCY: &str = "latency_p99_us";

/// Doubles the rate until it is too much, then halves the gap until it is small enough.
pub(crate) fn run(options: &Sustained) -> anyhow::Result<Report> {
    let mut search = Search::new(options.from, options.most, options.precision);
    let (mut best, mut failed) = (None, None);
    while let Some(rate) = search.next() {
        let report = at_rate(options, rate)?;
        let verdict = verdict(&report, options.bound * 1000);
        report::progress(
            options.fan_in.common.progress,
            &format!("{rate} msg/s: {}", verdict.unwrap_or("good")),
        );
        search.learn(rate, verdict.is_none());
        match verdict {
            None => best = Some(report),
            Some(reason) => failed = Some((rate, reason, report)),
        }
    }
    Ok(summary(options, best, failed))
}

fn at_rate(options: &Sustained, rate: u64) -> anyhow::Result<Report> {
    let load = options.fan_in.load.at_rate(rate);
    let mut plan = Plan::fan_in(&options.fan_in);
    plan.load = &load;
    traffic::run(plan)
}

/// Why a rate is not sustained; `None` when it is.
fn verdict(report: &Report, bound_us: u64) -> Option<&'static str> {
    let is = |name: &str, test: &dyn Fn(f64) -> bool| report.number(name).is_some_and(test);
    if is("lost", &|lost| lost > 0.0) {
        Some("messages were lost")
    } else if is("connections_lost", &|lost| lost > 0.0) {
        Some("connections were lost")
    } else if is("schedule_kept", &|kept| kept < KEPT) {
        Some("the rate was not reached")
    } else if is(LATENCY, &|latency| latency > bound_us as f64) {
        Some("latency went over the bound")
    } else {
        None
    }
}

fn summary(options: &Sustained, best: Option<Report>, failed: Option<(u64, &'static str, Report)>) -> Report {
    let mut report = best.unwrap_or_default();
    report.put("scenario", "sustained");
    report.put("latency_bound_us", options.bound * 1000);
    report.put("sustained_per_second", report.get("rate").cloned());
    if let Some((rate, reason, run)) = failed {
        report.put("failed_rate", rate);
        report.put("failed_because", reason);
        report.put("failed_own_cpu_share", run.get("own_cpu_share").cloned());
        if !run.warnings().is_empty() {
            report.warn(format!("at {rate} msg/s: {}", run.warnings().join("; ")));
        }
    }
    report
}

/// Which rate to try next.
struct Search {
    next: Option<u64>,
    good: u64,
    bad: Option<u64>,
    /// In percent of the bad rate.
    precision: u64,
    /// Not worth trying.
    floor: u64,
    most: u64,
}

impl Search {
    fn new(from: u64, most: u64, precision: u64) -> Self {
        Self { next: Some(from), good: 0, bad: None, precision, floor: from / 64, most }
    }

    fn next(&mut self) -> Option<u64> {
        self.next.take()
    }

    fn learn(&mut self, rate: u64, is_good: bool) {
        match is_good {
            true => self.good = self.good.max(rate),
            false => self.bad = Some(self.bad.map_or(rate, |bad| bad.min(rate))),
        }
        self.next = match self.bad {
            None => Some(rate.saturating_mul(2)).filter(|rate| *rate <= self.most),
            Some(bad) if bad - self.good.min(bad) <= bad * self.precision / 100 => None,
            Some(bad) => Some(self.good.midpoint(bad)).filter(|rate| *rate > self.floor),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(limit: u64) -> (u64, usize) {
        let mut search = Search::new(50_000, 10_000_000, 5);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            search.learn(rate, rate <= limit);
            tries += 1;
        }
        (search.good, tries)
    }

    #[test]
    fn the_search_closes_in_from_either_side() {
        for limit in [1600, 49_999, 50_000, 123_456, 2_000_000] {
            let (good, tries) = found(limit);
            assert!(good <= limit && good * 100 >= limit * 93, "{good} for {limit}");
            assert!(tries < 14, "{tries}");
        }
        assert!(found(u64::MAX).0 > 5_000_000, "it ends at the highest rate to try");
        assert_eq!(found(0).0, 0, "it ends where nothing is sustained");
    }

    #[test]
    fn loss_lateness_and_latency_are_reasons() {
        let mut report = Report::new("fan-in");
        for (name, value) in
            [("lost", 0.0), ("connections_lost", 0.0), ("schedule_kept", 1.0), (LATENCY, 900.0)]
        {
            report.put_number(name, value);
        }
        assert_eq!(verdict(&report, 1000), None);
        assert_eq!(verdict(&report, 800), Some("latency went over the bound"));
        report.put_number("schedule_kept", 0.9);
        assert_eq!(verdict(&report, 1000), Some("the rate was not reached"));
        report.put_number("lost", 1.0);
        assert_eq!(verdict(&report, 1000), Some("messages were lost"));
    }
}
