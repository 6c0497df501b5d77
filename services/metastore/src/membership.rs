//! The metastore as the cluster's members see it: who is in, and which router owns which slot. Changes are commands like any
//! other; leases are the leader's (`leases`).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use fleethaven_fabric::Membership;
use fleethaven_fabric::membership::{Incarnation, LEASE, Phase, Role, RoutingTable, TableStream};
use fleethaven_fabric::metadata::{BoxFuture, Error, Metadata, WatchEvent, WatchStream};
use fleethaven_membership as membership;
use fleethaven_registry::{Command, Reply, cluster, keys};
use fleethaven_topics::Slot;
use futures_util::{FutureExt, StreamExt, stream};

use crate::leader::Leader;
use crate::metastore::Metastore;
use crate::state::State;

/// How long one node may take to renew a lease before whoever leads then is asked: an answer after [`LEASE`] is worth nothing.
const RENEW_WITHIN: Duration = Duration::from_millis(600);

impl Metastore {
    async fn change(&self, command: membership::Command) -> Result<Reply, Error> {
        Ok(self.execute(Command::membership(command)).await?.reply)
    }

    fn renew_at(&self, leader: Leader, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let renewing = async {
                match leader {
                    Leader::Here => self.leases.renew(incarnation).await,
                    Leader::Elsewhere(peer) => peer.renew_as_leader(incarnation).await,
                }
            };
            match tokio::time::timeout(RENEW_WITHIN, renewing).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error @ Error::Refused(_))) => Err(error),
                // Renewed or not, it can be renewed again.
                Ok(Err(error)) => Err(Error::Unavailable(error.to_string())),
                Err(_) => Err(Error::Unavailable("the leader does not answer".into())),
            }
        }
        .boxed()
    }
}

impl Membership for Metastore {
    fn join(
        &self,
        role: Role,
        address: String,
        version: String,
    ) -> BoxFuture<'_, Result<Incarnation, Error>> {
        async move {
            match self.change(membership::Command::Join { role, address, version }).await? {
                Reply::Joined(incarnation) => Ok(incarnation),
                other => {
                    tracing::error!(?other, "a join was answered with something else");
                    Err(Error::Unknown)
                }
            }
        }
        .boxed()
    }

    fn renew(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let asked = AtomicBool::new(false);
            let asking = self.control.compass.ask(true, &asked, |leader| self.renew_at(leader, incarnation));
            let answer = tokio::time::timeout(LEASE, asking).await;
            answer.unwrap_or_else(|_| Err(Error::Unavailable("no node leads the metadata store".into())))
        }
        .boxed()
    }

    fn set_phase(&self, incarnation: Incarnation, phase: Phase) -> BoxFuture<'_, Result<(), Error>> {
        let command = membership::Command::SetPhase { incarnation, phase };
        async move { self.change(command).await.map(drop) }.boxed()
    }

    fn release(&self, incarnation: Incarnation, slots: Vec<(Slot, u64)>) -> BoxFuture<'_, Result<(), Error>> {
        let slots = slots.into_iter().map(|(slot, epoch)| (slot.index(), epoch)).collect();
        let command = membership::Command::Release { incarnation, slots };
        async move { self.change(command).await.map(drop) }.boxed()
    }

    fn ready_for_depth(&self, incarnation: Incarnation, version: u64) -> BoxFuture<'_, Result<(), Error>> {
        let command = membership::Command::ReadyForDepth { incarnation, version };
        async move { self.change(command).await.map(drop) }.boxed()
    }

    fn set_depth(&self, prefix: String, depth: Option<u64>) -> BoxFuture<'_, Result<(), Error>> {
        let depth = depth.map(|depth| usize::try_from(depth).unwrap_or(usize::MAX));
        let command = membership::Command::SetDepth { prefix, depth };
        async move { self.change(command).await.map(drop) }.boxed()
    }

    fn leave(&self, incarnation: Incarnation) -> BoxFuture<'_, Result<(), Error>> {
        async move { self.change(membership::Command::Remove { incarnation }).await.map(drop) }.boxed()
    }

    fn table(&self) -> TableStream {
        let tables = Tables {
            state: self.control.state.clone(),
            watch: self.watch(vec![keys::cluster_prefix()], None),
            changed: true,
            told: None,
        };
        Box::pin(stream::unfold(tables, |mut tables| async move {
            let table = tables.next().await?;
            Some((table, tables))
        }))
    }
}

/// The routing table whenever it has changed.
struct Tables {
    state: Arc<State>,
    watch: WatchStream,
    changed: bool,
    /// The version told last.
    told: Option<u64>,
}

impl Tables {
    async fn next(&mut self) -> Option<Arc<RoutingTable>> {
        loop {
            match self.watch.next().await? {
                WatchEvent::Reset | WatchEvent::Put { .. } | WatchEvent::Delete { .. } => self.changed = true,
                WatchEvent::Synced(_) | WatchEvent::Progress(_) if self.changed => {
                    let Some(table) = self.read() else { continue };
                    self.changed = false;
                    if self.told.is_none_or(|told| table.version > told) {
                        self.told = Some(table.version);
                        return Some(Arc::new(table));
                    }
                }
                WatchEvent::Synced(_) | WatchEvent::Progress(_) => {}
            }
        }
    }

    /// The table as applied now, which may be newer than what the watch has told; `None` when it cannot be read.
    fn read(&self) -> Option<RoutingTable> {
        let view = self.state.now();
        let table = cluster::table(&view).map_err(|error| error.to_string());
        let table = table.and_then(|table| view.finish().map(|()| table).map_err(|e| e.to_string()));
        table.inspect_err(|error| tracing::error!(%error, "the routing table cannot be read")).ok()
    }
}
