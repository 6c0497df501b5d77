//! AWS's log entries about clients and their messages (operations.md section 4), as far as accounts ask for them.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use fleethaven_logging::{Entry, LogEvent, LogLevel, Subject};
use fleethaven_mqtt::PacketId;
use fleethaven_session::{Close, DisconnectReason, Now};
use fleethaven_types::{Message, Scope, Utf8Bytes};

use crate::connection::Connection;
use crate::core::Core;
use crate::identity::{IdentityCache, Principal};

/// AWS's word for what policies forbid.
pub(crate) const FORBIDDEN: &str = "AUTHORIZATION_FAILURE";
/// AWS's word for what is above a rate or quota.
pub(crate) const THROTTLED: &str = "THROTTLED";

/// A client as log entries know it.
struct Client<'a> {
    principal: &'a Principal,
    client_id: &'a str,
    peer: SocketAddr,
}

impl Subject for Client<'_> {
    fn client_id(&self) -> Option<&str> {
        Some(self.client_id).filter(|id| !id.is_empty())
    }

    fn principal(&self) -> Option<Cow<'_, str>> {
        self.principal.identifier().map(|id| Cow::Owned(id.to_string()))
    }

    fn source_ip(&self) -> Option<IpAddr> {
        Some(self.peer.ip())
    }

    fn thing_groups(&self) -> Vec<String> {
        let snapshot = self.principal.entry.snapshot();
        let standing = self.principal.entry.standing(&snapshot, self.client_id);
        standing.thing.map(|thing| thing.thing_groups.clone()).unwrap_or_default()
    }
}

/// A client that has not proved who it is.
pub(crate) struct Stranger<'a> {
    pub(crate) principal: Option<Cow<'a, str>>,
    pub(crate) peer: Option<SocketAddr>,
}

impl Subject for Stranger<'_> {
    fn client_id(&self) -> Option<&str> {
        None
    }

    fn principal(&self) -> Option<Cow<'_, str>> {
        self.principal.clone()
    }

    fn source_ip(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.ip())
    }

    fn thing_groups(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a connection's entries have in common with those of one of its requests.
fn trace(connection: &Connection, request: u64) -> u128 {
    u128::from(connection.trace) << 64 | u128::from(request)
}

/// The entry of a connection as a whole: its messages are numbered from 1 on.
const WHOLE: u64 = 0;

/// The entries of one SUBSCRIBE or UNSUBSCRIBE, apart from those of messages.
fn of_packet(packet_id: PacketId) -> u64 {
    1 << 63 | u64::from(packet_id.get())
}

/// Each does nothing but one relaxed load where nobody wants entries.
impl Core {
    fn entry(
        &self,
        connection: &Connection,
        client_id: &str,
        event: (LogEvent, LogLevel),
        trace: u128,
    ) -> Option<Entry> {
        let logs = &self.shared.logs;
        if !logs.is_on() {
            return None;
        }
        let (principal, peer) = (&connection.principal, connection.peer);
        let client = Client { principal, client_id, peer };
        let entry = logs.entry(principal.scope, event, trace, &client)?;
        Some(entry.over("MQTT").from(peer))
    }

    fn write(&self, entry: Entry) {
        self.shared.logs.write(entry);
    }

    pub(crate) fn log_connected(&self, connection: &Connection) {
        let event = (LogEvent::Connect, LogLevel::Info);
        let entry = self.entry(connection, connection.session.client_id(), event, trace(connection, WHOLE));
        entry.into_iter().for_each(|entry| self.write(entry));
    }

    pub(crate) fn log_connect_refused(
        &self,
        connection: &Connection,
        client_id: &str,
        reason: &str,
        details: &str,
    ) {
        let event = (LogEvent::Connect, LogLevel::Error);
        if let Some(entry) = self.entry(connection, client_id, event, trace(connection, WHOLE)) {
            self.write(entry.because(reason, details));
        }
    }

    pub(crate) fn log_disconnected(&self, connection: &Connection, close: &Close) {
        let level = match close.reason {
            DisconnectReason::AuthError
            | DisconnectReason::ClientError
            | DisconnectReason::ServerError
            | DisconnectReason::Throttled => LogLevel::Error,
            _ => LogLevel::Info,
        };
        let client_id = connection.session.client_id();
        let event = (LogEvent::Disconnect, level);
        let Some(entry) = self.entry(connection, client_id, event, trace(connection, WHOLE)) else { return };
        let entry = entry.with("disconnectReason", close.reason.as_str());
        self.write(match close.reason {
            DisconnectReason::ClientInitiatedDisconnect => entry,
            DisconnectReason::DuplicateClientId => entry.because("DUPLICATE_CLIENT_ID", &close.detail),
            reason => entry.because(reason.as_str(), &close.detail),
        });
    }

    /// A message from a client; `refused`: why it was not taken, in a word and in more.
    pub(crate) fn log_publish_in(
        &self,
        connection: &Connection,
        message: &Message,
        refused: Option<(&str, &str)>,
    ) {
        self.log_message(connection, LogEvent::PublishIn, message, refused);
    }

    /// A message for a client; `refused`: why it did not get it.
    pub(crate) fn log_publish_out(
        &self,
        connection: &Connection,
        message: &Message,
        refused: Option<(&str, &str)>,
    ) {
        self.log_message(connection, LogEvent::PublishOut, message, refused);
    }

    /// A message that the connection was given, when its session had dropped so many.
    pub(crate) fn log_delivery(&self, connection: &Connection, message: &Message, dropped: u64) {
        let is_dropped = connection.session.dropped() > dropped;
        let why = "the client does not read, or cannot take a message of this size";
        self.log_publish_out(connection, message, is_dropped.then_some(("CLIENT_ERROR", why)));
    }

    fn log_message(
        &self,
        connection: &Connection,
        event: LogEvent,
        message: &Message,
        refused: Option<(&str, &str)>,
    ) {
        let level = if refused.is_some() { LogLevel::Error } else { LogLevel::Info };
        let client_id = connection.session.client_id();
        let Some(mut entry) = self.entry(connection, client_id, (event, level), message.trace_id()) else {
            return;
        };
        entry = entry.on(&message.topic);
        if message.retain {
            entry = entry.with("retain", "True");
        }
        self.write(match refused {
            Some((reason, details)) => entry.because(reason, details),
            None => entry,
        });
    }

    /// One filter of a SUBSCRIBE; `refused`: why it was not granted.
    pub(crate) fn log_subscribe(
        &self,
        connection: &Connection,
        packet_id: PacketId,
        filter: &str,
        refused: Option<(&str, &str)>,
    ) {
        let level = if refused.is_some() { LogLevel::Error } else { LogLevel::Info };
        let (client_id, trace) = (connection.session.client_id(), trace(connection, of_packet(packet_id)));
        let event = (LogEvent::Subscribe, level);
        let Some(entry) = self.entry(connection, client_id, event, trace) else { return };
        let entry = entry.on(filter);
        self.write(match refused {
            Some((reason, details)) => entry.because(reason, details),
            None => entry,
        });
    }

    pub(crate) fn log_unsubscribe(
        &self,
        connection: &Connection,
        packet_id: PacketId,
        filters: &[Utf8Bytes],
    ) {
        let (client_id, trace) = (connection.session.client_id(), trace(connection, of_packet(packet_id)));
        for filter in filters {
            let event = (LogEvent::Unsubscribe, LogLevel::Info);
            let Some(entry) = self.entry(connection, client_id, event, trace) else { return };
            self.write(entry.on(filter));
        }
    }

    /// A PINGREQ that came at `asked`; `answered`: when PINGRESP was written, unless the connection was gone before.
    pub(crate) fn log_ping(&self, connection: &Connection, asked: Now, answered: Option<Now>) {
        let level = if answered.is_some() { LogLevel::Debug } else { LogLevel::Error };
        let client_id = connection.session.client_id();
        let event = (LogEvent::Ping, level);
        let Some(entry) = self.entry(connection, client_id, event, trace(connection, WHOLE)) else { return };
        let entry = entry.with("requestTimestamp", asked.wall.as_millis());
        self.write(match answered {
            Some(answered) => {
                let latency = answered.instant.saturating_duration_since(asked.instant).as_millis();
                let latency = u64::try_from(latency).unwrap_or(u64::MAX);
                entry.with("responseTimestamp", answered.wall.as_millis()).with("latency", latency)
            }
            None => entry.because("CONNECTION_ALREADY_CLOSED", "the connection ended before it was answered"),
        });
    }

    /// A custom authorizer, or what it stands on, did not let a client in.
    pub(crate) fn log_authorizer_refused(&self, connection: &Connection, reason: &str) {
        let event = (LogEvent::AuthNError, LogLevel::Error);
        let client_id = connection.session.client_id();
        if let Some(entry) = self.entry(connection, client_id, event, trace(connection, WHOLE)) {
            let kind = if connection.principal.certificate_id.is_some() {
                "CUSTOM_AUTH_X509"
            } else {
                "CUSTOM_AUTH"
            };
            self.write(not_authenticated(entry, kind, reason));
        }
    }
}

impl IdentityCache {
    /// A client's certificate is not accepted after the handshake, in which it asked for `server_name`.
    pub fn log_refused(
        &self,
        (certificate_id, server_name): (&str, Option<&str>),
        peer: SocketAddr,
        reason: &str,
    ) {
        let scope = self.endpoint(server_name).scope;
        self.log_certificate_refused(scope, (certificate_id, server_name), Some(peer), reason);
    }

    /// A client's certificate is not accepted, at an endpoint of `scope`. `server_name` is what it asked for, where that is known.
    pub(crate) fn log_certificate_refused(
        &self,
        scope: Scope,
        (certificate_id, server_name): (&str, Option<&str>),
        peer: Option<SocketAddr>,
        reason: &str,
    ) {
        let logs = self.logs();
        if !logs.is_on() {
            return;
        }
        let stranger = Stranger { principal: Some(Cow::Borrowed(certificate_id)), peer };
        let (event, trace) = ((LogEvent::AuthNError, LogLevel::Error), uuid::Uuid::new_v4().as_u128());
        let Some(mut entry) = logs.entry(scope, event, trace, &stranger) else { return };
        if let Some(peer) = peer {
            entry = entry.from(peer);
        }
        if let Some(name) = server_name {
            entry = entry.with("serverNameIndication", name);
        }
        logs.write(not_authenticated(entry, "AWS_X509", reason));
    }
}

impl IdentityCache {
    /// A device that connected for the first time was provisioned just in time; `failed`: or why not.
    pub(crate) fn log_provisioned(&self, scope: Scope, certificate_id: &str, failed: Option<&str>) {
        let logs = self.logs();
        if !logs.is_on() {
            return;
        }
        let level = if failed.is_some() { LogLevel::Error } else { LogLevel::Info };
        let stranger = Stranger { principal: Some(Cow::Borrowed(certificate_id)), peer: None };
        let (event, trace) = ((LogEvent::ProvisionDevice, level), uuid::Uuid::new_v4().as_u128());
        let Some(mut entry) = logs.entry(scope, event, trace, &stranger) else { return };
        entry = entry.over("MQTT").with("deviceCertificateId", certificate_id);
        logs.write(match failed {
            Some(reason) => entry.because("CLIENT_ERROR", reason),
            None => entry,
        });
    }
}

/// AWS's word stands before the colon.
fn not_authenticated(entry: Entry, kind: &str, reason: &str) -> Entry {
    let (word, details) = reason.split_once(": ").unwrap_or((reason, ""));
    entry.with("authenticationType", kind).because(word, details)
}
