//! AWS's services, or what speaks their APIs, by AWS's own clients: requests go through the guarded client of the broker, and each
//! connection brings endpoint, region and credentials.
//!
//! - `connector`: the clients' way out
//! - `signed`: requests that none of their clients makes, in two protocols of theirs: `query` and `json`
//! - `dynamodb`, `firehose`, …: one file per service
//! - `buckets`: reading objects, for bulk registration

pub(crate) mod buckets;
mod cloudwatch;
mod connector;
mod dynamodb;
mod events;
mod firehose;
pub(crate) mod functions;
mod json;
mod kinesis;
mod location;
mod logs;
pub(crate) mod predict;
mod query;
mod s3;
mod search;
mod signed;
mod site_wise;
mod sns;
mod sqs;
mod step_functions;
mod timestream;

use std::sync::Arc;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use fleethaven_fabric::traces::Begun;
use fleethaven_outbound::HttpClient;
use fleethaven_types::AccountId;

use super::{Action, Error, Fields, Invocation};
use crate::connections::Connected;
use crate::external::Asker;
use crate::lanes::Key;
use crate::outside::Outside;

pub(super) use connector::Guarded;

/// The connection for what has none of its own.
const ANY: &str = "aws";

/// Whether an action type is one of these.
pub(super) fn serves(kind: &str) -> bool {
    KINDS.contains(&kind)
}

const KINDS: &[&str] = &[
    "cloudwatchAlarm",
    "cloudwatchLogs",
    "cloudwatchMetric",
    "dynamoDB",
    "dynamoDBv2",
    "elasticsearch",
    "firehose",
    "iotAnalytics",
    "iotEvents",
    "iotSiteWise",
    "kinesis",
    "location",
    "openSearch",
    "s3",
    "sns",
    "sqs",
    "stepFunctions",
    "timestream",
];

/// The action of a type that [`serves`] knows.
pub(super) fn build(kind: &str, fields: &Fields<'_>) -> Result<Box<dyn Action>, String> {
    Ok(match kind {
        "cloudwatchAlarm" => Box::new(cloudwatch::Alarm::new(fields)?),
        "cloudwatchLogs" => Box::new(logs::Logs::new(fields)?),
        "cloudwatchMetric" => Box::new(cloudwatch::Metric::new(fields)?),
        "dynamoDB" => Box::new(dynamodb::Row::new(fields)?),
        "dynamoDBv2" => Box::new(dynamodb::Item::new(fields)?),
        "elasticsearch" => Box::new(search::Search::new("elasticsearch", fields)?),
        "firehose" => Box::new(firehose::Firehose::new(fields)?),
        "iotAnalytics" => Box::new(events::Analytics::new(fields)?),
        "iotEvents" => Box::new(events::Events::new(fields)?),
        "iotSiteWise" => Box::new(site_wise::SiteWise::new(fields)?),
        "kinesis" => Box::new(kinesis::Kinesis::new(fields)?),
        "location" => Box::new(location::Location::new(fields)?),
        "openSearch" => Box::new(search::Search::new("openSearch", fields)?),
        "s3" => Box::new(s3::S3::new(fields)?),
        "sns" => Box::new(sns::Sns::new(fields)?),
        "sqs" => Box::new(sqs::Sqs::new(fields)?),
        "stepFunctions" => Box::new(step_functions::StepFunctions::new(fields)?),
        "timestream" => Box::new(timestream::Timestream::new(fields)?),
        other => return Err(format!("'{other}' is no service of AWS")),
    })
}

/// A service of AWS as one rule may use it.
struct Service<'a> {
    outside: &'a Arc<Outside>,
    connected: Arc<Connected>,
    account: AccountId,
    kind: &'static str,
    region: String,
    /// The step that calls are part of, where that is recorded.
    span: Option<&'a Begun>,
}

impl<'a> Service<'a> {
    /// The service behind the connection that `role` stands for.
    fn of(
        invocation: &'a Invocation<'a>,
        kind: &'static str,
        role: &str,
        resource: &str,
    ) -> Result<Self, Error> {
        let (rule, trace_id) = (invocation.input.rule_name, Some(invocation.trace_id()));
        let asker = Asker { scope: invocation.scope, rule, trace_id };
        let service = Self::for_function(invocation.outside, asker, kind, role);
        let service = service.map_err(|reason| Error::permanent(resource, reason))?;
        Ok(Self { span: invocation.span, ..service })
    }

    /// The same, for what a statement asks.
    fn for_function(
        outside: &'a Arc<Outside>,
        asker: Asker<'_>,
        kind: &'static str,
        role: &str,
    ) -> Result<Self, String> {
        let (account, rule) = (asker.scope.account, asker.rule);
        let connected = outside.connections.find(account, &[kind, ANY], role, rule).ok_or_else(|| {
            format!(
                "AccessDenied: no connection of kind {kind} or {ANY} lets rule {rule} in under {role} (`fleethaven connection put`)"
            )
        })?;
        connected.http(&outside.http)?;
        let region = connected.connection.region.clone();
        let region = region.unwrap_or_else(|| asker.scope.region.to_string());
        Ok(Self { outside, connected, account, kind, region, span: None })
    }

    /// What requests are sent by. That the connection's certificates are of use was seen before.
    fn http(&self) -> &HttpClient {
        self.connected.http(&self.outside.http).unwrap_or(&self.outside.http)
    }

    /// Sends a request in the lane of the connection. `doing` begins the error message: `Failed to put S3 object`.
    ///
    /// The client's futures are large: they are made, and kept apart, when there is room in the lane.
    async fn call<T, E, F>(&self, resource: &str, doing: &str, send: impl FnOnce() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let sent = async { Box::pin(send()).await.map_err(|error| failed(doing, resource, &error)) };
        self.in_lane(resource, sent).await
    }

    async fn in_lane<T>(
        &self,
        resource: &str,
        sent: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let key = Key { account: self.account, kind: self.kind, target: self.connected.name.clone() };
        self.outside.lanes.through(&key, resource, self.span, sent).await
    }
}

/// What a failed request comes to.
fn failed<E>(doing: &str, resource: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (reason, transient) = match error {
        SdkError::ServiceError(service) => {
            let code = service.err().code().unwrap_or("an error without a code");
            let message = service.err().message().unwrap_or_default();
            let status = service.raw().status().as_u16();
            (format!("{code}: {message}"), is_transient(code, status))
        }
        SdkError::TimeoutError(_) => ("there was no answer in time".to_owned(), true),
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            (format!("the answer cannot be understood (status {status})"), is_transient("", status))
        }
        SdkError::DispatchFailure(failure) => {
            let cause = failure.as_connector_error().map(|error| DisplayErrorContext(error).to_string());
            (cause.unwrap_or_else(|| "no connection".to_owned()), !failure.is_user())
        }
        other => (DisplayErrorContext(other).to_string(), false),
    };
    let message = format!("{doing}. The error received was {reason}");
    Error { transient, ..Error::permanent(resource, message) }
}

/// Whether the same request may succeed later: AWS's throttling codes, and statuses that say so.
fn is_transient(code: &str, status: u16) -> bool {
    const CODES: &[&str] = &[
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottledException",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    ];
    status == 429 || status >= 500 || CODES.contains(&code)
}

/// The client of a service, made once for each connection and region.
macro_rules! client {
    ($service:expr, $sdk:ident) => {{
        let service = &$service;
        let connection = &service.connected.connection;
        service.connected.client::<$sdk::Client>(&service.region, || {
            use aws_smithy_async::rt::sleep::TokioSleep;
            use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
            use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
            use aws_smithy_types::retry::RetryConfig;

            let mut config = $sdk::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .http_client($crate::actions::aws::Guarded(service.http().clone()))
                .region($sdk::config::Region::new(service.region.clone()))
                .sleep_impl(TokioSleep::new())
                .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
                // Tries are the engine's to make.
                .retry_config(RetryConfig::disabled());
            config.set_endpoint_url(connection.endpoint.clone());
            config = match &connection.credentials {
                Some(key) => config.credentials_provider(aws_credential_types::Credentials::new(
                    &key.id,
                    &key.secret.0,
                    None,
                    None,
                    "connection",
                )),
                None => config.allow_no_auth(),
            };
            $crate::actions::aws::Configure::configure(&mut config, connection);
            $sdk::Client::from_conf(config.build())
        })
    }};
}
use client;

/// What a service's client is told beside what all are.
trait Configure {
    fn configure(&mut self, _: &fleethaven_registry::shapes::Connection) {}
}

impl Configure for aws_sdk_cloudwatchlogs::config::Builder {}
impl Configure for aws_sdk_dynamodb::config::Builder {}
impl Configure for aws_sdk_firehose::config::Builder {}
impl Configure for aws_sdk_kinesis::config::Builder {}
impl Configure for aws_sdk_sfn::config::Builder {}
impl Configure for aws_sdk_sns::config::Builder {}
impl Configure for aws_sdk_sqs::config::Builder {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_and_unavailability_pass_and_refusals_do_not() {
        for (code, status) in [("ThrottlingException", 400), ("x", 500), ("x", 503), ("", 429)] {
            assert!(is_transient(code, status), "{code} {status}");
        }
        for (code, status) in [("AccessDenied", 403), ("NoSuchBucket", 404), ("ValidationException", 400)] {
            assert!(!is_transient(code, status), "{code} {status}");
        }
    }

    #[test]
    fn every_type_is_built() {
        assert!(KINDS.is_sorted());
        let statement =
            fleethaven_rulesql::Statement::parse("SELECT * FROM 'a'", Default::default()).unwrap();
        let settings = serde_json::Value::Object(serde_json::Map::new());
        let fields = Fields { settings: &settings, statement: &statement };
        for kind in KINDS {
            let missing = build(kind, &fields).err().unwrap();
            assert!(missing.ends_with("is required"), "{kind}: {missing}");
        }
    }
}
