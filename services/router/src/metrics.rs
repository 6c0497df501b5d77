//! Counters of the router, by their Prometheus names.

use std::sync::Arc;

use fleethaven_lanes::router::Slots;
use fleethaven_topics::Slot;
use fleethaven_topics::slot::SLOTS;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// What the router counts.
#[derive(Clone)]
pub struct Metrics {
    /// Plans computed because none was cached or something had changed.
    pub plans_computed: IntCounter,
    /// Messages made durable for queues, rules or the retained store.
    pub durable_publishes: IntCounter,
    /// Deliveries dropped because a session's queue was at its bound.
    pub queue_overflows: IntCounter,
    /// Messages dropped because a group's queue was at its bound.
    pub shared_overflows: IntCounter,
    /// Messages to a group of which no member could have them.
    pub shared_dropped: IntCounter,
    /// Deliveries dropped because the account's rate of queued messages was used up.
    pub queue_throttled: IntCounter,
    /// Deliveries dropped because the stream to a gateway could not keep up.
    pub deliveries_dropped: IntCounter,
    /// Messages for a Basic Ingest rule that does not exist or is disabled.
    pub rule_not_found: IntCounter,
    /// Messages matched by rules.
    pub rule_matches: IntCounter,
}

impl Metrics {
    /// Counters registered in `registry`.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        Ok(Self {
            plans_computed: counter("fleethaven_router_plans_computed_total", "Fan-out plans computed.")?,
            durable_publishes: counter(
                "fleethaven_router_durable_publishes_total",
                "Messages made durable.",
            )?,
            queue_overflows: counter(
                "fleethaven_mqtt_queue_overflow_total",
                "Deliveries dropped because a session's queue was full.",
            )?,
            shared_overflows: counter(
                "fleethaven_mqtt_shared_queue_overflow_total",
                "Messages dropped because the queue of a shared subscription's group was full.",
            )?,
            shared_dropped: counter(
                "fleethaven_mqtt_shared_dropped_total",
                "Messages dropped because no member of a shared subscription's group could have them.",
            )?,
            queue_throttled: counter(
                "fleethaven_mqtt_queue_throttled_total",
                "Deliveries dropped because the account's rate of queued messages was used up.",
            )?,
            deliveries_dropped: counter(
                "fleethaven_router_deliveries_dropped_total",
                "Deliveries dropped because the stream to a gateway could not keep up.",
            )?,
            rule_not_found: counter(
                "fleethaven_rule_not_found_total",
                "Basic Ingest messages whose rule does not exist or is disabled.",
            )?,
            rule_matches: counter(
                "fleethaven_rule_topic_match_total",
                "Messages matched by at least one rule.",
            )?,
        })
    }
}

/// What came to each slot, read when someone asks: which of them are busy says whether topics are well divided.
pub struct SlotMetrics {
    slots: Arc<Slots>,
    publishes: IntCounterVec,
}

impl SlotMetrics {
    /// Registers them. A slot appears with its first publish; there are at most as many as [`SLOTS`].
    pub fn register(slots: Arc<Slots>, registry: &Registry) -> Result<(), prometheus::Error> {
        let help = format!("Publishes taken, by slot ({SLOTS} of them).");
        let publishes =
            IntCounterVec::new(Opts::new("fleethaven_router_slot_publishes_total", help), &["slot"])?;
        registry.register(Box::new(Self { slots, publishes }))
    }
}

impl Collector for SlotMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.publishes.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (slot, total) in Slot::all().map(|slot| (slot, self.slots.total(slot))).filter(|(_, n)| *n > 0) {
            let counter = self.publishes.with_label_values(&[&slot.index().to_string()]);
            counter.inc_by(total.saturating_sub(counter.get()));
        }
        self.publishes.collect()
    }
}
