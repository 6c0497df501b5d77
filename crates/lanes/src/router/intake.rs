//! One gateway core's lane as a router takes it.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Instant;

use fleethaven_fabric::routing::Owned;
use fleethaven_storage::{Error, Fence, Ticket};
use fleethaven_topics::Slot;
use rustc_hash::FxHashMap;

use super::slots::Slots;
use crate::frame::{Outcome, Publication, Refusal, Reply};

/// What is done with a publish.
#[derive(Debug)]
pub enum Admission {
    /// It is submitted to the router.
    Take {
        /// If an answer is waited for.
        ticket: Option<Ticket>,
        /// How its slot is owned.
        owned: Owned,
    },
    /// It is not taken, and this is sent.
    Refuse(Reply),
    /// It is not taken; the gateway knows already.
    Pass,
}

/// One lane: checks what comes, and turns what the router says of it into replies.
#[derive(Debug)]
pub struct Intake {
    slots: Arc<Slots>,
    runs: FxHashMap<Slot, Run>,
    /// What is not answered, by ticket from `first` on.
    pending: VecDeque<Option<Pending>>,
    first: u64,
    /// Slots of which publishes that need no answer were taken since they were submitted last.
    unanswered: Vec<Slot>,
}

#[derive(Debug)]
struct Run {
    number: u32,
    last: u64,
    /// From this stamp on nothing is taken, and nothing acknowledged.
    refused_from: Option<u64>,
    untold: Untold,
}

/// Publishes that need no answer, taken since they were submitted last; one count at [`Slots`] is theirs.
#[derive(Debug, Clone, Copy, Default)]
struct Untold {
    publishes: u32,
    stamp: u64,
}

#[derive(Debug)]
struct Pending {
    slot: Slot,
    epoch: u64,
    run: u32,
    stamp: u64,
    /// The lease was over when it was taken: the store's answer is proof of ownership.
    doubtful: bool,
}

impl Intake {
    /// A lane that has just been opened.
    pub fn new(slots: Arc<Slots>) -> Self {
        let (runs, pending, unanswered) = (FxHashMap::default(), VecDeque::new(), Vec::new());
        Self { slots, runs, pending, first: 1, unanswered }
    }

    /// A publish has come.
    pub fn admit(&mut self, publication: &Publication, now: Instant) -> Admission {
        let Publication { slot, epoch, run, stamp, skipped, acknowledge, .. } = *publication;
        let fresh = || Run { number: run, last: 0, refused_from: None, untold: Untold::default() };
        let (known, is_new) = match self.runs.entry(slot) {
            Entry::Occupied(known) => (known.into_mut(), false),
            Entry::Vacant(place) => (place.insert(fresh()), true),
        };
        let goes_on = !is_new && known.number == run;
        if goes_on && known.refused_from.is_some() || !is_new && newer(known.number, run) {
            return Admission::Pass;
        }
        // A stream loses nothing: what is missing was never sent.
        let in_order = !goes_on || stamp.checked_sub(known.last) == skipped.checked_add(1);
        // One count for all that need no answer.
        let counted = !acknowledge && known.untold.publishes > 0;
        let taken = match (in_order, counted) {
            (false, _) => Err((Refusal::Gap, epoch)),
            (true, false) => self.slots.take(slot, epoch),
            (true, true) => self.slots.take_another(slot, epoch),
        };
        if !goes_on {
            *known = Run { untold: known.untold, ..fresh() };
        }
        if let Err((reason, epoch)) = taken {
            known.refused_from = Some(stamp);
            return Admission::Refuse(Reply::Refused { slot, run, from_stamp: stamp, epoch, reason });
        }
        known.last = stamp;
        let doubtful = acknowledge && !self.slots.may_acknowledge(slot, epoch, now);
        let owned = Owned { fence: Fence { slot: slot.index(), epoch }, doubtful };
        if !acknowledge {
            if !counted {
                self.unanswered.push(slot);
            }
            known.untold = Untold { publishes: known.untold.publishes.saturating_add(1), stamp };
            return Admission::Take { ticket: None, owned };
        }
        self.pending.push_back(Some(Pending { slot, epoch, run, stamp, doubtful }));
        Admission::Take { ticket: Some(Ticket(self.first + self.pending.len() as u64 - 1)), owned }
    }

    /// What was admitted has been submitted to the router. Appends what is done with that.
    pub fn submitted(&mut self, replies: &mut Vec<Reply>) {
        let Self { slots, runs, unanswered, .. } = self;
        replies.extend(unanswered.drain(..).filter_map(|slot| {
            let Untold { publishes, stamp } = std::mem::take(&mut runs.get_mut(&slot)?.untold);
            slots.answered(slot, publishes);
            Some(Reply::Taken { slot, stamp })
        }));
    }

    /// The router says what became of a publish. The reply must leave at once: `now` decides whether it may.
    pub fn published(
        &mut self,
        ticket: Ticket,
        matched: bool,
        result: Result<(), Error>,
        now: Instant,
    ) -> Option<Reply> {
        let index = usize::try_from(ticket.0.checked_sub(self.first)?).ok()?;
        let Pending { slot, epoch, run, stamp, doubtful } = self.pending.get_mut(index)?.take()?;
        while let Some(None) = self.pending.front() {
            self.pending.pop_front();
            self.first += 1;
        }
        // Whatever came after it in its lane must not overtake it: the lane sends it all again, in order.
        let unknown = matches!(result, Err(Error::Fenced | Error::Unavailable(_)));
        let may = !unknown && (doubtful || self.slots.may_acknowledge(slot, epoch, now));
        self.slots.answered(slot, 1);
        let known = self.runs.get_mut(&slot)?;
        if known.number == run && known.refused_from.is_some_and(|from| from <= stamp) {
            return None;
        }
        if may {
            let outcome = match result {
                Ok(()) => Outcome::Durable { matched },
                Err(error) => Outcome::Failed(error),
            };
            return Some(Reply::Answered { slot, stamp, outcome });
        }
        if known.number != run {
            // The gateway has this one in a later run, too.
            return None;
        }
        known.refused_from = Some(stamp);
        let (_, epoch) = self.slots.get(slot);
        Some(Reply::Refused { slot, run, from_stamp: stamp, epoch, reason: Refusal::Fenced })
    }

    /// Whether everything that was taken is answered.
    pub fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many publishes are taken and not answered.
    pub fn unanswered(&self) -> usize {
        self.pending.len()
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        let pending = self.pending.iter().flatten().map(|pending| pending.slot);
        pending.for_each(|slot| self.slots.answered(slot, 1));
        let untold = |slot: &Slot| self.runs.get(slot).map_or(0, |run| run.untold.publishes);
        self.unanswered.iter().for_each(|slot| self.slots.answered(*slot, untold(slot)));
    }
}

/// Whether run `a` began after run `b`; the numbers wrap.
fn newer(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < u32::MAX / 2
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "some moment to count from")]
mod tests {
    use fleethaven_types::{Message, Publisher, QoS, Scope, Timestamp};

    use super::*;
    use crate::router::Serving;

    fn publication(slot: Slot, stamp: u64, acknowledge: bool) -> Publication {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        let publisher = Publisher { scope, client_id: None, principal: None, source_ip: None, trace: 0 };
        let message = Message {
            topic: "a/b".into(),
            payload: bytes::Bytes::new(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: None,
            received_at: Timestamp(1),
            expires_at: None,
            sequence: stamp,
            hops: 0,
            publisher: Arc::new(publisher),
        };
        let (message, from, once) = (Arc::new(message), None, None);
        Publication { slot, epoch: 1, run: 1, stamp, skipped: 0, acknowledge, message, from, once }
    }

    #[test]
    fn what_needs_no_answer_is_counted_once_and_told_once() {
        let now = Instant::now();
        let (slots, slot) = (Arc::new(Slots::new(now)), Slot::new(7).unwrap());
        slots.set(slot, Serving::Yes, 1);
        let mut intake = Intake::new(slots.clone());
        let take = |intake: &mut Intake, stamp, acknowledge| match intake
            .admit(&publication(slot, stamp, acknowledge), now)
        {
            Admission::Take { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        };
        for stamp in 1..=3 {
            assert_eq!(take(&mut intake, stamp, false), None);
        }
        let ticket = take(&mut intake, 4, true).unwrap();
        assert_eq!((slots.taken(slot), slots.total(slot)), (2, 0));

        // The slot goes while they are on their way: no more is taken, and what was is answered.
        slots.set(slot, Serving::Draining, 1);
        let refused = intake.admit(&publication(slot, 5, false), now);
        assert!(matches!(refused, Admission::Refuse(Reply::Refused { from_stamp: 5, .. })), "{refused:?}");
        let mut replies = Vec::new();
        intake.submitted(&mut replies);
        assert!(matches!(replies[..], [Reply::Taken { stamp: 3, .. }]), "{replies:?}");
        assert_eq!((slots.taken(slot), slots.total(slot)), (1, 3));
        intake.submitted(&mut replies);
        assert_eq!(replies.len(), 1);

        intake.published(ticket, true, Ok(()), now);
        assert_eq!((slots.taken(slot), slots.total(slot)), (0, 4));
    }

    #[test]
    fn a_lane_that_ends_leaves_nothing_taken() {
        let now = Instant::now();
        let (slots, slot) = (Arc::new(Slots::new(now)), Slot::new(7).unwrap());
        slots.set(slot, Serving::Yes, 1);
        let mut intake = Intake::new(slots.clone());
        for stamp in 1..=4 {
            let taken = intake.admit(&publication(slot, stamp, stamp > 2), now);
            assert!(matches!(taken, Admission::Take { .. }), "{taken:?}");
        }
        drop(intake);
        assert_eq!(slots.taken(slot), 0);
    }
}
