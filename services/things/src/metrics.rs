//! Counters of the services behind `$aws/things/…`, by their Prometheus names.

use prometheus::{IntCounterVec, Opts, Registry};

/// What is counted.
#[derive(Clone)]
pub struct Metrics {
    /// Requests to shadows by MQTT, by operation and outcome.
    pub shadow_requests: IntCounterVec,
    /// Requests to fleet provisioning by MQTT, by operation and outcome.
    pub provisioning_requests: IntCounterVec,
}

impl Metrics {
    /// Counters registered in `registry`.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let about = Opts::new("fleethaven_shadow_requests_total", "Requests to device shadows by MQTT.");
        let shadow_requests = IntCounterVec::new(about, &["operation", "outcome"])?;
        registry.register(Box::new(shadow_requests.clone()))?;
        let about =
            Opts::new("fleethaven_provisioning_requests_total", "Requests to fleet provisioning by MQTT.");
        let provisioning_requests = IntCounterVec::new(about, &["operation", "outcome"])?;
        registry.register(Box::new(provisioning_requests.clone()))?;
        Ok(Self { shadow_requests, provisioning_requests })
    }
}
