//! Where this process sends its traces, and the doors whose messages are traced.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::traces::Sampling;
use fleethaven_fabric::{Publish, Traces};
use fleethaven_fabric_grpc::trace;
use fleethaven_outbound::client::Limits;
use fleethaven_outbound::{HttpClient, OutboundSettings};
use fleethaven_storage::Error;
use fleethaven_telemetry::admin::Admin;
use fleethaven_telemetry::exemplars::Exemplars;
use fleethaven_telemetry::traces::{self, Exporter, Settings, Transport};
use fleethaven_types::Message;
use http::Uri;
use prometheus::Registry;

use crate::cli::TracesArgs;
use crate::metrics::span_counters;

/// Bounds of one batch on its way.
const LIMITS: Limits = Limits { deadline: Duration::from_secs(10), max_response: 64 << 10 };
/// Where a receiver takes traces, by the OTLP specification.
const PATH: &str = "/v1/traces";

/// Begins to send the traces of a process of `role`, if it is told where to.
pub(crate) fn start(
    arguments: &TracesArgs,
    role: &'static str,
    registry: &Registry,
    admin: &Admin,
) -> Result<(Traces, Option<Exporter>)> {
    let Some(endpoint) = endpoint(arguments)? else { return Ok((Traces::off(), None)) };
    let settings = Settings {
        endpoint: endpoint.clone(),
        service: format!("fleethaven-{role}"),
        instance: uuid::Uuid::new_v4().to_string(),
        version: env!("CARGO_PKG_VERSION"),
        sampling: Sampling { ratio: arguments.traces_ratio, continues: arguments.traces_continue },
        seed: uuid::Uuid::new_v4().as_u64_pair().0,
    };
    let transport = transport(&arguments.traces_ca).context("--traces-ca")?;
    let (counters, exemplars) = (span_counters(registry)?, Exemplars::default());
    let (traces, exporter) =
        traces::start(&settings, transport, counters, exemplars.clone()).context("--traces-endpoint")?;
    admin.show_exemplars(exemplars);
    tracing::info!(endpoint, ratio = arguments.traces_ratio, "traces are recorded");
    Ok((traces, Some(exporter)))
}

/// The address for traces: as an operator gives it, `/v1/traces` unless it has a path. The variables of OpenTelemetry count
/// where nothing else is said.
fn endpoint(arguments: &TracesArgs) -> Result<Option<String>> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (name, text) = if let Some(given) = &arguments.traces_endpoint {
        ("--traces-endpoint", given.clone())
    } else if let Some(given) = variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", given)
    } else if let Some(base) = variable("OTEL_EXPORTER_OTLP_ENDPOINT") {
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}{PATH}", base.trim_end_matches('/')))
    } else {
        return Ok(None);
    };
    whole(&text)
        .with_context(|| format!("{name} '{text}' is no address such as http://collector:4318"))
        .map(Some)
}

/// Whether the settings can work.
pub(crate) fn check(arguments: &TracesArgs) -> Result<()> {
    endpoint(arguments)?;
    transport(&arguments.traces_ca).context("--traces-ca").map(drop)
}

fn whole(text: &str) -> Result<String> {
    let address: Uri = text.parse()?;
    if !matches!(address.scheme_str(), Some("http" | "https")) || address.host().is_none() {
        bail!("it needs http:// or https:// and a host");
    }
    let bare = address.path() == "/" && address.query().is_none();
    Ok(if bare { format!("{}{PATH}", text.trim_end_matches('/')) } else { text.to_owned() })
}

/// The receiver is the operator's choice: any network will do.
fn transport(authorities: &[PathBuf]) -> Result<Transport> {
    let any = ["0.0.0.0/0", "::/0"].into_iter().map(str::parse).collect::<Result<_, _>>()?;
    let settings = OutboundSettings { allow: any, authorities: authorities.to_vec() };
    let client = HttpClient::new(&settings).map_err(anyhow::Error::msg)?;
    Ok(Arc::new(move |request| {
        let client = client.clone();
        Box::pin(async move { client.send(request, LIMITS).await.map_err(Into::into) })
    }))
}

/// A door whose messages are traced: each begins with a `publish` below the request that is answered, if any is.
struct Traced {
    inner: Arc<dyn Publish>,
    traces: Traces,
}

/// The same door, where traces are off.
pub(crate) fn traced(inner: Arc<dyn Publish>, traces: &Traces) -> Arc<dyn Publish> {
    if traces.is_on() { Arc::new(Traced { inner, traces: traces.clone() }) } else { inner }
}

impl Publish for Traced {
    fn publish(&self, message: Arc<Message>) -> BoxFuture<'_, Result<bool, Error>> {
        let trace = self.traces.of(&message);
        let Some(mut span) = trace.and_then(|trace| trace.publish(&message, trace::current())) else {
            return self.inner.publish(message);
        };
        Box::pin(async move {
            let published = self.inner.publish(message).await;
            if let Err(error) = &published {
                span.fail(error);
            }
            span.end();
            published
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_path_gets_that_of_the_specification() {
        for (given, whole_address) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("https://collector/", "https://collector/v1/traces"),
            ("https://collector/otlp/v1/traces", "https://collector/otlp/v1/traces"),
            ("http://[::1]:4318/?a=b", "http://[::1]:4318/?a=b"),
        ] {
            assert_eq!(whole(given).unwrap(), whole_address, "{given}");
        }
        for wrong in ["collector:4318", "grpc://collector:4317", "http://", "not an address"] {
            assert!(whole(wrong).is_err(), "{wrong}");
        }
    }
}
