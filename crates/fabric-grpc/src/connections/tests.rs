//! Two gateways over loopback sockets, asked by the API and by each other.

use std::sync::Arc;
use std::time::Duration;

use fleethaven_fabric::Connections;
use fleethaven_fabric::connections::{
    ConnectionState, Departure, DirectMessage, Disconnection, Error, Neighbours, Presence, SubscriptionState,
};
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::membership::{Incarnation, Member, Phase, Role, RoutingTable, TableStream};
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_storage::request::{DueWill, Orphan};
use fleethaven_storage::{
    ClientRecord, Dead, Departure as StoredDeparture, Error as StoreError, GroupId, GroupRecord, Lane,
    OpenGroup, OwnerToken, SessionId, SessionRecord, SessionStore, Wake,
};
use fleethaven_topics::Depths;
use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp, Utf8Bytes};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::{Endpoint, Server};

use super::{ConnectionsClient, NeighboursClient, add_service};
use crate::channel::traced;
use crate::routing::MakeChannel;

fn scope() -> Scope {
    Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() }
}

/// A gateway with one client, `own`. As all of them do, it finds in the store how `gone` left.
struct Gateway {
    own: &'static str,
    displaced: Mutex<Vec<Address>>,
    told: Notify,
    sent: Mutex<Vec<Message>>,
}

impl Gateway {
    fn state(presence: Presence) -> ConnectionState {
        ConnectionState {
            presence,
            thing_name: Some("thing".to_owned()),
            clean_session: true,
            session_expiry: 0,
            keep_alive: Some(30),
        }
    }
}

impl Connections for Gateway {
    fn find(&self, of: Scope, client_id: Utf8Bytes) -> BoxFuture<'_, Result<ConnectionState, Error>> {
        assert_eq!(of, scope());
        let socket = ("192.0.2.1:1883".parse().unwrap(), None);
        let found = match &*client_id {
            own if own == self.own => Ok(Self::state(Presence::Connected { since: Timestamp(7), socket })),
            "gone" => {
                let left = Departure { at: Timestamp(20), reason: "CONNECTION_LOST".into() };
                Ok(Self::state(Presence::Disconnected(Some(left))))
            }
            _ => Err(Error::NotFound),
        };
        Box::pin(std::future::ready(found))
    }

    fn disconnect(
        &self,
        _: Scope,
        client_id: Utf8Bytes,
        how: Disconnection,
    ) -> BoxFuture<'_, Result<(), Error>> {
        assert_eq!(how, Disconnection { clean_session: true, prevent_will: false });
        let done = if client_id == self.own { Ok(()) } else { Err(Error::NotFound) };
        Box::pin(std::future::ready(done))
    }

    fn subscriptions(
        &self,
        _: Scope,
        _: Utf8Bytes,
        after: Option<Utf8Bytes>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SubscriptionState>, Error>> {
        assert_eq!((after.as_deref(), limit), (Some("a"), 5));
        let held = SubscriptionState { filter: "b/#".into(), qos: QoS::AtLeastOnce };
        Box::pin(std::future::ready(Ok(vec![held])))
    }

    fn send(&self, direct: DirectMessage) -> BoxFuture<'_, Result<(), Error>> {
        let DirectMessage { client_id, message, confirm_within } = direct;
        assert_eq!(confirm_within, Some(Duration::from_millis(250)));
        let busy = &*message.payload == b"busy";
        assert_eq!(client_id, self.own);
        self.sent.lock().push(message);
        Box::pin(std::future::ready(if busy { Err(Error::Busy) } else { Ok(()) }))
    }
}

/// Knows who is connected where.
struct Clients(Vec<(&'static str, Incarnation)>);

impl SessionStore for Clients {
    fn client(&self, scope: Scope, client_id: &str) -> Result<Option<ClientRecord>, StoreError> {
        let Some((id, gateway)) = self.0.iter().find(|(id, _)| *id == client_id) else { return Ok(None) };
        let (session, client_id, subscriptions) = (SessionId(1), (*id).into(), Vec::new());
        let record =
            SessionRecord { session, scope, client_id, subscriptions, live: true, version_number: 1 };
        let owner = Some((OwnerToken { incarnation: gateway.0, counter: 1 }, 1));
        Ok(Some(ClientRecord { record, persistent: false, session_expiry: 0, owner }))
    }

    fn lane(&self, _: Arc<dyn Wake>) -> Box<dyn Lane> {
        panic!("nobody asks for this")
    }

    fn persistent_sessions(&self, _: u64, _: usize) -> Result<Vec<SessionRecord>, StoreError> {
        panic!("nobody asks for this")
    }

    fn end_orphans(&self, _: Dead, _: &str, _: Timestamp) -> Result<Vec<Orphan>, StoreError> {
        panic!("nobody asks for this")
    }

    fn expire(&self, _: Timestamp, _: usize) -> Result<Vec<SessionRecord>, StoreError> {
        panic!("nobody asks for this")
    }

    fn groups(&self) -> Result<Vec<GroupRecord>, StoreError> {
        panic!("nobody asks for this")
    }

    fn open_group(&self, _: OpenGroup) -> Result<GroupId, StoreError> {
        panic!("nobody asks for this")
    }

    fn departure(&self, _: Scope, _: &str) -> Result<Option<StoredDeparture>, StoreError> {
        panic!("nobody asks for this")
    }

    fn delete_session(&self, _: Scope, _: &str) -> Result<Option<SessionRecord>, StoreError> {
        panic!("nobody asks for this")
    }

    fn due_wills(&self, _: Timestamp, _: usize) -> Result<Vec<DueWill>, StoreError> {
        panic!("nobody asks for this")
    }

    fn withdraw_will(&self, _: Scope, _: &str) -> Result<(), StoreError> {
        panic!("nobody asks for this")
    }
}

async fn serve(incarnation: Incarnation, gateway: Arc<Gateway>) -> Member {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let displaced = gateway.clone();
    let displaced = Arc::new(move |address| {
        displaced.displaced.lock().push(address);
        displaced.told.notify_one();
    });
    let routes = add_service(Routes::default(), incarnation, gateway, displaced);
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(TcpListenerStream::new(listener)));
    Member { incarnation, role: Role::Gateway, address, phase: Phase::Serving, version: String::new() }
}

/// Two gateways, and the table that names them.
async fn gateways() -> (Arc<Gateway>, Arc<Gateway>, impl Fn() -> TableStream) {
    let gateway = |own| {
        let (displaced, told, sent) = (Mutex::default(), Notify::new(), Mutex::default());
        Arc::new(Gateway { own, displaced, told, sent })
    };
    let (a, b) = (gateway("on-a"), gateway("on-b"));
    let members = Arc::new([serve(Incarnation(1), a.clone()).await, serve(Incarnation(2), b.clone()).await]);
    let table =
        RoutingTable { version: 1, depths: Depths::default(), change: None, slots: Arc::new([]), members };
    let table = Arc::new(table);
    let tables = move || -> TableStream {
        let table = table.clone();
        Box::pin(futures_util::stream::once(async move { table }))
    };
    (a, b, tables)
}

fn channel() -> MakeChannel {
    Arc::new(|address| Ok(traced(Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy())))
}

async fn client() -> (Arc<Gateway>, Arc<Gateway>, ConnectionsClient) {
    let (a, b, tables) = gateways().await;
    let store =
        Clients(vec![("on-a", Incarnation(1)), ("on-b", Incarnation(2)), ("on-none", Incarnation(9))]);
    let client = ConnectionsClient::new(Arc::new(store), tables(), channel());
    let mut table = client.gateways.table.clone();
    table.wait_for(Option::is_some).await.unwrap();
    (a, b, client)
}

#[tokio::test]
async fn a_client_is_asked_about_where_it_is() {
    let (_a, _b, client) = client().await;
    for id in ["on-a", "on-b"] {
        let found = client.find(scope(), id.into()).await.unwrap();
        let socket = ("192.0.2.1:1883".parse().unwrap(), None);
        assert_eq!(found, Gateway::state(Presence::Connected { since: Timestamp(7), socket }));
        let how = Disconnection { clean_session: true, prevent_will: false };
        assert_eq!(client.disconnect(scope(), id.into(), how).await, Ok(()));
        let held = client.subscriptions(scope(), id.into(), Some("a".into()), 5).await.unwrap();
        assert_eq!(held, [SubscriptionState { filter: "b/#".into(), qos: QoS::AtLeastOnce }]);
    }
}

#[tokio::test]
async fn any_gateway_tells_how_a_client_left() {
    let (_a, _b, client) = client().await;
    let Presence::Disconnected(Some(left)) = client.find(scope(), "gone".into()).await.unwrap().presence
    else {
        panic!()
    };
    assert_eq!((left.at, &*left.reason), (Timestamp(20), "CONNECTION_LOST"));
    for nobody in ["nobody", "on-none"] {
        assert_eq!(client.find(scope(), nobody.into()).await, Err(Error::NotFound));
    }
}

#[tokio::test]
async fn a_direct_message_arrives_as_it_is_and_failures_keep_their_kind() {
    let (_a, b, client) = client().await;
    let message = |payload: &'static str| Message {
        topic: "t".into(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_at: Timestamp(3),
        expires_at: Some(Timestamp(4)),
        sequence: 5,
        hops: 0,
        publisher: Arc::new(Publisher {
            scope: scope(),
            client_id: None,
            principal: None,
            source_ip: None,
            trace: 6,
        }),
    };
    let send = async |payload| {
        let confirm_within = Some(Duration::from_millis(250));
        client
            .send(DirectMessage { client_id: "on-b".into(), message: message(payload), confirm_within })
            .await
    };
    assert_eq!(send("x").await, Ok(()));
    assert_eq!(send("busy").await, Err(Error::Busy));
    assert_eq!(*b.sent.lock(), [message("x"), message("busy")]);
}

#[tokio::test]
async fn the_gateway_that_lost_a_session_is_told() {
    let (a, b, tables) = gateways().await;
    let neighbours = NeighboursClient::new(tables(), channel());
    neighbours.gateways.table.clone().wait_for(Option::is_some).await.unwrap();
    let address = Address::new(3, 4, 5);
    neighbours.taken_over(Incarnation(9), address);
    neighbours.taken_over(Incarnation(2), address);
    tokio::time::timeout(Duration::from_secs(10), b.told.notified()).await.unwrap();
    assert_eq!(*b.displaced.lock(), [address]);
    assert!(a.displaced.lock().is_empty());
}
