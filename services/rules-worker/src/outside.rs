//! The way out of the broker: what actions reach other systems by.

use std::sync::Arc;

use fleethaven_fabric::Functions;
use fleethaven_outbound::HttpClient;
use fleethaven_types::Timestamp;
use prometheus::IntCounterVec;

use crate::connections::Connections;
use crate::destinations::Destinations;
use crate::lanes::Lanes;

/// What actions reach other systems by.
pub struct Outside {
    /// Requests over HTTPS, to addresses that the operator lets through.
    pub http: HttpClient,
    /// What stands for Lambda functions.
    pub lambda: Arc<dyn Functions>,
    /// Which systems there are, and who may use them.
    pub connections: Arc<Connections>,
    /// Which addresses `http` actions may call.
    pub destinations: Arc<Destinations>,
    /// What keeps slow targets apart.
    pub lanes: Lanes,
    /// What requests of `http` actions came to.
    pub http_results: IntCounterVec,
    /// The time.
    pub clock: fn() -> Timestamp,
}
