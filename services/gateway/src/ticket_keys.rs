//! Keeps the TLS ticket keys of this process's listeners level with the metastore.

use std::future::poll_fn;
use std::sync::Arc;

use fleethaven_fabric::{Metadata, WatchEvent};
use fleethaven_net::TicketKeys;
use fleethaven_net::tickets::TicketKey;
use fleethaven_registry::ticket_keys::{self, PERIOD_MILLIS};
use fleethaven_registry::{keys, record};

/// Follows the metastore until it shuts down. Changes wait for it from this call on.
pub fn follow(keys: Arc<TicketKeys>, metadata: Arc<dyn Metadata>) -> impl Future<Output = ()> + Send {
    let marker = metadata.register("ticket keys");
    let mut watch = metadata.watch(vec![keys::ticket_keys()], None);
    async move {
        while let Some(event) = poll_fn(|cx| watch.as_mut().poll_next(cx)).await {
            match event {
                WatchEvent::Put { value, .. } => replace(&keys, &value),
                WatchEvent::Synced(position) | WatchEvent::Progress(position) => marker(position.revision),
                // They are never deleted; after a reset they are listed again.
                WatchEvent::Delete { .. } | WatchEvent::Reset => {}
            }
        }
    }
}

/// Keys that cannot be read leave those in force.
fn replace(keys: &TicketKeys, value: &[u8]) {
    let read = ticket_keys::decode(value).ok().and_then(|record| {
        let record::TicketKeys { previous, current, next, .. } = record;
        let others = [previous, next].into_iter().flatten().map(key).collect::<Option<Vec<_>>>()?;
        Some((key(current?)?, others))
    });
    let lifetime = u32::try_from(PERIOD_MILLIS / 1000).unwrap_or(u32::MAX);
    match read {
        Some((current, others)) => {
            keys.replace(current, &others, lifetime);
            tracing::info!(current = current.number, "TLS ticket keys in force");
        }
        None => tracing::error!("the TLS ticket keys in the metastore cannot be read"),
    }
}

fn key(record: record::TicketKey) -> Option<TicketKey> {
    Some(TicketKey { number: record.number, secret: record.secret.try_into().ok()? })
}
