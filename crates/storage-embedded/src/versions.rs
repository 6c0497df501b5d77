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
    last: FxHashMap<Client, u64>,
    order: VecDeque<(Timestamp, Client)>,
    floor: u64,
}

impl Versions {
    /// Notes the number that `client` had reached when its session went at `now`.
    pub(crate) fn remember(&mut self, client: Client, version: u64, now: Timestamp) {
        self.forget_old(now);
        self.last.insert(client.clone(), version);
        self.order.push_back((now, client));
    }

    /// The number that `client`'s next connection must exceed.
    pub(crate) fn last(&self, client: &Client) -> u64 {
        self.last.get(client).copied().unwrap_or(self.floor)
    }

    fn forget_old(&mut self, now: Timestamp) {
        while let Some((at, _)) = self.order.front() {
            let early = self.order.len() >= REMEMBERED;
            if !early && now.since(*at) < REMEMBERED_FOR {
                return;
            }
            let Some((_, client)) = self.order.pop_front() else { return };
            let version = self.last.remove(&client).unwrap_or_default();
            if early {
                self.floor = self.floor.max(version);
            }
        }
    }
}
