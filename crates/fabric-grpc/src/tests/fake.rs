//! A `Metadata` in memory: the registry's logic without Raft and without a disk.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fleethaven_fabric::metadata::{
    AppliedMarker, BoxFuture, Error, Executed, Metadata, Position, WatchEvent, WatchStream,
};
use fleethaven_registry::testing::Registry;
use fleethaven_registry::{Command, Context, IdempotencyKey, Query, QueryReply, Write, evaluate, query};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// The store; every consumer that registers shares one mark.
pub(crate) struct Fake {
    state: Mutex<State>,
    pub(crate) applied: Arc<AtomicU64>,
    pub(crate) registered: Arc<AtomicU64>,
}

struct State {
    registry: Registry,
    revision: u64,
    watchers: Vec<mpsc::UnboundedSender<WatchEvent>>,
    refusal: Option<Error>,
    last_key: Option<IdempotencyKey>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        let registry = Registry::new().unwrap();
        let state = State { registry, revision: 1, watchers: Vec::new(), refusal: None, last_key: None };
        Arc::new(Self { state: Mutex::new(state), applied: Arc::default(), registered: Arc::default() })
    }

    pub(crate) fn scope(&self) -> fleethaven_types::Scope {
        self.state.lock().registry.scope
    }

    pub(crate) fn revision(&self) -> u64 {
        self.state.lock().revision
    }

    /// The key of the last command.
    pub(crate) fn last_key(&self) -> Option<IdempotencyKey> {
        self.state.lock().last_key
    }

    /// Every command fails with this from now on.
    pub(crate) fn fail(&self, error: Error) {
        self.state.lock().refusal = Some(error);
    }

    /// Ends every watch, as a node that goes down does.
    pub(crate) fn drop_watchers(&self) {
        self.state.lock().watchers.clear();
    }
}

impl State {
    fn position(&self) -> Position {
        Position { incarnation: 7, group: 0, revision: self.revision }
    }

    fn run(&mut self, command: &Command) -> Result<Executed, Error> {
        self.last_key = command.key;
        if let Some(error) = &self.refusal {
            return Err(error.clone());
        }
        let context = Context {
            now: self.registry.now,
            random: [self.revision as u8; 32],
            limits: self.registry.limits.clone(),
        };
        let (reply, effects) = evaluate(&self.registry.view, command, &context)?;
        self.registry.view.apply(&effects);
        self.revision += 1;
        let revision = self.revision;
        for write in effects.writes {
            self.tell(match write {
                Write::Put { key, value } => WatchEvent::Put { key, value, revision },
                Write::Delete { key } => WatchEvent::Delete { key, revision },
            });
        }
        self.tell(WatchEvent::Progress(self.position()));
        Ok(Executed { reply, revision })
    }

    fn tell(&mut self, event: WatchEvent) {
        self.watchers.retain(|watcher| watcher.send(event.clone()).is_ok());
    }

    fn listing(&self) -> Vec<WatchEvent> {
        let revision = self.revision;
        let entries = self.registry.view.entries().iter();
        let puts = entries.map(|(k, v)| WatchEvent::Put { key: k.clone(), value: v.clone(), revision });
        let first = [WatchEvent::Reset].into_iter();
        first.chain(puts).chain([WatchEvent::Synced(self.position())]).collect()
    }
}

impl Metadata for Fake {
    fn execute(&self, command: Command) -> BoxFuture<'_, Result<Executed, Error>> {
        Box::pin(ready(self.state.lock().run(&command)))
    }

    fn query(&self, asked: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
        Box::pin(ready(self.query_local(asked)))
    }

    fn query_local(&self, asked: Query) -> Result<QueryReply, Error> {
        let state = self.state.lock();
        Ok(query(&state.registry.view, &asked, state.registry.now)?)
    }

    fn staleness(&self) -> Duration {
        Duration::ZERO
    }

    fn watch(&self, prefixes: Vec<Bytes>, from: Option<Position>) -> WatchStream {
        assert_eq!(prefixes, [Bytes::new()], "this fake knows no prefixes");
        let mut state = self.state.lock();
        let (sender, receiver) = mpsc::unbounded_channel();
        state.watchers.push(sender);
        let known = from == Some(state.position());
        let first = if known { Vec::new() } else { state.listing() };
        let rest = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|event| (event, receiver))
        });
        Box::pin(stream::iter(first).chain(rest))
    }

    fn register(&self, _name: &'static str) -> AppliedMarker {
        struct Place(Arc<AtomicU64>);
        impl Drop for Place {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.registered.fetch_add(1, Ordering::SeqCst);
        let (place, applied) = (Place(self.registered.clone()), self.applied.clone());
        Box::new(move |revision| {
            let _held = &place;
            applied.fetch_max(revision, Ordering::SeqCst);
        })
    }

    fn in_force(&self, revision: u64) -> BoxFuture<'_, bool> {
        Box::pin(ready(self.applied.load(Ordering::SeqCst) >= revision))
    }
}
