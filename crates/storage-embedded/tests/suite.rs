//! The suite of the seam, on this store.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleethaven_storage::suite::{self, Harness, Instance};
use fleethaven_storage::{RetainedStore, RuleQueue, SessionStore};
use fleethaven_storage_embedded::{EmbeddedStore, Options};
use fleethaven_types::Timestamp;

/// Opens stores whose caches hold everything, or nothing so that all is read from disk.
struct Embedded {
    cached: bool,
}

struct Opened {
    dir: tempfile::TempDir,
    time: Arc<AtomicU64>,
    options: Options,
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
        let store = Some(EmbeddedStore::open(dir.path(), options.clone()).unwrap());
        Box::new(Opened { dir, time, options, store })
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

    fn crash(&mut self) {
        self.store = None;
        self.store = Some(EmbeddedStore::open(self.dir.path(), self.options.clone()).unwrap());
    }

    fn set_time(&self, now: Timestamp) {
        self.time.store(now.0, Ordering::Relaxed);
    }
}

#[test]
fn from_memory() {
    suite::run(&Embedded { cached: true });
}

#[test]
fn from_disk() {
    suite::run(&Embedded { cached: false });
}
