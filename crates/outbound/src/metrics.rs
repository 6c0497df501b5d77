//! Counters of outbound calls, by their Prometheus names.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

/// What is counted.
#[derive(Clone)]
pub struct Metrics {
    /// Calls of functions, by what calls and outcome.
    pub function_calls: IntCounterVec,
    /// Tries that followed a failed one, by what calls.
    pub function_retries: IntCounterVec,
    /// How long calls took, tries and pauses included, by what calls.
    pub function_seconds: HistogramVec,
}

impl Metrics {
    /// Counters registered in `registry`.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let calls = Opts::new("fleethaven_function_calls_total", "Calls of functions in place of Lambda.");
        let retries =
            Opts::new("fleethaven_function_retries_total", "Tries of such calls after a failed one.");
        let seconds = HistogramOpts::new("fleethaven_function_call_seconds", "How long such calls took.")
            .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
        let metrics = Self {
            function_calls: IntCounterVec::new(calls, &["source", "outcome"])?,
            function_retries: IntCounterVec::new(retries, &["source"])?,
            function_seconds: HistogramVec::new(seconds, &["source"])?,
        };
        registry.register(Box::new(metrics.function_calls.clone()))?;
        registry.register(Box::new(metrics.function_retries.clone()))?;
        registry.register(Box::new(metrics.function_seconds.clone()))?;
        Ok(metrics)
    }
}
