//! Records of clean sessions, written a little later while clients come and go by the thousand.
//!
//! Such a record is only for the next process, should this one die: it tells of the connection's end and goes on with the client's
//! version numbers. In a storm most clients have come back, or gone, before anybody could want it. So only so many records are
//! written at once in each [`PERIOD`]; above that each waits for as long, and a session that came and went meanwhile leaves no write
//! but that of its client's last departure. When the process is killed in a storm, that much is forgotten. What has waited is written
//! in small parts, as it came, so that the disk's thread does not hold its core for long.
//!
//! A client's records are written together and before anything else of that client, so that what is on disk was true at some time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::engine::Engine;
use crate::keys;
use crate::record::encode;
use crate::sessions::Client;

/// How long records wait at most.
const PERIOD: Duration = Duration::from_millis(100);
/// How often some of them are written, those that have waited long enough.
const STEP: Duration = Duration::from_millis(5);
/// Records of a period above which the next ones wait: a few hundred clients a second come and go unhurt.
const AT_ONCE: usize = 100;
/// Clients above which those that wait longest wait no more.
const CLIENTS: usize = 10_000;

/// A record, by its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// In `sessions`.
    Session(u64),
    /// In `departed`.
    Departed(u64),
}

/// What is to be done with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is written for the first time, as the tables in memory have it then.
    Create,
    /// It is written anew.
    Replace,
    Remove,
}

/// What waits.
#[derive(Default)]
pub(crate) struct WriteBehind {
    clients: FxHashMap<Client, Waiting>,
    /// Clients in the order of their turns, and since when they wait; those of turns that are over are passed by.
    queue: VecDeque<(Instant, Turn, Client)>,
    /// Those that were not there when it was last looked what is due.
    fresh: Vec<(Turn, Client)>,
    last_turn: Turn,
    /// When the present period ends, and how many records were written in it.
    until: Option<Instant>,
    written: usize,
    /// When what has waited long enough is looked for again.
    step: Option<Instant>,
}

type Turn = u64;

/// What waits of one client.
struct Waiting {
    turn: Turn,
    changes: Vec<(Record, Change)>,
}

impl WriteBehind {
    /// Something is to be done with a record. One that goes before it was ever written is not written at all.
    pub(crate) fn note(&mut self, client: &Client, record: Record, change: Change) {
        let waiting = self.clients.entry(client.clone()).or_insert_with(|| {
            self.last_turn += 1;
            self.fresh.push((self.last_turn, client.clone()));
            Waiting { turn: self.last_turn, changes: Vec::new() }
        });
        let changes = &mut waiting.changes;
        let before =
            changes.iter().position(|(waiting, _)| *waiting == record).map(|at| changes.remove(at).1);
        match (before, change) {
            (Some(Change::Create), Change::Remove) => {}
            (Some(Change::Create), _) => changes.push((record, Change::Create)),
            _ => changes.push((record, change)),
        }
        if changes.is_empty() {
            self.clients.remove(client);
        }
    }

    /// What waits of one client.
    fn take(&mut self, client: &Client) -> Vec<(Record, Change)> {
        self.clients.remove(client).map(|waiting| waiting.changes).unwrap_or_default()
    }

    /// What is to be written now: in a hurry all of it.
    fn due(&mut self, now: Instant, hurry: bool) -> Vec<(Client, Vec<(Record, Change)>)> {
        self.queue.extend(self.fresh.drain(..).map(|(turn, client)| (now, turn, client)));
        if self.clients.is_empty() {
            self.queue.clear();
            return Vec::new();
        }
        if self.until.is_none_or(|until| until <= now) {
            (self.until, self.written) = (Some(now + PERIOD), 0);
        }
        let step = self.step.is_none_or(|step| step <= now);
        let mut due = Vec::new();
        while let Some((since, ..)) = self.queue.front() {
            let waited = step && now.saturating_duration_since(*since) >= PERIOD;
            if !(hurry || waited || self.written < AT_ONCE || self.clients.len() >= CLIENTS) {
                break;
            }
            let Some((_, turn, client)) = self.queue.pop_front() else { break };
            if self.clients.get(&client).is_some_and(|waiting| waiting.turn == turn) {
                let changes = self.take(&client);
                self.written += changes.len();
                due.push((client, changes));
            }
        }
        if step {
            self.step = Some(now + STEP);
        }
        due
    }

    /// When something that waits is to be written.
    pub(crate) fn next(&self) -> Option<Instant> {
        let (since, ..) = self.queue.front().filter(|_| !self.clients.is_empty())?;
        let waited = (*since + PERIOD).max(self.step?);
        self.until.map(|until| until.min(waited))
    }
}

impl Engine {
    /// Has what waits written with the present batch, if it is time, or in a hurry.
    pub(crate) fn write_behind(&mut self, hurry: bool) {
        for (client, changes) in self.behind.due(now(), hurry) {
            changes.into_iter().for_each(|(record, change)| self.put(&client, record, change));
        }
    }

    /// Has what waits of `client` written with the present batch, before something that does not wait.
    pub(crate) fn catch_up(&mut self, client: &Client) {
        for (record, change) in self.behind.take(client) {
            self.put(client, record, change);
        }
    }

    fn put(&mut self, client: &Client, record: Record, change: Change) {
        let (space, id, value) = match record {
            Record::Session(id) => {
                let session = self.sessions.get(id).map(|session| encode(&session.row()));
                (&self.disk.sessions, id, session)
            }
            Record::Departed(id) => {
                let departed = self.sessions.departures.get(client).filter(|departed| departed.session == id);
                (&self.disk.departed, id, departed.map(|departed| encode(&departed.row(&client.id))))
            }
        };
        let key = keys::scoped(client.scope, id);
        match (change, value) {
            (Change::Create | Change::Replace, Some(value)) => self.batch.insert(space, key, value),
            (Change::Create | Change::Replace, None) => {}
            (Change::Remove, _) => self.batch.remove(space, key),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "paces the disk and decides nothing; the store's own clock may stand still"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use fleethaven_types::Scope;

    use super::*;

    fn client(number: usize) -> Client {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        Client { scope, id: number.to_string().into() }
    }

    #[test]
    fn what_came_and_went_leaves_its_last_departure() {
        let (mut behind, one) = (WriteBehind::default(), client(1));
        for session in 1..=5 {
            behind.note(&one, Record::Session(session), Change::Create);
            behind.note(&one, Record::Session(session), Change::Remove);
            behind.note(&one, Record::Departed(session), Change::Create);
            behind.note(&one, Record::Departed(session - 1), Change::Remove);
        }
        assert_eq!(
            behind.take(&one),
            [(Record::Departed(0), Change::Remove), (Record::Departed(5), Change::Create)],
            "the first one's was on disk"
        );
        assert_eq!(behind.next(), None);
    }

    #[test]
    fn what_is_on_disk_is_removed_though_it_was_to_be_replaced() {
        let (mut behind, one, record) = (WriteBehind::default(), client(1), Record::Session(1));
        behind.note(&one, record, Change::Create);
        behind.note(&one, record, Change::Replace);
        assert_eq!(behind.take(&one), [(record, Change::Create)]);
        behind.note(&one, record, Change::Replace);
        behind.note(&one, record, Change::Remove);
        assert_eq!(behind.take(&one), [(record, Change::Remove)]);
    }

    #[test]
    fn above_so_many_records_the_next_ones_wait() {
        let (mut behind, start) = (WriteBehind::default(), now());
        let mut come = |number: usize, at, hurry| {
            behind.note(&client(number), Record::Session(number as u64), Change::Create);
            (behind.due(at, hurry).len(), behind.next())
        };
        for number in 0..AT_ONCE {
            assert_eq!(come(number, start, false), (1, None));
        }
        let (end, half) = (start + PERIOD, start + PERIOD / 2);
        assert_eq!(come(1000, start, false), (0, Some(end)));
        assert_eq!(come(1001, half, false), (0, Some(end)));
        assert_eq!(come(1002, end, false), (3, None), "a new period");
        for number in 3..AT_ONCE {
            assert_eq!(come(number, end, false), (1, None));
        }
        assert_eq!(come(1003, end + STEP, false), (0, Some(end + PERIOD)));
        assert_eq!(come(1004, end + STEP, true), (2, None), "in a hurry");
        assert!((0..CLIENTS).all(|number| (come(number, end, false).0 == 0) == (number < CLIENTS - 1)));
    }

    #[test]
    fn what_has_waited_is_written_in_the_order_in_which_it_came_and_in_small_parts() {
        let (mut behind, start) = (WriteBehind::default(), now());
        let note = |behind: &mut WriteBehind, number: usize| {
            behind.note(&client(number), Record::Session(number as u64), Change::Create);
        };
        (0..AT_ONCE).for_each(|number| note(&mut behind, number));
        assert_eq!(behind.due(start, false).len(), AT_ONCE);
        for number in 0..100 {
            note(&mut behind, number);
            assert!(behind.due(start + Duration::from_millis(number as u64), false).is_empty());
        }
        // The tenth one was written with something else of its client, and has waited since.
        assert_eq!(behind.take(&client(10)).len(), 1);
        note(&mut behind, 10);
        // Nobody's turn yet, and as many at once as the new period has room for.
        let mut written = Vec::new();
        let mut at = start + PERIOD;
        behind.written = AT_ONCE;
        behind.until = Some(at + 3 * PERIOD);
        while let Some(next) = behind.next() {
            assert!(at <= next && next <= at + PERIOD);
            at = next;
            let due = behind.due(at, false);
            assert!(due.len() <= 6, "those of a step: {}", due.len());
            written.extend(due.into_iter().map(|(client, _)| client.id.to_string()));
        }
        let expected: Vec<_> =
            (0..100).filter(|number| *number != 10).chain([10]).map(|n| n.to_string()).collect();
        assert_eq!(written, expected);
    }
}
