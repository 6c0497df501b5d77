//! Records of clean sessions, written a little later while clients come and go by the thousand.
//!
//! Such a record is only for the next process, should this one die: it tells of the connection's end and goes on with the client's
//! version numbers. In a storm most clients have come back, or gone, before anybody could want it. So only so many records are
//! written at once in each [`PERIOD`]; above that they wait for its end, and a session that came and went meanwhile leaves no write
//! but that of its client's last departure. When the process is killed in a storm, that much is forgotten.
//!
//! A client's records are written together and before anything else of that client, so that what is on disk was true at some time.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::engine::Engine;
use crate::keys;
use crate::record::encode;
use crate::sessions::Client;

/// How long records wait at most.
const PERIOD: Duration = Duration::from_millis(100);
/// Records of a period above which the next ones wait: a few hundred clients a second come and go unhurt.
const AT_ONCE: usize = 100;
/// Clients above which nothing waits any more.
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
    clients: FxHashMap<Client, Vec<(Record, Change)>>,
    /// When the present period ends, and how many records were written in it.
    until: Option<Instant>,
    written: usize,
}

impl WriteBehind {
    /// Something is to be done with a record. One that goes before it was ever written is not written at all.
    pub(crate) fn note(&mut self, client: &Client, record: Record, change: Change) {
        let changes = self.clients.entry(client.clone()).or_default();
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
        self.clients.remove(client).unwrap_or_default()
    }

    /// What is to be written now: all of it, or nothing.
    fn due(&mut self, now: Instant, hurry: bool) -> FxHashMap<Client, Vec<(Record, Change)>> {
        if self.clients.is_empty() {
            return FxHashMap::default();
        }
        if self.until.is_none_or(|until| until <= now) {
            (self.until, self.written) = (Some(now + PERIOD), 0);
        }
        if !hurry && self.written >= AT_ONCE && self.clients.len() < CLIENTS {
            return FxHashMap::default();
        }
        self.written += self.clients.values().map(Vec::len).sum::<usize>();
        std::mem::take(&mut self.clients)
    }

    /// When something that waits is to be written.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.until.filter(|_| !self.clients.is_empty())
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
    fn above_so_many_records_the_next_ones_wait_for_the_end_of_the_period() {
        let (mut behind, start) = (WriteBehind::default(), now());
        let mut come = |number: usize, at, hurry| {
            behind.note(&client(number), Record::Session(number as u64), Change::Create);
            (behind.due(at, hurry).len(), behind.next())
        };
        for number in 0..AT_ONCE {
            assert_eq!(come(number, start, false), (1, None));
        }
        let end = start + PERIOD;
        assert_eq!(come(1000, start, false), (0, Some(end)));
        assert_eq!(come(1001, end - PERIOD / 2, false), (0, Some(end)));
        assert_eq!(come(1002, end, false), (3, None));
        assert_eq!(come(1003, end, false), (1, None), "a new period");
        for number in 4..AT_ONCE {
            assert_eq!(come(number, end, false), (1, None));
        }
        assert_eq!(come(1004, end, false), (0, Some(end + PERIOD)));
        assert_eq!(come(1005, end, true), (2, None), "in a hurry");
        assert!((0..CLIENTS).all(|number| (come(number, end, false).0 == 0) == (number < CLIENTS - 1)));
    }
}
