//! The result of a run, as a table and as JSON.

use std::io::{self, Write as _};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// Share of a core from which on this generator counts as saturated.
const SATURATED: f64 = 0.9;

/// Names and values in the order they were put, and what the reader must know about them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    values: Map<String, Value>,
    warnings: Vec<String>,
}

impl Report {
    pub(crate) fn new(scenario: &str) -> Self {
        let mut report = Self::default();
        report.put("scenario", scenario);
        report
    }

    pub(crate) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// A number with three decimals; what is not finite (nothing to divide by) is null.
    pub(crate) fn put_number(&mut self, name: &str, value: f64) {
        self.put(name, json!(value.is_finite().then(|| (value * 1e3).round() / 1e3)));
    }

    /// The usual percentiles of nanoseconds, in microseconds, as `latency_p50_us` and so on.
    pub(crate) fn put_latency(&mut self, latency: &Histogram<u64>) {
        self.put_percentiles("latency", latency);
    }

    /// The same under another name.
    pub(crate) fn put_percentiles(&mut self, of: &str, latency: &Histogram<u64>) {
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            let nanos = latency.value_at_quantile(quantile);
            self.put_number(&format!("{of}_{name}_us"), nanos as f64 / 1e3);
        }
    }

    /// A value by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A number by its name.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.as_f64()
    }

    /// Takes the other report's values in, each name with `prefix`, and its warnings.
    pub(crate) fn absorb(&mut self, prefix: &str, other: Self, names: &[&str]) {
        for name in names {
            let value = other.values.get(*name).cloned().unwrap_or(Value::Null);
            self.put(&format!("{prefix}{name}"), value);
        }
        self.warnings.extend(other.warnings.into_iter().map(|warning| format!("{prefix}{warning}")));
    }

    /// Something that the figures must not be read without.
    pub(crate) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// The warnings so far.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What this generator itself used, with a warning when that was too much to tell its limit from the broker's.
    pub(crate) fn put_own_cpu(&mut self, used: f64, seconds: f64) {
        let share = used / seconds;
        self.put_number("own_cpu_seconds", used);
        self.put_number("own_cpu_share", share);
        if share >= SATURATED {
            self.warn(format!(
                "the generator used {:.0} % of a core: rates and latencies may be its limit, not the broker's",
                share * 100.0
            ));
        }
    }

    /// Writes it to standard output.
    pub(crate) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if as_json {
            let mut document = self.values.clone();
            document.insert("warnings".to_owned(), json!(self.warnings));
            writeln!(out, "{}", Value::Object(document))?;
        } else {
            out.write_all(self.table().as_bytes())?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        let width = self.values.keys().map(String::len).max().unwrap_or(0);
        let line = |(name, value): (&String, &Value)| {
            format!("{:width$}  {}\n", name.replace('_', " "), shown(value))
        };
        let warning = |text: &String| format!("WARNING: {text}\n");
        self.values.iter().map(line).chain(self.warnings.iter().map(warning)).collect()
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// An empty histogram of nanoseconds up to a minute, three digits exact.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// Says something to whoever watches; a closed standard error is no reason to stop.
pub(crate) fn progress(wanted: bool, line: &str) {
    if wanted {
        _ = writeln!(io::stderr(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_says_what_is_not_known() {
        let mut report = Report::new("fan-in");
        report.put("lost", 3);
        report.put_number("broker_cpu_us_per_message", 1.0 / 0.0);
        report.put_number("own", 1.234_56);
        let expected = "scenario                   fan-in\nlost                       3\n\
                        broker cpu us per message  -\nown                        1.235\n";
        assert_eq!(report.table(), expected);
    }

    #[test]
    fn a_saturated_generator_is_named() {
        let mut report = Report::new("fan-in");
        report.put_own_cpu(0.89, 1.0);
        assert_eq!(report.warnings(), [""; 0]);
        report.put_own_cpu(4.6, 5.0);
        assert!(report.table().contains("WARNING: the generator used 92 % of a core"), "{}", report.table());
    }
}
