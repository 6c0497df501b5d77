//! Lifecycle events: what the broker publishes below `$aws/events/` when clients come, go and subscribe (AWS page
//! "Lifecycle events"; broker.md section 12). At QoS 1, by the router's ordinary door, so that rules and subscribers with a
//! policy see them.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use fleethaven_fabric::RoutingRequest;
use fleethaven_session::DisconnectReason;
use fleethaven_storage::OwnerToken;
use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp, Utf8Bytes};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::connection::{Connection, Phase};
use crate::core::Core;

/// What an event tells of the client, whatever happened. Field order is AWS's.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    thing_name: Option<String>,
    timestamp: u64,
    event_type: &'static str,
    session_identifier: String,
    principal_identifier: String,
}

/// What happened.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Happened {
    /// CONNECT was accepted.
    Connected {
        /// The client's address.
        ip_address: IpAddr,
        /// Grows with each connection of the client id.
        version_number: u64,
    },
    /// An accepted connection is over.
    Disconnected {
        /// The client sent DISCONNECT.
        client_initiated_disconnect: bool,
        /// AWS's reason.
        disconnect_reason: &'static str,
        /// That of the connection.
        version_number: u64,
    },
    /// Policies refused CONNECT.
    ConnectFailed {
        /// The client's address.
        ip_address: IpAddr,
        /// Always `AUTHORIZATION_FAILED`: authentication failures have no event.
        connect_failure_reason: &'static str,
    },
    /// A SUBSCRIBE was granted.
    Subscribed {
        /// Its filters.
        #[serde(serialize_with = "texts")]
        topics: Vec<Utf8Bytes>,
    },
    /// An UNSUBSCRIBE was carried out.
    Unsubscribed {
        /// Its filters.
        #[serde(serialize_with = "texts")]
        topics: Vec<Utf8Bytes>,
    },
}

fn texts<S: Serializer>(texts: &[Utf8Bytes], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(Utf8Bytes::as_str))
}

#[derive(Serialize)]
struct Event<'a> {
    #[serde(flatten)]
    subject: &'a Subject,
    #[serde(flatten)]
    happened: &'a Happened,
}

impl Happened {
    /// The end of a connection for `reason`.
    pub fn disconnected(reason: DisconnectReason, version_number: u64) -> Self {
        Self::Disconnected {
            client_initiated_disconnect: reason == DisconnectReason::ClientInitiatedDisconnect,
            disconnect_reason: reason.as_str(),
            version_number,
        }
    }

    /// The topic's part between `$aws/events/` and the client id; the last word is the event's type.
    fn family(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "presence/connected",
            Self::Disconnected { .. } => "presence/disconnected",
            Self::ConnectFailed { .. } => "presence/connect_failed",
            Self::Subscribed { .. } => "subscriptions/subscribed",
            Self::Unsubscribed { .. } => "subscriptions/unsubscribed",
        }
    }

    fn event_type(&self) -> &'static str {
        self.family().rsplit('/').next().unwrap_or_default()
    }

    /// Where the event is published; `None` for client ids that have no events: a topic may not hold `+` or `#`.
    pub fn topic(&self, client_id: &str) -> Option<Utf8Bytes> {
        let possible = !client_id.is_empty() && !client_id.contains(['+', '#']);
        possible.then(|| format!("$aws/events/{}/{client_id}", self.family()).into())
    }
}

/// Whom an event is about.
#[derive(Debug, Clone)]
pub struct Client {
    /// Account and region.
    pub scope: Scope,
    /// Client id.
    pub client_id: Utf8Bytes,
    /// The token that the connection claimed its session with: the events of one connection have the same identifier.
    pub token: OwnerToken,
    /// The thing that the certificate is attached to exclusively.
    pub thing_name: Option<String>,
    /// Certificate id, or the user of a signed request; `None` for anonymous clients.
    pub principal: Option<Utf8Bytes>,
}

/// The event as a message to publish on `topic` at `now`.
pub fn event(client: &Client, happened: &Happened, topic: Utf8Bytes, now: Timestamp) -> Message {
    let OwnerToken { incarnation, counter } = client.token;
    let subject = Subject {
        client_id: client.client_id.to_string(),
        thing_name: client.thing_name.clone(),
        timestamp: now.as_millis(),
        event_type: happened.event_type(),
        session_identifier: Uuid::from_u64_pair(incarnation, counter).to_string(),
        principal_identifier: client.principal.as_deref().unwrap_or("anonymous").to_owned(),
    };
    let payload = serde_json::to_vec(&Event { subject: &subject, happened }).unwrap_or_default();
    let publisher = Publisher {
        scope: client.scope,
        client_id: None,
        principal: None,
        source_ip: None,
        trace: incarnation.rotate_left(20) ^ counter,
    };
    Message {
        topic,
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_at: now,
        expires_at: None,
        sequence: 0,
        hops: 0,
        publisher: Arc::new(publisher),
    }
}

impl Core {
    /// Publishes an event, if it could reach anyone.
    pub(crate) fn tell(
        &self,
        client: impl FnOnce() -> Client,
        scope: Scope,
        client_id: &str,
        what: &Happened,
    ) {
        let Some(topic) = what.topic(client_id) else { return };
        if !self.lanes.borrow().routing.reaches_anyone(scope, &topic) {
            return;
        }
        let message = Arc::new(event(&client(), what, topic, self.now().wall));
        self.route(RoutingRequest::Publish { ticket: None, message, from: None, once: None, fence: None });
    }

    /// Publishes an event about an accepted connection.
    pub(crate) fn tell_of(self: &Rc<Self>, connection: &Connection, what: &Happened) {
        let Phase::Owned(token) = connection.phase else { return };
        let scope = connection.principal.scope;
        let client_id = connection.session.client_id();
        self.tell(|| connection.client(token, client_id.clone()), scope, client_id, what);
    }
}

impl Connection {
    /// Whom this connection's events are about.
    pub(crate) fn client(&self, token: OwnerToken, client_id: Utf8Bytes) -> Client {
        Client {
            scope: self.principal.scope,
            client_id,
            token,
            thing_name: self.principal.exclusive_thing(),
            principal: self.principal.identifier(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(happened: &Happened, client_id: &str, thing_name: Option<&str>) -> Option<(String, Value)> {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        let client = Client {
            scope,
            client_id: client_id.into(),
            token: OwnerToken { incarnation: 1, counter: 2 },
            thing_name: thing_name.map(str::to_owned),
            principal: Some("ab".into()),
        };
        let topic = happened.topic(client_id)?;
        let message = event(&client, happened, topic, Timestamp(77));
        assert_eq!((message.qos, message.retain), (QoS::AtLeastOnce, false));
        Some((message.topic.to_string(), serde_json::from_slice(&message.payload).unwrap()))
    }

    fn expected(event_type: &str, rest: &Value) -> Value {
        let mut event = json!({
            "clientId": "dev", "timestamp": 77, "eventType": event_type, "principalIdentifier": "ab",
            "sessionIdentifier": "00000000-0000-0001-0000-000000000002",
        });
        for (name, value) in rest.as_object().unwrap() {
            event[name] = value.clone();
        }
        event
    }

    #[test]
    fn events_have_awss_fields() {
        let ip_address: IpAddr = "192.0.2.7".parse().unwrap();
        let topics = vec!["a/+".into(), "$share/g/b".into()];
        let cases = [
            (
                Happened::Connected { ip_address, version_number: 4 },
                "presence/connected",
                json!({"ipAddress": "192.0.2.7", "versionNumber": 4}),
            ),
            (
                Happened::disconnected(DisconnectReason::ClientInitiatedDisconnect, 4),
                "presence/disconnected",
                json!({
                    "clientInitiatedDisconnect": true, "versionNumber": 4,
                    "disconnectReason": "CLIENT_INITIATED_DISCONNECT",
                }),
            ),
            (
                Happened::disconnected(DisconnectReason::DuplicateClientId, 0),
                "presence/disconnected",
                json!({
                    "clientInitiatedDisconnect": false, "versionNumber": 0,
                    "disconnectReason": "DUPLICATE_CLIENTID",
                }),
            ),
            (
                Happened::ConnectFailed { ip_address, connect_failure_reason: "AUTHORIZATION_FAILED" },
                "presence/connect_failed",
                json!({"ipAddress": "192.0.2.7", "connectFailureReason": "AUTHORIZATION_FAILED"}),
            ),
            (
                Happened::Subscribed { topics: topics.clone() },
                "subscriptions/subscribed",
                json!({"topics": ["a/+", "$share/g/b"]}),
            ),
            (
                Happened::Unsubscribed { topics },
                "subscriptions/unsubscribed",
                json!({"topics": ["a/+", "$share/g/b"]}),
            ),
        ];
        for (happened, family, rest) in cases {
            let (topic, event) = told(&happened, "dev", None).unwrap();
            assert_eq!(topic, format!("$aws/events/{family}/dev"));
            assert_eq!(event, expected(family.split_once('/').unwrap().1, &rest));
            let (_, event) = told(&happened, "dev", Some("thing")).unwrap();
            assert_eq!(event["thingName"], "thing");
        }
    }

    #[test]
    fn client_ids_with_wildcards_have_no_events() {
        let happened = Happened::disconnected(DisconnectReason::ConnectionLost, 1);
        for id in ["dev+1", "#", "a/+/b"] {
            assert_eq!(told(&happened, id, None), None, "{id}");
        }
        let (topic, _) = told(&happened, "$GEN/7", None).unwrap();
        assert_eq!(topic, "$aws/events/presence/disconnected/$GEN/7");
    }
}
