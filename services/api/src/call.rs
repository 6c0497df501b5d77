//! What a handler works with: the caller, the request's members, and the metastore.

use std::net::IpAddr;

use fleethaven_fabric::metadata::{Error as CallError, Executed};
use fleethaven_fabric::traces::RequestTrace;
use fleethaven_quotas::account::admits;
use fleethaven_quotas::{Account, SharedMeter};
use fleethaven_registry::{Action, Command, IdempotencyKey, Placement, Query, QueryKind, QueryReply, Reply};
use fleethaven_types::{Limits, Scope, Timestamp};
use uuid::Uuid;

use crate::api::State;
use crate::authentication::Principal;
use crate::error::Error;
use crate::input::Input;

/// Whose metadata is asked, and when: for a request, or for a task that goes on by itself.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) state: &'a State,
    pub(crate) scope: Scope,
    /// The time.
    pub(crate) now: Timestamp,
}

impl Place<'_> {
    pub(crate) async fn query(&self, kind: QueryKind) -> Result<QueryReply, Error> {
        Ok(self.state.metadata.query(Query::new(self.scope, kind)).await?)
    }
}

/// One authenticated request for one operation.
pub(crate) struct Call<'a> {
    pub(crate) state: &'a State,
    pub(crate) scope: Scope,
    pub(crate) principal: Principal,
    pub(crate) source_ip: IpAddr,
    pub(crate) server_name: Option<&'a str>,
    /// What the answer's `x-amzn-RequestId` will be.
    pub(crate) request_id: Uuid,
    /// When the request came.
    pub(crate) now: Timestamp,
    /// The same for all attempts of an SDK at one request.
    pub(crate) key: IdempotencyKey,
    /// The trace of the request.
    pub(crate) trace: Option<RequestTrace>,
    pub(crate) input: Input,
}

impl Call<'_> {
    /// Whose metadata the request is about.
    pub(crate) fn place(&self) -> Place<'_> {
        Place { state: self.state, scope: self.scope, now: self.now }
    }

    /// What the caller's account may use.
    pub(crate) fn limits(&self) -> &Limits {
        self.state.config.limits.of(self.scope.account)
    }

    /// Counts the request against one of the account's rates.
    pub(crate) fn count(&self, meter: impl FnOnce(&Account) -> Option<&SharedMeter>) -> Result<(), Error> {
        let account = self.state.accounts.get(self.scope);
        let now = tokio::time::Instant::now().into_std();
        if admits(meter(&account), 1, now) { Ok(()) } else { Err(Error::Throttled) }
    }

    /// Carries out a change, and waits until it is in force everywhere, so that who gets the answer can rely
    /// on it.
    pub(crate) async fn execute(&self, action: Action) -> Result<Reply, Error> {
        let command = Command { key: Some(self.key), ..Command::new(self.scope, action) };
        // What is cached, and watched for that, is the control group's; revisions of another group say nothing about it.
        let is_watched = command.placement() == Placement::Control;
        let first = self.state.metadata.execute(command.clone()).await;
        let Executed { reply, revision } = match first {
            // Asked again under its key, it is carried out once, and answers as the first time.
            Err(CallError::Unknown) => self.state.metadata.execute(command).await?,
            known => known?,
        };
        if is_watched && revision != 0 && !self.state.metadata.in_force(revision).await {
            tracing::warn!(scope = %self.scope, revision, "a change is not in force everywhere yet");
        }
        Ok(reply)
    }

    /// A change that has nothing to tell.
    pub(crate) async fn carry_out(&self, action: Action) -> Result<(), Error> {
        self.execute(action).await.map(drop)
    }

    pub(crate) async fn query(&self, kind: QueryKind) -> Result<QueryReply, Error> {
        self.place().query(kind).await
    }
}
