//! One request to a shadow: asked of the metastore, and answered by a message.
//!
//! What an update or a deletion brings about is told by the metastore itself, as messages of the log entry that it is; here
//! only gets and refusals are answered.

use std::sync::Arc;

use fleethaven_fabric::metadata::Error as CallError;
use fleethaven_registry::shapes::{DeleteThingShadow, UpdateThingShadow};
use fleethaven_registry::{Action, Command, ErrorCode, IdempotencyKey, Query, QueryKind, QueryReply};
use fleethaven_shadow::topic::{self, Operation};
use fleethaven_shadow::{self as shadow, Rejection, answer, request};
use fleethaven_storage::Error;
use fleethaven_types::{Message, QoS};
use fleethaven_usage::operations::of_shadow;

use crate::desk::{Desk, Request};
use crate::logging;
use crate::patience::patiently;

/// Why a request is not carried out.
struct Refusal {
    code: u16,
    message: String,
}

/// What became of a request.
enum Outcome {
    /// It is done, and the answer to publish, if that is to be done here.
    Accepted(Option<String>),
    Rejected(Refusal),
    /// Nobody knows.
    Unknown,
}

/// Carries it out. An error says that it is not known whether it was, or that its answer could not be published.
pub(crate) async fn carry_out(desk: &Desk, asked: &Request) -> Result<(), Error> {
    let (token, outcome) = match asked.over_rate {
        true => {
            let token = request::client_token(&asked.payload).unwrap_or_default();
            (token, Outcome::Rejected(Refusal { code: 429, message: "Rate exceeded".to_owned() }))
        }
        false => outcome(desk, asked).await,
    };
    let told = match &outcome {
        Outcome::Accepted(_) => "accepted",
        Outcome::Rejected(_) => "rejected",
        Outcome::Unknown => "unknown",
    };
    desk.settings.metrics.shadow_requests.with_label_values(&[asked.operation.as_str(), told]).inc();
    logging::of_shadow(&desk.settings.logs, asked, refusal_of(&outcome));
    count(desk, asked, &outcome);
    match outcome {
        Outcome::Accepted(None) => Ok(()),
        Outcome::Accepted(Some(payload)) => {
            tell(desk, asked, topic::accepted(&asked.name, asked.operation), payload).await
        }
        Outcome::Rejected(Refusal { code, message }) => {
            tracing::debug!(
                account = %asked.scope.account, thing = asked.name.thing(), shadow = asked.name.shadow(),
                operation = asked.operation.as_str(), code, message, "a request to a shadow was rejected"
            );
            let payload = answer::rejected(code, &message, (desk.settings.clock)(), token.as_deref());
            tell(desk, asked, topic::rejected(&asked.name, asked.operation), payload).await
        }
        Outcome::Unknown => Err(Error::Unavailable("the metadata store did not answer in time".to_owned())),
    }
}

/// Counts what was carried out as used by the client that asked, as large as what it sent or gets.
fn count(desk: &Desk, asked: &Request, outcome: &Outcome) {
    let usage = &desk.settings.usage;
    if let Outcome::Accepted(answer) = outcome
        && usage.is_on()
    {
        let bytes = answer.as_ref().map_or(0, String::len).max(asked.payload.len());
        usage.add(usage.owner_of_message(&asked.publisher), of_shadow(bytes));
    }
}

/// Why a request was not carried out, with its code.
fn refusal_of(outcome: &Outcome) -> Option<(u16, &str)> {
    match outcome {
        Outcome::Accepted(_) => None,
        Outcome::Rejected(Refusal { code, message }) => Some((*code, message)),
        Outcome::Unknown => Some((504, "the metadata store did not answer in time")),
    }
}

/// The request's client token, and what becomes of it.
async fn outcome(desk: &Desk, asked: &Request) -> (Option<String>, Outcome) {
    if asked.operation == Operation::Update {
        return match shadow::Request::read(&asked.payload, &desk.settings.limits) {
            Err(Rejection { error, client_token }) => (client_token, Outcome::Rejected(error.into())),
            Ok(read) => (read.client_token().map(str::to_owned), update(desk, asked).await),
        };
    }
    match request::client_token(&asked.payload) {
        Err(error) => (None, Outcome::Rejected(error.into())),
        Ok(token) if asked.operation == Operation::Get => (token.clone(), get(desk, asked, token).await),
        Ok(token) => (token.clone(), delete(desk, asked, token).await),
    }
}

async fn get(desk: &Desk, asked: &Request, client_token: Option<String>) -> Outcome {
    let (thing_name, shadow_name) = names(asked);
    let kind = QueryKind::GetThingShadow { thing_name, shadow_name, client_token };
    let query = Query::new(asked.scope, kind);
    match patiently(|| desk.settings.metadata.query(query.clone())).await {
        Ok(QueryReply::ThingShadow(document)) => Outcome::Accepted(Some(document)),
        Ok(_) => Outcome::Rejected(Refusal::internal()),
        Err(error) => refused(error),
    }
}

async fn update(desk: &Desk, asked: &Request) -> Outcome {
    let (thing_name, shadow_name) = names(asked);
    // It was read as JSON, so it is UTF-8.
    let payload = String::from_utf8_lossy(&asked.payload).into_owned();
    let update = UpdateThingShadow { thing_name, shadow_name, payload, answer: false };
    execute(desk, asked, Action::UpdateThingShadow(Box::new(update))).await
}

async fn delete(desk: &Desk, asked: &Request, client_token: Option<String>) -> Outcome {
    let (thing_name, shadow_name) = names(asked);
    let delete = DeleteThingShadow { thing_name, shadow_name, client_token };
    execute(desk, asked, Action::DeleteThingShadow(Box::new(delete))).await
}

/// One command, however often it has to be asked for.
async fn execute(desk: &Desk, asked: &Request, action: Action) -> Outcome {
    let key = IdempotencyKey::of(&["shadow", &desk.origin.to_string(), &desk.number().to_string()]);
    let command = Command { key: Some(key), ..Command::new(asked.scope, action) };
    match patiently(|| desk.settings.metadata.execute(command.clone())).await {
        Ok(_executed) => Outcome::Accepted(None),
        Err(error) => refused(error),
    }
}

fn names(asked: &Request) -> (String, Option<String>) {
    (asked.name.thing().to_owned(), asked.name.shadow().map(str::to_owned))
}

fn refused(error: CallError) -> Outcome {
    match error {
        CallError::Refused(error) if error.code == ErrorCode::InternalFailureException => {
            tracing::error!(%error, "a request to a shadow failed");
            Outcome::Rejected(Refusal::internal())
        }
        CallError::Refused(error) => {
            Outcome::Rejected(Refusal { code: error.code.http_status(), message: error.message })
        }
        CallError::Unavailable(reason) => {
            tracing::warn!(reason, "a request to a shadow could not be carried out");
            Outcome::Rejected(Refusal { code: 503, message: "Service unavailable".to_owned() })
        }
        CallError::Unknown => Outcome::Unknown,
    }
}

impl Refusal {
    fn internal() -> Self {
        Self { code: 500, message: "Internal service failure".to_owned() }
    }
}

impl From<shadow::Error> for Refusal {
    fn from(error: shadow::Error) -> Self {
        Self { code: error.code(), message: error.to_string() }
    }
}

/// Publishes an answer: QoS 1, never retained.
async fn tell(desk: &Desk, asked: &Request, topic: String, payload: String) -> Result<(), Error> {
    let message = Message {
        topic: topic.into(),
        payload: payload.into(),
        qos: QoS::AtLeastOnce,
        retain: false,
        properties: None,
        received_at: (desk.settings.clock)(),
        expires_at: None,
        sequence: desk.number(),
        hops: 0,
        publisher: desk.publisher(asked.scope),
    };
    desk.settings.publish.publish(Arc::new(message)).await.map(drop)
}
