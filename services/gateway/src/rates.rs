//! CONNECT rates, per client id and per account, over all cores of the process.

use std::time::Instant;

use fleethaven_session::{Meter, Rate};
use fleethaven_types::{Limits, Scope, Utf8Bytes};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

/// CONNECTs of one client id that may come at once: a device that reconnects after a lost CONNACK is not punished.
const CLIENT_BURST: u32 = 2;
/// Clients whose meters are kept before level ones are swept out.
const SWEEP_AT: usize = 4096;

/// Who has connected lately.
pub(crate) struct ConnectRates {
    client: Option<Rate>,
    account: Option<Rate>,
    meters: Mutex<Meters>,
}

#[derive(Default)]
struct Meters {
    clients: FxHashMap<(Scope, Utf8Bytes), Meter>,
    accounts: FxHashMap<Scope, Meter>,
    sweep_at: usize,
}

impl ConnectRates {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            client: limits
                .connect_per_sec_client
                .map(|rate| Rate::new(rate, rate.saturating_mul(CLIENT_BURST))),
            account: limits.connect_per_sec_account.map(Rate::per_second),
            meters: Mutex::new(Meters { sweep_at: SWEEP_AT, ..Meters::default() }),
        }
    }

    /// Counts a CONNECT; `false` when it comes too soon.
    pub(crate) fn admit(&self, scope: Scope, client_id: &Utf8Bytes, now: Instant) -> bool {
        if self.client.is_none() && self.account.is_none() {
            return true;
        }
        let mut meters = self.meters.lock();
        let by_client = self.client.as_ref().is_none_or(|rate| {
            let meter = meters.clients.entry((scope, client_id.clone())).or_default();
            meter.take(rate, now)
        });
        meters.sweep(now);
        by_client
            && self
                .account
                .as_ref()
                .is_none_or(|rate| meters.accounts.entry(scope).or_default().take(rate, now))
    }
}

impl Meters {
    fn sweep(&mut self, now: Instant) {
        if self.clients.len() >= self.sweep_at {
            self.clients.retain(|_, meter| !meter.is_level(now));
            self.sweep_at = (2 * self.clients.len()).max(SWEEP_AT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fleethaven_types::Profile;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn each_client_id_has_its_own_rate_and_old_ones_are_forgotten() {
        let start = Instant::now();
        let scope = Scope { account: "123456789012".parse().unwrap(), region: "us-east-1".parse().unwrap() };
        let mut limits = Limits::of(Profile::Aws);
        limits.connect_per_sec_account = None;
        let rates = ConnectRates::new(&limits);
        let admit = |id: &str, at| rates.admit(scope, &id.into(), at);
        assert_eq!([admit("a", start), admit("a", start), admit("a", start)], [true, true, false]);
        assert!(admit("b", start));
        for number in 0..SWEEP_AT as u64 {
            assert!(admit(&number.to_string(), start + Duration::from_secs(10 + number)));
        }
        assert!(rates.meters.lock().clients.len() < 100);
        limits.connect_per_sec_account = Some(3);
        let rates = ConnectRates::new(&limits);
        let admitted = (0..10).filter(|n: &i32| rates.admit(scope, &n.to_string().into(), start)).count();
        assert_eq!(admitted, 3);
    }
}
