//! Message bodies that are stored once and referenced by several queue entries.

use rustc_hash::FxHashMap;

/// How many queue entries refer to each shared body. Rebuilt from the queues at open.
#[derive(Default)]
pub(crate) struct Bodies {
    references: FxHashMap<u64, u32>,
    last: u64,
}

impl Bodies {
    /// A new body id, with no reference yet.
    pub(crate) fn allocate(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// One more entry refers to `body`.
    pub(crate) fn retain(&mut self, body: u64) {
        *self.references.entry(body).or_default() += 1;
        self.last = self.last.max(body);
    }

    /// One entry fewer refers to `body`; true when it was the last and the body is to be deleted.
    pub(crate) fn release(&mut self, body: u64) -> bool {
        let Some(count) = self.references.get_mut(&body) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.references.remove(&body);
        }
        last
    }
}
