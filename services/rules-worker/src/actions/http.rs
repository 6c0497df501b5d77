//! `http`: each message, or each batch of messages, is a POST to an address whose owner has confirmed it (rules-actions.md 5.9).
//!
//! - `request`: what is sent, and signed

mod request;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_fabric::traces::Begun;
use fleethaven_outbound::{Backoff, Limits, OutboundError};
use fleethaven_registry::shapes::is_below;
use fleethaven_rulesql::Template;
use http::{Response, StatusCode, Uri};
use serde::de::IgnoredAny;
use serde_json::Value;

use super::batches::{Batches, Defaults};
use super::{Action, Error, Fields, Invocation, Member};
use crate::connections::Connected;
use crate::lanes::Key;
use crate::outside::Outside;
use crate::retry::Policy;

use request::{Message, Signer};

/// Longest address in characters.
const MAX_URL: usize = 2000;
/// An answer with more bytes ends the tries (AWS).
const MAX_ANSWER: usize = 16_384;
/// Bytes of an answer that are read.
const MAX_READ: usize = 1 << 20;
/// How long all tries of one request may take together (AWS).
const WITHIN: Duration = Duration::from_secs(3);
/// AWS's table: at most three tries, within the time of the request.
const POLICY: Policy =
    Policy { tries: 3, backoff: Backoff { first: Duration::from_millis(100), most: WITHIN }, budget: WITHIN };

/// AWS's defaults of batches.
const DEFAULTS: Defaults = Defaults { open: 20, size: 10, bytes: 5120 };

/// An http action with its templates parsed.
pub(super) struct Http {
    url: Template,
    confirmation_url: Option<Template>,
    headers: Vec<(String, Template)>,
    signer: Option<Signer>,
    batches: Option<Batches<Message>>,
}

impl Http {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let headers = fields.settings.get("headers").and_then(Value::as_array);
        let header = |header: &Value| {
            let header = Fields { settings: header, statement: fields.statement };
            Ok((header.text("key")?.to_owned(), header.template("value")?))
        };
        Ok(Self {
            url: fields.template("url")?,
            confirmation_url: fields.template_if_given("confirmationUrl")?,
            headers: headers.into_iter().flatten().map(header).collect::<Result<_, String>>()?,
            signer: Signer::new(fields)?,
            batches: fields.flag("enableBatching").then(|| Batches::new(fields.settings, &DEFAULTS)),
        })
    }

    /// The address for a message, when rules may call it.
    fn address(&self, invocation: &Invocation<'_>) -> Result<String, Error> {
        let url = invocation.text(&self.url, "url", "http")?;
        let refused = |reason: String| Error::permanent(url.as_str(), reason);
        if url.chars().count() > MAX_URL {
            return Err(refused(format!("the address is longer than {MAX_URL} characters")));
        }
        let parsed = url.parse::<Uri>().ok().filter(|parsed| parsed.host().is_some());
        let scheme = parsed.as_ref().and_then(Uri::scheme_str);
        if !matches!(scheme, Some("https" | "http")) {
            invocation.outside.http_results.with_label_values(&["InvalidUrl"]).inc();
            return Err(refused(format!("'{url}' is no https address")));
        }
        if parsed.as_ref().is_some_and(|parsed| climbs(parsed.path())) {
            return Err(refused("the address has a '.' or '..' among the parts of its path".to_owned()));
        }
        if let Some(confirmation) = invocation.optional(self.confirmation_url.as_ref(), &url)?
            && !is_below(&confirmation, &url)
        {
            return Err(refused(format!("the address is not below the confirmation URL {confirmation}")));
        }
        if !invocation.outside.destinations.let_through(invocation.scope, &url) {
            let reason = format!("no enabled topic rule destination lets rules call {url}");
            return Err(refused(reason));
        }
        Ok(url)
    }

    fn message(&self, invocation: &Invocation<'_>, url: &str) -> Result<Message, Error> {
        let payload = invocation.payload.clone();
        let json = serde_json::from_slice::<IgnoredAny>(&payload).is_ok();
        if self.batches.is_some() && !json {
            return Err(Error::permanent(url, "the payload is no JSON, so it is part of no batch"));
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            headers.push((name.clone(), invocation.possibly_empty(value, url)?));
        }
        Ok(Message { payload, json, headers, below: invocation.span.map(Begun::context) })
    }
}

impl Action for Http {
    fn name(&self) -> &'static str {
        "HttpAction"
    }

    fn kind(&self) -> &str {
        "http"
    }

    /// Batches are tried again as a whole, by themselves.
    fn policy(&self) -> Policy {
        match self.batches {
            Some(_) => Policy { tries: 1, ..Policy::DEFAULT },
            None => POLICY,
        }
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let url = self.address(invocation)?;
            let message = self.message(invocation, &url)?;
            let signing = self.signer.as_ref().map(|signer| signer.of(invocation, &url)).transpose()?;
            let connected = match &signing {
                Some(signing) => Some(signing.connected.clone()),
                None => {
                    let (account, rule) = (invocation.scope.account, invocation.input.rule_name);
                    invocation.outside.connections.at(account, &url, Some(rule))
                }
            };
            let call = Call { key: lane(invocation, &url), url, signing, connected };
            match &self.batches {
                Some(batches) => {
                    let kind = batches.kind(&call.url, invocation.input.topic);
                    let outside = invocation.outside.clone();
                    let send = move |batch| call.repeated(outside, Message::of_all(batch));
                    let member = Member::of(invocation.message, invocation.input);
                    batches.join(kind, (message, member), send).await
                }
                None => call.once(invocation.outside, &message, WITHIN, invocation.span).await,
            }
        })
    }
}

/// Whether a server may take a path for one that is not below where it begins.
fn climbs(path: &str) -> bool {
    let dots = |part: &str| {
        let plain = part.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    };
    path.split('/').any(dots)
}

/// Calls of one host share a lane.
fn lane(invocation: &Invocation<'_>, url: &str) -> Key {
    let authority = url.parse::<Uri>().ok().and_then(|uri| uri.authority().map(ToString::to_string));
    let target = authority.unwrap_or_default();
    Key { account: invocation.scope.account, kind: "http", target }
}

/// A request that can be made again.
#[derive(Clone)]
struct Call {
    url: String,
    key: Key,
    signing: Option<request::Signing>,
    /// Whose certificates count.
    connected: Option<Arc<Connected>>,
}

impl Call {
    /// One try; `span` is the step that it is part of, where that is one message's.
    async fn once(
        &self,
        outside: &Outside,
        message: &Message,
        within: Duration,
        span: Option<&Begun>,
    ) -> Result<(), Error> {
        let request = request::build(&self.url, message, self.signing.as_ref(), (outside.clock)().as_secs())
            .map_err(|reason| Error::permanent(self.url.as_str(), reason))?;
        let http = match &self.connected {
            Some(connected) => connected.http(&outside.http),
            None => Ok(&outside.http),
        };
        let http = http.map_err(|reason| Error::permanent(self.url.as_str(), reason))?;
        let exchange = async {
            let answer = http.send(request, Limits { deadline: within, max_response: MAX_READ }).await;
            outside.http_results.with_label_values(&[counted(&answer)]).inc();
            judge(&self.url, answer)
        };
        outside.lanes.through(&self.key, &self.url, span, exchange).await
    }

    /// As AWS's table says, for what no rule waits for alone.
    async fn repeated(self, outside: Arc<Outside>, message: Message) -> Result<(), Error> {
        let begun = tokio::time::Instant::now();
        for failures in 1.. {
            let left = WITHIN.saturating_sub(begun.elapsed());
            let error = match self.once(&outside, &message, left, None).await {
                Err(error) if error.transient => error,
                settled => return settled,
            };
            let dice = uuid::Uuid::new_v4().as_u64_pair().1;
            let Some(pause) = POLICY.pause(failures, begun.elapsed(), dice) else { return Err(error) };
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }
}

type Answered = Result<Response<Bytes>, OutboundError>;

/// What an answer counts as.
fn counted(answer: &Answered) -> &'static str {
    match answer {
        Ok(answer) if answer.status().is_success() => "2XX",
        Ok(answer) if answer.status().is_client_error() => "4XX",
        Ok(answer) if answer.status().is_server_error() => "5XX",
        Ok(_) | Err(OutboundError::TooLarge) => "Other",
        Err(OutboundError::TimedOut) => "RequestTimeout",
        Err(OutboundError::Unreachable(_) | OutboundError::Broken(_)) => "UnknownHost",
        Err(OutboundError::Refused(_)) => "InvalidUrl",
    }
}

/// AWS's table: tried again are 429, 5xx and what never answered; not an answer that is too long, nor a connection that broke off.
fn judge(url: &str, answer: Answered) -> Result<(), Error> {
    let reason = |reason: String| Error::permanent(url, format!("Failed to call {url}. {reason}"));
    match answer {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => {
            let status = answer.status();
            let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            let transient = again && answer.body().len() <= MAX_ANSWER;
            Err(Error { transient, ..reason(format!("The answer was {}", status.as_u16())) })
        }
        Err(OutboundError::Unreachable(why)) => Err(Error { transient: true, ..reason(why) }),
        Err(error @ OutboundError::TimedOut) => Err(Error { transient: true, ..reason(error.to_string()) }),
        Err(error) => Err(reason(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
