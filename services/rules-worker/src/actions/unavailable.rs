//! An action that cannot be run: accepted when the rule was created, as AWS accepts it, and failing with its reason.

use fleethaven_fabric::metadata::BoxFuture;

use super::{Action, Error, Invocation};

/// Fails whenever it is run.
pub struct Unavailable {
    kind: String,
    reason: String,
}

impl Unavailable {
    /// The action type as in the rule, and why it cannot be run.
    pub fn new(kind: &str, reason: &str) -> Self {
        Self { kind: kind.to_owned(), reason: reason.to_owned() }
    }
}

impl Action for Unavailable {
    fn name(&self) -> &'static str {
        action_name(&self.kind)
    }

    fn kind(&self) -> &str {
        &self.kind
    }

    fn run<'a>(&'a self, _: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        let error = Error::permanent(self.kind.clone(), format!("{}: {}", self.kind, self.reason));
        Box::pin(std::future::ready(Err(error)))
    }
}

/// `failedAction` names (rules-sql.md section 11).
fn action_name(kind: &str) -> &'static str {
    match kind {
        "dynamoDB" => "DynamoDBAction",
        "dynamoDBv2" => "DynamoDBv2Action",
        "lambda" => "LambdaAction",
        "sns" => "SnsAction",
        "sqs" => "SqsAction",
        "kinesis" => "KinesisAction",
        "republish" => "RepublishAction",
        "s3" => "S3Action",
        "firehose" => "FirehoseAction",
        "cloudwatchMetric" => "CloudwatchMetricAction",
        "cloudwatchAlarm" => "CloudwatchAlarmAction",
        "cloudwatchLogs" => "CloudwatchLogsAction",
        "openSearch" | "elasticsearch" => "OpenSearchAction",
        "iotEvents" => "IotEventsAction",
        "iotAnalytics" => "IotAnalyticsAction",
        "iotSiteWise" => "IotSiteWiseAction",
        "stepFunctions" => "StepFunctionsAction",
        "timestream" => "TimestreamAction",
        "http" => "HttpAction",
        "kafka" => "KafkaAction",
        "location" => "LocationAction",
        "influxDB" => "InfluxDBAction",
        "salesforce" => "SalesforceAction",
        _ => "Action",
    }
}
