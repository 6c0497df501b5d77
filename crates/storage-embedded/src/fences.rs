//! Fences of topic slots.

use fleethaven_storage::{Error, Fence};
use rustc_hash::FxHashMap;

use crate::engine::Engine;
use crate::keys;

/// The highest epoch of each slot that an owner has named.
#[derive(Default)]
pub(crate) struct Fences(FxHashMap<u16, u64>);

impl Fences {
    /// Raises one; an error when it is higher already.
    pub(crate) fn raise(&mut self, fence: Fence) -> Result<(), Error> {
        self.check(fence)?;
        self.0.insert(fence.slot, fence.epoch);
        Ok(())
    }

    /// An error for what was matched under an earlier epoch.
    pub(crate) fn check(&self, fence: Fence) -> Result<(), Error> {
        let raised = self.0.get(&fence.slot).is_some_and(|raised| fence.epoch < *raised);
        if raised { Err(Error::Fenced) } else { Ok(()) }
    }
}

impl Engine {
    /// Raises those that are lower.
    pub(crate) fn raise_fences(&mut self, slots: &[Fence]) -> Result<(), Error> {
        let mut outcome = Ok(());
        for fence in slots {
            if let Err(error) = self.fences.raise(*fence) {
                outcome = Err(error);
                continue;
            }
            let (key, epoch) = (keys::number(fence.slot.into()), keys::number(fence.epoch));
            self.batch.insert(&self.disk.fences, key, epoch);
            self.durable = true;
        }
        outcome
    }
}
