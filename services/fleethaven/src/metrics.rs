//! Metrics of the process itself.

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

/// What is counted of the server's certificates.
#[derive(Clone)]
pub(crate) struct Metrics {
    /// When each expires.
    pub(crate) certificate_expiry: IntGaugeVec,
    /// Changes of their files.
    pub(crate) certificate_reloads: IntCounterVec,
}

impl Metrics {
    /// Registers them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let expiry = Opts::new(
            "fleethaven_tls_certificate_expiry_timestamp_seconds",
            "When a server certificate in use expires, in unix seconds",
        );
        let reloads = Opts::new(
            "fleethaven_tls_certificate_reloads_total",
            "Changes of server certificate files that were taken up, or refused",
        );
        let metrics = Self {
            certificate_expiry: IntGaugeVec::new(expiry, &["file"])?,
            certificate_reloads: IntCounterVec::new(reloads, &["result"])?,
        };
        registry.register(Box::new(metrics.certificate_expiry.clone()))?;
        registry.register(Box::new(metrics.certificate_reloads.clone()))?;
        for result in ["success", "refused"] {
            metrics.certificate_reloads.with_label_values(&[result]);
        }
        Ok(metrics)
    }
}
