//! A set of slots.

use fleethaven_topics::{Slot, slot::SLOTS};

const WORDS: usize = (SLOTS as usize).div_ceil(64);

/// One bit for each slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SlotSet([u64; WORDS]);

impl SlotSet {
    pub(crate) fn insert(&mut self, slot: Slot) {
        if let Some(word) = self.0.get_mut(usize::from(slot.index()) / 64) {
            *word |= 1 << (slot.index() % 64);
        }
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        let word = self.0.get(usize::from(slot.index()) / 64).copied().unwrap_or_default();
        word & (1 << (slot.index() % 64)) != 0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Those that are not in `other`.
    pub(crate) fn without(mut self, other: &Self) -> Self {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word &= !other;
        }
        self
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_slots_add_and_subtract() {
        let slot = |index| Slot::new(index).unwrap();
        let (mut a, mut b) = (SlotSet::default(), SlotSet::default());
        assert!(a.is_empty());
        for index in [0, 63, 64, 1023] {
            a.insert(slot(index));
        }
        b.insert(slot(64));
        let rest = a.without(&b);
        assert!(rest.contains(slot(1023)) && !rest.contains(slot(64)) && a.contains(slot(64)));
        b.extend(&rest);
        assert_eq!(a, b);
    }
}
