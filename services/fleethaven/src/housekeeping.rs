//! What has to happen from time to time: sessions expire, TLS ticket keys change; and once at start, the wills of connections that a dead process
//! left behind.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_daemon::clock;
use fleethaven_fabric::metadata::Error as MetadataError;
use fleethaven_fabric::{Metadata, Publish};
use fleethaven_gateway::IdentityCache;
use fleethaven_gateway::lifecycle::{self, Client, Happened};
use fleethaven_registry::{Action, Command};
use fleethaven_router::Router;
use fleethaven_session::{DisconnectReason, Now, published_will};
use fleethaven_storage::request::Orphan;
use fleethaven_storage::{Error, SessionStore, StoredWill};
use fleethaven_types::{Message, Scope};
use tokio::task::JoinSet;

/// How often expired sessions are looked for.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the leader is asked about ticket keys, which are good for hours.
const TICKET_KEYS_INTERVAL: Duration = Duration::from_secs(60);
/// Sessions deleted at a time.
const PAGE: usize = 1000;

/// Ends connections that were live when an earlier process died, tells of each, and publishes their wills: each exactly
/// once, and after its delay unless its client is back by then. Returns how many connections there were, when the events and
/// the wills without delay are published.
pub(crate) async fn end_orphans(
    store: Arc<dyn SessionStore>,
    incarnation: u64,
    publish: Arc<dyn Publish>,
    router: &Router,
    identity: &IdentityCache,
) -> Result<usize, Error> {
    let ending = store.clone();
    let orphans = blocking(move || ending.end_orphans(incarnation, clock::now())).await?;
    let count = orphans.len();
    let mut at_once = JoinSet::new();
    for mut orphan in orphans {
        if let Some(event) = disconnected(&orphan, router, identity) {
            let publish = publish.clone();
            at_once.spawn(async move { tell(event, &*publish).await });
        }
        let Some(will) = orphan.will.take() else { continue };
        let publish = publish.clone();
        if will.delay == 0 {
            at_once.spawn(async move { publish_will(&will, &*publish).await });
            continue;
        }
        let store = store.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(u64::from(will.delay))).await;
            let client = blocking(move || store.client(orphan.scope, &orphan.client_id)).await;
            if client.is_ok_and(|client| client.is_none_or(|client| client.owner.is_none())) {
                publish_will(&will, &*publish).await;
            }
        });
    }
    at_once.join_all().await;
    Ok(count)
}

/// The event of a connection that ended with its process, if anyone would get it.
fn disconnected(orphan: &Orphan, router: &Router, identity: &IdentityCache) -> Option<Message> {
    let happened = Happened::disconnected(DisconnectReason::ServerError, orphan.version_number);
    let topic = happened.topic(&orphan.client_id)?;
    if !router.reaches_anyone(orphan.scope, &topic) {
        return None;
    }
    let principal = orphan.principal.clone();
    let client = Client {
        scope: orphan.scope,
        client_id: orphan.client_id.clone(),
        token: orphan.token,
        thing_name: principal.as_deref().and_then(|id| identity.exclusive_thing(orphan.scope, id)),
        principal,
    };
    Some(lifecycle::event(&client, &happened, topic, clock::now()))
}

async fn tell(event: Message, publish: &dyn Publish) {
    let topic = event.topic.clone();
    if let Err(error) = publish.publish(Arc::new(event)).await {
        tracing::error!(%error, %topic, "a lifecycle event could not be published");
    }
}

async fn publish_will(will: &StoredWill, publish: &dyn Publish) {
    let now = Now { instant: tokio::time::Instant::now().into_std(), wall: clock::now() };
    if let Err(error) = publish.publish(published_will(&will.message, now)).await {
        tracing::error!(%error, topic = %will.message.topic, "a will could not be published");
    }
}

/// Has the metastore's leader look whether it is time for new TLS ticket keys; it makes the first ones.
pub(crate) async fn rotate_ticket_keys(metadata: &dyn Metadata, scope: Scope) -> Result<(), MetadataError> {
    metadata.execute(Command::new(scope, Action::RotateTicketKeys)).await.map(drop)
}

/// Does so for ever. However many processes ask, and however often, the leader's clock decides.
pub(crate) async fn keep_ticket_keys(metadata: Arc<dyn Metadata>, scope: Scope) {
    let mut ticks = tokio::time::interval(TICKET_KEYS_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = rotate_ticket_keys(&*metadata, scope).await {
            tracing::warn!(%error, "TLS ticket keys could not be looked after");
        }
    }
}

/// Deletes expired sessions, for ever.
pub(crate) async fn expire_sessions(store: Arc<dyn SessionStore>, router: Arc<Router>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        // Page after page while there are more: many sessions can expire within one interval.
        while expire_page(&store, &router).await == PAGE {}
    }
}

/// Returns how many sessions there were.
async fn expire_page(store: &Arc<dyn SessionStore>, router: &Router) -> usize {
    let store = store.clone();
    let expired = blocking(move || store.expire(clock::now(), PAGE)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "expired sessions could not be deleted");
        Vec::new()
    });
    for session in &expired {
        tracing::debug!(account = %session.scope.account, client_id = %session.client_id, "session expired");
        router.forget(session.session);
    }
    expired.len()
}

/// Store calls that wait for a commit stay off the event loops.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let joined = tokio::task::spawn_blocking(call).await;
    joined.unwrap_or_else(|error| Err(Error::Unavailable(error.to_string())))
}
