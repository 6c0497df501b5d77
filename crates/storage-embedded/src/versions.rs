//! Version numbers of client ids whose session is gone, so that the next connection's is larger.
//!
//! AWS forgets them after about an hour (AWS page "Lifecycle events", `versionNumber`). Here too; and when too many are
//! remembered, the oldest go early and all new clients start above them, so that no number ever falls.

use std::collections::VecDeque;
use std::time::Duration;

use fleethaven_types::Timestamp;
use rustc_hash::FxHashMap;

use crate::sessions::Client;

const REMEMBERED: usize = 200_000;
const REMEMBERED_FOR: Duration = Duration::from_secs(3600);

/// What the numbers of ended sessions were.
#[derive(Default)]
pub(crate) struct Versions {
    /// Number and when it was noted.
    last: FxHashMap<Client, (u64, Timestamp)>,
    order: VecDeque<(Timestamp, Client)>,
    floor: u64,
}

impl Versions {
    /// Notes the number that `client` had reached when its session went at `now`.
    pub(crate) fn remember(&mut self, client: Client, version: u64, now: Timestamp) {
        self.forget_old(now);
        self.last.insert(client.clone(), (version, now));
        self.order.push_back((now, client));
    }

    /// The number that `client`'s next connection must exceed.
    pub(crate) fn last(&self, client: &Client) -> u64 {
        self.last.get(client).map_or(self.floor, |(version, _)| *version)
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.order.front() {
            let early = self.order.len() >= REMEMBERED;
            if !early && now.since(*at) < REMEMBERED_FOR {
                return;
            }
            let Some((at, client)) = self.order.pop_front() else { return };
            let Some((version, _)) = self.last.get(&client).filter(|(_, noted)| *noted == at) else {
                continue;
            };
            if early {
                self.floor = self.floor.max(*version);
            }
            self.last.remove(&client);
        }
    }
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
    fn a_number_is_forgotten_an_hour_after_it_was_last_noted() {
        let mut versions = Versions::default();
        let at = |minutes: u64| Timestamp(minutes * 60_000);
        versions.remember(client(1), 5, at(0));
        versions.remember(client(1), 6, at(30));
        versions.remember(client(2), 1, at(70));
        assert_eq!(versions.last(&client(1)), 6);
        versions.remember(client(2), 2, at(90));
        assert_eq!((versions.last(&client(1)), versions.last(&client(2))), (0, 2));
    }

    #[test]
    fn numbers_forgotten_early_raise_the_floor() {
        let mut versions = Versions::default();
        versions.remember(client(0), 9, Timestamp(0));
        (1..=REMEMBERED).for_each(|n| versions.remember(client(n), 1, Timestamp(0)));
        assert_eq!((versions.last(&client(0)), versions.last(&client(REMEMBERED))), (9, 1));
    }
}
