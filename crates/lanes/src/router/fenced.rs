//! Up to which version of the table a router has raised the fences of all slots that it owns by it. Before that, whoever owned one
//! before, and lost its lease, may still acknowledge what the store lets through, without what gateways tell this router.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleethaven_storage::Wake;
use parking_lot::Mutex;

/// That version, and the lanes that wait for a later one.
#[derive(Default)]
pub(crate) struct Fenced {
    version: AtomicU64,
    waiting: Mutex<BTreeMap<u16, Arc<dyn Wake>>>,
}

impl Fenced {
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }

    /// Lanes that wait look again.
    pub(crate) fn reach(&self, version: u64) {
        if self.version.fetch_max(version, Ordering::SeqCst) >= version {
            return;
        }
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.into_values().for_each(|lane| lane.wake());
    }

    /// Whether `version` is reached; if it is not, the lane is woken once it may be.
    pub(crate) fn has_reached(&self, version: u64, lane: u16, wake: &Arc<dyn Wake>) -> bool {
        if self.version() >= version {
            return true;
        }
        self.waiting.lock().insert(lane, wake.clone());
        // It may have been reached just before that.
        self.version() >= version
    }

    /// The lane is over.
    pub(crate) fn forget(&self, lane: u16) {
        self.waiting.lock().remove(&lane);
    }
}

impl fmt::Debug for Fenced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fenced").field("version", &self.version()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl Wake for Woken {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn lanes_are_woken_when_fences_are_raised() {
        let (fenced, woken) = (Fenced::default(), Arc::new(Woken::default()));
        let wake: Arc<dyn Wake> = woken.clone();
        let count = || woken.0.load(Ordering::SeqCst);
        assert!(fenced.has_reached(0, 1, &wake) && !fenced.has_reached(2, 1, &wake));
        fenced.reach(1);
        assert_eq!((count(), fenced.version()), (1, 1));
        fenced.reach(2);
        assert_eq!(count(), 1, "it has not said that it waits on");
        assert!(fenced.has_reached(2, 1, &wake) && !fenced.has_reached(3, 1, &wake));
        fenced.reach(1);
        fenced.forget(1);
        fenced.reach(3);
        assert_eq!((count(), fenced.version()), (1, 3));
    }
}
