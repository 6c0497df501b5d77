//! openraft's own storage suite, for a state group between two others on the same store.

use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, StorageError};
use tempfile::TempDir;

use crate::changes::ChangeLog;
use crate::disk::Disk;
use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::outbox::Outbox;
use crate::state::State;
use crate::types::{Entry, Types, Vote, log_id};

struct Builder;

/// Puts entries and a vote into the log of a group that shares the store with the one that is tested.
async fn fill(disk: &Arc<Disk>, group: u32) {
    let mut log = LogStore::open(disk.clone(), group).unwrap();
    log.save_vote(&Vote::new_committed(9, 9)).await.unwrap();
    let entries = (0..20).map(|index| Entry { log_id: log_id(9, index), payload: EntryPayload::Blank });
    log.append(entries, IOFlushed::noop()).await.unwrap();
    log.purge(log_id(9, 3)).await.unwrap();
}

impl StoreBuilder<Types, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path(), None).unwrap();
        for neighbour in [6, 8] {
            fill(&disk, neighbour).await;
        }
        let log = LogStore::open(disk.clone(), 7).unwrap();
        let (state, applied) = State::open(disk, 7).unwrap();
        let changes = Arc::new(ChangeLog::new(0, 1 << 20));
        let outbox = Arc::new(Outbox::open(&state).unwrap());
        let machine = StateMachine::open(Arc::new(state), changes, outbox, applied).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn openraft_suite() {
    Types::run(async { Suite::test_all(Builder).await }).unwrap();
}
