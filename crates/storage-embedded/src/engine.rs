//! The commit thread: its state and its loop.

use std::sync::Arc;

use fleethaven_storage::{Completion, Error, Request, Ticket};
use fleethaven_types::Timestamp;

use crate::bodies::Bodies;
use crate::disk::{Disk, meta};
use crate::door::{Door, Port, Work};
use crate::fences::Fences;
use crate::groups::Groups;
use crate::recent::Recent;
use crate::retained::Retained;
use crate::rules::{Rules, Waiting};
use crate::sessions::Sessions;
use crate::space::Batch;
use crate::wills::Wills;
use crate::witness::Witness;
use crate::write_behind::WriteBehind;
use crate::{Options, Stats, keys};

/// Session ids are reserved on disk in blocks of so many, so that a new one costs no write.
const ID_BLOCK: u64 = 4096;

/// Everything the commit thread owns.
pub(crate) struct Engine {
    pub(crate) disk: Disk,
    pub(crate) options: Options,
    pub(crate) stats: Arc<Stats>,
    /// Writes of the current turn.
    pub(crate) batch: Batch,
    /// Writes that may wait for a later turn.
    pub(crate) behind: WriteBehind,
    /// Whether the current turn's writes must be fsynced before they are answered.
    pub(crate) durable: bool,
    /// The number of the last durable commit, and where it is noted.
    pub(crate) last_durable: u64,
    pub(crate) witness: Witness,
    /// The time of the current turn.
    pub(crate) now: Timestamp,
    pub(crate) sessions: Sessions,
    pub(crate) groups: Groups,
    pub(crate) wills: Wills,
    pub(crate) fences: Fences,
    pub(crate) bodies: Bodies,
    /// Queue entries whose messages are cached, by session or group and entry.
    pub(crate) recent: Recent<(u64, u64)>,
    /// Sessions whose newest queue entry went in this turn.
    pub(crate) marks: Vec<u64>,
    pub(crate) retained: Arc<Retained>,
    pub(crate) rules: Arc<Rules>,
    /// Rule entries of this turn, given to workers once they are on disk.
    pub(crate) staged: Vec<Waiting>,
    pub(crate) last_rule: u64,
    pub(crate) dead_letters: std::collections::VecDeque<u64>,
    pub(crate) last_session: u64,
    pub(crate) reserved_sessions: u64,
}

/// One lane's part of a turn.
struct Round {
    port: Arc<Port>,
    completions: Vec<Completion>,
    requests: usize,
    bytes: usize,
}

/// Closes the door however the thread ends, so that nobody waits for it in vain.
struct CloseOnExit<'a> {
    door: &'a Door,
    rules: Arc<Rules>,
}

impl Drop for CloseOnExit<'_> {
    fn drop(&mut self) {
        self.door.close("the commit thread ended");
        self.rules.wake_all();
    }
}

impl Engine {
    /// Takes turns until the door is told to stop or a write fails.
    pub(crate) fn run(mut self, door: &Door) {
        let _closing = CloseOnExit { door, rules: self.rules.clone() };
        loop {
            let work = door.next(self.behind.next());
            let last = work.last;
            if let Err(error) = self.turn(work, door) {
                tracing::error!(%error, "the store cannot write and refuses everything from now on");
                break;
            }
            if last {
                self.flush(door);
                break;
            }
        }
    }

    fn flush(&self, door: &Door) {
        if let Err(error) = self.disk.database.persist(fjall::PersistMode::SyncAll) {
            tracing::error!(%error, "the last flush of the store failed");
        }
        door.close("the store is closed");
    }

    /// One group commit: everything that waits, one batch, at most one fsync.
    fn turn(&mut self, work: Work, door: &Door) -> Result<(), fjall::Error> {
        self.now = (self.options.clock)();
        // Who posts a job waits until what it wrote is on disk.
        let hurry = work.last || !work.jobs.is_empty();
        let mut rounds: Vec<Round> = work.ports.into_iter().map(|port| self.round(port)).collect();
        let finishes: Vec<_> = work.jobs.into_iter().map(|job| job(self)).collect();
        let requests = rounds.iter().map(|round| round.requests).sum();
        let written = self.commit(requests, hurry);
        if let Err(error) = &written {
            door.close(&error.to_string());
            let error = door.unavailable();
            let completions = rounds.iter_mut().flat_map(|round| &mut round.completions);
            completions.for_each(|completion| completion.fail(&error));
        } else {
            finishes.into_iter().for_each(|finish| finish());
        }
        for mut round in rounds {
            round.port.complete(&mut round.completions, round.requests, round.bytes);
        }
        written
    }

    fn round(&mut self, port: Arc<Port>) -> Round {
        let mut requests = Vec::new();
        port.take(&mut requests);
        let (count, bytes) = (requests.len(), requests.iter().map(Request::weight).sum());
        let mut completions = Vec::with_capacity(count);
        completions.extend(requests.into_iter().filter_map(|request| self.carry_out(request)));
        Round { port, completions, requests: count, bytes }
    }

    fn carry_out(&mut self, request: Request) -> Option<Completion> {
        Some(match request {
            Request::Claim(claim) => {
                let ticket = claim.ticket;
                Completion::Claimed { ticket, result: Ok(Box::new(self.claim(*claim))) }
            }
            Request::Subscribe { ticket, session, token, subscriptions } => {
                done(ticket, self.subscribe(session, token, subscriptions))
            }
            Request::Unsubscribe { ticket, session, token, filters } => {
                done(ticket, self.unsubscribe(session, token, &filters))
            }
            Request::Publish(publish) => self.publish(*publish),
            Request::Trim { session, token, entries } => {
                self.trim(session, token, &entries);
                return None;
            }
            Request::Release { ticket, session, token, entries } => {
                done(ticket, self.release(session, token, &entries))
            }
            Request::ForgetReceived { ticket, session, token, packet_ids } => {
                done(ticket, self.forget_received(session, token, &packet_ids))
            }
            Request::ReadQueue { ticket, session, token, after, max_entries, max_bytes } => {
                let result = self.read_queue(session, token, after, (max_entries, max_bytes));
                Completion::QueueRead { ticket, result }
            }
            Request::End(end) => done(end.ticket, self.end(&end)),
            Request::WithdrawWill { will } => {
                self.forget_will(will.0);
                return None;
            }
            Request::OpenGroup(open) => {
                Completion::GroupOpened { ticket: open.ticket, result: Ok(self.open_group(*open)) }
            }
            Request::CloseGroup { group, fence } => {
                self.close_group(group, fence);
                return None;
            }
            Request::ClaimShares { ticket, group, max_entries, max_bytes } => {
                let result = self.claim_shares(group, (max_entries, max_bytes));
                Completion::SharesClaimed { ticket, group, result }
            }
            Request::AcknowledgeShares { group, entries } => {
                self.acknowledge_shares(group, &entries);
                return None;
            }
            Request::ReleaseShares { group, entries } => {
                self.release_shares(group, &entries);
                return None;
            }
            Request::HeldShares { ticket, group, max_entries } => {
                let result = Ok(self.held_shares(group, max_entries));
                Completion::SharesHeld { ticket, group, result }
            }
            Request::FindRetained { ticket, scope, filters } => Completion::RetainedFound {
                ticket,
                result: Ok(self.retained.find(scope, &filters, self.now)),
            },
            Request::ReadRetained { ticket, scope, filter, after, max_entries } => {
                let result = self.read_retained(scope, &filter, after.as_ref(), max_entries);
                Completion::Retained { ticket, result }
            }
            Request::RaiseFence { ticket, slots } => done(ticket, self.raise_fences(&slots)),
            Request::CompareTails { ticket, known } => {
                Completion::Tails { ticket, result: Ok(self.compare_tails(&known)) }
            }
            Request::CheckOwners { ticket, owners } => {
                Completion::Owners { ticket, result: Ok(self.sessions.not_owned(&owners)) }
            }
        })
    }

    /// Commits what opening changed, and gives the rule entries found to the workers.
    pub(crate) fn write_opening(&mut self) -> Result<(), fjall::Error> {
        self.durable = true;
        self.commit(0, true)
    }

    fn commit(&mut self, requests: usize, hurry: bool) -> Result<(), fjall::Error> {
        self.write_tail_marks();
        self.write_behind(hurry);
        let mut batch = std::mem::replace(&mut self.batch, Batch::of(&self.disk.database));
        let durable = std::mem::take(&mut self.durable) && self.options.fsync;
        if !batch.is_empty() {
            if durable {
                self.last_durable += 1;
                batch.insert(&self.disk.meta, meta::DURABLE, keys::number(self.last_durable));
            }
            self.disk.commit(batch, durable)?;
            if durable {
                self.witness.note(self.last_durable)?;
            }
        }
        self.stats.count_batch(requests, durable);
        self.rules.make_ready(&mut self.staged);
        self.evict();
        Ok(())
    }

    /// Remembers the tail of each queue whose newest entry went: otherwise its id would be given out again after a
    /// restart.
    fn write_tail_marks(&mut self) {
        self.marks.sort_unstable();
        self.marks.dedup();
        for session in self.marks.drain(..) {
            if let Some(found) = self.sessions.get(session) {
                let tail = keys::number(found.queue.tail());
                self.batch.insert(&self.disk.queues, keys::of_session(session, 0), tail);
            }
        }
    }

    /// Drops cached messages above the bound; only after a commit, as until then they are not on disk.
    fn evict(&mut self) {
        while let Some((session, entry)) = self.recent.evict() {
            match self.sessions.get_mut(session) {
                Some(session) => session.queue.evict(entry),
                None => self.groups.get_mut(session).into_iter().for_each(|group| group.queue.evict(entry)),
            }
        }
        self.retained.evict();
    }

    /// An id that no session or group ever had.
    pub(crate) fn new_session_id(&mut self) -> u64 {
        self.last_session += 1;
        if self.last_session > self.reserved_sessions {
            self.reserved_sessions += ID_BLOCK;
            let reserved = keys::number(self.reserved_sessions);
            self.batch.insert(&self.disk.meta, meta::SESSION_IDS, reserved);
        }
        self.last_session
    }
}

fn done(ticket: Ticket, result: Result<(), Error>) -> Completion {
    Completion::Done { ticket, result }
}
