//! What has to happen from time to time: sessions expire, wills become due, TLS ticket keys change; and once at start, the
//! connections that a dead process left behind are ended.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_daemon::clock;
use fleethaven_fabric::metadata::Error as MetadataError;
use fleethaven_fabric::{Metadata, Publish};
use fleethaven_gateway::IdentityCache;
use fleethaven_gateway::lifecycle::{self, Client, Happened};
use fleethaven_registry::{Action, Command};
use fleethaven_router::{Publisher, Router};
use fleethaven_session::{DisconnectReason, Now, published_will};
use fleethaven_storage::request::{DueWill, Orphan};
use fleethaven_storage::{Dead, Error, Once, SessionStore};
use fleethaven_types::{Message, Scope};
use tokio::task::JoinSet;

/// How often expired sessions and due wills are looked for.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often the leader is asked about ticket keys, which are good for hours.
const TICKET_KEYS_INTERVAL: Duration = Duration::from_secs(60);
/// Sessions deleted, or wills published, at a time.
const PAGE: usize = 1000;

/// Ends connections that were live when an earlier process died, and tells of each. Returns how many there were, when the
/// events and all wills that are due are published: each will exactly once, whoever dies when, as publishing it is what takes
/// it out of the store.
pub(crate) async fn end_orphans(
    store: Arc<dyn SessionStore>,
    incarnation: u64,
    publisher: &Publisher,
    router: &Router,
    identity: &IdentityCache,
) -> Result<usize, Error> {
    let ending = store.clone();
    let orphans = blocking(move || ending.end_orphans(Dead::AllBut(incarnation), clock::now())).await?;
    let mut telling = JoinSet::new();
    for event in orphans.iter().filter_map(|orphan| disconnected(orphan, router, identity)) {
        let publisher = publisher.clone();
        telling.spawn(async move { tell(event, &publisher).await });
    }
    telling.join_all().await;
    publish_due_wills(&store, publisher).await?;
    Ok(orphans.len())
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

async fn tell(event: Message, publisher: &Publisher) {
    let topic = event.topic.clone();
    if let Err(error) = publisher.publish(Arc::new(event)).await {
        tracing::error!(%error, %topic, "a lifecycle event could not be published");
    }
}

/// Publishes the wills of ended connections when their delay has passed, for ever.
pub(crate) async fn publish_wills(store: Arc<dyn SessionStore>, publisher: Publisher) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = publish_due_wills(&store, &publisher).await {
            tracing::error!(%error, "wills could not be published");
        }
    }
}

/// Page after page while there are more: the wills of many can become due within one interval.
async fn publish_due_wills(store: &Arc<dyn SessionStore>, publisher: &Publisher) -> Result<(), Error> {
    loop {
        let asked = store.clone();
        let wills = blocking(move || asked.due_wills(clock::now(), PAGE)).await?;
        let page = wills.len();
        let mut publishing = JoinSet::new();
        for will in wills {
            let publisher = publisher.clone();
            publishing.spawn(async move { publish_will(&will, &publisher).await });
        }
        let outcomes = publishing.join_all().await;
        outcomes.into_iter().collect::<Result<(), Error>>()?;
        if page < PAGE {
            return Ok(());
        }
    }
}

async fn publish_will(will: &DueWill, publisher: &Publisher) -> Result<(), Error> {
    let now = Now { instant: tokio::time::Instant::now().into_std(), wall: clock::now() };
    let message = published_will(&will.message, now);
    match publisher.publish_once(message, Once::Will(will.session)).await {
        // Its gateway has published it meanwhile.
        Ok(_) | Err(Error::AlreadyDone) => Ok(()),
        Err(error) => Err(error),
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
