//! What one account uses in one region, and how much of it is allowed.

use std::sync::Arc;
use std::time::Instant;

use fleethaven_types::{AccountLimits, Limits, Scope, Utf8Bytes};
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;

use crate::count::Count;
use crate::keyed::KeyedMeters;
use crate::rate::Rate;
use crate::shared::SharedMeter;

/// CONNECTs of one client id that may come at once: a device that reconnects after a lost CONNACK is not punished.
const CLIENT_BURST: u32 = 2;

/// Rates and counts of one account and region.
#[derive(Debug)]
pub struct Account {
    /// What is allowed.
    pub limits: Limits,
    /// MQTT connections.
    pub connections: Count,
    /// PUBLISH packets of one connection.
    pub publish_rate: Option<Rate>,
    /// Bytes received from one connection.
    pub throughput_rate: Option<Rate>,
    /// Messages published, over MQTT and HTTPS.
    pub inbound: Option<SharedMeter>,
    /// Messages delivered to clients.
    pub outbound: Option<SharedMeter>,
    /// Filters of SUBSCRIBE packets.
    pub subscribes: Option<SharedMeter>,
    /// Messages queued for sessions that nobody is connected to.
    pub queued: Option<SharedMeter>,
    /// GetRetainedMessage requests.
    pub retained_reads: Option<SharedMeter>,
    /// ListRetainedMessages requests.
    pub retained_lists: Option<SharedMeter>,
    /// Requests of the connections API, each operation's own.
    pub connection_requests: Option<[SharedMeter; 4]>,
    connects: Option<SharedMeter>,
    clients: Option<Mutex<KeyedMeters<Utf8Bytes>>>,
    retained: Option<SharedMeter>,
    retained_topics: Option<Mutex<KeyedMeters<Utf8Bytes>>>,
    groups: Option<Mutex<KeyedMeters<Utf8Bytes>>>,
    shadows: Option<SharedMeter>,
    shadow_things: Option<Mutex<KeyedMeters<Utf8Bytes>>>,
    provisioning: Option<[SharedMeter; 3]>,
}

impl Account {
    fn new(limits: &Limits, origin: Instant) -> Self {
        let burst = limits.rate_burst_secs;
        let rate = |per_second: Option<u32>| per_second.map(|rate| Rate::per_second(rate, burst));
        let shared = |per_second: Option<u32>| rate(per_second).map(|rate| SharedMeter::new(rate, origin));
        let connection_rate = limits.connection_requests_per_sec;
        Self {
            connections: Count::default(),
            publish_rate: rate(limits.publish_per_sec_connection),
            throughput_rate: rate(limits.throughput_connection),
            inbound: shared(limits.inbound_publish_per_sec_account),
            outbound: shared(limits.outbound_publish_per_sec_account),
            subscribes: shared(limits.subscribe_per_sec_account),
            queued: shared(limits.queued_per_sec_account),
            retained_reads: shared(limits.retained_reads_per_sec),
            retained_lists: shared(limits.retained_lists_per_sec),
            connection_requests: connection_rate.map(|per_second| {
                [(); 4].map(|()| SharedMeter::new(Rate::per_second(per_second, burst), origin))
            }),
            connects: shared(limits.connect_per_sec_account),
            clients: limits.connect_per_sec_client.map(|rate| {
                let burst = rate.saturating_mul(CLIENT_BURST).saturating_mul(burst.max(1));
                Mutex::new(KeyedMeters::new(Rate::new(rate, burst)))
            }),
            retained: shared(limits.retained_per_sec_account),
            retained_topics: rate(limits.retained_per_sec_topic)
                .map(|rate| Mutex::new(KeyedMeters::new(rate))),
            groups: rate(limits.share_requests_per_sec_group).map(|rate| Mutex::new(KeyedMeters::new(rate))),
            shadows: shared(limits.shadow_requests_per_sec_account),
            shadow_things: rate(limits.shadow_requests_per_sec_thing)
                .map(|rate| Mutex::new(KeyedMeters::new(rate))),
            provisioning: limits.provisioning_requests_per_sec.map(|per_second| {
                [(); 3].map(|()| SharedMeter::new(Rate::per_second(per_second, burst), origin))
            }),
            limits: limits.clone(),
        }
    }

    /// Counts a request to one of the three operations of fleet provisioning, by its number; `false` when it comes too soon.
    pub fn admit_provisioning_request(&self, operation: usize, now: Instant) -> bool {
        let meters = self.provisioning.as_ref();
        meters.is_none_or(|meters| admits(meters.get(operation), 1, now))
    }

    /// Counts a request to a shadow of `thing`; `false` when it comes too soon, for the thing or for the account.
    pub fn admit_shadow_request(&self, thing: &str, now: Instant) -> bool {
        let by_thing = self.shadow_things.as_ref().is_none_or(|things| things.lock().take(thing, now));
        by_thing && admits(self.shadows.as_ref(), 1, now)
    }

    /// Counts a CONNECT; `false` when it comes too soon, for its client id or for the account.
    pub fn admit_connect(&self, client_id: &str, now: Instant) -> bool {
        let by_client = self.clients.as_ref().is_none_or(|clients| clients.lock().take(client_id, now));
        by_client && admits(self.connects.as_ref(), 1, now)
    }

    /// Counts a SUBSCRIBE or UNSUBSCRIBE of a shared subscription, `$share/{name}/{filter}`; `false` when its group has had too
    /// many.
    pub fn admit_share_request(&self, shared: &str, now: Instant) -> bool {
        self.groups.as_ref().is_none_or(|groups| groups.lock().take(shared, now))
    }

    /// Counts a message that is to be retained; `false` when it comes too soon, or there are as many as may be and `topic`
    /// has none. `kept` tells how many there are and whether `topic` has one. Deletions always pass and are not asked about.
    pub fn admit_retained(&self, topic: &str, kept: impl FnOnce() -> (u64, bool), now: Instant) -> bool {
        if let Some(most) = self.limits.retained_count {
            let (count, replaces) = kept();
            if count >= most && !replaces {
                return false;
            }
        }
        let by_topic = self.retained_topics.as_ref().is_none_or(|topics| topics.lock().take(topic, now));
        by_topic && admits(self.retained.as_ref(), 1, now)
    }
}

/// Whether `meter` lets `count` more pass at `now`; without a meter there is no limit.
pub fn admits(meter: Option<&SharedMeter>, count: u32, now: Instant) -> bool {
    meter.is_none_or(|meter| meter.take(count, now))
}

/// All accounts, each made at its first use.
#[derive(Debug)]
pub struct Accounts {
    limits: AccountLimits,
    origin: Instant,
    accounts: RwLock<FxHashMap<Scope, Arc<Account>>>,
}

impl Accounts {
    /// Accounts of which nothing is used yet. No time before `origin` is ever passed to them.
    pub fn new(limits: AccountLimits, origin: Instant) -> Self {
        Self { limits, origin, accounts: RwLock::default() }
    }

    /// The account and region. To be kept by who asks often.
    pub fn get(&self, scope: Scope) -> Arc<Account> {
        if let Some(account) = self.accounts.read().get(&scope) {
            return account.clone();
        }
        let make = || Arc::new(Account::new(self.limits.of(scope.account), self.origin));
        self.accounts.write().entry(scope).or_insert_with(make).clone()
    }

    /// What each account may use.
    pub fn limits(&self) -> &AccountLimits {
        &self.limits
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fleethaven_types::Profile;

    use super::*;
    use crate::rate::tests::start;

    fn scope(account: &str, region: &str) -> Scope {
        Scope { account: account.parse().unwrap(), region: region.parse().unwrap() }
    }

    fn account(change: impl FnOnce(&mut Limits)) -> (Account, Instant) {
        let mut limits = Limits::of(Profile::Standard);
        change(&mut limits);
        let start = start();
        (Account::new(&limits, start), start)
    }

    #[test]
    fn connects_are_counted_by_client_and_by_account() {
        let (account, start) = account(|limits| {
            limits.connect_per_sec_client = Some(1);
            limits.connect_per_sec_account = Some(5);
        });
        let admitted =
            |id: &str, count: usize| (0..count).filter(|_| account.admit_connect(id, start)).count();
        assert_eq!(admitted("a", 3), 2, "a burst of two");
        assert_eq!((0..10).map(|n| admitted(&n.to_string(), 1)).sum::<usize>(), 3, "five in all");
        assert!(account.admit_connect("b", start + Duration::from_millis(200)));
    }

    #[test]
    fn requests_of_a_group_are_counted_by_group() {
        let (account, start) = account(|limits| limits.share_requests_per_sec_group = Some(2));
        let admitted = |group: &str, at| (0..5).filter(|_| account.admit_share_request(group, at)).count();
        assert_eq!((admitted("$share/g/a", start), admitted("$share/g/b", start)), (2, 2));
        assert_eq!(admitted("$share/g/a", start + Duration::from_millis(500)), 1);
    }

    #[test]
    fn requests_to_shadows_are_counted_by_thing_and_by_account() {
        let (account, start) = account(|limits| {
            limits.shadow_requests_per_sec_account = Some(5);
            limits.shadow_requests_per_sec_thing = Some(3);
        });
        let admitted = |thing: &str, at| (0..9).filter(|_| account.admit_shadow_request(thing, at)).count();
        assert_eq!((admitted("a", start), admitted("b", start)), (3, 2));
        assert_eq!(admitted("b", start + Duration::from_secs(1)), 3);
    }

    #[test]
    fn each_operation_of_fleet_provisioning_has_a_rate() {
        let (account, start) = account(|limits| limits.provisioning_requests_per_sec = Some(2));
        let admitted = |number| (0..5).filter(|_| account.admit_provisioning_request(number, start)).count();
        assert_eq!([admitted(0), admitted(1), admitted(0)], [2, 2, 0]);
        let (unlimited, start) = self::account(|_| ());
        assert!((0..1000).all(|_| unlimited.admit_provisioning_request(2, start)));
    }

    #[test]
    fn retained_messages_are_bounded_in_count_and_rate() {
        let (account, start) = account(|limits| {
            limits.retained_count = Some(2);
            limits.retained_per_sec_account = Some(3);
            limits.retained_per_sec_topic = Some(1);
        });
        assert!(account.admit_retained("a", || (1, false), start), "below the bound");
        assert!(!account.admit_retained("b", || (2, false), start), "at the bound");
        assert!(account.admit_retained("b", || (2, true), start), "a replacement");
        assert!(!account.admit_retained("b", || (2, true), start), "twice on a topic within a second");
        assert!(account.admit_retained("c", || (0, false), start));
        assert!(!account.admit_retained("d", || (0, false), start), "three a second");
        assert!(account.admit_retained("d", || (0, false), start + Duration::from_secs(1)));
    }

    #[test]
    fn bursts_may_be_longer_than_a_second() {
        for (secs, expected) in [(1, 10), (3, 30)] {
            let (account, start) = account(|limits| {
                limits.inbound_publish_per_sec_account = Some(10);
                limits.rate_burst_secs = secs;
            });
            let taken = (0..100).filter(|_| admits(account.inbound.as_ref(), 1, start)).count();
            assert_eq!(taken, expected);
        }
    }

    #[test]
    fn each_account_has_its_own_limits_and_each_region_its_own_meters() {
        let (one, other) = ("123456789012", "210987654321");
        let strict = Limits { connections_account: Some(1), ..Limits::of(Profile::Standard) };
        let limits = AccountLimits {
            default: Limits::of(Profile::Standard),
            accounts: [(other.parse().unwrap(), strict)].into(),
        };
        let accounts = Accounts::new(limits, start());
        let of = |account: &str, region: &str| accounts.get(scope(account, region));
        assert_eq!(of(one, "us-east-1").limits.connections_account, None);
        let strict = of(other, "us-east-1");
        assert_eq!(strict.limits.connections_account, Some(1));
        let held = strict.connections.take(Some(1));
        assert!(held.is_some() && of(other, "us-east-1").connections.take(Some(1)).is_none());
        assert!(of(other, "eu-west-1").connections.take(Some(1)).is_some());
    }
}
