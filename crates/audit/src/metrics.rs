//! Counters of the journal.

use prometheus::{IntCounter, Registry};

/// Calls whose record is not kept.
pub(crate) fn lost(registry: &Registry) -> Result<IntCounter, prometheus::Error> {
    let lost =
        IntCounter::new("fleethaven_audit_records_lost_total", "Calls whose audit record is not kept.")?;
    registry.register(Box::new(lost.clone()))?;
    Ok(lost)
}
