//! The connections API's side of the gateway: which connection a client id has, what it can tell, and what can be done with
//! it (broker.md section 15). The store knows who is connected where; the core that holds the connection answers.

use std::rc::Rc;
use std::sync::Arc;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::connections::{
    ConnectionState, Connections, Departure, DirectMessage, Disconnection, Error, Presence, SubscriptionState,
};
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_session::{DirectRefused, DirectTicket, Encoded, Now};
use fleethaven_storage::{ClientRecord, Departure as StoredDeparture, Error as StoreError};
use fleethaven_types::{Message, QoS, Scope, SessionId, Utf8Bytes};
use tokio::sync::oneshot;

use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::gateway::{Gateway, Shared};
use crate::mailbox::Control;

/// How often a client that comes and goes while it is asked about is looked up.
const LOOK_UPS: usize = 3;

/// A question or an order to one connection. What is dropped unanswered was not for this connection.
pub(crate) struct Ask {
    pub(crate) address: Address,
    session: SessionId,
    what: Question,
}

enum Question {
    Describe(oneshot::Sender<ConnectionState>),
    Subscriptions(oneshot::Sender<Vec<SubscriptionState>>),
    Disconnect(Disconnection, oneshot::Sender<()>),
    Deliver(Arc<Message>, Confirmation),
}

/// How the fate of a direct message is told.
pub(crate) type Confirmation = oneshot::Sender<Result<(), Error>>;

/// Who waits for something of one connection.
#[derive(Default)]
pub(crate) struct Asked {
    /// For acknowledgements of direct messages.
    directs: Vec<(DirectTicket, Confirmation)>,
    /// For the record of its end.
    when_ended: Vec<oneshot::Sender<()>>,
}

impl Asked {
    /// Direct messages will not be acknowledged any more.
    pub(crate) fn give_directs_up(&mut self) {
        self.directs.clear();
    }
}

impl Connection {
    /// Takes those who wait for the record of the end.
    pub(crate) fn waiting_for_end(&mut self) -> Vec<oneshot::Sender<()>> {
        self.asked.as_mut().map(|asked| std::mem::take(&mut asked.when_ended)).unwrap_or_default()
    }
}

/// A client as it was found.
enum Found<T> {
    /// Its connection answered.
    Live(T),
    /// It has no connection; `None`: no session either.
    NotConnected(Option<ClientRecord>),
}

impl Shared {
    async fn look_up(
        self: &Arc<Self>,
        scope: Scope,
        client_id: &Utf8Bytes,
    ) -> Result<Option<ClientRecord>, Error> {
        let (store, client_id) = (self.store.clone(), client_id.clone());
        // The store may wait for a write under way: not on an event loop.
        let found = tokio::task::spawn_blocking(move || store.client(scope, &client_id)).await;
        Ok(found.map_err(|error| Error::Unavailable(error.to_string()))??)
    }

    async fn departure(
        self: &Arc<Self>,
        scope: Scope,
        client_id: &Utf8Bytes,
    ) -> Result<Option<StoredDeparture>, Error> {
        let (store, client_id) = (self.store.clone(), client_id.clone());
        let found = tokio::task::spawn_blocking(move || store.departure(scope, &client_id)).await;
        Ok(found.map_err(|error| Error::Unavailable(error.to_string()))??)
    }

    /// Asks the connection of a client id, wherever it is.
    async fn ask<T>(
        self: &Arc<Self>,
        scope: Scope,
        client_id: &Utf8Bytes,
        question: impl Fn(oneshot::Sender<T>) -> Question,
    ) -> Result<Found<T>, Error> {
        let mut found = None;
        for _ in 0..LOOK_UPS {
            found = self.look_up(scope, client_id).await?;
            let Some((session, (token, address))) =
                found.as_ref().and_then(|client| Some((client.record.session, client.owner?)))
            else {
                break;
            };
            let address = Address::from_u64(address);
            let mailbox = self.mailboxes.cores.get(usize::from(address.core()));
            let Some(mailbox) = mailbox.filter(|_| self.is_own(token)) else { break };
            let (answer, answered) = oneshot::channel();
            mailbox.send(Control::Ask(Ask { address, session, what: question(answer) }));
            if let Ok(answer) = answered.await {
                return Ok(Found::Live(answer));
            }
        }
        Ok(Found::NotConnected(found.filter(|client| client.persistent)))
    }

    async fn find_client(
        self: &Arc<Self>,
        scope: Scope,
        client_id: &Utf8Bytes,
    ) -> Result<ConnectionState, Error> {
        let session = match self.ask(scope, client_id, Question::Describe).await? {
            Found::Live(state) => return Ok(state),
            Found::NotConnected(session) => session,
        };
        match (self.departure(scope, client_id).await?, session) {
            (Some(left), _) => Ok(departed(left)),
            (None, Some(client)) => Ok(ConnectionState {
                presence: Presence::Disconnected(None),
                thing_name: None,
                clean_session: false,
                session_expiry: client.session_expiry,
                keep_alive: None,
            }),
            (None, None) => Err(Error::NotFound),
        }
    }

    async fn disconnect_client(
        self: &Arc<Self>,
        scope: Scope,
        client_id: &Utf8Bytes,
        how: Disconnection,
    ) -> Result<(), Error> {
        for _ in 0..LOOK_UPS {
            let disconnect = |answer| Question::Disconnect(how, answer);
            match self.ask(scope, client_id, disconnect).await? {
                Found::Live(()) => return Ok(()),
                Found::NotConnected(None) => return Err(Error::NotFound),
                Found::NotConnected(Some(_)) => {}
            }
            match self.end_session(scope, client_id, how).await {
                // It connected meanwhile.
                Err(StoreError::NotOwner) => {}
                done => return Ok(done?),
            }
        }
        Err(Error::Unavailable("the client comes and goes".to_owned()))
    }

    /// Does to a session without a connection what is asked of it.
    async fn end_session(
        self: &Arc<Self>,
        scope: Scope,
        client_id: &Utf8Bytes,
        how: Disconnection,
    ) -> Result<(), StoreError> {
        let (store, id) = (self.store.clone(), client_id.clone());
        let ended = tokio::task::spawn_blocking(move || {
            // A will that waits for its delay is due when its session ends [MQTT5 section 3.1.3.2.2], unless it is prevented.
            if how.prevent_will {
                store.withdraw_will(scope, &id)?;
            }
            if how.clean_session { store.delete_session(scope, &id) } else { Ok(None) }
        });
        let ended = ended.await.map_err(|error| StoreError::Unavailable(error.to_string()))??;
        if let (Some(session), Some(core)) = (ended, self.mailboxes.cores.first()) {
            core.send(Control::SessionEnded { session: session.session });
        }
        Ok(())
    }

    async fn subscriptions_of(
        self: &Arc<Self>,
        scope: Scope,
        client_id: &Utf8Bytes,
    ) -> Result<Vec<SubscriptionState>, Error> {
        match self.ask(scope, client_id, Question::Subscriptions).await? {
            Found::Live(subscriptions) => Ok(subscriptions),
            Found::NotConnected(None) => Err(Error::NotFound),
            Found::NotConnected(Some(client)) => {
                let held = client.record.subscriptions.into_iter();
                Ok(held.map(|held| SubscriptionState { filter: held.filter, qos: held.qos }).collect())
            }
        }
    }

    async fn send_direct(self: &Arc<Self>, direct: DirectMessage) -> Result<(), Error> {
        let DirectMessage { client_id, message, confirm_within } = direct;
        let scope = message.publisher.scope;
        let qos = if confirm_within.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let message = Arc::new(Message { qos, retain: false, ..message });
        let asked = self.ask(scope, &client_id, |answer| Question::Deliver(message.clone(), answer));
        let asked = match confirm_within {
            Some(within) => tokio::time::timeout(within, asked).await.map_err(|_| Error::Timeout)?,
            None => asked.await,
        };
        match asked? {
            Found::Live(fate) => fate,
            Found::NotConnected(Some(_)) => Err(Error::Offline),
            Found::NotConnected(None) => Err(Error::NotFound),
        }
    }
}

impl Connections for Gateway {
    fn find(&self, scope: Scope, client_id: Utf8Bytes) -> BoxFuture<'_, Result<ConnectionState, Error>> {
        Box::pin(async move { self.shared.find_client(scope, &client_id).await })
    }

    fn disconnect(
        &self,
        scope: Scope,
        client_id: Utf8Bytes,
        how: Disconnection,
    ) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.shared.disconnect_client(scope, &client_id, how).await })
    }

    fn subscriptions(
        &self,
        scope: Scope,
        client_id: Utf8Bytes,
        after: Option<Utf8Bytes>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SubscriptionState>, Error>> {
        Box::pin(async move {
            let mut all = self.shared.subscriptions_of(scope, &client_id).await?;
            all.sort_unstable_by(|a, b| a.filter.cmp(&b.filter));
            all.retain(|held| after.as_ref().is_none_or(|after| held.filter > *after));
            all.truncate(limit);
            Ok(all)
        })
    }

    fn send(&self, direct: DirectMessage) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move { self.shared.send_direct(direct).await })
    }
}

impl Core {
    /// Answers for one connection, unless it is not the one that is meant, or not accepted yet, or over.
    pub(crate) fn asked(self: &Rc<Self>, ask: Ask, now: Now) {
        let Some(connection) = self.at(ask.address) else { return };
        let mut connection = connection.borrow_mut();
        let accepted = matches!(connection.phase, Phase::Owned(_)) && connection.session.is_connected();
        if !accepted || connection.session_id() != ask.session {
            return;
        }
        match ask.what {
            Question::Describe(answer) => ignore(answer.send(connection.describe())),
            Question::Subscriptions(answer) => ignore(answer.send(connection.held_subscriptions())),
            Question::Disconnect(how, answer) => {
                connection.asked.get_or_insert_default().when_ended.push(answer);
                connection.session.close_by_api(how.clean_session, how.prevent_will);
                connection.act(self, now);
                connection.settle(self, now);
            }
            Question::Deliver(message, confirmation) => {
                connection.deliver_direct(self, message, confirmation, now);
            }
        }
    }

    /// A session without a connection was deleted.
    pub(crate) fn session_ended(&self, session: SessionId) {
        self.route(RoutingRequest::Forget { session });
    }
}

/// The state of a client that left so.
fn departed(left: StoredDeparture) -> ConnectionState {
    let StoredDeparture { at, reason, thing_name, session_expiry, keep_alive } = left;
    ConnectionState {
        presence: Presence::Disconnected(Some(Departure { at, reason: reason.to_string().into() })),
        thing_name: thing_name.map(|name| name.to_string()),
        clean_session: session_expiry == 0,
        session_expiry,
        keep_alive,
    }
}

/// Whoever asked may have gone away; nothing is left to do for it then.
fn ignore<T, E>(_: Result<T, E>) {}

impl Connection {
    fn describe(&self) -> ConnectionState {
        ConnectionState {
            presence: Presence::Connected {
                since: self.connected_at,
                socket: (self.peer, self.local_address()),
            },
            thing_name: self.principal.thing(self.session.client_id()),
            clean_session: self.session.session_expiry() == 0,
            session_expiry: self.session.session_expiry(),
            keep_alive: Some(self.session.keep_alive_seconds()),
        }
    }

    fn held_subscriptions(&self) -> Vec<SubscriptionState> {
        let held = self.session.subscriptions();
        held.map(|(filter, qos)| SubscriptionState { filter: filter.clone(), qos }).collect()
    }

    /// Sends a direct message; its fate is told at once, or with the acknowledgement.
    fn deliver_direct(
        &mut self,
        core: &Rc<Core>,
        message: Arc<Message>,
        confirmation: Confirmation,
        now: Now,
    ) {
        let outcome = self.try_direct(core, message, now);
        match outcome {
            Ok(Some(ticket)) => {
                let directs = &mut self.asked.get_or_insert_default().directs;
                directs.retain(|(_, waiting)| !waiting.is_closed());
                directs.push((ticket, confirmation));
            }
            Ok(None) => ignore(confirmation.send(Ok(()))),
            Err(error) => ignore(confirmation.send(Err(error))),
        }
        self.settle(core, now);
    }

    fn try_direct(
        &mut self,
        core: &Rc<Core>,
        message: Arc<Message>,
        now: Now,
    ) -> Result<Option<DirectTicket>, Error> {
        if !self.may_receive(core, &message, now) {
            return Err(Error::ReceiverDenied);
        }
        let over_rate =
            self.account.publish_rate.as_ref().is_some_and(|rate| !self.published.take(rate, now.instant));
        if over_rate || self.account.outbound.as_ref().is_some_and(|rate| rate.wait(now.instant).is_some()) {
            return Err(Error::Busy);
        }
        core.log_publish_out(self, &message, None);
        let ticket = (message.qos != QoS::AtMostOnce).then(|| core.next_direct());
        let sent = self.session.deliver_direct(&mut Encoded::new(message, now.wall), ticket, now);
        sent.map(|()| ticket).map_err(|refused| match refused {
            DirectRefused::NotConnected => Error::NotFound,
            DirectRefused::Busy => Error::Busy,
            DirectRefused::TooLarge => Error::TooLarge,
        })
    }

    /// The client has acknowledged a direct message.
    pub(crate) fn direct_acknowledged(&mut self, ticket: DirectTicket) {
        let Some(Asked { directs, .. }) = self.asked.as_deref_mut() else { return };
        if let Some(index) = directs.iter().position(|(waiting, _)| *waiting == ticket) {
            let (_, confirmation) = directs.swap_remove(index);
            ignore(confirmation.send(Ok(())));
        }
    }
}
