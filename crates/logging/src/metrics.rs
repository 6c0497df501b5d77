//! Counters of log entries.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// What is counted.
#[derive(Clone)]
pub(crate) struct Metrics {
    /// Entries that were written.
    pub(crate) written: IntCounter,
    /// Entries above an account's rate.
    pub(crate) over_rate: IntCounter,
    /// Entries that the place where they are kept had no room for.
    pub(crate) lost: IntCounter,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let written =
            IntCounter::new("fleethaven_log_entries_total", "Log entries of accounts that were written.")?;
        registry.register(Box::new(written.clone()))?;
        let dropped = Opts::new("fleethaven_log_dropped_total", "Log entries of accounts that were dropped.");
        let dropped = IntCounterVec::new(dropped, &["reason"])?;
        registry.register(Box::new(dropped.clone()))?;
        // At 0 from the start, so that the first one is seen as an increase.
        let of = |reason: &str| dropped.with_label_values(&[reason]);
        Ok(Self { written, over_rate: of("rate"), lost: of("full") })
    }
}
