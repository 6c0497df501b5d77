//! Which partition of a topic a record goes to, and the numbers of the batches that went there.

use parking_lot::Mutex;

use super::records::{Record, Stamp};
use crate::actions::group::Group;

/// The partition for a key, as Java's clients choose it: all producers of a topic agree.
pub(super) fn of_key(key: &[u8], partitions: usize) -> usize {
    let positive = murmur2(key) & 0x7fff_ffff;
    usize::try_from(positive).unwrap_or(0) % partitions.max(1)
}

/// MurmurHash2 with 32 bits and Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, byte) in (0..).zip(tail) {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// A partition that records are on their way to. One batch is under way at a time, so that numbers come to the broker in order.
#[derive(Default)]
pub(super) struct Partition {
    pub(super) group: Group<Record>,
    sequence: Mutex<Sequence>,
}

#[derive(Default)]
struct Sequence {
    /// Whose numbers they are: producer and epoch.
    of: Option<(i64, i16)>,
    next: i32,
    /// What became of the batch with the last number is not known, or the broker refused it: the number cannot be used again, nor the next.
    in_doubt: bool,
}

impl Partition {
    /// Whose numbers cannot be used here any more.
    pub(super) fn spoilt(&self) -> Option<(i64, i16)> {
        let sequence = self.sequence.lock();
        sequence.of.filter(|_| sequence.in_doubt)
    }

    /// Numbers for a batch of a producer. They are in doubt until the batch was [taken](Self::taken).
    pub(super) fn allot(&self, (producer, epoch): (i64, i16), count: i32) -> Stamp {
        let mut sequence = self.sequence.lock();
        if sequence.of != Some((producer, epoch)) {
            *sequence = Sequence { of: Some((producer, epoch)), ..Sequence::default() };
        }
        let stamp = Stamp { producer, epoch, sequence: sequence.next };
        sequence.next = after(sequence.next, count);
        sequence.in_doubt = true;
        stamp
    }

    /// The broker has the batch that numbers were allotted to last.
    pub(super) fn taken(&self) {
        self.sequence.lock().in_doubt = false;
    }
}

/// Numbers begin again at 0 after the largest.
fn after(sequence: i32, count: i32) -> i32 {
    match sequence.checked_add(count) {
        Some(next) => next,
        None => count - (i32::MAX - sequence) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_java_sends_them() {
        // Kafka's own test of its Utils.murmur2.
        for (key, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        assert_eq!(of_key(b"abc", 10), 479_470_107 % 10);
        assert_eq!(of_key(b"abc", 0), 0);
    }

    #[test]
    fn numbers_follow_each_other_and_are_spoilt_by_a_batch_that_may_be_lost() {
        let partition = Partition::default();
        let stamp = |sequence| Stamp { producer: 1, epoch: 0, sequence };
        assert_eq!(partition.allot((1, 0), 3), stamp(0));
        assert_eq!(partition.spoilt(), Some((1, 0)));
        partition.taken();
        assert_eq!((partition.spoilt(), partition.allot((1, 0), 1)), (None, stamp(3)));
        assert_eq!(partition.allot((2, 0), 1), Stamp { producer: 2, ..stamp(0) }, "another begins again");
        assert_eq!(after(i32::MAX, 1), 0);
        assert_eq!(after(i32::MAX - 1, 3), 1);
    }
}
