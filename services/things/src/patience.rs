//! Asking the metastore again while it does not answer.

use std::time::Duration;

use fleethaven_fabric::metadata::Error as CallError;

/// How long a metastore that does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause before it is, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Asks again while the metastore does not answer: a leader may be about to be elected.
pub(crate) async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let begun = tokio::time::Instant::now();
    let (mut pause, mut may_be_done) = (PAUSE.0, false);
    loop {
        let error = match ask().await {
            Err(error @ (CallError::Unavailable(_) | CallError::Unknown)) => error,
            answer => return answer,
        };
        may_be_done |= matches!(error, CallError::Unknown);
        if begun.elapsed() + pause > PATIENCE {
            return Err(if may_be_done { CallError::Unknown } else { error });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}
