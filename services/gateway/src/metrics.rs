//! Counters of the gateway, by their Prometheus names (`docs/metrics.md` maps them to AWS's).

use fleethaven_mqtt::ReasonCode;
use prometheus::local::LocalIntCounter;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// What the gateway counts.
#[derive(Clone)]
pub struct Metrics {
    /// Connections with an accepted CONNECT.
    pub connections: IntGauge,
    /// Sockets of devices, from accept to close.
    pub sockets: IntGaugeVec,
    /// CONNECTs by result.
    pub connect: IntCounterVec,
    /// TLS handshakes by result.
    pub handshakes: IntCounterVec,
    /// PUBLISH packets from clients by result.
    pub publish_in: IntCounterVec,
    /// PUBLISH packets to clients by result.
    pub publish_out: IntCounterVec,
    /// Filters of SUBSCRIBE packets by result.
    pub subscribe: IntCounterVec,
    /// Ends of accepted connections by AWS's disconnect reason.
    pub disconnect: IntCounterVec,
    /// Deliveries dropped because a core's mailbox was at its bound.
    pub mailbox_dropped: IntCounter,
    /// Publishes at QoS 0 that lanes to routers had no room for.
    pub lane_dropped: IntCounter,
    /// Deliveries dropped at a connection: it did not read, or the message was too large for it.
    pub dropped: IntCounter,
    /// From a publish to its delivery, of one delivery a turn of a core.
    pub end_to_end: Histogram,
}

impl Metrics {
    /// Counters registered in `registry`.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let family = |name: &str, help: &str, label: &str| {
            let family = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let connections = IntGauge::new("fleethaven_mqtt_connections", "Accepted MQTT connections.")?;
        registry.register(Box::new(connections.clone()))?;
        let sockets = IntGaugeVec::new(
            Opts::new("fleethaven_gateway_sockets", "Sockets of devices, from accept to close."),
            &["core"],
        )?;
        registry.register(Box::new(sockets.clone()))?;
        let full = "Deliveries dropped because a core's mailbox was full.";
        let mailbox_dropped = IntCounter::new("fleethaven_mailbox_dropped_total", full)?;
        registry.register(Box::new(mailbox_dropped.clone()))?;
        let held_up = "Publishes at QoS 0 dropped because lanes to routers had no room for them.";
        let lane_dropped = IntCounter::new("fleethaven_lane_dropped_total", held_up)?;
        registry.register(Box::new(lane_dropped.clone()))?;
        let unread =
            "Deliveries dropped because a client did not read, or cannot take a message of this size.";
        let dropped = IntCounter::new("fleethaven_mqtt_publish_out_dropped_total", unread)?;
        registry.register(Box::new(dropped.clone()))?;
        let connect = family("fleethaven_mqtt_connect_total", "CONNECT packets by result.", "result")?;
        // At 0 from the start, so that the first one is seen as an increase.
        for result in ["success", "auth_error", "client_error", "throttle", "server_error"] {
            connect.with_label_values(&[result]);
        }
        let handshakes = family("fleethaven_tls_handshakes_total", "TLS handshakes by result.", "result")?;
        for result in ["success", "failed", "timeout", "no_certificate", "not_authenticated"] {
            handshakes.with_label_values(&[result]);
        }
        let told = "From when a message was received to when it was given to a connection, of one message a turn of a core.";
        let buckets = vec![0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
        let end_to_end = HistogramOpts::new("fleethaven_mqtt_publish_e2e_seconds", told).buckets(buckets);
        let end_to_end = Histogram::with_opts(end_to_end)?;
        registry.register(Box::new(end_to_end.clone()))?;
        Ok(Self {
            connections,
            sockets,
            connect,
            handshakes,
            publish_in: family(
                "fleethaven_mqtt_publish_in_total",
                "PUBLISH packets received by result.",
                "result",
            )?,
            publish_out: family(
                "fleethaven_mqtt_publish_out_total",
                "PUBLISH packets sent by result.",
                "result",
            )?,
            subscribe: family(
                "fleethaven_mqtt_subscribe_total",
                "Subscriptions asked for by result.",
                "result",
            )?,
            disconnect: family("fleethaven_mqtt_disconnect_total", "Connections ended by reason.", "reason")?,
            mailbox_dropped,
            lane_dropped,
            dropped,
            end_to_end,
        })
    }
}

/// Counters of this core, added to the process's once a turn.
pub(crate) struct CoreMetrics {
    pub(crate) publish_in: LocalIntCounter,
    pub(crate) publish_in_denied: LocalIntCounter,
    pub(crate) publish_in_throttled: LocalIntCounter,
    pub(crate) publish_out: LocalIntCounter,
    pub(crate) publish_out_denied: LocalIntCounter,
    pub(crate) publish_out_throttled: LocalIntCounter,
    pub(crate) dropped: LocalIntCounter,
    /// Observed once a turn, and so the process's own.
    pub(crate) end_to_end: Histogram,
    subscribe: LocalIntCounter,
    subscribe_denied: LocalIntCounter,
    subscribe_failed: LocalIntCounter,
    subscribe_throttled: LocalIntCounter,
}

impl CoreMetrics {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let local =
            |family: &prometheus::IntCounterVec, result: &str| family.with_label_values(&[result]).local();
        Self {
            publish_in: local(&metrics.publish_in, "success"),
            publish_in_denied: local(&metrics.publish_in, "auth_error"),
            publish_in_throttled: local(&metrics.publish_in, "throttle"),
            publish_out: local(&metrics.publish_out, "success"),
            publish_out_denied: local(&metrics.publish_out, "auth_error"),
            publish_out_throttled: local(&metrics.publish_out, "throttle"),
            dropped: metrics.dropped.local(),
            end_to_end: metrics.end_to_end.clone(),
            subscribe: local(&metrics.subscribe, "success"),
            subscribe_denied: local(&metrics.subscribe, "auth_error"),
            subscribe_failed: local(&metrics.subscribe, "client_error"),
            subscribe_throttled: local(&metrics.subscribe, "throttle"),
        }
    }

    pub(crate) fn subscribe(&self, code: ReasonCode) {
        match code {
            ReasonCode::NotAuthorized => self.subscribe_denied.inc(),
            ReasonCode::QuotaExceeded => self.subscribe_throttled.inc(),
            code if code.is_error() => self.subscribe_failed.inc(),
            _ => self.subscribe.inc(),
        }
    }

    pub(crate) fn flush(&self) {
        for counter in [
            &self.publish_in,
            &self.publish_in_denied,
            &self.publish_in_throttled,
            &self.publish_out,
            &self.publish_out_denied,
            &self.publish_out_throttled,
            &self.dropped,
            &self.subscribe,
            &self.subscribe_denied,
            &self.subscribe_failed,
            &self.subscribe_throttled,
        ] {
            counter.flush();
        }
    }
}
