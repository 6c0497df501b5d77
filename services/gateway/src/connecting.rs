//! CONNECT: decision, claim, CONNACK.

use std::rc::Rc;
use std::sync::Arc;

use fleethaven_fabric::RoutingRequest;
use fleethaven_fabric::delivery::Address;
use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_mqtt::{ReasonCode, Version};
use fleethaven_session::{Accepted, ConnectRequest, Now, QueueState, WillRequest};
use fleethaven_storage::{Claim, Claimed, Error, QueueBounds, Request, StoredWill, Ticket};
use fleethaven_types::{Publisher, Utf8Bytes};

use crate::authorize::{Authorizer, ConnectQuestion, Denied, Who, connect};
use crate::connection::{Connection, Phase};
use crate::core::Core;
use crate::cut_off;
use crate::lifecycle::Happened;
use crate::logging::{FORBIDDEN, THROTTLED};
use crate::metering::Metered;
use crate::pending::{Pending, PendingClaim};

impl Connection {
    /// Refuses a CONNECT above a quota.
    pub(crate) fn refuse_over_quota(&mut self, version: Version, detail: &str) {
        self.over_quota = true;
        let code = match version {
            Version::V5 => ReasonCode::QuotaExceeded,
            Version::V311 => ReasonCode::ServerUnavailable,
        };
        self.session.refuse(code, detail);
    }
}

/// Ticket of requests whose answer nobody waits for.
const NOBODY: Ticket = Ticket(0);

impl Core {
    /// Decides a CONNECT. A refusal that rests on cached state is looked up once more before it is final.
    pub(crate) fn connecting(self: &Rc<Self>, connection: &mut Connection, request: ConnectRequest) {
        if self.draining.get() {
            return connection.session.drain();
        }
        // That was noted within the last second, and may be over.
        if self.cut_off.get() && self.shared.identity.is_stale() {
            return connection.session.refuse(ReasonCode::ServerUnavailable, cut_off::DETAIL);
        }
        let assigned = request.client_id.is_empty().then(|| self.shared.assign_client_id());
        let client_id = assigned.clone().unwrap_or_else(|| request.client_id.clone());
        if !connection.account.admit_connect(&client_id, self.now().instant) {
            return connection.refuse_over_quota(request.version, "too many CONNECTs a second");
        }
        if connection.custom.is_some() {
            return self.ask_authorizer(connection, request, assigned);
        }
        self.decide_connect(connection, request, assigned);
    }

    /// Decides by the principal's policies.
    pub(crate) fn decide_connect(
        self: &Rc<Self>,
        connection: &mut Connection,
        request: ConnectRequest,
        assigned: Option<Utf8Bytes>,
    ) {
        let client_id = assigned.clone().unwrap_or_else(|| request.client_id.clone());
        match self.decide(connection, &request, &client_id) {
            Ok(()) => self.admit(connection, request, assigned),
            Err(denied) if connection.principal.certificate_id.is_none() => {
                self.deny(connection, &client_id, &denied)
            }
            Err(_) => self.decide_again(connection.address, request, assigned),
        }
    }

    fn decide(
        &self,
        connection: &Connection,
        request: &ConnectRequest,
        client_id: &str,
    ) -> Result<(), Denied> {
        let question = ConnectQuestion {
            client_id,
            persistent: request.session_expiry > 0,
            will: request.will.as_ref().map(|will| (will.topic.as_str(), will.retain)),
        };
        connect(&connection.principal, &question, connection.peer.ip())
    }

    fn decide_again(self: &Rc<Self>, address: Address, request: ConnectRequest, assigned: Option<Utf8Bytes>) {
        let core = self.clone();
        tokio::task::spawn_local(async move {
            let Some(entry) = core.at(address).map(|connection| connection.borrow().principal.entry.clone())
            else {
                return;
            };
            let refreshed = core.shared.identity.refresh(&entry).await;
            let Some(connection) = core.at(address) else { return };
            let mut connection = connection.borrow_mut();
            if connection.phase != Phase::Opening {
                return;
            }
            if let Err(error) = refreshed {
                tracing::warn!(%error, "a refused CONNECT could not be decided again");
            }
            let client_id = assigned.clone().unwrap_or_else(|| request.client_id.clone());
            match core.decide(&connection, &request, &client_id) {
                Ok(()) => core.admit(&mut connection, request, assigned),
                Err(denied) => core.deny(&mut connection, &client_id, &denied),
            }
            let now = core.tick();
            connection.act(&core, now);
            connection.settle(&core, now);
        });
    }

    /// A CONNECT that is allowed takes one of the account's places, and claims its session.
    fn admit(
        self: &Rc<Self>,
        connection: &mut Connection,
        request: ConnectRequest,
        assigned: Option<Utf8Bytes>,
    ) {
        let most = connection.account.limits.connections_account;
        connection.place = connection.account.connections.take(most);
        if connection.place.is_none() {
            let detail = "the account has as many connections as it may";
            return connection.refuse_over_quota(request.version, detail);
        }
        self.claim(connection, request, assigned);
    }

    fn deny(&self, connection: &mut Connection, client_id: &str, denied: &Denied) {
        self.log_connect_refused(connection, client_id, FORBIDDEN, &denied.because);
        tracing::warn!(
            account = %connection.principal.scope.account,
            client_id,
            principal_id = connection.principal.identifier().map(tracing::field::display),
            source_ip = %connection.peer.ip(),
            trace_id = format_args!("{:016x}", connection.trace),
            event = "Connect",
            reason = "AUTHORIZATION_FAILURE",
            action = denied.action,
            resource = denied.resource,
            details = denied.because,
            "refused"
        );
        self.shared.metrics.connect.with_label_values(&["auth_error"]).inc();
        let failed = Happened::ConnectFailed {
            ip_address: connection.peer.ip(),
            connect_failure_reason: "AUTHORIZATION_FAILED",
        };
        let client = || connection.client(self.shared.next_token(), client_id.into());
        self.tell(client, connection.principal.scope, client_id, &failed);
        connection.session.refuse(ReasonCode::NotAuthorized, "not authorized to connect");
    }

    /// A CONNECT that was refused: the answer is written, then the socket closed.
    pub(crate) fn refused(&self, connection: &mut Connection, code: ReasonCode, detail: &str) {
        // Who is not let in was counted and logged with the reason.
        if !matches!(code, ReasonCode::NotAuthorized | ReasonCode::BadUserNameOrPassword) {
            let result = match code {
                _ if connection.over_quota => "throttle",
                ReasonCode::ServerUnavailable | ReasonCode::UseAnotherServer | ReasonCode::ServerMoved => {
                    "server_error"
                }
                _ => "client_error",
            };
            self.shared.metrics.connect.with_label_values(&[result]).inc();
            let reason =
                if connection.over_quota { THROTTLED.to_owned() } else { result.to_ascii_uppercase() };
            self.log_connect_refused(connection, connection.session.client_id(), &reason, detail);
            tracing::info!(
                account = %connection.principal.scope.account, client_id = %connection.session.client_id(),
                source_ip = %connection.peer.ip(), event = "Connect", reason = result.to_ascii_uppercase(),
                code = code.name(), details = detail, "refused"
            );
        }
        connection.close_when_written(self, self.now());
    }

    /// Claims the client id; the session store decides what becomes of an older session.
    fn claim(self: &Rc<Self>, connection: &Connection, request: ConnectRequest, assigned: Option<Utf8Bytes>) {
        let principal = &connection.principal;
        let client_id = assigned.clone().unwrap_or_else(|| request.client_id.clone());
        let token = self.shared.next_token();
        let publisher = Arc::new(Publisher {
            scope: principal.scope,
            client_id: Some(client_id.clone()),
            principal: principal.identifier(),
            source_ip: Some(connection.peer.ip()),
            trace: connection.trace,
        });
        let will = request
            .will
            .as_ref()
            .map(|will| StoredWill { message: will.message(&publisher), delay: will.delay });
        let limits = &connection.account.limits;
        let claim = Claim {
            ticket: Ticket(0),
            scope: principal.scope,
            client_id,
            token,
            owner_address: connection.address.to_u64(),
            clean_start: request.clean_start,
            session_expiry: request.session_expiry,
            protocol_level: request.version.level(),
            cross_version_resume: self.settings.behaviour.cross_version_session_resume,
            queue_bounds: QueueBounds {
                messages: limits.session_queued_messages,
                bytes: limits.session_queued_bytes,
                secs: limits.session_queued_secs,
            },
            will,
            principal: publisher.principal.clone(),
            now: fleethaven_daemon::clock::now(),
        };
        let pending = PendingClaim { request, assigned, token, publisher };
        let ticket = self.expect(connection.address, Pending::Claim(Box::new(pending)));
        self.ask_store(Request::Claim(Box::new(Claim { ticket, ..claim })));
    }

    /// The store answered a claim.
    pub(crate) fn claimed(
        self: &Rc<Self>,
        address: Address,
        pending: PendingClaim,
        result: Result<Box<Claimed>, Error>,
        now: Now,
    ) {
        let connection = self.at(address);
        let claimed = match result {
            Ok(claimed) => *claimed,
            Err(error) => {
                if let Some(connection) = connection {
                    let mut connection = connection.borrow_mut();
                    connection.session.refuse(ReasonCode::ServerUnavailable, error.to_string());
                    connection.act(self, now);
                    connection.settle(self, now);
                }
                return;
            }
        };
        self.take_over(&claimed, now);
        match connection.filter(|connection| connection.borrow().phase == Phase::Opening) {
            Some(connection) => self.accept(&mut connection.borrow_mut(), pending, claimed, now),
            None => self.give_up(address, &pending, &claimed, now),
        }
    }

    /// Where the usage of a client is counted that is let in. CONNECT is its first message, as large as its will.
    fn metered(&self, publisher: &Arc<Publisher>, will: Option<&WillRequest>) -> Option<Metered> {
        let usage = self.metering.usage();
        if !usage.is_on() {
            return None;
        }
        let metered = self.metering.begin(usage.owner_of(publisher))?;
        metered.messages(will.map_or(1, |will| will.message(publisher).pieces()));
        Some(metered)
    }

    fn accept(
        self: &Rc<Self>,
        connection: &mut Connection,
        pending: PendingClaim,
        claimed: Claimed,
        now: Now,
    ) {
        let PendingClaim { request, assigned, token, publisher } = pending;
        // A resumed session has a queue even if it now ends with this connection.
        let persistent = request.session_expiry > 0 || claimed.session_present;
        let (session, address) = (claimed.session, connection.address);
        let scope = connection.principal.scope;
        connection.authorizer = Some(Authorizer::new(&Who {
            principal: &connection.principal,
            client_id: publisher.client_id.as_deref().unwrap_or_default(),
            source_ip: connection.peer.ip(),
        }));
        connection.phase = Phase::Owned(token);
        connection.metered = self.metered(&publisher, request.will.as_ref());
        connection.will = claimed.will;
        let credit = connection.credit.clone();
        let owner = OwnerNumber(claimed.version_number);
        self.route(RoutingRequest::Attach { session, scope, persistent, address, credit, owner });
        if !claimed.subscriptions.is_empty() {
            // The router has them, unless it forgot the session in the moment in which it was resumed.
            let (ticket, subscriptions, exact) = (NOBODY, claimed.subscriptions.clone(), None);
            self.route(RoutingRequest::Subscribe { ticket, session, subscriptions, exact, owner });
        }
        connection.has_queue = persistent;
        let queue = persistent.then_some(QueueState {
            trimmed: claimed.trimmed,
            tail: claimed.tail,
            sent: if claimed.previous.is_some() { claimed.tail } else { claimed.sent },
        });
        let will = request.will.as_ref().map(|will| will.message(&publisher));
        let accepted = Accepted {
            session,
            session_present: claimed.session_present,
            assigned_client_id: assigned,
            publisher,
            queue,
            first_sent: claimed.first_sent,
            released: claimed.released,
            received: claimed.received,
            subscriptions: claimed
                .subscriptions
                .into_iter()
                .map(|subscription| (subscription.filter, subscription.qos))
                .collect(),
        };
        (connection.connected_at, connection.version_number) = (now.wall, claimed.version_number);
        connection.session.accept(accepted, will, now);
        let (ip_address, version_number) = (connection.peer.ip(), claimed.version_number);
        self.tell_of(connection, &Happened::Connected { ip_address, version_number });
        self.shared.metrics.connections.inc();
        self.shared.metrics.connect.with_label_values(&["success"]).inc();
        self.log_connected(connection);
        tracing::info!(
            account = %scope.account, client_id = %connection.session.client_id(),
            principal_id = connection.principal.identifier().map(tracing::field::display),
            source_ip = %connection.peer.ip(), trace_id = format_args!("{:016x}", connection.trace),
            event = "Connect", session_present = claimed.session_present, "connected"
        );
        connection.act(self, now);
        connection.settle(self, now);
    }
}
