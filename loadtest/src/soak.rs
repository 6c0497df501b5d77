//! A steady load with clients that come and go: what grows in the broker over time?

use std::time::Duration;

use crate::clock;
use crate::handshakes;
use crate::options::{Load, Soak};
use crate::process;
use crate::report::{self, Report};
use crate::traffic::{Beside, Plan, beside};

/// How long the load runs before anything counts.
const QUIET: Duration = Duration::from_secs(5);
/// Growth per hour, as a share of the memory, from which on it is worth a warning.
const GROWTH: f64 = 0.1;

/// Loads, churns and looks, for the minutes wanted.
pub(crate) fn run(options: &Soak) -> anyhow::Result<Report> {
    let load = Load::steady(options.qos(), options.payload, options.rate);
    let plan = Plan::paired("soak", &options.common, &load, options.pairs as usize);
    let beside = beside(plan, QUIET, || watch(options))?;
    Ok(summary(options, beside))
}

/// One look at the broker.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// Since the first one.
    seconds: f64,
    resident: u64,
    files: u64,
}

struct Watched {
    looks: Vec<Look>,
    churned: u64,
    failed: u64,
}

fn watch(options: &Soak) -> anyhow::Result<Watched> {
    let mut churn = handshakes::Churn::new(&options.common, options.churn)?;
    let mut looks = Vec::new();
    let start = clock::now();
    let end = start + Duration::from_secs(options.minutes * 60);
    let mut due = start;
    while clock::now() < end {
        if clock::now() >= due {
            due += Duration::from_secs(options.sample);
            if let Some(pid) = options.common.pid {
                let look = Look {
                    seconds: start.elapsed().as_secs_f64(),
                    resident: process::resident_bytes(pid)?,
                    files: process::open_files(pid)?,
                };
                let (resident, files) = (look.resident as f64 / 1e6, look.files);
                let line = format!("{:6.0} s: {resident:.1} MB, {files} files", look.seconds);
                report::progress(options.common.progress, &line);
                looks.push(look);
            }
        }
        churn.turn(due.min(end).saturating_duration_since(clock::now()))?;
    }
    Ok(Watched { looks, churned: churn.done(), failed: churn.failed() })
}

fn summary(options: &Soak, beside: Beside<Watched>) -> Report {
    let Beside { during: mut report, outcome: Watched { looks, churned, failed }, .. } = beside;
    report.put("churned_connections", churned);
    report.put("churn_failed", failed);
    // The first tenth fills caches and pools.
    let settled = looks.get(looks.len() / 10..).unwrap_or_default();
    let (Some(first), Some(last)) = (settled.first(), settled.last()) else { return report };
    report.put("broker_resident_bytes_settled", first.resident);
    report.put("broker_resident_bytes_end", last.resident);
    let slope = slope(settled) * 3600.0;
    report.put_number("broker_resident_bytes_per_hour", slope);
    report.put("broker_files_settled", first.files);
    report.put("broker_files_end", last.files);
    let series = |of: fn(&Look) -> u64| looks.iter().map(of).collect::<Vec<_>>();
    report.put("broker_resident_bytes_series", series(|look| look.resident));
    report.put("broker_files_series", series(|look| look.files));
    report.put("series_step_seconds", options.sample);
    if slope > first.resident as f64 * GROWTH {
        report.warn(format!("the broker's memory grows by {:.1} MB an hour", slope / 1e6));
    }
    report
}

/// Bytes per second by which memory grows: the line that fits the looks best.
fn slope(looks: &[Look]) -> f64 {
    let count = looks.len() as f64;
    let mean = |of: &dyn Fn(&Look) -> f64| looks.iter().map(of).sum::<f64>() / count;
    let (time, memory) = (mean(&|look| look.seconds), mean(&|look| look.resident as f64));
    let covariance: f64 = looks.iter().map(|one| (one.seconds - time) * (one.resident as f64 - memory)).sum();
    let variance: f64 = looks.iter().map(|one| (one.seconds - time).powi(2)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(resident: impl Fn(u64) -> u64) -> Vec<Look> {
        (0..20).map(|at| Look { seconds: at as f64 * 10.0, resident: resident(at), files: 9 }).collect()
    }

    #[test]
    fn the_slope_is_growth_not_noise() {
        assert!((slope(&looks(|at| 1_000_000 + at * 10_000)) - 1000.0).abs() < 1e-6);
        assert!(slope(&looks(|at| 1_000_000 + (at % 2) * 5000)).abs() < 10.0);
        assert_eq!(slope(&looks(|_| 7)[..1]), 0.0);
    }
}
