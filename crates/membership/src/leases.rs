//! How long who is believed to be alive, as the leader of the metastore counts it (protocols B4).
//!
//! A lease is only ever counted too long, never too short: it begins when the renewal reaches the leader, which is after it was
//! asked for, and ends [`DRIFT`] later than it would; a new leader grants a full one to all; time in which the leader stood
//! still does not count. So a member that stops when its own clock says that its lease is over has stopped before anyone
//! else owns what it owned. Time is that of a monotonic clock of the caller's, since any moment: the wall clock may jump as it
//! likes.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::LEASE;
use crate::member::Incarnation;

/// How much longer the leader waits than the member does: what two clocks may differ by in the course of a lease.
pub const DRIFT: Duration = Duration::from_millis(200);

/// A leader that looks at its leases so much later than the time before has stood still.
pub const STALL: Duration = Duration::from_millis(500);

/// What a renewal comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The lease goes on.
    Renewed,
    /// It has run out, and the member is being removed.
    Ending,
    /// Not known here, yet or any more: whether it is a member stands in the state.
    Unknown,
    /// Leases are counted in another term, or nowhere.
    NotLeading,
}

/// The leases of one leader.
#[derive(Debug, Clone, Default)]
pub struct Leases {
    /// The term in which this node leads.
    term: Option<u64>,
    /// When each lease ends; `None` while its member is being removed.
    ends: BTreeMap<Incarnation, Option<Duration>>,
    looked: Option<Duration>,
}

impl Leases {
    /// The term whose leases these are.
    pub fn term(&self) -> Option<u64> {
        self.term
    }

    /// This node leads in `term`, and had applied at `now` all that was committed before: `members` are all that there are.
    pub fn begin(&mut self, term: u64, members: impl IntoIterator<Item = Incarnation>, now: Duration) {
        let ends = members.into_iter().map(|member| (member, Some(end(now)))).collect();
        *self = Self { term: Some(term), ends, looked: Some(now) };
    }

    /// This node leads no more.
    pub fn stop(&mut self) {
        *self = Self::default();
    }

    /// Renews the lease of `member`, as asked at `asked`. `term` is that in which this node was confirmed to lead after that.
    pub fn renew(&mut self, term: u64, member: Incarnation, asked: Duration) -> Renewal {
        if self.term != Some(term) {
            return Renewal::NotLeading;
        }
        match self.ends.get_mut(&member) {
            Some(Some(ends)) => {
                *ends = (*ends).max(end(asked));
                Renewal::Renewed
            }
            Some(None) => Renewal::Ending,
            None => Renewal::Unknown,
        }
    }

    /// `member` asked at `asked` for its lease to go on: it is alive, also while nobody can confirm that this node leads. It is told so
    /// only by [`Leases::renew`], so that it counts on nothing more.
    pub fn heard(&mut self, member: Incarnation, asked: Duration) {
        if let Some(Some(ends)) = self.ends.get_mut(&member) {
            *ends = (*ends).max(end(asked));
        }
    }

    /// Grants leases to those of `members` that have none, forgets those of others, and returns whose leases have run out: these
    /// are to be removed.
    pub fn look(
        &mut self,
        members: impl IntoIterator<Item = Incarnation>,
        now: Duration,
    ) -> Vec<Incarnation> {
        let mut known = std::mem::take(&mut self.ends);
        let granted = |member| (member, known.remove(&member).unwrap_or(Some(end(now))));
        self.ends = members.into_iter().map(granted).collect();
        let since = self.looked.replace(now).map_or(Duration::ZERO, |looked| now.saturating_sub(looked));
        let stood_still = if since > STALL { since } else { Duration::ZERO };
        let mut over = Vec::new();
        for (member, lease) in &mut self.ends {
            let Some(ends) = lease else { continue };
            *ends += stood_still;
            if *ends <= now {
                *lease = None;
                over.push(*member);
            }
        }
        over
    }

    /// `member`, whose lease ran out in `term`, could not be removed: tried again at the next look, unless another term has
    /// granted it a new one.
    pub fn retry(&mut self, term: u64, member: Incarnation, now: Duration) {
        let lease = self.ends.get_mut(&member).filter(|_| self.term == Some(term));
        if let Some(ended @ None) = lease {
            *ended = Some(now);
        }
    }
}

fn end(granted: Duration) -> Duration {
    granted + LEASE + DRIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Incarnation = Incarnation(1);
    const B: Incarnation = Incarnation(2);
    const TICK: Duration = Duration::from_millis(100);

    #[test]
    fn who_asks_while_no_quorum_confirms_is_not_taken_for_dead() {
        let (mut leases, mut now) = (Leases::default(), TICK);
        leases.begin(1, [A, B], now);
        let mut over = Vec::new();
        for _ in 0..50 {
            over.extend(pass(&mut leases, &mut now, TICK));
            leases.heard(A, now);
            leases.heard(Incarnation(3), now);
        }
        assert_eq!(over, [B], "nothing was heard of it");
        leases.heard(B, now);
        assert_eq!(leases.renew(1, B, now), Renewal::Ending);
    }

    /// Looks every tick for `span`; who ran out, and when.
    fn pass(leases: &mut Leases, now: &mut Duration, span: Duration) -> Vec<Incarnation> {
        let until = *now + span;
        let mut over = Vec::new();
        while *now < until {
            *now += TICK;
            over.extend(leases.look([A, B], *now));
        }
        over
    }

    #[test]
    fn who_does_not_renew_runs_out_once() {
        let mut now = Duration::from_secs(100);
        let mut leases = Leases::default();
        assert_eq!(leases.renew(1, A, now), Renewal::NotLeading);
        leases.begin(1, [A, B], now);
        assert_eq!(pass(&mut leases, &mut now, LEASE), []);
        assert_eq!(leases.renew(1, A, now), Renewal::Renewed);
        assert_eq!(leases.renew(2, B, now), Renewal::NotLeading, "confirmed in another term");
        assert_eq!(pass(&mut leases, &mut now, DRIFT), [B]);
        assert_eq!(leases.renew(1, B, now), Renewal::Ending);
        assert_eq!(pass(&mut leases, &mut now, TICK), []);
        leases.retry(1, B, now);
        assert_eq!(pass(&mut leases, &mut now, TICK), [B], "it could not be removed");
        assert_eq!(leases.look([A], now), [], "gone");
        assert_eq!(leases.renew(1, B, now), Renewal::Unknown);
    }

    #[test]
    fn an_older_request_does_not_shorten_a_lease() {
        let mut now = Duration::from_secs(100);
        let mut leases = Leases::default();
        leases.begin(1, [A], now);
        let earlier = now;
        pass(&mut leases, &mut now, LEASE);
        leases.renew(1, A, now);
        leases.renew(1, A, earlier);
        assert_eq!(leases.look([A], now + LEASE), []);
    }

    #[test]
    fn a_new_leader_grants_all_a_full_lease() {
        let mut now = Duration::from_secs(100);
        let mut leases = Leases::default();
        leases.begin(1, [A, B], now);
        pass(&mut leases, &mut now, LEASE);
        leases.begin(2, [A, B], now);
        leases.retry(1, A, now);
        assert_eq!(pass(&mut leases, &mut now, LEASE + DRIFT - TICK), []);
        leases.stop();
        assert_eq!(leases.term(), None);
    }

    #[test]
    fn time_in_which_the_leader_stood_still_does_not_count() {
        let mut now = Duration::from_secs(100);
        let mut leases = Leases::default();
        leases.begin(1, [A, B], now);
        pass(&mut leases, &mut now, LEASE / 2);
        now += Duration::from_secs(60);
        assert_eq!(leases.look([A, B], now), []);
        assert_eq!(pass(&mut leases, &mut now, LEASE / 2), []);
        assert_eq!(pass(&mut leases, &mut now, DRIFT), [A, B]);
    }

    #[test]
    fn who_joins_has_a_lease_from_when_it_is_seen() {
        let now = Duration::from_secs(100);
        let mut leases = Leases::default();
        leases.begin(1, [], now);
        assert_eq!(leases.renew(1, A, now), Renewal::Unknown);
        assert_eq!(leases.look([A], now), []);
        assert_eq!(leases.renew(1, A, now), Renewal::Renewed);
    }
}
