//! What has to happen from time to time: sessions expire; and once at start, the wills of connections that a dead process
//! left behind.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_daemon::clock;
use fleethaven_fabric::Publish;
use fleethaven_router::Router;
use fleethaven_storage::{Error, SessionStore};
use fleethaven_types::Message;

/// How often expired sessions are looked for.
const INTERVAL: Duration = Duration::from_secs(1);
/// Sessions deleted at a time.
const PAGE: usize = 1000;

/// Ends connections that were live when an earlier process died, and publishes their wills: each exactly once.
pub(crate) async fn end_orphans(
    store: Arc<dyn SessionStore>,
    incarnation: u64,
    publish: &dyn Publish,
) -> Result<usize, Error> {
    let orphans = blocking(move || store.end_orphans(incarnation, clock::now())).await?;
    let count = orphans.len();
    for will in orphans.into_iter().filter_map(|orphan| orphan.will) {
        let message = Message { received_at: clock::now(), ..(*will.message).clone() };
        if let Err(error) = publish.publish(Arc::new(message)).await {
            tracing::error!(%error, "a will could not be published");
        }
    }
    Ok(count)
}

/// Deletes expired sessions, for ever.
pub(crate) async fn expire_sessions(store: Arc<dyn SessionStore>, router: Arc<Router>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let store = store.clone();
        match blocking(move || store.expire(clock::now(), PAGE)).await {
            Ok(expired) => {
                for session in expired {
                    tracing::debug!(
                        account = %session.scope.account, client_id = %session.client_id, "session expired"
                    );
                    router.forget(session.session);
                }
            }
            Err(error) => tracing::error!(%error, "expired sessions could not be deleted"),
        }
    }
}

/// Store calls that wait for a commit stay off the event loops.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let joined = tokio::task::spawn_blocking(call).await;
    joined.unwrap_or_else(|error| Err(Error::Unavailable(error.to_string())))
}
