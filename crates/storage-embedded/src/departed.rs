//! Client ids whose session is gone: the version number that they had reached, so that the next connection's is larger, and how
//! they left.
//!
//! AWS forgets version numbers after about an hour (AWS page "Lifecycle events", `versionNumber`). Here too; and when too many
//! clients of an account are remembered, the oldest go early and all its new clients start above them, so that no number falls
//! while the store is open.

use std::collections::VecDeque;
use std::time::Duration;

use fleethaven_storage::Departure;
use fleethaven_types::{Scope, Timestamp, Utf8Bytes};
use rustc_hash::FxHashMap;

use crate::record::{DepartedRow, DepartureRow, Error};
use crate::sessions::{Client, Session};

/// Clients of one account and region.
const REMEMBERED: usize = 100_000;
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// What is left of a client's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Departed {
    /// The session: its id is also the key on disk.
    pub(crate) session: u64,
    pub(crate) version: u64,
    /// When the session went.
    pub(crate) at: Timestamp,
    /// How the last connection ended.
    pub(crate) departure: Option<Departure>,
}

impl Departed {
    /// What is to be remembered of a session that goes at `at`.
    pub(crate) fn of(session: &Session, at: Timestamp) -> Self {
        Self {
            session: session.id,
            version: session.version,
            at,
            departure: session.left.as_deref().cloned(),
        }
    }

    pub(crate) fn row(&self, client_id: &Utf8Bytes) -> DepartedRow {
        DepartedRow {
            client_id: client_id.clone().into_bytes(),
            version: self.version,
            at: self.at.as_millis(),
            departure: self.departure.as_ref().map(DepartureRow::from),
        }
    }

    /// The client id that [`row`](Self::row) described, and what was noted of it.
    pub(crate) fn from_row(session: u64, row: DepartedRow) -> Result<(Utf8Bytes, Self), Error> {
        let client_id = Utf8Bytes::from_utf8(row.client_id).map_err(|_| Error::Field("client id"))?;
        let departure = row.departure.map(Departure::try_from).transpose()?;
        Ok((client_id, Self { session, version: row.version, at: Timestamp(row.at), departure }))
    }
}

/// All that is remembered, by account and region.
#[derive(Default)]
pub(crate) struct Departures(FxHashMap<Scope, Kept>);

#[derive(Default)]
struct Kept {
    clients: FxHashMap<Utf8Bytes, Departed>,
    order: VecDeque<(Timestamp, Utf8Bytes)>,
    floor: u64,
}

impl Departures {
    /// Notes what is left of `client`, and hands clients and their sessions whose records are needed no longer to `forget`.
    pub(crate) fn remember(
        &mut self,
        client: &Client,
        departed: Departed,
        mut forget: impl FnMut(Client, u64),
    ) {
        let forget = |id, session| forget(Client { scope: client.scope, id }, session);
        self.0.entry(client.scope).or_default().remember(&client.id, departed, forget);
    }

    pub(crate) fn get(&self, client: &Client) -> Option<&Departed> {
        self.0.get(&client.scope)?.clients.get(&client.id)
    }

    /// The number that `client`'s next connection must exceed.
    pub(crate) fn version(&self, client: &Client) -> u64 {
        let floor = || self.0.get(&client.scope).map_or(0, |kept| kept.floor);
        self.get(client).map_or_else(floor, |departed| departed.version)
    }
}

impl Kept {
    fn remember(
        &mut self,
        client_id: &Utf8Bytes,
        mut departed: Departed,
        mut forget: impl FnMut(Utf8Bytes, u64),
    ) {
        self.forget_old(departed.at, &mut forget);
        self.order.push_back((departed.at, client_id.clone()));
        let before = self.clients.remove(client_id);
        if let Some(before) = before {
            // A session that no accepted connection has left says nothing about how its client left before.
            departed.departure = departed.departure.or(before.departure);
            forget(client_id.clone(), before.session);
        }
        self.clients.insert(client_id.clone(), departed);
    }

    fn forget_old(&mut self, now: Timestamp, forget: &mut impl FnMut(Utf8Bytes, u64)) {
        while let Some((at, client_id)) = self.order.front() {
            let early = self.order.len() >= REMEMBERED;
            if !early && now.since(*at) < REMEMBERED_FOR {
                return;
            }
            // One that came and went again since is noted again further back.
            if self.clients.get(client_id).is_some_and(|departed| departed.at == *at)
                && let Some(departed) = self.clients.remove(client_id)
            {
                if early {
                    self.floor = self.floor.max(departed.version);
                }
                forget(client_id.clone(), departed.session);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: usize) -> Client {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        Client { scope, id: number.to_string().into() }
    }

    fn departed(session: u64, version: u64, minutes: u64) -> Departed {
        Departed { session, version, at: Timestamp(minutes * 60_000), departure: None }
    }

    #[test]
    fn a_client_is_forgotten_an_hour_after_it_was_last_noted() {
        let mut departures = Departures::default();
        let mut forgotten = Vec::new();
        let mut note = |client: Client, departed| {
            departures.remember(&client, departed, |_, session| forgotten.push(session));
            (departures.version(&super::tests::client(1)), departures.version(&super::tests::client(2)))
        };
        assert_eq!(note(client(1), departed(1, 5, 0)), (5, 0));
        assert_eq!(note(client(1), departed(2, 6, 30)), (6, 0));
        assert_eq!(note(client(2), departed(3, 1, 70)), (6, 1));
        assert_eq!(note(client(2), departed(4, 2, 90)), (0, 2));
        assert_eq!(forgotten, [1, 2, 3], "their records go");
    }

    #[test]
    fn clients_forgotten_early_raise_the_floor_of_their_account() {
        let mut departures = Departures::default();
        let mut forgotten = Vec::new();
        departures.remember(&client(0), departed(0, 9, 0), |_, _| {});
        for number in 1..=REMEMBERED {
            departures.remember(&client(number), departed(number as u64, 1, 0), |_, id| forgotten.push(id));
        }
        assert_eq!((departures.version(&client(0)), departures.version(&client(REMEMBERED))), (9, 1));
        assert_eq!(forgotten, [0]);
        let scope = Scope { account: "000000000042".parse().unwrap(), ..client(0).scope };
        assert_eq!(departures.version(&Client { scope, ..client(0) }), 0, "accounts are walls");
    }

    #[test]
    fn how_a_client_left_outlasts_a_session_that_says_nothing() {
        let mut departures = Departures::default();
        let left = Departure::of_orphan(Timestamp(7), "SERVER_ERROR", 0);
        let first = Departed { departure: Some(left.clone()), ..departed(1, 1, 1) };
        departures.remember(&client(1), first, |_, _| {});
        departures.remember(&client(1), departed(2, 2, 2), |_, _| {});
        let found = departures.get(&client(1)).unwrap();
        assert_eq!((found.session, found.departure.as_ref()), (2, Some(&left)));
        assert_eq!(Departed::from_row(2, found.row(&"1".into())).unwrap(), ("1".into(), found.clone()));
    }
}
