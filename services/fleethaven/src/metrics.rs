//! Metrics of the process itself, and of the session store in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleethaven_fabric::admin::Status;
use fleethaven_storage_embedded::{EmbeddedStore, Stats};
use fleethaven_telemetry::traces::Counters as SpanCounters;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// What is counted of certificates, those that clients see and those that services show each other.
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
            "When a certificate in use expires, in unix seconds",
        );
        let reloads = Opts::new(
            "fleethaven_tls_certificate_reloads_total",
            "Changes of certificate files that were taken up, or refused",
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

/// What is told of encryption at rest.
pub(crate) struct EncryptionMetrics {
    /// Data keys of a store by master key.
    pub(crate) data_keys: IntGaugeVec,
    /// Whether a store may hold values that are not encrypted.
    pub(crate) plain_values: IntGaugeVec,
    /// Changes of master keys.
    pub(crate) rotations: IntCounterVec,
}

impl EncryptionMetrics {
    /// Registers them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let data_keys = Opts::new(
            "fleethaven_encryption_data_keys",
            "Data keys of a store by the master key that wraps them: one that wraps none may go",
        );
        let plain_values = Opts::new(
            "fleethaven_encryption_plain_values",
            "1 while a store may hold values that were written before it was encrypted",
        );
        let rotations = Opts::new(
            "fleethaven_encryption_rotations_total",
            "Changes of the master keys that were taken up, or refused",
        );
        let metrics = Self {
            data_keys: IntGaugeVec::new(data_keys, &["store", "master_key"])?,
            plain_values: IntGaugeVec::new(plain_values, &["store"])?,
            rotations: IntCounterVec::new(rotations, &["result"])?,
        };
        registry.register(Box::new(metrics.data_keys.clone()))?;
        registry.register(Box::new(metrics.plain_values.clone()))?;
        registry.register(Box::new(metrics.rotations.clone()))?;
        for result in ["success", "refused"] {
            metrics.rotations.with_label_values(&[result]);
        }
        Ok(metrics)
    }
}

/// Registers how many certificates of devices are good for how long.
pub(crate) fn device_certificates(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let certificates = Opts::new(
        "fleethaven_device_certificates",
        "ACTIVE certificates of devices by what is left of their validity",
    );
    let certificates = IntGaugeVec::new(certificates, &["account", "left"])?;
    registry.register(Box::new(certificates.clone()))?;
    Ok(certificates)
}

/// Registers what becomes of spans, where traces are sent.
pub(crate) fn span_counters(registry: &Registry) -> Result<SpanCounters, prometheus::Error> {
    let spans = Opts::new(
        "fleethaven_trace_spans_total",
        "Spans that the receiver of traces has taken, that could not be sent, or that found no room",
    );
    let spans = IntCounterVec::new(spans, &["result"])?;
    registry.register(Box::new(spans.clone()))?;
    let [exported, failed, dropped] =
        ["exported", "failed", "dropped"].map(|result| spans.with_label_values(&[result]));
    Ok(SpanCounters { exported, dropped, failed })
}

/// What the session store counts, read when someone asks.
pub(crate) struct StoreMetrics {
    store: Arc<EmbeddedStore>,
    counters: Vec<(IntCounter, Counter)>,
}

type Counter = fn(&Stats) -> &AtomicU64;

impl StoreMetrics {
    /// Registers them.
    pub(crate) fn register(store: Arc<EmbeddedStore>, registry: &Registry) -> Result<(), prometheus::Error> {
        let counters: [(&str, &str, Counter); 8] = [
            ("fleethaven_store_appended_total", "Entries appended to queues.", |stats| &stats.appended),
            (
                "fleethaven_store_queue_expired_total",
                "Queued messages dropped because their Message Expiry Interval had passed, or a group's retention.",
                |stats| &stats.expired,
            ),
            (
                "fleethaven_store_queue_too_old_total",
                "Queued messages dropped because they had waited for longer than session-queued-secs.",
                |stats| &stats.too_old,
            ),
            (
                "fleethaven_store_rules_dropped_total",
                "QoS 0 messages for rules dropped because too many waited in memory.",
                |stats| &stats.rules_dropped,
            ),
            (
                "fleethaven_store_dead_letters_dropped_total",
                "Dead letters dropped because their list was full.",
                |stats| &stats.dead_letters_dropped,
            ),
            ("fleethaven_store_batches_total", "Group commits.", |stats| &stats.batches),
            ("fleethaven_store_requests_total", "Requests carried out.", |stats| &stats.requests),
            ("fleethaven_store_fsyncs_total", "Group commits that were fsynced.", |stats| &stats.fsyncs),
        ];
        let counter = |(name, help, read)| Ok((IntCounter::new(name, help)?, read));
        let counters = counters.into_iter().map(counter).collect::<Result<_, prometheus::Error>>()?;
        registry.register(Box::new(Self { store, counters }))
    }
}

impl Collector for StoreMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.counters.iter().flat_map(|(counter, _)| counter.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let family = |(counter, read): &(IntCounter, Counter)| {
            let total = read(self.store.stats()).load(Ordering::Relaxed);
            counter.inc_by(total.saturating_sub(counter.get()));
            counter.collect()
        };
        self.counters.iter().flat_map(family).collect()
    }
}

/// A node of the metadata store.
pub(crate) struct NodeMetrics {
    quorum: IntGauge,
    leads: IntGauge,
    term: IntGauge,
    applied: IntGauge,
    groups_led: IntGauge,
    group_applied: IntGaugeVec,
}

impl NodeMetrics {
    /// Registers them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let help = "Last log entry of a state group applied on the node";
        let group_applied =
            IntGaugeVec::new(Opts::new("fleethaven_metastore_state_group_applied_index", help), &["group"])?;
        registry.register(Box::new(group_applied.clone()))?;
        Ok(Self {
            quorum: gauge(
                "fleethaven_metastore_in_quorum",
                "1 while the node is known to be in touch with a quorum",
            )?,
            leads: gauge("fleethaven_metastore_leads", "1 while the node leads")?,
            term: gauge("fleethaven_metastore_term", "Raft term: each change is an election")?,
            applied: gauge("fleethaven_metastore_applied_index", "Last log entry applied on the node")?,
            groups_led: gauge("fleethaven_metastore_state_groups_led", "State groups that the node leads")?,
            group_applied,
        })
    }

    /// Shows how the node stands.
    pub(crate) fn show(&self, status: &Status) {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let Status { node, control, state, .. } = status;
        self.quorum.set(i64::from(control.confirmed));
        self.leads.set(i64::from(control.leader == Some(*node)));
        self.term.set(number(control.term));
        self.applied.set(number(control.applied));
        let led = state.iter().filter(|group| group.leader == Some(*node)).count();
        self.groups_led.set(i64::try_from(led).unwrap_or(i64::MAX));
        for (group, status) in (1_u32..).zip(state) {
            self.group_applied.with_label_values(&[&group.to_string()]).set(number(status.applied));
        }
    }
}
