//! What is recorded of a call in the audit journal, and when its answer waits for that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleethaven_audit::{Journal, Outcome, Record};
use fleethaven_types::Timestamp;
use http::request::Parts;
use uuid::Uuid;

use crate::api::Trail;
use crate::authentication::source_ip;
use crate::error::Error;
use crate::operations::Service;
use crate::peer::Peer;

/// Records a second of callers whom nobody knows: they must not push out what is worth keeping.
const STRANGERS_A_SECOND: u64 = 10;
/// Most characters of a text that the caller chose.
const TEXT: usize = 512;

/// Where calls are recorded.
#[derive(Clone)]
pub struct Audit {
    journal: Arc<Journal>,
    data_plane: bool,
    strangers: Arc<AtomicU64>,
}

impl Audit {
    /// Records calls of the control plane, of `sts`, of `iam` and of the credentials provider, and what is denied in the data plane;
    /// `data_plane`: everything there.
    pub fn new(journal: Arc<Journal>, data_plane: bool) -> Self {
        Self { journal, data_plane, strangers: Arc::default() }
    }

    /// Records a call. A change waits until its record is on disk.
    pub(crate) async fn call(&self, call: &Called<'_>) {
        if !self.wants(call) {
            return;
        }
        let is_change = call.trail.operation.is_some_and(|operation| operation.is_mutation());
        if is_change && call.trail.principal.is_some() {
            self.journal.record_durably(record(call)).await;
        } else {
            self.journal.record(record(call));
        }
    }

    fn wants(&self, call: &Called<'_>) -> bool {
        if call.trail.principal.is_none() && call.refusal.is_some() {
            return self.admits_stranger(call.at.as_secs());
        }
        let is_data = matches!(call.trail.service(), Service::Data | Service::Jobs);
        !is_data || self.data_plane || outcome(call) == Outcome::Denied
    }

    /// One number: the second, and how many there were in it.
    fn admits_stranger(&self, second: u64) -> bool {
        let counted = self.strangers.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| {
            let (then, count) = (state >> 8, state & 0xff);
            match then == second {
                true if count >= STRANGERS_A_SECOND => None,
                true => Some(state + 1),
                false => Some(second << 8 | 1),
            }
        });
        counted.is_ok()
    }
}

/// A call and its answer.
pub(crate) struct Called<'a> {
    pub(crate) trail: &'a Trail,
    pub(crate) peer: &'a Peer,
    pub(crate) head: &'a Parts,
    pub(crate) request_id: Uuid,
    pub(crate) at: Timestamp,
    pub(crate) status: u16,
    pub(crate) refusal: Option<&'a Error>,
}

fn outcome(call: &Called<'_>) -> Outcome {
    match (call.refusal, call.status) {
        (None, _) => Outcome::Done,
        (Some(Error::Authentication(_) | Error::Forbidden(_) | Error::AccessDenied { .. }), _) => {
            Outcome::Denied
        }
        (Some(_), 500..) if call.status != 501 => Outcome::Failed,
        (Some(_), _) => Outcome::Refused,
    }
}

fn record(call: &Called<'_>) -> Record {
    let Called { trail, peer, head, request_id, at, status, refusal } = *call;
    let user_agent = head.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
    Record {
        at: at.as_millis(),
        account: trail.account.map(|account| account.to_string()),
        region: trail.scope.map(|scope| scope.region.to_string()),
        service: trail.service().name().to_owned(),
        operation: trail.operation.map_or("unknown", |operation| operation.name).to_owned(),
        principal: trail.principal.clone(),
        access_key_id: trail.access_key_id.as_deref().map(shortened),
        source_ip: source_ip(peer).to_string(),
        user_agent: user_agent.map(shortened),
        request_id: request_id.to_string(),
        // The query may hold a signature or a token.
        path: shortened(head.uri.path()),
        outcome: outcome(call),
        status,
        error: refusal.map(|error| trail.code(error).to_owned()),
        reason: refusal.map(|error| shortened(&error.reason())),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(TEXT).collect()
}
