//! What befalls a simulated cluster.

use std::ops::Range;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::network::Cut;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A process is killed.
    Kill,
    /// A machine loses power.
    PowerLoss,
    /// A process stands still, and wakes up with all its timers overdue.
    Standstill,
    /// A node is cut off from the others, in both directions.
    CutOff,
    /// One direction of a link, or all that a node sends or is sent, is cut.
    OneWay,
    /// The leader of the control group is cut off, or sends into nowhere, or hears nobody.
    LeaderCutOff,
    /// Fsyncs take long, on one node or on all.
    SlowDisk,
    /// Messages take long.
    SlowNetwork,
    /// Messages are lost, and questions asked twice.
    Unreliable,
    /// A disk is full.
    FullDisk,
    /// A wall clock jumps.
    ClockJump,
    /// Raft rejects some of what a leader proposes, and takes what comes after it.
    Rejections,
}

const KINDS: [Kind; 12] = [
    Kind::Kill,
    Kind::PowerLoss,
    Kind::Standstill,
    Kind::CutOff,
    Kind::OneWay,
    Kind::LeaderCutOff,
    Kind::SlowDisk,
    Kind::SlowNetwork,
    Kind::Unreliable,
    Kind::FullDisk,
    Kind::ClockJump,
    Kind::Rejections,
];

/// What ends a fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Links(Vec<(u64, u64)>),
    Disk(u64),
    Space(u64),
    Rejections(u64),
    Network,
    Reliable,
}

/// The kinds that befall one run. A machine whose disk and network are slow, and whose leader is cut off again and again, is one
/// of them more often than chance would make it.
pub(super) fn some(chance: &mut SmallRng) -> Vec<Kind> {
    if chance.random_bool(0.2) {
        return vec![Kind::LeaderCutOff, Kind::SlowDisk, Kind::SlowNetwork];
    }
    let mut kinds = KINDS.to_vec();
    kinds.shuffle(chance);
    kinds.truncate(chance.random_range(1..=4));
    kinds
}

/// How a link is cut.
pub(super) fn how(chance: &mut SmallRng) -> Cut {
    [Cut::Lost, Cut::Held, Cut::Reset].choose(chance).copied().unwrap_or(Cut::Lost)
}

/// Milliseconds that a fault lasts.
pub(super) fn lasts(chance: &mut SmallRng) -> u64 {
    chance.random_range(50..3_000)
}

/// Milliseconds that an fsync takes on a slow disk.
pub(super) fn slow_fsync(chance: &mut SmallRng) -> Range<u64> {
    let longest = chance.random_range(20..500);
    longest / 4..longest
}
