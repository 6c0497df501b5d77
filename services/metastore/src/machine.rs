//! A group's state machine: applies effects, builds and installs snapshots.
//!
//! Changes and the record of how far the state has come are written in one commit, not fsynced: the log is,
//! and after a crash what is missing is applied again from it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use fleethaven_storage_embedded::space::Space;
use futures_util::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder, StoredMembership};
use parking_lot::Mutex;
use prost::Message;

use crate::blocking::blocking;
use crate::changes::{ChangeLog, Changed};
use crate::disk::Meta;
use crate::error::store_io;
use crate::outbox::{self, Outbox};
use crate::record::{Applied, Emits, Proposal};
use crate::snapshot::{self, SnapshotFile, SnapshotReader, SnapshotWriter};
use crate::state::{State, StateView};
use crate::types::{Entry, LogId, Membership, Outcome, Snapshot, SnapshotMeta, Types};

/// Entries applied in one commit, at most.
const APPLY_BATCH: usize = 1024;

/// The state machine of one group.
pub(crate) struct StateMachine {
    state: Arc<State>,
    changes: Arc<ChangeLog>,
    outbox: Arc<Outbox>,
    applied: Applied,
    /// The newest snapshot; shared with the task that builds one.
    newest: Arc<Mutex<Option<SnapshotFile>>>,
}

impl StateMachine {
    /// The machine that continues `state` from `applied`.
    pub(crate) fn open(
        state: Arc<State>,
        changes: Arc<ChangeLog>,
        outbox: Arc<Outbox>,
        applied: Applied,
    ) -> io::Result<Self> {
        let newest = snapshot::newest(&state.disk.snapshots, state.group)?;
        Ok(Self { state, changes, outbox, applied, newest: Arc::new(Mutex::new(newest)) })
    }

    /// Writes a batch, tells watchers, then those who proposed.
    async fn commit(&mut self, batch: Batch) -> io::Result<()> {
        let record = batch.applied.to_record()?.encode_to_vec();
        let (disk, space) = (&self.state.disk, self.state.space());
        let key = Meta::State.key(self.state.group);
        disk.committer
            .commit(false, |commit| {
                for (key, value) in batch.writes {
                    match value {
                        Some(value) => commit.put(&space, key, value),
                        None => commit.remove(&space, key),
                    }
                }
                commit.put(&disk.meta, key, record);
            })
            .await?;
        self.applied = batch.applied;
        self.outbox.applied(batch.emitting, &batch.published);
        self.changes.push(batch.changed, self.applied.revision());
        for (responder, outcome) in batch.answers {
            responder.send(outcome);
        }
        Ok(())
    }
}

/// Entries on their way into one commit.
struct Batch {
    applied: Applied,
    /// The last change of each key: a commit cannot hold two.
    writes: BTreeMap<Bytes, Option<Bytes>>,
    changed: Vec<Changed>,
    /// Entries whose messages are to be published, and those whose messages are published.
    emitting: Vec<u64>,
    published: Vec<u64>,
    answers: Vec<(ApplyResponder<Types>, Outcome)>,
    entries: usize,
}

impl Batch {
    fn new(applied: Applied) -> Self {
        Self {
            applied,
            writes: BTreeMap::new(),
            changed: Vec::new(),
            emitting: Vec::new(),
            published: Vec::new(),
            answers: Vec::new(),
            entries: 0,
        }
    }

    fn add(&mut self, entry: Entry, responder: Option<ApplyResponder<Types>>) {
        let id = entry.log_id;
        self.entries += 1;
        self.applied.last = Some(id);
        let outcome = match entry.payload {
            EntryPayload::Blank => Outcome::Applied,
            EntryPayload::Normal(proposal) => self.add_proposal(id, proposal),
            EntryPayload::Membership(membership) => {
                self.applied.membership = StoredMembership::new(Some(id), membership);
                Outcome::Applied
            }
        };
        self.answers.extend(responder.map(|responder| (responder, outcome)));
    }

    /// Applies a proposal, unless the state it was evaluated on never came to be (protocols.md E1).
    fn add_proposal(&mut self, id: LogId, proposal: Proposal) -> Outcome {
        if !self.applied.admit(&proposal) {
            return Outcome::Retry;
        }
        for change in &proposal.writes {
            self.writes.insert(change.key.clone(), change.value.clone());
        }
        if !proposal.emits.is_empty() {
            let emits = Emits { messages: proposal.emits }.encode_to_vec();
            self.writes.insert(outbox::key(id.index), Some(emits.into()));
            self.emitting.push(id.index);
        }
        for index in proposal.published {
            self.writes.insert(outbox::key(index), None);
            self.published.push(index);
        }
        if !proposal.writes.is_empty() {
            self.changed.push(Changed { revision: id.index, changes: proposal.writes });
        }
        Outcome::Applied
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        Ok((self.applied.last, self.applied.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        let mut batch = Batch::new(self.applied.clone());
        while let Some((entry, responder)) = entries.try_next().await? {
            batch.add(entry, responder);
            if batch.entries >= APPLY_BATCH {
                self.commit(batch).await?;
                batch = Batch::new(self.applied.clone());
            }
        }
        match batch.entries {
            0 => Ok(()),
            _ => self.commit(batch).await,
        }
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        // Nothing is applied meanwhile, so the view is the state that `applied` describes.
        SnapshotBuilder {
            view: Some(self.state.now()),
            applied: self.applied.clone(),
            state: self.state.clone(),
            newest: self.newest.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, file: SnapshotFile) -> io::Result<()> {
        let (disk, group) = (self.state.disk.clone(), self.state.group);
        let generation = self.applied.generation + 1;
        let space = disk.state(group, generation)?;
        let (source, target) = (file.clone(), space.clone());
        let mut applied = match blocking(move || ingest(source.open()?, &target)).await? {
            Ok(applied) => applied,
            Err(error) => {
                disk.db.delete_keyspace(space.keyspace().clone()).map_err(store_io)?;
                return Err(error);
            }
        };
        applied.generation = generation;
        applied.last = meta.last_log_id;
        applied.membership = meta.last_membership.clone();
        let record = applied.to_record()?.encode_to_vec();
        let key = Meta::State.key(group);
        disk.committer.commit(true, |commit| commit.put(&disk.meta, key, record)).await?;
        self.state.flip(generation, space);
        self.outbox.reload(&self.state)?;
        self.changes.reset(applied.revision());
        self.applied = applied;
        snapshot::keep(disk.dir(), group, &self.newest, file)?;
        disk.drop_other_states(group, generation)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        loop {
            let Some(file) = self.newest.lock().clone() else { return Ok(None) };
            match file.applied() {
                Ok(applied) => return Ok(Some(Snapshot { meta: snapshot::meta(&applied), snapshot: file })),
                // One that was built meanwhile has taken its place.
                Err(_) if self.newest.lock().as_ref() != Some(&file) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Reads a snapshot into an empty keyspace; believes nothing unless the whole of it is right.
pub(crate) fn ingest(mut reader: SnapshotReader, space: &Space) -> io::Result<Applied> {
    let mut ingestion = space.keyspace().start_ingestion().map_err(store_io)?;
    while let Some((key, value)) = reader.next()? {
        let value = space.sealed(&key, value.into()).map_err(store_io)?;
        ingestion.write(key, value).map_err(store_io)?;
    }
    ingestion.finish().map_err(store_io)?;
    Ok(reader.applied)
}

/// Writes a snapshot of one moment of the state.
pub(crate) struct SnapshotBuilder {
    view: Option<StateView>,
    applied: Applied,
    state: Arc<State>,
    newest: Arc<Mutex<Option<SnapshotFile>>>,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (state, applied) = (self.state.clone(), self.applied.clone());
        let view = self.view.take().unwrap_or_else(|| state.now());
        let file = blocking(move || build(&state, &view, &applied)).await??;
        snapshot::keep(self.state.disk.dir(), self.state.group, &self.newest, file.clone())?;
        Ok(Snapshot { meta: snapshot::meta(&self.applied), snapshot: file })
    }
}

fn build(state: &State, view: &StateView, applied: &Applied) -> io::Result<SnapshotFile> {
    // The log is purged on the strength of this file; the state it was taken of must not be behind it after a
    // crash.
    state.disk.sync()?;
    let mut writer = SnapshotWriter::create(&state.disk.snapshots, state.group, applied)?;
    for pair in view.pairs(b"", None) {
        let (key, value) = pair?;
        writer.add(&key, &value)?;
    }
    writer.finish()
}
