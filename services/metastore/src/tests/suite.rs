//! openraft's own storage suite, and what it does not ask.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use tempfile::TempDir;

use crate::changes::ChangeLog;
use crate::disk::Disk;
use crate::log::LogStore;
use crate::machine::StateMachine;
use crate::state::State;
use crate::types::Types;

struct Builder;

impl StoreBuilder<Types, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        let log = LogStore::open(disk.clone(), 7).unwrap();
        let (state, applied) = State::open(disk, 7).unwrap();
        let changes = Arc::new(ChangeLog::new(0, 1 << 20));
        let machine = StateMachine::open(Arc::new(state), changes, applied).unwrap();
        Ok((dir, log, machine))
    }
}

#[test]
fn openraft_suite() {
    Types::run(async { Suite::test_all(Builder).await }).unwrap();
}
