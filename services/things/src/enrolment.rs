//! Fleet provisioning over MQTT (provisioning.md section 5): a client with a claim asks for a certificate, and has it
//! provisioned by a template.
//!
//! What is asked for holds secrets, and so do the answers: neither subscribers nor rules get a request, and an answer goes to
//! the client that asked, on the connection on which it asked. The publishing connection waits for its acknowledgement until
//! the answer is there.
//!
//! Inside: `topic` and `wire` read requests and write answers, `operations` carries them out, `hook` and `provider` ask the
//! account's functions, `issue` makes keys and certificates.

mod hook;
mod issue;
mod operations;
mod provider;
mod topic;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use fleethaven_registry::IdempotencyKey;
use fleethaven_storage::{Error, SessionId};
use fleethaven_types::{Message, Publisher, QoS, Scope};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use serde_json::Value;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::desk::Settings;
use crate::logging;
use operations::{Outcome, Refusal};
pub(crate) use topic::Call;
use wire::Format;

/// Requests under way, of all clients; more are refused.
const UNDER_WAY: usize = 4096;
/// Requests under way of one connection; more are refused.
const OF_A_CONNECTION: usize = 10;

/// Told the answer, if there is one, and whether the request is done. An error says that this is not known.
pub(crate) type Answer = Box<dyn FnOnce(Option<Arc<Message>>, Result<(), Error>) + Send>;

/// Takes requests and carries them out, each for itself.
pub(crate) struct Enrolments {
    settings: Arc<Settings>,
    /// How many each connection has under way.
    connections: Mutex<FxHashMap<SessionId, usize>>,
    under_way: AtomicUsize,
    /// Bounds how many keys are made at once: each takes a core for a while.
    key_makers: Arc<Semaphore>,
    origin: Uuid,
    numbers: AtomicU64,
}

/// What a client asks for.
struct Request {
    call: Call,
    format: Format,
    message: Arc<Message>,
}

impl Request {
    fn scope(&self) -> Scope {
        self.message.publisher.scope
    }

    /// To whom tokens are bound: the client's certificate or user.
    fn claimant(&self) -> &str {
        self.message.publisher.principal.as_ref().map_or("", |principal| principal.as_str())
    }

    fn client_id(&self) -> &str {
        self.message.publisher.client_id.as_ref().map_or("", |client_id| client_id.as_str())
    }
}

impl Enrolments {
    pub(crate) fn new(settings: Arc<Settings>) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            settings,
            connections: Mutex::default(),
            under_way: AtomicUsize::new(0),
            key_makers: Arc::new(Semaphore::new((cores / 2).max(1))),
            origin: Uuid::new_v4(),
            numbers: AtomicU64::new(0),
        })
    }

    /// Whether `message` asks for anything here.
    pub(crate) fn is_asked(message: &Message) -> bool {
        topic::may_be_request(&message.topic)
    }

    /// Hands in `message` if it is a request; otherwise `answer` is not called, and `false` returned.
    pub(crate) fn take(self: &Arc<Self>, message: &Arc<Message>, from: SessionId, answer: Answer) -> bool {
        let Some((call, format)) = topic::request(&message.topic) else { return false };
        let request = Request { call, format, message: message.clone() };
        let admitted = self.admit(&request, from);
        let this = self.clone();
        self.settings.runtime.spawn(async move {
            let outcome = match admitted {
                true => operations::carry_out(&this, &request).await,
                false => Outcome::Rejected(Refusal::throttled()),
            };
            if admitted {
                this.is_done(from);
            }
            this.tell(&request, outcome, answer);
        });
        true
    }

    fn admit(&self, request: &Request, from: SessionId) -> bool {
        let account = self.settings.accounts.get(request.scope());
        if !account.admit_provisioning_request(request.call.number(), (self.settings.instant)()) {
            return false;
        }
        let mut connections = self.connections.lock();
        let of_connection = connections.get(&from).copied().unwrap_or_default();
        if of_connection >= OF_A_CONNECTION || self.under_way.load(Ordering::Relaxed) >= UNDER_WAY {
            return false;
        }
        connections.insert(from, of_connection + 1);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn is_done(&self, from: SessionId) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
        let mut connections = self.connections.lock();
        if let Some(count) = connections.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&from);
            }
        }
    }

    fn tell(&self, request: &Request, outcome: Outcome, answer: Answer) {
        let told = match &outcome {
            Outcome::Accepted(_) => "accepted",
            Outcome::Rejected(_) => "rejected",
            Outcome::Unknown => "unknown",
        };
        self.settings.metrics.provisioning_requests.with_label_values(&[request.call.name(), told]).inc();
        self.log(request, &outcome);
        let payload = match outcome {
            Outcome::Unknown => {
                let error = "the metadata store did not answer in time".to_owned();
                return answer(None, Err(Error::Unavailable(error)));
            }
            Outcome::Accepted(payload) => payload,
            Outcome::Rejected(refusal) => {
                tracing::info!(
                    account = %request.scope().account, client_id = request.client_id(),
                    principal_id = request.claimant(), topic = %request.message.topic,
                    code = refusal.code, reason = refusal.message, "a provisioning request was rejected"
                );
                refusal.payload()
            }
        };
        let message = Message {
            topic: format!("{}/{told}", request.message.topic).into(),
            payload: request.format.write(&payload).into(),
            qos: QoS::AtLeastOnce,
            retain: false,
            properties: None,
            received_at: (self.settings.clock)(),
            expires_at: None,
            sequence: self.number(),
            hops: 0,
            publisher: self.publisher(request.scope()),
        };
        answer(Some(Arc::new(message)), Ok(()));
    }

    fn log(&self, request: &Request, outcome: &Outcome) {
        let logs = &self.settings.logs;
        if !logs.is_on() {
            return;
        }
        let template = match &request.call {
            Call::RegisterThing { template_name } => Some(template_name.as_str()),
            Call::CreateKeysAndCertificate | Call::CreateCertificateFromCsr => None,
        };
        let (certificate, refused) = match outcome {
            Outcome::Accepted(payload) => (payload.get("certificateId").and_then(Value::as_str), None),
            Outcome::Rejected(refusal) => (None, Some((refusal.status, refusal.message.as_str()))),
            Outcome::Unknown => (None, Some((504, "the metadata store did not answer in time"))),
        };
        logging::of_provisioning(logs, &request.message, (template, certificate), refused);
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn publisher(&self, scope: Scope) -> Arc<Publisher> {
        let (trace, _) = self.origin.as_u64_pair();
        Arc::new(Publisher { scope, client_id: None, principal: None, source_ip: None, trace })
    }

    /// Names one command among all that the metastore gets.
    fn key(&self) -> IdempotencyKey {
        IdempotencyKey::of(&["enrolment", &self.origin.to_string(), &self.number().to_string()])
    }
}

#[cfg(test)]
mod tests;
