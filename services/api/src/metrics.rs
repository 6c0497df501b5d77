//! Counters and latencies of requests.

use std::time::Duration;

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// The histogram of how long requests take.
pub(crate) const LATENCY: &str = "fleethaven_api_request_duration_seconds";

/// The API's metrics. Services have operations of the same name; those outside AWS's models count as `unknown` of `unknown`.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    requests: IntCounterVec,
    latency: HistogramVec,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = Opts::new("fleethaven_api_requests_total", "Requests answered.");
        let latency = HistogramOpts::new(LATENCY, "Time from a request's head to its answer.");
        let metrics = Self {
            requests: IntCounterVec::new(requests, &["service", "operation", "status"])?,
            latency: HistogramVec::new(latency, &["service", "operation"])?,
        };
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.latency.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn count(&self, (service, operation): (&str, &str), status: u16, took: Duration) {
        self.requests.with_label_values(&[service, operation, status.to_string().as_str()]).inc();
        self.latency.with_label_values(&[service, operation]).observe(took.as_secs_f64());
    }
}
