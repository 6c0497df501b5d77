//! Counters of the rules worker, by their Prometheus names (`docs/metrics.md` maps them to AWS's).

use std::collections::BTreeSet;

use fleethaven_rulesql::external_functions;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

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
    /// Tries of actions that followed a failed one, by account, rule and action type.
    pub retries: IntCounterVec,
    /// Actions that found no room in their lane, by action type.
    pub throttled: IntCounterVec,
    /// The same, by account and rule.
    pub rule_throttled: IntCounterVec,
    /// Targets that were left alone for a moment, by action type.
    pub breaker_opened: IntCounterVec,
    /// Requests of `http` actions, by what they came to.
    pub http: IntCounterVec,
    /// Actions that wait for room in their lane, by action type.
    pub waiting: IntGaugeVec,
    /// Calls of targets that are under way, by action type.
    pub under_way: IntGaugeVec,
    /// How long calls of targets took, by action type.
    pub seconds: HistogramVec,
    /// Entries in the rules queue.
    pub queue_depth: IntGauge,
}

/// What actions and functions come to.
const RESULTS: [&str; 2] = ["success", "failure"];

impl Metrics {
    /// Ends what was counted of a rule (its account and its name) with actions of these types.
    pub(crate) fn forget(&self, [account, rule]: [&str; 2], actions: &BTreeSet<&'static str>) {
        // Most of these series have never begun, which is no error here.
        for family in [&self.executed, &self.parse_error, &self.rule_throttled] {
            let _ = family.remove_label_values(&[account, rule]);
        }
        for &action in actions {
            let _ = self.retries.remove_label_values(&[account, rule, action]);
            for result in RESULTS {
                let _ = self.action.remove_label_values(&[account, rule, action, result]);
                let _ = self.error_action.remove_label_values(&[account, rule, action, result]);
            }
        }
        for function in external_functions() {
            for result in RESULTS {
                let _ = self.function.remove_label_values(&[account, rule, function, result]);
            }
        }
    }

    /// The name of [`seconds`](Self::seconds).
    pub const TARGET_SECONDS: &str = "fleethaven_rule_target_seconds";

    /// Counters registered in `registry`.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let gauges = |name: &str, help: &str| {
            let family = IntGaugeVec::new(Opts::new(name, help), &["action"])?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let seconds = HistogramOpts::new(Self::TARGET_SECONDS, "How long calls of targets took.")
            .buckets(vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
        let seconds = HistogramVec::new(seconds, &["action"])?;
        registry.register(Box::new(seconds.clone()))?;
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
            retries: family(
                "fleethaven_rule_action_retries_total",
                "Tries of actions after a failed one.",
                &["account", "rule", "action"],
            )?,
            throttled: family(
                "fleethaven_rule_target_throttled_total",
                "Actions that found no room in the lane of their target.",
                &["action"],
            )?,
            rule_throttled: family(
                "fleethaven_rule_throttled_total",
                "Actions of a rule that found no room in the lane of their target.",
                &["account", "rule"],
            )?,
            breaker_opened: family(
                "fleethaven_rule_target_left_alone_total",
                "Targets that failed again and again and were left alone for a moment.",
                &["action"],
            )?,
            http: family("fleethaven_rule_http_requests_total", "Requests of http actions.", &["result"])?,
            waiting: gauges("fleethaven_rule_target_waiting", "Actions that wait for their target.")?,
            under_way: gauges("fleethaven_rule_target_calls", "Calls of targets that are under way.")?,
            seconds,
            queue_depth,
        })
    }
}
