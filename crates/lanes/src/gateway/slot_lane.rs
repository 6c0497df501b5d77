//! The publishes of one slot: in order, numbered, kept until they are answered.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use fleethaven_fabric::membership::Incarnation;
use fleethaven_storage::{Once, SessionId, Ticket};
use fleethaven_types::{Message, QoS};

/// What a publish takes up beside its topic and payload, in bytes.
const OVERHEAD: usize = 128;

/// A publish that is not known to be done.
#[derive(Debug)]
pub(crate) struct Outstanding {
    pub(crate) ticket: Option<Ticket>,
    pub(crate) message: Arc<Message>,
    pub(crate) from: Option<SessionId>,
    pub(crate) once: Option<Once>,
}

impl Outstanding {
    /// Whether it is kept until the router has answered it; others are done once they are taken.
    pub(crate) fn is_acknowledged(&self) -> bool {
        self.ticket.is_some() || self.may_repeat()
    }

    /// Whether it is sent again when it is unknown whether it was taken.
    fn may_repeat(&self) -> bool {
        self.message.qos != QoS::AtMostOnce
    }

    pub(crate) fn size(&self) -> usize {
        OVERHEAD + self.message.topic.len() + self.message.payload.len()
    }
}

/// A stream to a router: the router and how many streams there were before.
pub(crate) type LinkId = (Incarnation, u64);

/// Where a lane stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// Nothing is in a router's hands.
    Stopped,
    /// The owner gets it.
    Sending { link: LinkId, epoch: u64 },
    /// What was sent before the owner stopped taking it, or before it was the owner no more, is waited for: until this
    /// moment, if there is one. Not sent again before `retry_at`.
    Settling { link: LinkId, until: Option<Instant>, retry_at: Instant },
}

/// The lane of one slot.
#[derive(Debug)]
pub(crate) struct SlotLane {
    items: VecDeque<Option<Outstanding>>,
    /// Stamp of the first of `items`.
    first: u64,
    /// So many of `items` are in a router's hands.
    sent: usize,
    /// Last stamp sent in this run.
    last_sent: Option<u64>,
    pub(crate) number: u32,
    pub(crate) run: Run,
    /// The stream in whose queue it stands.
    pub(crate) queued: Option<LinkId>,
    /// What is kept, in bytes.
    pub(crate) bytes: usize,
}

impl Default for SlotLane {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            first: 1,
            sent: 0,
            last_sent: None,
            number: 0,
            run: Run::Stopped,
            queued: None,
            bytes: 0,
        }
    }
}

/// What is sent of a lane.
pub(crate) struct Next<'a> {
    pub(crate) stamp: u64,
    pub(crate) skipped: u64,
    pub(crate) item: &'a Outstanding,
}

impl SlotLane {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn push(&mut self, item: Outstanding) {
        self.bytes += item.size();
        self.items.push_back(Some(item));
    }

    /// Whether what it has sent is, or was until now, in the hands of the router at the other end of `link`.
    pub(crate) fn is_with(&self, with: LinkId) -> bool {
        matches!(self.run, Run::Sending { link, .. } | Run::Settling { link, .. } if link == with)
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_unsent(&self) -> bool {
        self.items.len() > self.sent
    }

    /// Whether everything that is in a router's hands is answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.items.iter().take(self.sent).all(Option::is_none)
    }

    /// Starts a run to an owner, with all that is not done.
    pub(crate) fn start(&mut self, link: LinkId, epoch: u64) {
        self.number = self.number.wrapping_add(1);
        (self.sent, self.last_sent) = (0, None);
        self.run = Run::Sending { link, epoch };
    }

    /// The next publish of this run, which counts as sent from now on.
    pub(crate) fn next(&mut self) -> Option<Next<'_>> {
        while let Some(item) = self.items.get(self.sent) {
            let stamp = self.first + self.sent as u64;
            self.sent += 1;
            let Some(item) = item else { continue };
            let skipped = self.last_sent.map_or(0, |last| stamp - last - 1);
            self.last_sent = Some(stamp);
            return Some(Next { stamp, skipped, item });
        }
        None
    }

    /// Takes out an answered publish; `None` when it is done already.
    pub(crate) fn answered(&mut self, stamp: u64) -> Option<Outstanding> {
        let index = usize::try_from(stamp.checked_sub(self.first)?).ok()?;
        let item = self.items.get_mut(index)?.take()?;
        self.bytes -= item.size();
        self.pop_done();
        Some(item)
    }

    /// Those up to `stamp` that need no answer are done.
    pub(crate) fn taken(&mut self, stamp: u64) -> usize {
        let count = usize::try_from((stamp + 1).saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.drop_where(0..count.min(self.sent), |item| !item.is_acknowledged(), &mut |_| ())
    }

    /// The owner does not take what came from `from` on; what it has of the lane before that is waited for. With `unknown`
    /// it may have taken some of it.
    pub(crate) fn refused(
        &mut self,
        link: LinkId,
        from: u64,
        unknown: bool,
        retry_at: Instant,
        dropped: &mut dyn FnMut(Outstanding),
    ) -> usize {
        let kept = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.sent);
        self.run = Run::Settling { link, until: None, retry_at };
        let unknown_to = if unknown { self.sent } else { kept };
        self.sent = kept;
        self.drop_where(kept..unknown_to, |item| !item.may_repeat(), dropped)
    }

    /// Nothing that was sent will be answered any more. What may have been taken and may not come twice is dropped.
    pub(crate) fn void(&mut self, dropped: &mut dyn FnMut(Outstanding)) -> usize {
        let sent = std::mem::take(&mut self.sent);
        self.run = Run::Stopped;
        self.drop_where(0..sent, |item| !item.may_repeat(), dropped)
    }

    /// Everything that is not done, in order; the lane is empty afterwards.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Outstanding> + use<> {
        let items = std::mem::take(&mut self.items);
        (self.first, self.sent, self.bytes) = (self.first + items.len() as u64, 0, 0);
        items.into_iter().flatten()
    }

    /// Drops what is not wanted any more of a range; returns the bytes that it took up.
    fn drop_where(
        &mut self,
        range: Range<usize>,
        unwanted: impl Fn(&Outstanding) -> bool,
        dropped: &mut dyn FnMut(Outstanding),
    ) -> usize {
        let (start, end) = (range.start.min(self.items.len()), range.end.min(self.items.len()));
        let mut freed = 0;
        for place in self.items.range_mut(start..end.max(start)) {
            if let Some(item) = place.take_if(|item| unwanted(item)) {
                freed += item.size();
                dropped(item);
            }
        }
        self.bytes -= freed;
        self.pop_done();
        freed
    }

    fn pop_done(&mut self) {
        while let Some(None) = self.items.front() {
            self.items.pop_front();
            self.first += 1;
            self.sent = self.sent.saturating_sub(1);
        }
        if self.items.is_empty() && self.items.capacity() > KEPT {
            self.items.shrink_to(KEPT);
        }
    }
}

/// Room that an empty lane keeps.
const KEPT: usize = 64;
