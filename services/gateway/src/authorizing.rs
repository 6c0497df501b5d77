//! Clients about whom a custom authorizer decides: asked at CONNECT, and again whenever its answer says (security.md
//! section 6). The event loop goes on meanwhile; a connection that waits costs its place and nothing else.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fleethaven_authorizers::{Attempt, Connect, DEADLINE, Granted, Refusal};
use fleethaven_fabric::FunctionError;
use fleethaven_mqtt::ReasonCode;
use fleethaven_session::{Close, ConnectRequest, Now};
use fleethaven_types::{AccountId, Utf8Bytes};
use rustc_hash::FxHashMap;
use tokio::task::AbortHandle;

use crate::connection::{Connection, Phase};
use crate::core::Core;

/// Answers that a core waits for at a time; those of one account.
const MOST: usize = 4096;
const MOST_OF_ACCOUNT: usize = 1024;
/// When a refresh is tried again for which there was no room.
const LATER: Duration = Duration::from_secs(1);

/// A connection whose client an authorizer decides about.
pub(crate) struct Custom {
    attempt: Arc<Attempt>,
    /// When the authorizer is to be asked again; `None` while it is asked.
    refresh_at: Option<Instant>,
    asking: Option<AbortHandle>,
}

impl Custom {
    pub(crate) fn new(attempt: Attempt) -> Self {
        Self { attempt: Arc::new(attempt), refresh_at: None, asking: None }
    }

    pub(crate) fn refresh_at(&self) -> Option<Instant> {
        self.refresh_at
    }

    /// From now on the answer counts for as long as it says.
    pub(crate) fn answered(&mut self, granted: &Granted, now: Now) {
        self.refresh_at = now.instant.checked_add(granted.refresh_after);
        self.asking = None;
    }
}

/// A connection that is gone needs no answer.
impl Drop for Custom {
    fn drop(&mut self) {
        if let Some(asking) = &self.asking {
            asking.abort();
        }
    }
}

/// How many answers are waited for, by account.
#[derive(Default)]
pub(crate) struct Waiting(RefCell<FxHashMap<AccountId, usize>>);

/// A place among those who wait.
struct WaitingPlace {
    core: Rc<Core>,
    account: AccountId,
}

impl WaitingPlace {
    fn take(core: &Rc<Core>, account: AccountId) -> Option<Self> {
        let mut waiting = core.waiting.0.borrow_mut();
        let all: usize = waiting.values().sum();
        let own = waiting.get(&account).copied().unwrap_or_default();
        if all >= MOST || own >= MOST_OF_ACCOUNT {
            return None;
        }
        waiting.insert(account, own + 1);
        Some(Self { core: core.clone(), account })
    }
}

impl Drop for WaitingPlace {
    fn drop(&mut self) {
        let mut waiting = self.core.waiting.0.borrow_mut();
        if let Some(count) = waiting.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.account);
            }
        }
    }
}

impl Core {
    /// Has an authorizer decide about the client of a CONNECT. What its policies say is decided after that.
    pub(crate) fn ask_authorizer(
        self: &Rc<Self>,
        connection: &mut Connection,
        request: ConnectRequest,
        assigned: Option<Utf8Bytes>,
    ) {
        let Some(custom) = &mut connection.custom else { return };
        let Some(place) = WaitingPlace::take(self, connection.principal.scope.account) else {
            let detail = "too many clients wait for authorizers";
            return connection.refuse_over_quota(request.version, detail);
        };
        let mqtt = Connect {
            username: request.username.clone(),
            password: request.password.clone(),
            client_id: Some(request.client_id.clone()).filter(|id| !id.is_empty()),
        };
        let attempt = Arc::new(Attempt { mqtt: Some(mqtt), ..(*custom.attempt).clone() });
        custom.attempt = attempt.clone();
        let (core, address) = (self.clone(), connection.address);
        let asking = tokio::task::spawn_local(async move {
            let answer = core.ask(&attempt).await;
            drop(place);
            let Some(connection) = core.at(address) else { return };
            let mut connection = connection.borrow_mut();
            if connection.phase != Phase::Opening {
                return;
            }
            let now = core.tick();
            match answer {
                Ok(granted) => {
                    connection.let_in(granted, now);
                    core.decide_connect(&mut connection, request, assigned);
                }
                Err(refusal) => core.not_authenticated(&mut connection, &refusal),
            }
            connection.act(&core, now);
            connection.settle(&core, now);
        });
        custom.asking = Some(asking.abort_handle());
    }

    async fn ask(&self, attempt: &Attempt) -> Result<Granted, Refusal> {
        let answer = tokio::time::timeout(DEADLINE, self.shared.authorizers.authorize(attempt)).await;
        answer.unwrap_or_else(|_| Err(FunctionError::TimedOut.into()))
    }

    fn not_authenticated(&self, connection: &mut Connection, refusal: &Refusal) {
        self.log_not_authenticated(connection, refusal);
        self.shared.metrics.connect.with_label_values(&["auth_error"]).inc();
        let code = match refusal.blames_credentials() {
            true => ReasonCode::BadUserNameOrPassword,
            false => ReasonCode::NotAuthorized,
        };
        connection.session.refuse(code, "not authenticated");
    }

    fn log_not_authenticated(&self, connection: &Connection, refusal: &Refusal) {
        self.log_authorizer_refused(connection, &refusal.to_string());
        tracing::warn!(
            account = %connection.principal.scope.account,
            client_id = %connection.session.client_id(),
            source_ip = %connection.peer.ip(),
            trace_id = format_args!("{:016x}", connection.trace),
            event = "Connection.AuthNError", reason = %refusal, "not authenticated"
        );
    }

    /// Asks the authorizer of a connection again. Who is refused now has been connected long enough.
    pub(crate) fn refresh_authorizer(self: &Rc<Self>, connection: &mut Connection, now: Now) {
        let Some(custom) = &mut connection.custom else { return };
        let Some(place) = WaitingPlace::take(self, connection.principal.scope.account) else {
            custom.refresh_at = Some(now.instant + LATER);
            return;
        };
        custom.refresh_at = None;
        let (core, address, attempt) = (self.clone(), connection.address, custom.attempt.clone());
        let asking = tokio::task::spawn_local(async move {
            let answer = core.ask(&attempt).await;
            drop(place);
            let Some(connection) = core.at(address) else { return };
            let mut connection = connection.borrow_mut();
            if !matches!(connection.phase, Phase::Owned(_)) {
                return;
            }
            let now = core.tick();
            match answer {
                Ok(granted) => {
                    connection.refreshed(granted, now);
                    connection.settle(&core, now);
                }
                Err(refusal) => {
                    core.log_not_authenticated(&connection, &refusal);
                    let close = Close::unauthorized("the authorizer does not let the client go on");
                    connection.close(&core, close, now);
                }
            }
        });
        custom.asking = Some(asking.abort_handle());
    }
}
