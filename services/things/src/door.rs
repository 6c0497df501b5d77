//! The door for services that publish now and then, with the desk behind it.

use std::sync::Arc;

use fleethaven_fabric::Publish;
use fleethaven_fabric::metadata::BoxFuture;
use fleethaven_storage::Error;
use fleethaven_types::Message;
use tokio::sync::oneshot;

use crate::desk::{Desk, Done};

/// Publishes through `inner`, and has the desk carry out what is a request: HTTPS publish and republish actions.
pub struct DeskDoor {
    inner: Arc<dyn Publish>,
    desk: Arc<Desk>,
}

impl DeskDoor {
    /// The desk behind `inner`.
    pub fn new(inner: Arc<dyn Publish>, desk: Arc<Desk>) -> Self {
        Self { inner, desk }
    }
}

impl Publish for DeskDoor {
    fn publish(&self, message: Arc<Message>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(async move {
            let (done, outcome) = oneshot::channel();
            // Whoever waited may have gone away.
            let answer = || -> Done { Box::new(move |result| drop(done.send(result))) };
            let is_request = self.desk.take(&message, None, answer);
            let matched = self.inner.publish(message).await?;
            if !is_request {
                return Ok(matched);
            }
            let stopped = || Error::Unavailable("the shadow service is stopping".to_owned());
            outcome.await.map_err(|_| stopped())??;
            Ok(true)
        })
    }
}
