//! Traces over OTLP: spans leave in batches, as protobuf over HTTP, for any OpenTelemetry collector.
//!
//! Whoever ends a span puts it into a bounded queue and goes on. A receiver that is slow or gone costs the spans that find no
//! room there, which are counted, and nothing else.

mod convert;

use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::traces::{Exemplar, Sampling, Sink, Span, Traces};
use http::{Request, Response};
use hyper::body::Bytes;
use opentelemetry::KeyValue;
use opentelemetry_http::HttpError;
use opentelemetry_otlp::{
    ExporterBuildError, RetryPolicy, SpanExporter as Otlp, WithExportConfig, WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter;
use prometheus::IntCounter;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time;

use crate::exemplars::Exemplars;

/// Ended spans that may wait for a batch.
const QUEUE: usize = 8192;
/// Spans of a batch.
const BATCH: usize = 512;
/// How long a span waits for its batch to fill.
const EVERY: Duration = Duration::from_secs(1);
/// How long the last batches may take at the end of the process.
const LAST_WITHIN: Duration = Duration::from_secs(2);

/// Where traces go, and from whom they come.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The receiver's address for traces, as it is asked.
    pub endpoint: String,
    /// `service.name`.
    pub service: String,
    /// `service.instance.id`: differs between processes of a service.
    pub instance: String,
    /// `service.version`.
    pub version: &'static str,
    /// What is recorded.
    pub sampling: Sampling,
    /// A random number.
    pub seed: u64,
}

/// What became of spans.
#[derive(Debug, Clone)]
pub struct Counters {
    /// The receiver has taken them.
    pub exported: IntCounter,
    /// There was no room in the queue.
    pub dropped: IntCounter,
    /// The receiver could not be reached, or refused them.
    pub failed: IntCounter,
}

/// Sends one request and reads its answer, within bounds.
pub type Transport = Arc<
    dyn Fn(Request<Bytes>) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send>>
        + Send
        + Sync,
>;

/// The task that sends spans. Those of a process that just ends without [`close`](Self::close) are lost.
pub struct Exporter {
    last: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Begins to send spans to `settings.endpoint`; [`Traces`] is what records them. OpenTelemetry's variables for headers
/// (`OTEL_EXPORTER_OTLP_HEADERS`) and for attributes of the process (`OTEL_RESOURCE_ATTRIBUTES`) count. What is observed within a
/// trace goes to `exemplars`.
///
/// # Errors
/// The address is none, or one of these variables is wrong.
pub fn start(
    settings: &Settings,
    send: Transport,
    counters: Counters,
    exemplars: Exemplars,
) -> Result<(Traces, Exporter), ExporterBuildError> {
    let mut otlp = Otlp::builder()
        .with_http()
        .with_endpoint(settings.endpoint.as_str())
        .with_http_client(Client(send))
        // The batches behind one that failed are not held up for it.
        .with_retry_policy(RetryPolicy::disabled())
        .build()?;
    otlp.set_resource(&resource(settings));
    let (sender, spans) = mpsc::channel(QUEUE);
    let (last, ending) = oneshot::channel();
    let task = tokio::spawn(run(otlp, spans, ending, counters.clone()));
    let sink = Arc::new(Queue { sender, dropped: counters.dropped, exemplars });
    Ok((Traces::new(settings.sampling, settings.seed, sink), Exporter { last, task }))
}

fn resource(settings: &Settings) -> Resource {
    Resource::builder()
        .with_service_name(settings.service.clone())
        .with_attributes([
            KeyValue::new("service.namespace", "fleethaven"),
            KeyValue::new("service.instance.id", settings.instance.clone()),
            KeyValue::new("service.version", settings.version),
        ])
        .build()
}

impl Exporter {
    /// Sends what has ended by now, within two seconds.
    pub async fn close(self) {
        let _ = self.last.send(());
        let stop = self.task.abort_handle();
        if time::timeout(LAST_WITHIN, self.task).await.is_err() {
            stop.abort();
        }
    }
}

/// The side of those who record.
struct Queue {
    sender: mpsc::Sender<Span>,
    dropped: IntCounter,
    exemplars: Exemplars,
}

impl Sink for Queue {
    fn now(&self) -> u64 {
        u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default()
    }

    fn end(&self, span: Span) {
        if self.sender.try_send(span).is_err() {
            self.dropped.inc();
        }
    }

    fn observed(&self, exemplar: Exemplar) {
        self.exemplars.add(exemplar);
    }
}

/// The exporter's way to the receiver.
struct Client(Transport);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl opentelemetry_http::HttpClient for Client {
    fn send_bytes<'a, 'f>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        (self.0)(request)
    }
}

async fn run(
    otlp: Otlp,
    mut spans: mpsc::Receiver<Span>,
    mut ending: oneshot::Receiver<()>,
    counters: Counters,
) {
    let (mut batch, mut failing) = (Vec::with_capacity(BATCH), false);
    loop {
        let held = batch.len();
        // A batch waits from its first span on.
        let full = async {
            match held {
                0 => pending().await,
                BATCH => {}
                _ => time::sleep(EVERY).await,
            }
        };
        let last = tokio::select! {
            biased;
            () = full => false,
            _ = &mut ending => true,
            count = spans.recv_many(&mut batch, BATCH - held), if held < BATCH => {
                if count > 0 {
                    continue;
                }
                true
            }
        };
        if last {
            break;
        }
        export(&otlp, &mut batch, &counters, &mut failing).await;
    }
    spans.close();
    while {
        spans.recv_many(&mut batch, BATCH).await;
        !batch.is_empty()
    } {
        export(&otlp, &mut batch, &counters, &mut failing).await;
    }
}

/// Says once that the receiver does not take spans, and once that it does again.
async fn export(otlp: &Otlp, batch: &mut Vec<Span>, counters: &Counters, failing: &mut bool) {
    let count = batch.len() as u64;
    let sent = otlp.export(batch.drain(..).map(convert::span).collect()).await;
    match sent {
        Ok(()) => {
            counters.exported.inc_by(count);
            if std::mem::take(failing) {
                tracing::info!("traces are taken again");
            }
        }
        Err(error) => {
            counters.failed.inc_by(count);
            if !std::mem::replace(failing, true) {
                tracing::warn!(%error, "traces cannot be sent: they are lost until this is mended");
            }
        }
    }
}

#[cfg(test)]
mod tests;
