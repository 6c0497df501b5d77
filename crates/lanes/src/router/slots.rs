//! What a router serves now: one word for each slot, read by all lanes without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fleethaven_storage::Wake;
use fleethaven_topics::{Placement, Slot};

use super::fenced::Fenced;
use crate::frame::Refusal;

/// How far a router is with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serving {
    /// Another one owns it, or nobody.
    No,
    /// About to be served.
    Warming,
    /// Publishes are taken.
    Yes,
    /// No more publishes are taken; those that were are still answered.
    Draining,
}

/// The slots of a router, and how long it may speak for them.
#[derive(Debug)]
pub struct Slots {
    slots: Box<[State]>,
    /// Moments are counted from here.
    start: Instant,
    /// Nanoseconds after `start` at which the lease has run out.
    lease: AtomicU64,
    /// As [`State::since`], for the filters that all routers hold.
    spread_since: AtomicU64,
    fenced: Fenced,
}

#[derive(Debug, Default)]
struct State {
    /// Epoch, and below it two bits of [`Serving`].
    word: AtomicU64,
    /// What was taken and is not answered: publishes, and of those without an answer each lane's as one.
    taken: AtomicU32,
    /// All that were taken and are answered.
    total: AtomicU64,
    /// Version of the table since which the filters that are pinned to it must be held here; 0: they need not.
    since: AtomicU64,
}

impl Slots {
    /// None is served. `start` is a moment of the past by the clock that all others are of, which must count suspended time.
    pub fn new(start: Instant) -> Self {
        Self {
            slots: Slot::all().map(|_| State::default()).collect(),
            start,
            lease: AtomicU64::new(0),
            spread_since: AtomicU64::new(0),
            fenced: Fenced::default(),
        }
    }

    /// The router may acknowledge until `until` (exclusive).
    pub fn extend_lease(&self, until: Instant) {
        self.lease.fetch_max(self.nanos(until), Ordering::SeqCst);
    }

    /// The router may acknowledge nothing any more.
    pub fn end_lease(&self) {
        self.lease.store(0, Ordering::SeqCst);
    }

    /// How far the router is with a slot, and the slot's epoch.
    pub fn get(&self, slot: Slot) -> (Serving, u64) {
        unpack(self.state(slot).word.load(Ordering::SeqCst))
    }

    /// Changes that.
    pub fn set(&self, slot: Slot, serving: Serving, epoch: u64) {
        self.state(slot).word.store(pack(serving, epoch), Ordering::SeqCst);
    }

    /// Since which version of the table the filters that are placed there must be held here; 0: they need not.
    pub fn held_since(&self, place: Placement) -> u64 {
        match place {
            Placement::Pinned(slot) => self.state(slot).since.load(Ordering::SeqCst),
            Placement::Spread => self.spread_since.load(Ordering::SeqCst),
        }
    }

    /// Changes that.
    pub fn hold_since(&self, place: Placement, version: u64) {
        match place {
            Placement::Pinned(slot) => self.state(slot).since.store(version, Ordering::SeqCst),
            Placement::Spread => self.spread_since.store(version, Ordering::SeqCst),
        }
    }

    /// The version of the table up to which the fences of all slots are raised that are this router's by it.
    pub fn fenced(&self) -> u64 {
        self.fenced.version()
    }

    /// That version is reached.
    pub fn reach_fenced(&self, version: u64) {
        self.fenced.reach(version);
    }

    /// Whether it is reached; otherwise the lane is woken when it may be.
    pub(crate) fn is_fenced(&self, version: u64, lane: u16, wake: &Arc<dyn Wake>) -> bool {
        self.fenced.has_reached(version, lane, wake)
    }

    /// The lane is over.
    pub(crate) fn forget_lane(&self, lane: u16) {
        self.fenced.forget(lane);
    }

    /// How many counts of a slot's publishes are not answered: none when there is no such publish.
    pub fn taken(&self, slot: Slot) -> u32 {
        self.state(slot).taken.load(Ordering::SeqCst)
    }

    /// Publishes of a slot that were taken and answered since the start.
    pub fn total(&self, slot: Slot) -> u64 {
        self.state(slot).total.load(Ordering::Relaxed)
    }

    /// Counts a publish as taken, if the slot is served in `epoch`; otherwise says why not, and the epoch known here.
    pub(crate) fn take(&self, slot: Slot, epoch: u64) -> Result<(), (Refusal, u64)> {
        let state = self.state(slot);
        // Counted before the look, as who stops serving stops before looking at the count.
        state.taken.fetch_add(1, Ordering::SeqCst);
        let taken = self.take_another(slot, epoch);
        if taken.is_err() {
            state.taken.fetch_sub(1, Ordering::SeqCst);
        }
        taken
    }

    /// Takes a publish that needs no count of its own: the caller has taken one of this slot that is not answered yet.
    pub(crate) fn take_another(&self, slot: Slot, epoch: u64) -> Result<(), (Refusal, u64)> {
        let (serving, known) = unpack(self.state(slot).word.load(Ordering::SeqCst));
        match serving {
            Serving::Yes if epoch == known => Ok(()),
            Serving::Warming if epoch <= known => Err((Refusal::Warming, known)),
            _ => Err((Refusal::NotOwner, known)),
        }
    }

    /// What [`take`](Self::take) counted is answered, or never will be: so many publishes, of which all but one were
    /// [taken with it](Self::take_another).
    pub(crate) fn answered(&self, slot: Slot, publishes: u32) {
        let state = self.state(slot);
        state.total.fetch_add(u64::from(publishes), Ordering::Relaxed);
        state.taken.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether what was taken in `epoch` may be acknowledged at `now`: the slot is still this router's, and so is its lease.
    pub fn may_acknowledge(&self, slot: Slot, epoch: u64, now: Instant) -> bool {
        let (serving, known) = self.get(slot);
        let owns = matches!(serving, Serving::Yes | Serving::Draining) && known == epoch;
        owns && self.nanos(now) < self.lease.load(Ordering::SeqCst)
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::indexing_slicing, reason = "there is a state for each slot")]
    fn state(&self, slot: Slot) -> &State {
        &self.slots[usize::from(slot.index())]
    }
}

/// How long before the end of a lease a router stops acknowledging: clocks of two machines run apart by less in one lease.
pub const MARGIN: Duration = Duration::from_millis(100);

fn pack(serving: Serving, epoch: u64) -> u64 {
    let bits = match serving {
        Serving::No => 0,
        Serving::Warming => 1,
        Serving::Yes => 2,
        Serving::Draining => 3,
    };
    (epoch << 2) | bits
}

fn unpack(word: u64) -> (Serving, u64) {
    let serving = match word & 3 {
        0 => Serving::No,
        1 => Serving::Warming,
        2 => Serving::Yes,
        _ => Serving::Draining,
    };
    (serving, word >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "some moment to count from")]
    fn slots() -> (Slots, Slot, Instant) {
        let start = Instant::now();
        (Slots::new(start), Slot::new(7).unwrap(), start)
    }

    #[test]
    fn publishes_are_taken_in_the_epoch_that_is_served() {
        let (slots, slot, _) = slots();
        assert_eq!(slots.take(slot, 1), Err((Refusal::NotOwner, 0)));
        slots.set(slot, Serving::Warming, 2);
        assert_eq!(slots.take(slot, 2), Err((Refusal::Warming, 2)));
        slots.set(slot, Serving::Yes, 2);
        assert_eq!(slots.take(slot, 2), Ok(()));
        assert_eq!(slots.take(slot, 1), Err((Refusal::NotOwner, 2)));
        assert_eq!(slots.take(slot, 3), Err((Refusal::NotOwner, 2)));
        slots.set(slot, Serving::Draining, 2);
        assert_eq!(slots.take(slot, 2), Err((Refusal::NotOwner, 2)));
        assert_eq!(slots.taken(slot), 1);
        slots.answered(slot, 1);
        assert_eq!((slots.taken(slot), slots.total(slot)), (0, 1));
    }

    #[test]
    fn an_acknowledgement_needs_the_slot_and_the_lease() {
        let (slots, slot, start) = slots();
        let at = |millis| start + Duration::from_millis(millis);
        slots.set(slot, Serving::Yes, 5);
        assert!(!slots.may_acknowledge(slot, 5, at(1)), "no lease yet");
        slots.extend_lease(at(2000));
        slots.extend_lease(at(1000));
        assert!(slots.may_acknowledge(slot, 5, at(1999)) && !slots.may_acknowledge(slot, 5, at(2000)));
        assert!(!slots.may_acknowledge(slot, 4, at(1)));
        slots.set(slot, Serving::Draining, 5);
        assert!(slots.may_acknowledge(slot, 5, at(1)));
        slots.set(slot, Serving::No, 5);
        assert!(!slots.may_acknowledge(slot, 5, at(1)));
        slots.set(slot, Serving::Yes, 6);
        slots.end_lease();
        assert!(!slots.may_acknowledge(slot, 6, at(1)));
    }
}
