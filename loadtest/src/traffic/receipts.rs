//! What came, how late, and what is missing.

use hdrhistogram::Histogram;

use super::{Layout, Plan};
use crate::report;
use crate::stamp::Stamp;
use crate::tally::{Counts, Tally};

/// All deliveries of a run.
pub(super) struct Receipts {
    layout: Layout,
    streams: usize,
    tallies: Vec<Tally>,
    /// Nanoseconds from the time due to the time read.
    pub(super) latency: Histogram<u64>,
    /// Deliveries of this run's messages, duplicates included.
    pub(super) received: u64,
    /// Deliveries that were no duplicates.
    pub(super) distinct: u64,
    /// Deliveries to a subscriber that did not ask for them, or of nobody's message.
    pub(super) stray: u64,
}

impl Receipts {
    pub(super) fn new(plan: &Plan<'_>) -> anyhow::Result<Self> {
        let accounts = match plan.layout {
            Layout::Everyone => plan.subscribers * plan.publishers,
            Layout::Shared | Layout::Paired => plan.publishers,
        };
        anyhow::ensure!(accounts <= 10_000_000, "too many publishers for so many subscribers");
        Ok(Self {
            layout: plan.layout,
            streams: plan.publishers,
            tallies: std::iter::repeat_with(Tally::default).take(accounts).collect(),
            latency: report::histogram()?,
            received: 0,
            distinct: 0,
            stray: 0,
        })
    }

    /// Takes one delivery, read at `now` nanoseconds of the run; gives its stream if it is the first of its
    /// message, not a duplicate or a stray.
    pub(super) fn take(&mut self, subscriber: usize, payload: &[u8], now: u64) -> Option<usize> {
        let taken = Stamp::read(payload).and_then(|stamp| {
            let stream = stamp.stream as usize;
            let first = self.account(subscriber, stream)?.seen(stamp.sequence);
            Some((stream, stamp.sent, first))
        });
        let Some((stream, sent, first)) = taken else {
            self.stray += 1;
            return None;
        };
        self.received += 1;
        self.distinct += u64::from(first);
        self.latency.saturating_record(now.saturating_sub(sent).max(1));
        first.then_some(stream)
    }

    fn account(&mut self, subscriber: usize, stream: usize) -> Option<&mut Tally> {
        if stream >= self.streams {
            return None;
        }
        let at = match self.layout {
            Layout::Everyone => subscriber * self.streams + stream,
            Layout::Shared => stream,
            Layout::Paired if subscriber == stream => stream,
            Layout::Paired => return None,
        };
        self.tallies.get_mut(at)
    }

    /// The sum over all accounts.
    pub(super) fn counts(&self) -> Counts {
        self.tallies.iter().map(Tally::counts).fold(Counts::default(), Counts::add)
    }
}
