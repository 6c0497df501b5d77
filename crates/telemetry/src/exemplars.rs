//! Exemplars: for each histogram the traces that its newest observations belong to, and OpenMetrics, the text form that has a
//! place for them. The `prometheus` crate knows neither.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use fleethaven_fabric::traces::Exemplar;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// The content type of OpenMetrics.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Series that have exemplars; further ones get none.
const SERIES: usize = 1024;
/// The newest observations that are kept of each.
const KEPT: usize = 16;

/// The newest observations of each histogram's series that belong to a trace. Clones share them.
#[derive(Clone, Default)]
pub struct Exemplars(Arc<Mutex<HashMap<Series, VecDeque<Exemplar>>>>);

/// A histogram's name and its labels, in the order of their names.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Series(String, Vec<(String, String)>);

impl Series {
    fn new<'a>(name: &str, labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut labels: Vec<_> = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        labels.sort();
        Self(name.to_owned(), labels)
    }
}

impl Exemplars {
    /// Keeps an observation.
    pub(crate) fn add(&self, exemplar: Exemplar) {
        let labels = exemplar.labels.iter().map(|(name, value)| (*name, value.as_str()));
        let series = Series::new(exemplar.histogram, labels);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SERIES && !all.contains_key(&series) {
            return;
        }
        let newest = all.entry(series).or_default();
        newest.truncate(KEPT - 1);
        newest.push_front(exemplar);
    }

    /// The newest observation of a series above `above` and up to `to`.
    fn within(&self, series: &Series, above: f64, to: f64) -> Option<Exemplar> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(series)?.iter().find(|exemplar| exemplar.value > above && exemplar.value <= to).cloned()
    }
}

/// Metrics in OpenMetrics' text form, with their exemplars.
pub(crate) fn open_metrics(families: &[MetricFamily], exemplars: &Exemplars) -> String {
    let mut text = String::new();
    for family in families {
        // Writing to a text cannot fail.
        let _ = write_family(&mut text, family, exemplars);
    }
    text.push_str("# EOF\n");
    text
}

fn write_family(out: &mut String, family: &MetricFamily, exemplars: &Exemplars) -> std::fmt::Result {
    let (name, kind) = (family.name(), family.get_field_type());
    // A counter's family is named without what its sample ends with.
    let base = if kind == MetricType::COUNTER { name.strip_suffix("_total").unwrap_or(name) } else { name };
    let word = match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "unknown",
    };
    writeln!(out, "# TYPE {base} {word}")?;
    writeln!(out, "# HELP {base} {}", escaped(family.help()))?;
    for metric in family.get_metric() {
        match kind {
            MetricType::COUNTER => {
                sample(out, &format!("{base}_total"), metric, None, metric.get_counter().get_value())?;
                out.push('\n');
            }
            MetricType::GAUGE => {
                sample(out, name, metric, None, metric.get_gauge().get_value())?;
                out.push('\n');
            }
            MetricType::HISTOGRAM => write_histogram(out, name, metric, exemplars)?,
            // There are none: nothing in this workspace makes them.
            MetricType::SUMMARY | MetricType::UNTYPED => {}
        }
    }
    Ok(())
}

fn write_histogram(out: &mut String, name: &str, metric: &Metric, exemplars: &Exemplars) -> std::fmt::Result {
    let histogram = metric.get_histogram();
    let series = Series::new(name, metric.get_label().iter().map(|label| (label.name(), label.value())));
    let count = histogram.get_sample_count();
    let buckets =
        histogram.get_bucket().iter().map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()));
    let mut below = f64::NEG_INFINITY;
    let finite = buckets.filter(|(bound, _)| bound.is_finite());
    for (bound, cumulative) in finite.chain([(f64::INFINITY, count)]) {
        let le = if bound.is_finite() { format!("{bound:?}") } else { "+Inf".to_owned() };
        sample(out, &format!("{name}_bucket"), metric, Some(&le), cumulative as f64)?;
        if let Some(exemplar) = exemplars.within(&series, below, bound) {
            let Exemplar { trace_id, value, at, .. } = exemplar;
            let (seconds, millis) = (at / 1_000_000_000, at / 1_000_000 % 1000);
            write!(out, " # {{trace_id=\"{trace_id:032x}\"}} {value} {seconds}.{millis:03}")?;
        }
        out.push('\n');
        below = bound;
    }
    sample(out, &format!("{name}_sum"), metric, None, histogram.get_sample_sum())?;
    out.push('\n');
    sample(out, &format!("{name}_count"), metric, None, count as f64)?;
    out.push('\n');
    Ok(())
}

fn sample(out: &mut String, name: &str, metric: &Metric, le: Option<&str>, value: f64) -> std::fmt::Result {
    out.push_str(name);
    let labels = metric.get_label().iter().map(|label: &LabelPair| (label.name(), label.value()));
    let all = labels.chain(le.map(|le| ("le", le)));
    let mut separator = '{';
    for (label, value) in all {
        write!(out, "{separator}{label}=\"{}\"", escaped(value))?;
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    write!(out, " {value}")
}

/// A text within quotes, or of a help line.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

    use super::*;

    fn exemplar(value: f64, trace_id: u128) -> Exemplar {
        Exemplar {
            histogram: "took_seconds",
            labels: vec![("operation", "Make\"It".to_owned())],
            value,
            trace_id,
            at: 1_700_000_000_123_000_000,
        }
    }

    #[test]
    fn each_bucket_shows_the_newest_trace_that_falls_into_it() {
        let registry = Registry::new();
        let opts = HistogramOpts::new("took_seconds", "How long it took.").buckets(vec![0.1, 1.0]);
        let took = HistogramVec::new(opts, &["operation"]).unwrap();
        registry.register(Box::new(took.clone())).unwrap();
        for value in [0.05, 0.5, 7.0] {
            took.with_label_values(&["Make\"It"]).observe(value);
        }
        took.with_label_values(&["other"]).observe(0.5);
        let made = IntCounterVec::new(Opts::new("made_total", "Made."), &["result"]).unwrap();
        registry.register(Box::new(made.clone())).unwrap();
        made.with_label_values(&["ok"]).inc_by(3);
        let open = IntGauge::new("open", "Open.").unwrap();
        registry.register(Box::new(open)).unwrap();
        let exemplars = Exemplars::default();
        for (value, trace_id) in [(0.4, 1), (0.5, 2), (7.0, 3)] {
            exemplars.add(exemplar(value, trace_id));
        }
        let expected = "\
# TYPE made counter
# HELP made Made.
made_total{result=\"ok\"} 3
# TYPE open gauge
# HELP open Open.
open 0
# TYPE took_seconds histogram
# HELP took_seconds How long it took.
took_seconds_bucket{operation=\"Make\\\"It\",le=\"0.1\"} 1
took_seconds_bucket{operation=\"Make\\\"It\",le=\"1.0\"} 2 # {trace_id=\"00000000000000000000000000000002\"} 0.5 1700000000.123
took_seconds_bucket{operation=\"Make\\\"It\",le=\"+Inf\"} 3 # {trace_id=\"00000000000000000000000000000003\"} 7 1700000000.123
took_seconds_sum{operation=\"Make\\\"It\"} 7.55
took_seconds_count{operation=\"Make\\\"It\"} 3
took_seconds_bucket{operation=\"other\",le=\"0.1\"} 0
took_seconds_bucket{operation=\"other\",le=\"1.0\"} 1
took_seconds_bucket{operation=\"other\",le=\"+Inf\"} 1
took_seconds_sum{operation=\"other\"} 0.5
took_seconds_count{operation=\"other\"} 1
# EOF
";
        assert_eq!(open_metrics(&registry.gather(), &exemplars), expected);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let exemplars = Exemplars::default();
        for number in 0..10 * KEPT {
            exemplars.add(exemplar(number as f64, number as u128));
        }
        for number in 0..2 * SERIES {
            let labels = vec![("operation", number.to_string())];
            exemplars.add(Exemplar { labels, ..exemplar(1.0, 1) });
        }
        let all = exemplars.0.lock().unwrap();
        assert_eq!(all.len(), SERIES);
        assert!(all.values().all(|newest| newest.len() <= KEPT));
    }
}
