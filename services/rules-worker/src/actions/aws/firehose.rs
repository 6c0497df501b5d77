//! `firehose`: each message, or each element of an array, is a record of a delivery stream (rules-actions.md 5.8).

use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use bytes::Bytes;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_rulesql::Template;
use serde_json::Value;

use super::{Action, Error, Fields, Invocation, Service, client};

/// Most records of one batch (AWS).
const MAX_RECORDS: usize = 500;

/// A firehose action with its template parsed.
pub(super) struct Firehose {
    role: String,
    stream: Template,
    separator: String,
    batch: bool,
}

impl Firehose {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            stream: fields.template("deliveryStreamName")?,
            separator: fields.text_if_given("separator").unwrap_or_default().to_owned(),
            batch: fields.flag("batchMode"),
        })
    }

    fn record(&self, data: &[u8], stream: &str) -> Result<Record, Error> {
        let data = Blob::new([data, self.separator.as_bytes()].concat());
        Record::builder().data(data).build().map_err(|error| Error::permanent(stream, error.to_string()))
    }

    async fn one(&self, service: &Service<'_>, stream: &str, payload: &Bytes) -> Result<(), Error> {
        let record = self.record(payload, stream)?;
        let client = client!(service, aws_sdk_firehose);
        let request = client.put_record().delivery_stream_name(stream).record(record);
        service.call(stream, "Failed to put Firehose record", || request.send()).await.map(drop)
    }

    /// Records that are refused for a moment are sent again, and they alone, within this try.
    async fn many(&self, service: &Service<'_>, stream: &str, elements: &[Value]) -> Result<(), Error> {
        if elements.is_empty() {
            return Ok(());
        }
        if elements.len() > MAX_RECORDS {
            let reason = format!("{} records: a batch has {MAX_RECORDS} at most", elements.len());
            return Err(Error::permanent(stream, reason));
        }
        let encoded = elements.iter().map(|element| self.record(element.to_string().as_bytes(), stream));
        let mut records = encoded.collect::<Result<Vec<_>, _>>()?;
        let client = client!(service, aws_sdk_firehose);
        for left in (0..3_u8).rev() {
            let request = client.put_record_batch().delivery_stream_name(stream);
            let request = request.set_records(Some(records.clone()));
            let doing = "Failed to put Firehose records";
            let answer = service.call(stream, doing, || request.send()).await?;
            if answer.failed_put_count() == 0 {
                return Ok(());
            }
            let responses = answer.request_responses();
            let failed = |place: usize| responses.get(place).is_none_or(|one| one.error_code().is_some());
            records =
                records.into_iter().enumerate().filter_map(|(n, one)| failed(n).then_some(one)).collect();
            if left == 0 || records.is_empty() {
                let code = responses.iter().find_map(|one| one.error_code()).unwrap_or("no code");
                let reason = format!("{doing}. {} of them were refused: {code}", answer.failed_put_count());
                return Err(Error::permanent(stream, reason));
            }
        }
        Ok(())
    }
}

impl Action for Firehose {
    fn name(&self) -> &'static str {
        "FirehoseAction"
    }

    fn kind(&self) -> &str {
        "firehose"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let stream = invocation.text(&self.stream, "deliveryStreamName", "firehose")?;
            let service = Service::of(invocation, "firehose", &self.role, &stream)?;
            let payload = &invocation.payload;
            match self.batch.then(|| serde_json::from_slice(payload)) {
                Some(Ok(Value::Array(elements))) => self.many(&service, &stream, &elements).await,
                _ => self.one(&service, &stream, payload).await,
            }
        })
    }
}
