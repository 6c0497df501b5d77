//! What rules publish waits for the broker, however long that takes: the message is in nobody else's hands.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Publish;
use fleethaven_outbound::Backoff;
use fleethaven_types::Message;
use prometheus::IntGauge;
use tokio::time::sleep;

use crate::metrics::Metrics;

/// What takes longer is counted, and told.
const NOTICED_AFTER: Duration = Duration::from_secs(1);
/// Pauses after the broker has refused. What it has taken and not answered is its own to try again.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(2) };

/// How many publishes wait.
#[derive(Debug)]
pub struct Waiting(IntGauge);

/// One that waits, until it is dropped.
struct Waits<'a>(&'a Waiting);

impl Waiting {
    /// Counted among what actions wait for.
    pub fn new(metrics: &Metrics) -> Self {
        Self(metrics.waiting.with_label_values(&["republish"]))
    }

    /// Publishes, and again each time that the broker says that it cannot take it now.
    pub async fn until_taken(&self, publish: &dyn Publish, message: &Arc<Message>, dice: fn() -> u64) {
        let mut taken = pin!(async {
            for failures in 1.. {
                let Err(error) = publish.publish(message.clone()).await else { return };
                tracing::debug!(%error, "the broker does not take what a rule publishes");
                sleep(BACKOFF.pause(failures, dice())).await;
            }
        });
        if tokio::time::timeout(NOTICED_AFTER, &mut taken).await.is_err() {
            let _waits = self.begin();
            taken.await;
        }
    }

    fn begin(&self) -> Waits<'_> {
        self.0.inc();
        if self.0.get() == 1 {
            tracing::warn!("what rules publish waits for the broker");
        }
        Waits(self)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.0.dec();
    }
}
