//! Reading retained messages outside the publish path (the data-plane API, tools).

use std::sync::Arc;

use fleethaven_types::{Message, Scope};

use crate::Error;

/// The store of retained messages. They are written through [`Request::Publish`](crate::Request::Publish).
pub trait RetainedStore: Send + Sync + 'static {
    /// The retained message of exactly this topic, unless it has expired by the store's clock.
    fn get(&self, scope: Scope, topic: &str) -> Result<Option<Arc<Message>>, Error>;
}
