//! Asking the owner of an address whether rules may call it (rules-actions.md 5.9).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::Metadata;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_registry::shapes::{RuleDestination, Secret, UnreachableRuleDestination};
use fleethaven_registry::{Action, Command};
use fleethaven_types::Scope;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::config::Endpoints;
use crate::control::endpoint;

/// Path of the requests that confirm an address; the token follows.
pub(crate) const CONFIRM: &str = "/confirmdestination/";
/// Pauses between tries to ask.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Sends a request to an address that an operator of the account has named.
pub trait Challenges: Send + Sync + 'static {
    /// The status of the answer; the error is for people.
    fn post(&self, scope: Scope, request: Request<Bytes>) -> BoxFuture<'_, Result<StatusCode, String>>;
}

/// One owner to be asked.
pub(crate) struct Challenge {
    pub(crate) challenges: Arc<dyn Challenges>,
    pub(crate) metadata: Arc<dyn Metadata>,
    pub(crate) scope: Scope,
    pub(crate) destination: RuleDestination,
    pub(crate) token: Secret,
    /// What the owner calls to confirm.
    pub(crate) enable_url: String,
}

/// The address under which the owner of a token confirms it, without a signature.
pub(crate) fn enable_url(endpoints: &Endpoints, scope: Scope, token: &Secret) -> String {
    let at = endpoint::host_of("data", &endpoints.data, endpoints, scope.account);
    format!("https://{at}{CONFIRM}{}", token.0)
}

impl Challenge {
    /// Asks, again where that fails; then the destination says why nobody was asked.
    pub(crate) async fn ask(self) {
        let mut pauses = PAUSES.into_iter();
        let reason = loop {
            let reason = match self.request() {
                Ok(request) => match self.challenges.post(self.scope, request).await {
                    Ok(status) if status.is_success() => return,
                    Ok(status) => format!("the address answered {}", status.as_u16()),
                    Err(reason) => reason,
                },
                Err(reason) => break reason,
            };
            match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => break reason,
            }
        };
        let arn = self.destination.arn.clone();
        tracing::warn!(destination = arn, reason, "the owner of an address could not be asked");
        let args = UnreachableRuleDestination { arn, token: self.token, reason };
        let action = Action::UnreachableTopicRuleDestination(Box::new(args));
        if let Err(error) = self.metadata.execute(Command::new(self.scope, action)).await {
            tracing::warn!(%error, "a destination could not be told that its owner was not asked");
        }
    }

    fn request(&self) -> Result<Request<Bytes>, String> {
        let Self { destination, token, enable_url, .. } = self;
        let url = &destination.confirmation_url;
        let joint = if url.contains('?') { '&' } else { '?' };
        let body = json!({
            "arn": destination.arn,
            "confirmationToken": token.0,
            "enableUrl": enable_url,
            "messageType": "DestinationConfirmation",
        });
        Request::builder()
            .method(Method::POST)
            .uri(format!("{url}{joint}confirmationToken={}", token.0))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header("x-amz-rules-engine-message-type", "DestinationConfirmation")
            .header("x-amz-rules-engine-destination-arn", &destination.arn)
            .body(Bytes::from(body.to_string()))
            .map_err(|error| error.to_string())
    }
}
