//! The suite of the seam, on this store.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleethaven_storage::suite::{self, Harness, Instance};
use fleethaven_storage::{RetainedStore, RuleQueue, SessionStore};
use fleethaven_storage_embedded::{EmbeddedStore, Options};
use fleethaven_types::Timestamp;
use fleethaven_vault::{DataKey, Vault};

/// Opens stores whose caches hold everything, or nothing so that all is read from disk.
struct Embedded {
    cached: bool,
    sealed: bool,
}

struct Opened {
    dir: tempfile::TempDir,
    time: Arc<AtomicU64>,
    options: Options,
    sealed: bool,
    openings: u8,
    store: Option<Arc<EmbeddedStore>>,
}

impl Harness for Embedded {
    fn fresh(&self) -> Box<dyn Instance> {
        let time = Arc::new(AtomicU64::new(suite::START.0));
        let clock = time.clone();
        let mut options = Options::new(Arc::new(move || Timestamp(clock.load(Ordering::Relaxed))));
        if !self.cached {
            (options.queue_cache_bytes, options.retained_cache_bytes) = (0, 0);
            options.rule_cached_entries = 0;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut opened = Opened { dir, time, options, sealed: self.sealed, openings: 0, store: None };
        opened.crash();
        Box::new(opened)
    }
}

impl Opened {
    fn store(&self) -> &EmbeddedStore {
        self.store.as_deref().unwrap()
    }
}

impl Instance for Opened {
    fn sessions(&self) -> &dyn SessionStore {
        self.store()
    }

    fn retained(&self) -> &dyn RetainedStore {
        self.store()
    }

    fn rules(&self) -> &dyn RuleQueue {
        self.store()
    }

    /// A directory is used by one process alone.
    fn neighbour(&mut self) -> &dyn SessionStore {
        self.store()
    }

    fn crash(&mut self) {
        self.store = None;
        self.openings += 1;
        let vault = Vault::new([(1, DataKey([1; 32]))], [self.openings; 12]);
        let vault = vault.map(Arc::new).filter(|_| self.sealed);
        let options = Options { vault, ..self.options.clone() };
        self.store = Some(EmbeddedStore::open(self.dir.path(), options).unwrap());
    }

    fn set_time(&self, now: Timestamp) {
        self.time.store(now.0, Ordering::Relaxed);
    }
}

#[test]
fn from_memory() {
    suite::run(&Embedded { cached: true, sealed: false });
}

#[test]
fn from_disk() {
    suite::run(&Embedded { cached: false, sealed: false });
}

#[test]
fn from_disk_sealed() {
    suite::run(&Embedded { cached: false, sealed: true });
}
