//! How clients left, kept for a while (AWS: GetConnection tells it for thirty minutes).

use std::collections::VecDeque;

use fleethaven_fabric::connections::{ConnectionState, DEPARTURES_KEPT, Departure, Presence};
use fleethaven_types::{Scope, Timestamp, Utf8Bytes};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// Clients that are remembered at most; above it the oldest go early.
const BOUND: usize = 100_000;

/// What was known of a connection when it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) departure: Departure,
    pub(crate) thing_name: Option<String>,
    pub(crate) session_expiry: u32,
    pub(crate) keep_alive: u16,
}

impl Left {
    /// The state of a client that left so. `persistent`: its session is still there.
    pub(crate) fn state(self) -> ConnectionState {
        ConnectionState {
            presence: Presence::Disconnected(Some(self.departure)),
            thing_name: self.thing_name,
            clean_session: self.session_expiry == 0,
            session_expiry: self.session_expiry,
            keep_alive: Some(self.keep_alive),
        }
    }
}

type Client = (Scope, Utf8Bytes);

/// The last departures of all cores.
#[derive(Default)]
pub(crate) struct Departures(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    clients: FxHashMap<Client, Left>,
    order: VecDeque<(Timestamp, Client)>,
}

impl Departures {
    /// Notes how a client left.
    pub(crate) fn note(&self, scope: Scope, client_id: &Utf8Bytes, left: Left) {
        let (at, client) = (left.departure.at, (scope, client_id.compact()));
        let mut kept = self.0.lock();
        kept.forget_old(at);
        kept.order.push_back((at, client.clone()));
        kept.clients.insert(client, left);
    }

    /// How a client left last, if that is not too long ago.
    pub(crate) fn get(&self, scope: Scope, client_id: &Utf8Bytes, now: Timestamp) -> Option<Left> {
        let kept = self.0.lock();
        let left = kept.clients.get(&(scope, client_id.clone()))?;
        (now.since(left.departure.at) < DEPARTURES_KEPT).then(|| left.clone())
    }
}

impl Kept {
    fn forget_old(&mut self, now: Timestamp) {
        while let Some((at, client)) = self.order.front() {
            if self.order.len() < BOUND && now.since(*at) < DEPARTURES_KEPT {
                return;
            }
            // A client that came and left again since is noted again further back.
            if self.clients.get(client).is_some_and(|left| left.departure.at == *at) {
                self.clients.remove(client);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(at: u64) -> Left {
        let departure = Departure { at: Timestamp(at), reason: "CONNECTION_LOST".into() };
        Left { departure, thing_name: None, session_expiry: 0, keep_alive: 60 }
    }

    #[test]
    fn a_departure_is_known_for_thirty_minutes() {
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        let departures = Departures::default();
        let get = |id: &str, at| departures.get(scope, &id.into(), Timestamp(at));
        let minute = 60_000;
        departures.note(scope, &"a".into(), left(0));
        assert_eq!(get("a", 29 * minute), Some(left(0)));
        assert_eq!(get("a", 30 * minute), None);
        departures.note(scope, &"a".into(), left(20 * minute));
        departures.note(scope, &"b".into(), left(31 * minute));
        assert_eq!(get("a", 32 * minute), Some(left(20 * minute)), "the later one counts");
        for number in 0..BOUND {
            departures.note(scope, &number.to_string().into(), left(40 * minute));
        }
        assert_eq!(get("a", 40 * minute), None, "the oldest went at the bound");
        assert!(departures.0.lock().clients.len() <= BOUND);
    }
}
