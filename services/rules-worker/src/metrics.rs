//! Counters of the rules worker, by their Prometheus names (`docs/metrics.md` maps them to AWS's).

use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

/// What the rules worker counts.
#[derive(Clone)]
pub struct Metrics {
    /// Rules executed for a message, by account and rule.
    pub executed: IntCounterVec,
    /// Payloads that a rule's attributes could not be read from.
    pub parse_error: IntCounterVec,
    /// Actions by account, rule, action type and result.
    pub action: IntCounterVec,
    /// Error actions, likewise.
    pub error_action: IntCounterVec,
    /// Calls of functions that ask others, by account, rule, function and result.
    pub function: IntCounterVec,
    /// Entries in the rules queue.
    pub queue_depth: IntGauge,
}

impl Metrics {
    /// Counters registered in `registry`.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let outcome = ["account", "rule", "action", "result"];
        let queue_depth =
            IntGauge::new("fleethaven_rule_queue_depth", "Messages waiting for rules or in their hands.")?;
        registry.register(Box::new(queue_depth.clone()))?;
        Ok(Self {
            executed: family("fleethaven_rule_executed_total", "Rules executed.", &["account", "rule"])?,
            parse_error: family(
                "fleethaven_rule_parse_error_total",
                "Payloads not readable.",
                &["account", "rule"],
            )?,
            action: family("fleethaven_rule_action_total", "Actions run.", &outcome)?,
            error_action: family("fleethaven_rule_error_action_total", "Error actions run.", &outcome)?,
            function: family(
                "fleethaven_rule_function_total",
                "Calls of functions that ask others.",
                &["account", "rule", "function", "result"],
            )?,
            queue_depth,
        })
    }
}
