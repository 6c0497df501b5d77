//! `kinesis`: each message is a record of a data stream (rules-actions.md 5.8).

use aws_sdk_kinesis::primitives::Blob;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;

use super::{Action, Error, Fields, Invocation, Service, client};

/// Longest partition key in characters.
const MAX_KEY: usize = 256;

/// A kinesis action with its templates parsed.
pub(super) struct Kinesis {
    role: String,
    stream: Template,
    partition_key: Option<Template>,
}

impl Kinesis {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            stream: fields.template("streamName")?,
            partition_key: fields.template_if_given("partitionKey")?,
        })
    }
}

impl Action for Kinesis {
    fn name(&self) -> &'static str {
        "KinesisAction"
    }

    fn kind(&self) -> &str {
        "kinesis"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let stream = invocation.text(&self.stream, "streamName", "kinesis")?;
            let key = invocation.optional(self.partition_key.as_ref(), &stream)?;
            // Records without a key go to any shard.
            let key = key.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
            if key.chars().count() > MAX_KEY {
                let reason = format!("the partition key is longer than {MAX_KEY} characters");
                return Err(Error::permanent(stream, reason));
            }
            let service = Service::of(invocation, "kinesis", &self.role, &stream)?;
            let request = client!(service, aws_sdk_kinesis)
                .put_record()
                .stream_name(&stream)
                .partition_key(&key)
                .data(Blob::new(invocation.payload.as_ref()));
            let sent = service.call(&stream, "Failed to put Kinesis record", || request.send()).await;
            sent.map(drop).map_err(|error| error.of(format!("Stream: {stream}, Partition key: {key}")))
        })
    }
}
