//! The clients' way out: through the broker's own HTTP client, with its guard of addresses.

use std::fmt;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use fleethaven_outbound::{Limits, OutboundError};
use http::Request;

/// Bounds of one request.
pub(super) const LIMITS: Limits = Limits { deadline: Duration::from_secs(5), max_response: 1 << 20 };

/// The broker's client as AWS's clients see it.
#[derive(Clone)]
pub(in crate::actions) struct Guarded(pub(in crate::actions) fleethaven_outbound::HttpClient);

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded")
    }
}

impl HttpClient for Guarded {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Guarded {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let answer = client.send(whole(request)?, LIMITS).await.map_err(failure)?;
            HttpResponse::try_from(answer.map(SdkBody::from))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// A request with its body in hand, as all of ours are.
fn whole(request: HttpRequest) -> Result<Request<Bytes>, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (head, body) = request.into_parts();
    match body.bytes() {
        Some(bytes) => Ok(Request::from_parts(head, Bytes::copy_from_slice(bytes))),
        None => Err(ConnectorError::user("the body of the request is a stream".into())),
    }
}

fn failure(error: OutboundError) -> ConnectorError {
    match error {
        OutboundError::TimedOut => ConnectorError::timeout(error.into()),
        OutboundError::Unreachable(_) | OutboundError::Broken(_) => ConnectorError::io(error.into()),
        OutboundError::Refused(_) | OutboundError::TooLarge => ConnectorError::user(error.into()),
    }
}
