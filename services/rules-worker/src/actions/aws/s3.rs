//! `s3`: each message is an object (rules-actions.md 5.2).

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ObjectCannedAcl;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_registry::shapes::Connection;
use fleethaven_rulesql::Template;
use serde::de::IgnoredAny;

use super::{Action, Configure, Error, Fields, Invocation, Service, client};

/// Longest key in bytes.
const MAX_KEY: usize = 1024;

/// An s3 action with its templates parsed.
pub(super) struct S3 {
    role: String,
    bucket: Template,
    key: Template,
    acl: Option<ObjectCannedAcl>,
}

impl S3 {
    pub(super) fn new(fields: &Fields<'_>) -> Result<Self, String> {
        Ok(Self {
            role: fields.text("roleArn")?.to_owned(),
            bucket: fields.template("bucketName")?,
            key: fields.template("key")?,
            acl: fields.text_if_given("cannedAcl").map(ObjectCannedAcl::from),
        })
    }

    async fn put(&self, invocation: &Invocation<'_>, bucket: &str, key: &str) -> Result<(), Error> {
        if key.len() > MAX_KEY {
            return Err(Error::permanent(bucket, format!("the key is longer than {MAX_KEY} bytes")));
        }
        let service = Service::of(invocation, "s3", &self.role, bucket)?;
        let payload = invocation.payload.clone();
        let json = serde_json::from_slice::<IgnoredAny>(&payload).is_ok();
        let request = client!(service, aws_sdk_s3)
            .put_object()
            .bucket(bucket)
            .key(key)
            .set_acl(self.acl.clone())
            .content_type(if json { "application/json" } else { "application/octet-stream" })
            .body(ByteStream::from(payload));
        service.call(bucket, "Failed to put S3 object", || request.send()).await.map(drop)
    }
}

impl Configure for aws_sdk_s3::config::Builder {
    /// Other makers' servers know buckets by paths, and not all know the newer checksums.
    fn configure(&mut self, connection: &Connection) {
        use aws_smithy_types::checksum_config::{RequestChecksumCalculation, ResponseChecksumValidation};
        self.set_force_path_style(Some(connection.endpoint.is_some()));
        self.set_request_checksum_calculation(Some(RequestChecksumCalculation::WhenRequired));
        self.set_response_checksum_validation(Some(ResponseChecksumValidation::WhenRequired));
    }
}

impl Action for S3 {
    fn name(&self) -> &'static str {
        "S3Action"
    }

    fn kind(&self) -> &str {
        "s3"
    }

    fn run<'a>(&'a self, invocation: &'a Invocation<'a>) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let bucket = invocation.text(&self.bucket, "bucketName", "s3")?;
            let key = invocation.text(&self.key, "key", &bucket)?;
            let put = self.put(invocation, &bucket, &key).await;
            put.map_err(|error| error.of(format!("Bucket: {bucket}, Key: \"{key}\"")))
        })
    }
}
