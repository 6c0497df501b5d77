//! [`Admin`] on a channel to a node of the metastore.

use std::io;

use fleethaven_fabric::Admin;
use fleethaven_fabric::admin::{FileStream, Status as NodeStatus};
use fleethaven_fabric::metadata::{BoxFuture, Error};
use futures_util::StreamExt;
use tonic::{Code, Status};

use crate::channel::Channel;
use crate::convert::admin as convert;
use crate::generated::admin as wire;
use crate::generated::admin::admin_client::AdminClient as Stub;
use crate::status::{is_connection, was_not_sent};

/// A node of the metastore, elsewhere.
#[derive(Debug, Clone)]
pub struct AdminClient {
    stub: Stub<Channel>,
}

impl AdminClient {
    /// A client on `channel`, whose owner sets TLS, and how long a call may take: adding a node takes as long as bringing it
    /// level does.
    pub fn new(channel: Channel) -> Self {
        Self { stub: Stub::new(channel) }
    }
}

/// The node's own `UNAVAILABLE` says that it did nothing; a connection that broke says nothing.
fn failed(status: &Status) -> Error {
    match status.code() {
        Code::Unavailable if !is_connection(status) => Error::Unavailable(status.message().to_owned()),
        _ if was_not_sent(status) => Error::Unavailable(status.message().to_owned()),
        _ => {
            tracing::warn!(%status, "the outcome of a call to the metastore is unknown");
            Error::Unknown
        }
    }
}

impl Admin for AdminClient {
    fn status(&self) -> BoxFuture<'_, Result<NodeStatus, Error>> {
        Box::pin(async move {
            let answer = self.stub.clone().status(wire::StatusRequest {}).await.map_err(|s| failed(&s))?;
            convert::status(answer.into_inner()).map_err(|e| Error::Unavailable(e.to_string()))
        })
    }

    fn backup(&self) -> BoxFuture<'_, Result<FileStream, Error>> {
        Box::pin(async move {
            let pieces = self.stub.clone().backup(wire::BackupRequest {}).await.map_err(|s| failed(&s))?;
            let pieces = pieces.into_inner();
            let file: FileStream =
                Box::pin(pieces.map(|piece| piece.map(|piece| piece.piece).map_err(io::Error::other)));
            Ok(file)
        })
    }

    fn add_node(&self, node: u64, address: String) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let message = wire::AddNodeRequest { node, address };
            self.stub.clone().add_node(message).await.map(drop).map_err(|s| failed(&s))
        })
    }

    fn remove_node(&self, node: u64) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let message = wire::RemoveNodeRequest { node };
            self.stub.clone().remove_node(message).await.map(drop).map_err(|s| failed(&s))
        })
    }

    fn replace_node(&self, old: u64, new: u64, address: String) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let message = wire::ReplaceNodeRequest { old, new, address };
            self.stub.clone().replace_node(message).await.map(drop).map_err(|s| failed(&s))
        })
    }

    fn hand_over(&self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(async move {
            let message = wire::HandOverRequest {};
            self.stub.clone().hand_over(message).await.map(drop).map_err(|s| failed(&s))
        })
    }
}
