//! Descriptor sets for `decode(…, 'proto', …)`, from a folder: `bucket/key` below it.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleethaven_rulesql::Value;
use fleethaven_rulesql::protobuf::{Descriptors, MAX_DESCRIPTORS};
use parking_lot::Mutex;

use super::registry::text;

/// Descriptor sets that are kept read.
const KEPT: usize = 64;

/// A file that was read, and when it was changed last.
type Kept = (PathBuf, SystemTime, Arc<Descriptors>);

/// A folder that stands for object storage: an object is the file `BUCKET/KEY` below it.
pub struct Objects {
    folder: PathBuf,
    kept: Mutex<Vec<Kept>>,
}

impl Objects {
    /// The objects below `folder`.
    pub fn of(folder: PathBuf) -> Self {
        Self { folder, kept: Mutex::default() }
    }

    /// `decode(value, 'proto', bucket, objectKey, protoFileName, messageType)`: value is base64, or the payload's bytes.
    pub(super) async fn decode(&self, arguments: &[Value]) -> Result<Value, String> {
        let [value, _, bucket, key, file, message] = arguments else {
            return Err("wrong arguments".to_owned());
        };
        let (bucket, key) = (text(bucket, "the bucket")?, text(key, "the key of the object")?);
        let (file, message) = (text(file, "the file's name")?, text(message, "the message type")?);
        let bytes = match value {
            Value::Raw(bytes) => bytes.to_vec(),
            Value::String(text) => STANDARD.decode(text.as_bytes()).map_err(|_| "the value is no base64")?,
            other => return Err(format!("the value is base64, not {}", other.type_name())),
        };
        let descriptors = self.descriptors(&bucket, &key).await?;
        descriptors.decode(&file, &message, &bytes).map_err(|error| error.to_string())
    }

    async fn descriptors(&self, bucket: &str, key: &str) -> Result<Arc<Descriptors>, String> {
        let path = self.path(bucket, key).ok_or_else(|| format!("'{bucket}/{key}' names no object"))?;
        let unreadable =
            |error: std::io::Error| format!("the object '{bucket}/{key}' cannot be read: {error}");
        let about = tokio::fs::metadata(&path).await.map_err(unreadable)?;
        if !about.is_file() || about.len() > u64::try_from(MAX_DESCRIPTORS).unwrap_or(u64::MAX) {
            return Err(format!("the object '{bucket}/{key}' is no file of at most {MAX_DESCRIPTORS} bytes"));
        }
        let changed = about.modified().map_err(unreadable)?;
        let known = |(at, when, _): &&Kept| *at == path && *when == changed;
        if let Some((.., descriptors)) = self.kept.lock().iter().find(known) {
            return Ok(descriptors.clone());
        }
        let bytes = tokio::fs::read(&path).await.map_err(unreadable)?;
        let descriptors = Descriptors::read(&bytes).map_err(|error| format!("'{bucket}/{key}': {error}"))?;
        let descriptors = Arc::new(descriptors);
        let mut kept = self.kept.lock();
        kept.retain(|(at, ..)| *at != path);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((path, changed, descriptors.clone()));
        Ok(descriptors)
    }

    /// The file of an object; `None` where it would be outside the folder.
    fn path(&self, bucket: &str, key: &str) -> Option<PathBuf> {
        let inside = |part: &str| {
            let mut components = Path::new(part).components();
            !part.is_empty() && components.all(|component| matches!(component, Component::Normal(_)))
        };
        (inside(bucket) && inside(key)).then(|| self.folder.join(bucket).join(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_inside_the_folder() {
        let objects = Objects::of(PathBuf::from("/objects"));
        assert_eq!(objects.path("b", "a/b.desc"), Some(PathBuf::from("/objects/b/a/b.desc")));
        for (bucket, key) in
            [("..", "x"), ("b", "../x"), ("b", "/etc/passwd"), ("", "x"), ("b", ""), ("b", "a/../../x")]
        {
            assert_eq!(objects.path(bucket, key), None, "{bucket} {key}");
        }
    }
}
