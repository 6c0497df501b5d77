//! The way out of the broker: what actions reach other systems by.

use std::sync::Arc;

use fleethaven_fabric::Functions;
use fleethaven_outbound::HttpClient;

use crate::connections::Connections;
use crate::lanes::Lanes;

/// What actions reach other systems by.
pub struct Outside {
    /// Requests over HTTPS, to addresses that the operator lets through.
    pub http: HttpClient,
    /// What stands for Lambda functions.
    pub lambda: Arc<dyn Functions>,
    /// Which systems there are, and who may use them.
    pub connections: Arc<Connections>,
    /// What keeps slow targets apart.
    pub lanes: Lanes,
}
