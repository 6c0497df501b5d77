//! What has to happen from time to time: sessions expire, wills become due, TLS ticket keys change; and the connections that a
//! dead process left behind are ended. In a cluster all routers see to it: what each of them does, the store lets happen once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use fleethaven_daemon::clock;
use fleethaven_fabric::membership::{Role, RoutingTable, TableStream};
use fleethaven_fabric::metadata::Error as MetadataError;
use fleethaven_fabric::{Metadata, Publish};
use fleethaven_fabric_grpc::routing::PublishClient;
use fleethaven_gateway::IdentityCache;
use fleethaven_gateway::lifecycle::{self, Client, Happened};
use fleethaven_registry::{Action, Command, ENDED_AT_ONCE, Reply};
use fleethaven_router::{Publisher, Router};
use fleethaven_session::{DisconnectReason, Now, published_will};
use fleethaven_storage::request::{DueWill, Orphan};
use fleethaven_storage::{Dead, Error, Once, SessionId, SessionStore};
use fleethaven_types::{Message, Scope};
use futures_util::StreamExt;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

/// How often expired sessions and due wills are looked for.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often connections of gateways that are gone are looked for, although none has gone.
const DEAD_INTERVAL: Duration = Duration::from_secs(30);
/// How often the leader is asked about ticket keys, which are good for hours.
const KEYS_INTERVAL: Duration = Duration::from_secs(60);
/// How often certificates are looked for that nobody has provisioned in time, and claims that are over.
const ENROLMENTS_INTERVAL: Duration = Duration::from_secs(60);
/// Sessions deleted, or wills published, at a time.
const PAGE: usize = 1000;

/// The way into the broker.
pub(crate) trait Broker: Clone + Send + Sync + 'static {
    /// Publishes a message.
    fn publish(&self, message: Arc<Message>) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Publishes what is to be published once.
    fn publish_once(
        &self,
        message: Arc<Message>,
        once: Once,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// A session is gone: its subscriptions go.
    fn forget(&self, session: SessionId) -> impl Future<Output = ()> + Send;

    /// Whether anyone may get a message on `topic`.
    fn reaches_anyone(&self, scope: Scope, topic: &str) -> bool;
}

/// The router in this process.
#[derive(Clone)]
pub(crate) struct Here(pub(crate) Publisher, pub(crate) Arc<Router>);

impl Broker for Here {
    async fn publish(&self, message: Arc<Message>) -> Result<bool, Error> {
        self.0.publish(message).await
    }

    async fn publish_once(&self, message: Arc<Message>, once: Once) -> Result<bool, Error> {
        self.0.publish_once(message, once).await
    }

    async fn forget(&self, session: SessionId) {
        self.1.forget(session);
    }

    fn reaches_anyone(&self, scope: Scope, topic: &str) -> bool {
        self.1.reaches_anyone(scope, topic)
    }
}

impl Broker for PublishClient {
    async fn publish(&self, message: Arc<Message>) -> Result<bool, Error> {
        Publish::publish(self, message).await
    }

    async fn publish_once(&self, message: Arc<Message>, once: Once) -> Result<bool, Error> {
        Self::publish_once(self, message, once).await
    }

    async fn forget(&self, session: SessionId) {
        Self::forget(self, session).await;
    }

    /// Only the owners of slots know.
    fn reaches_anyone(&self, _: Scope, _: &str) -> bool {
        true
    }
}

/// The part of a router in a cluster.
pub(crate) fn of_cluster(
    store: Arc<dyn SessionStore>,
    broker: PublishClient,
    tables: TableStream,
    identity: Arc<IdentityCache>,
) -> AbortHandle {
    let tasks = async move {
        tokio::join!(
            end_dead(store.clone(), &broker, tables, &identity),
            publish_wills(store.clone(), broker.clone()),
            expire_sessions(store.clone(), broker.clone()),
        )
    };
    tokio::spawn(tasks).abort_handle()
}

/// Ends the connections of gateways that are members no more: when one has left the table, and besides from time to time,
/// first of all at the start. A gateway may have gone while no router was there, and one that was cut off may have taken clients
/// in after its connections were ended.
async fn end_dead(
    store: Arc<dyn SessionStore>,
    broker: &PublishClient,
    mut tables: TableStream,
    identity: &IdentityCache,
) {
    let (mut newest, mut living) = (0, None);
    let mut due = Instant::now();
    loop {
        tokio::select! {
            table = tables.next() => {
                let Some(table) = table else { return };
                let there = Arc::new(gateways(&table));
                let left = |before: &Arc<BTreeSet<u64>>| !before.is_subset(&there);
                if living.as_ref().is_some_and(left) {
                    due = Instant::now();
                }
                newest = table.members.last().map_or(newest, |youngest| youngest.incarnation.0.max(newest));
                living = Some(there);
            }
            () = tokio::time::sleep_until(due), if living.is_some() => {
                let Some(living) = living.clone() else { continue };
                let ended = end_orphans(&store, Dead::Left { newest, living }, broker, identity).await;
                due = Instant::now() + if ended.is_ok() { DEAD_INTERVAL } else { INTERVAL };
                match ended {
                    Ok(0) => {}
                    Ok(count) => tracing::info!(count, "connections of gateways that are gone were ended"),
                    Err(error) => {
                        tracing::warn!(%error, "the connections of gateways that are gone cannot be ended yet");
                    }
                }
            }
        }
    }
}

/// The gateways among the members.
fn gateways(table: &RoutingTable) -> BTreeSet<u64> {
    let gateways = table.members.iter().filter(|member| member.role == Role::Gateway);
    gateways.map(|member| member.incarnation.0).collect()
}

/// Ends connections that were live when an earlier process died, and tells of each. Returns how many there were, when the
/// events and all wills that are due are published: each will exactly once, whoever dies when, as publishing it is what takes
/// it out of the store.
pub(crate) async fn end_orphans(
    store: &Arc<dyn SessionStore>,
    dead: Dead,
    broker: &impl Broker,
    identity: &IdentityCache,
) -> Result<usize, Error> {
    let ending = store.clone();
    let reason = DisconnectReason::ServerError.as_str();
    let orphans = blocking(move || ending.end_orphans(dead, reason, clock::now())).await?;
    let mut telling = JoinSet::new();
    for event in orphans.iter().filter_map(|orphan| disconnected(orphan, broker, identity)) {
        let broker = broker.clone();
        telling.spawn(async move { tell(event, &broker).await });
    }
    telling.join_all().await;
    publish_due_wills(store, broker).await?;
    Ok(orphans.len())
}

/// The event of a connection that ended with its process, if anyone would get it.
fn disconnected(orphan: &Orphan, broker: &impl Broker, identity: &IdentityCache) -> Option<Message> {
    let happened = Happened::disconnected(DisconnectReason::ServerError, orphan.version_number);
    let topic = happened.topic(&orphan.client_id)?;
    if !broker.reaches_anyone(orphan.scope, &topic) {
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

async fn tell(event: Message, broker: &impl Broker) {
    let topic = event.topic.clone();
    if let Err(error) = broker.publish(Arc::new(event)).await {
        tracing::error!(%error, %topic, "a lifecycle event could not be published");
    }
}

/// Publishes the wills of ended connections when their delay has passed, for ever.
pub(crate) async fn publish_wills(store: Arc<dyn SessionStore>, broker: impl Broker) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = publish_due_wills(&store, &broker).await {
            tracing::error!(%error, "wills could not be published");
        }
    }
}

/// Page after page while there are more: the wills of many can become due within one interval.
async fn publish_due_wills(store: &Arc<dyn SessionStore>, broker: &impl Broker) -> Result<(), Error> {
    loop {
        let asked = store.clone();
        let wills = blocking(move || asked.due_wills(clock::now(), PAGE)).await?;
        let page = wills.len();
        let mut publishing = JoinSet::new();
        for will in wills {
            let broker = broker.clone();
            publishing.spawn(async move { publish_will(&will, &broker).await });
        }
        let outcomes = publishing.join_all().await;
        outcomes.into_iter().collect::<Result<(), Error>>()?;
        if page < PAGE {
            return Ok(());
        }
    }
}

async fn publish_will(will: &DueWill, broker: &impl Broker) -> Result<(), Error> {
    let now = Now { instant: Instant::now().into_std(), wall: clock::now() };
    let message = published_will(&will.message, now);
    match broker.publish_once(message, Once::Will(will.number)).await {
        // Its gateway has published it meanwhile.
        Ok(_) | Err(Error::AlreadyDone) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Has the metastore's leader look whether it is time for new keys of TLS tickets and of sessions; it makes the first ones.
pub(crate) async fn rotate_keys(metadata: &dyn Metadata, scope: Scope) -> Result<(), MetadataError> {
    metadata.execute(Command::new(scope, Action::RotateTicketKeys)).await?;
    metadata.execute(Command::new(scope, Action::RotateSessionKeys)).await.map(drop)
}

/// Does so for ever. However many processes ask, and however often, the leader's clock decides.
pub(crate) async fn keep_keys(metadata: Arc<dyn Metadata>, scope: Scope) {
    let mut ticks = tokio::time::interval(KEYS_INTERVAL);
    loop {
        ticks.tick().await;
        if let Err(error) = rotate_keys(&*metadata, scope).await {
            tracing::warn!(%error, "keys of TLS tickets and sessions could not be looked after");
        }
    }
}

/// Has the metastore's leader end ownership tokens and provisioning claims whose time is over, for ever.
pub(crate) async fn end_expired_enrolments(metadata: Arc<dyn Metadata>, scope: Scope) {
    let mut ticks = tokio::time::interval(ENROLMENTS_INTERVAL);
    loop {
        ticks.tick().await;
        loop {
            let command = Command::new(scope, Action::EndExpiredEnrolments);
            match metadata.execute(command).await.map(|executed| executed.reply) {
                // Page after page while there are more.
                Ok(Reply::Ended(ENDED_AT_ONCE)) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "expired ownership tokens and claims could not be ended");
                    break;
                }
            }
        }
    }
}

/// Deletes expired sessions, for ever.
pub(crate) async fn expire_sessions(store: Arc<dyn SessionStore>, broker: impl Broker) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        // Page after page while there are more: many sessions can expire within one interval.
        while expire_page(&store, &broker).await == PAGE {}
    }
}

/// Returns how many sessions there were.
async fn expire_page(store: &Arc<dyn SessionStore>, broker: &impl Broker) -> usize {
    let store = store.clone();
    let expired = blocking(move || store.expire(clock::now(), PAGE)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "expired sessions could not be deleted");
        Vec::new()
    });
    for session in &expired {
        tracing::debug!(account = %session.scope.account, client_id = %session.client_id, "session expired");
        broker.forget(session.session).await;
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
