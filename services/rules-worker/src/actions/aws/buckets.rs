//! Reading objects of S3 that a bulk registration task names (provisioning.md section 7.5), by the connection that its role stands for.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_types::Scope;

use super::{Service, client};
use crate::actions::Error;
use crate::external::Asker;
use crate::outside::Outside;

/// As what tasks use connections: no rule can have this name, so connections let it in by `*` or by naming it.
const RULE: &str = "thing-registration-task";

/// An object, and who asks for it.
pub struct Object<'a> {
    /// Whose task it is.
    pub scope: Scope,
    /// The role that stands for a connection of kind `s3` or `aws`.
    pub role_arn: &'a str,
    /// Its bucket.
    pub bucket: &'a str,
    /// Its name there.
    pub key: &'a str,
}

/// The buckets of S3, or of what speaks its API.
pub struct Buckets(Arc<Outside>);

impl Buckets {
    /// By the way out that actions have, too.
    pub fn new(outside: Arc<Outside>) -> Self {
        Self(outside)
    }

    /// How many bytes an object has, and its ETag.
    ///
    /// # Errors
    /// What S3 answers, or that no connection lets the role in.
    pub async fn look(&self, object: &Object<'_>) -> Result<(u64, String), Error> {
        let service = self.service(object)?;
        let request = client!(service, aws_sdk_s3).head_object().bucket(object.bucket).key(object.key);
        let found = service.call(object.bucket, "Failed to look for S3 object", || request.send()).await;
        let found = found.map_err(|error| error.of(object.told()))?;
        let size = found.content_length.and_then(|size| u64::try_from(size).ok());
        match (size, found.e_tag) {
            (Some(size), Some(tag)) => Ok((size, tag)),
            _ => Err(Error::permanent(object.bucket, "the store tells neither size nor ETag of the object")),
        }
    }

    /// Some bytes of an object that still has this ETag.
    ///
    /// # Errors
    /// The same, and that the object has changed.
    pub async fn read(&self, object: &Object<'_>, tag: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let service = self.service(object)?;
        let last = range.end.saturating_sub(1);
        let request = client!(service, aws_sdk_s3)
            .get_object()
            .bucket(object.bucket)
            .key(object.key)
            .if_match(tag)
            .range(format!("bytes={}-{last}", range.start));
        let found = service.call(object.bucket, "Failed to get S3 object", || request.send()).await;
        let found = found.map_err(|error| error.of(object.told()))?;
        if found.e_tag.as_deref().is_some_and(|found| found != tag) {
            return Err(Error::permanent(object.bucket, "the object has changed"));
        }
        let broken_off = |error: String| Error {
            transient: true,
            ..Error::permanent(object.bucket, format!("Failed to get S3 object. It broke off: {error}"))
        };
        let bytes = found.body.collect().await.map_err(|error| broken_off(error.to_string()))?.into_bytes();
        match bytes.len() as u64 == range.end - range.start {
            true => Ok(bytes),
            false => Err(broken_off(format!("{} bytes came", bytes.len()))),
        }
    }

    fn service(&self, object: &Object<'_>) -> Result<Service<'_>, Error> {
        let asker = Asker { scope: object.scope, rule: RULE, trace_id: None };
        Service::for_function(&self.0, asker, "s3", object.role_arn)
            .map_err(|reason| Error::permanent(object.bucket, reason))
    }
}

impl Object<'_> {
    fn told(&self) -> String {
        format!("Bucket: {}, Key: \"{}\"", self.bucket, self.key)
    }
}
