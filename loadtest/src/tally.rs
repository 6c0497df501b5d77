//! Loss, duplicates and order of one stream, as one receiver sees it, from sequence numbers.

use std::collections::HashSet;

/// Missing messages remembered per stream; one that comes after more than this counts as a duplicate.
const REMEMBERED: usize = 10_000;

/// One stream's account.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// The sequence number that would come next in order.
    next: u64,
    /// Messages passed over and not seen since.
    missing: HashSet<u64>,
    counts: Counts,
}

/// What came, summed over streams when added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Messages seen for the first time.
    pub(crate) distinct: u64,
    /// Messages seen again.
    pub(crate) duplicated: u64,
    /// Messages that came after a later one.
    pub(crate) reordered: u64,
}

impl Tally {
    /// A message came; says whether for the first time.
    pub(crate) fn seen(&mut self, sequence: u64) -> bool {
        if sequence >= self.next {
            self.pass_over(sequence);
            self.next = sequence.saturating_add(1);
            self.counts.distinct += 1;
        } else if self.missing.remove(&sequence) {
            self.counts.distinct += 1;
            self.counts.reordered += 1;
        } else {
            self.counts.duplicated += 1;
            return false;
        }
        true
    }

    fn pass_over(&mut self, sequence: u64) {
        let room = REMEMBERED.saturating_sub(self.missing.len());
        self.missing.extend((self.next..sequence).take(room));
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }
}

impl Counts {
    pub(crate) fn add(self, other: Self) -> Self {
        Self {
            distinct: self.distinct + other.distinct,
            duplicated: self.duplicated + other.duplicated,
            reordered: self.reordered + other.reordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(sequences: impl IntoIterator<Item = u64>) -> (u64, u64, u64) {
        let mut tally = Tally::default();
        sequences.into_iter().for_each(|sequence| _ = tally.seen(sequence));
        let Counts { distinct, duplicated, reordered } = tally.counts();
        (distinct, duplicated, reordered)
    }

    #[test]
    fn tells_gaps_repeats_and_late_ones_apart() {
        assert_eq!(counted(0..5), (5, 0, 0));
        assert_eq!(counted([0, 2, 3]), (3, 0, 0), "1 is lost");
        assert_eq!(counted([0, 1, 1, 0]), (2, 2, 0));
        assert_eq!(counted([0, 2, 1, 3, 1]), (4, 1, 1));
    }

    #[test]
    fn a_wild_number_costs_bounded_memory() {
        let mut tally = Tally::default();
        tally.seen(u64::MAX - 1);
        assert_eq!(tally.missing.len(), REMEMBERED);
        tally.seen(u64::MAX - 1);
        assert_eq!(tally.counts().duplicated, 1);
    }
}
