//! `salesforce`: each message is an event that is posted with the rule's token (rules-actions.md 5.16).

use std::time::Duration;

use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_outbound::{Limits, OutboundError};
use fleethaven_rulesql::Template;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode, Uri};
use serde::de::IgnoredAny;

use super::{Action, Error, Fields, Invocation};
use crate::lanes::Key;

const LIMITS: Limits = Limits { deadline: Duration::from_secs(5), max_response: 64 << 10 };

/// A salesforce action with its template parsed.
pub(super) struct Salesforce {
    url: Template,
    /// `Bearer <token>`.
    authorization: HeaderValue,
}

impl Salesforce {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        let authorization = HeaderValue::try_from(format!("Bearer {}", fields.text("token")?));
        let mut authorization = authorization.map_err(|_| "the token cannot be sent".to_owned())?;
        authorization.set_sensitive(true);
        Ok(Self { url: fields.template("url")?, authorization })
    }
}

impl Action for Salesforce {
    fn name(&self) -> &'static str {
        "SalesforceAction"
    }

    fn kind(&self) -> &str {
        "salesforce"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let url = invocation.text(&self.url, "url", "salesforce")?;
            let failed = |reason: String, transient| {
                let message = format!("Failed to post to Salesforce. The error received was {reason}");
                Error { transient, ..Error::permanent(url.as_str(), message) }
            };
            if serde_json::from_slice::<IgnoredAny>(&invocation.payload).is_err() {
                return Err(failed("the payload is no JSON".to_owned(), false));
            }
            let address: Uri = url.parse().map_err(|_| failed("this is no address".to_owned(), false))?;
            let target = address.authority().map(ToString::to_string).unwrap_or_default();
            let mut request = Request::new(invocation.payload.clone());
            *request.method_mut() = http::Method::POST;
            *request.uri_mut() = address;
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
            let key = Key { account: invocation.scope.account, kind: "salesforce", target };
            let sent = async {
                match invocation.outside.http.send(request, LIMITS).await {
                    Ok(answer) if answer.status().is_success() => Ok(()),
                    Ok(answer) => {
                        let status = answer.status();
                        let transient = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                        Err(failed(format!("status {}", status.as_u16()), transient))
                    }
                    Err(error) => {
                        let transient = error.is_transient() && !matches!(error, OutboundError::Refused(_));
                        Err(failed(error.to_string(), transient))
                    }
                }
            };
            invocation.outside.lanes.through(&key, &url, invocation.span, sent).await
        })
    }
}
