//! The calling side: TCP, then TLS with what is in force at that moment.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use fleethaven_pki::ServiceRole;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

use super::Tls;

/// The TLS name of every service: it is neither sent nor checked.
const NAME: &str = "service.fleethaven.internal";

/// A connection that cannot be made in this time is given up; the next call tries again. Not tonic's own bound, whose failures do not
/// say that the call was not sent.
const WITHIN: Duration = Duration::from_secs(2);
/// Pause after a connection that failed; doubled with each further one, up to [`LONGEST_PAUSE`]. Short enough for a service that
/// is back to be found before anyone notices, long enough that one which is away costs next to nothing.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// The same address is complained about so often at most.
const COMPLAINTS: Duration = Duration::from_secs(5);

/// Connects to one address, each time anew.
pub(super) struct Connector {
    tls: Arc<Tls>,
    address: String,
    role: ServiceRole,
    failures: Arc<Mutex<Failures>>,
}

impl Connector {
    pub(super) fn new(tls: Arc<Tls>, address: &str, role: ServiceRole) -> Self {
        Self { tls, address: address.to_owned(), role, failures: Arc::default() }
    }
}

/// The connections to one address that failed since the last that did not.
#[derive(Default)]
struct Failures {
    /// No connection is tried before this, if the last one failed, and how long the pause is.
    pause: Option<(Instant, Duration)>,
    /// When it was last complained about, and the failures since then.
    complained: Option<Instant>,
    silent: u64,
}

impl Failures {
    /// Until when to wait.
    fn waits_until(&self) -> Option<Instant> {
        self.pause.map(|(until, _)| until)
    }

    fn succeeded(&mut self) {
        self.pause = None;
    }

    /// Notes a failure; the number of those not told of, when it is time to tell.
    fn failed(&mut self, now: Instant) -> Option<u64> {
        let pause = self.pause.map_or(FIRST_PAUSE, |(_, pause)| (pause * 2).min(LONGEST_PAUSE));
        self.pause = Some((now + pause, pause));
        if self.complained.is_some_and(|at| now < at + COMPLAINTS) {
            self.silent += 1;
            return None;
        }
        self.complained = Some(now);
        Some(std::mem::take(&mut self.silent))
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Connecting {
        let (tls, address, role) = (self.tls.clone(), self.address.clone(), self.role);
        let failures = self.failures.clone();
        Box::pin(async move {
            let pause = failures.lock().waits_until();
            if let Some(until) = pause {
                tokio::time::sleep_until(until).await;
            }
            let connected = tokio::time::timeout(WITHIN, connect(&tls, &address, role)).await;
            let connected =
                connected.unwrap_or_else(|late| Err(io::Error::new(io::ErrorKind::TimedOut, late)));
            match &connected {
                Ok(_) => failures.lock().succeeded(),
                // The reason stands in the error's cause, which few logs show: it is what an operator needs.
                Err(reason) => {
                    if let Some(more) = failures.lock().failed(Instant::now()) {
                        tracing::warn!(address, %role, %reason, more, "a service cannot be reached, or is not the one that was called");
                    }
                }
            }
            connected
        })
    }
}

async fn connect(tls: &Tls, address: &str, role: ServiceRole) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let config = tls.client(role).map_err(io::Error::other)?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    Ok(TokioIo::new(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_grow_to_a_bound_and_end_with_a_connection() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        assert!(failures.waits_until().is_none());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            failures.failed(now);
            let until = failures.waits_until().unwrap();
            pauses.push((until - now).as_millis());
            now = until;
        }
        assert_eq!(pauses, [10, 20, 40, 80, 100, 100]);
        failures.succeeded();
        assert!(failures.waits_until().is_none());
    }

    #[tokio::test]
    async fn complaints_are_few_and_count_the_rest() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        assert_eq!(failures.failed(start), Some(0));
        assert_eq!(failures.failed(start), None);
        failures.succeeded();
        assert_eq!(failures.failed(start + COMPLAINTS - Duration::from_millis(1)), None);
        assert_eq!(failures.failed(start + COMPLAINTS), Some(2));
    }
}
