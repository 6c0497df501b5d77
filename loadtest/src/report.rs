//! The result of a run, as a table and as JSON.

use std::io::{self, Write as _};

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// Names and values in the order they were put.
#[derive(Debug, Default)]
pub(crate) struct Report(Map<String, Value>);

impl Report {
    pub(crate) fn new(scenario: &str) -> Self {
        let mut report = Self::default();
        report.put("scenario", scenario);
        report
    }

    pub(crate) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// A number with three decimals; what is not finite (nothing to divide by) is null.
    pub(crate) fn put_number(&mut self, name: &str, value: f64) {
        self.put(name, json!(value.is_finite().then(|| (value * 1e3).round() / 1e3)));
    }

    /// The usual percentiles of nanoseconds, in microseconds.
    pub(crate) fn put_latency(&mut self, latency: &Histogram<u64>) {
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            let nanos = latency.value_at_quantile(quantile);
            self.put_number(&format!("latency_{name}_us"), nanos as f64 / 1e3);
        }
    }

    /// A value by its name.
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Writes it to standard output.
    pub(crate) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if as_json {
            writeln!(out, "{}", Value::Object(self.0.clone()))?;
        } else {
            out.write_all(self.table().as_bytes())?;
        }
        Ok(())
    }

    fn table(&self) -> String {
        let width = self.0.keys().map(String::len).max().unwrap_or(0);
        self.0
            .iter()
            .map(|(name, value)| format!("{:width$}  {}\n", name.replace('_', " "), shown(value)))
            .collect()
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
}
