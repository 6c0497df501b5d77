//! The way from whoever has something to tell to where it is kept.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use arc_swap::ArcSwap;
use fleethaven_fabric::Metadata;
use fleethaven_quotas::{Rate, SharedMeter};
use fleethaven_registry::shapes::{LogEvent, LogLevel};
use fleethaven_types::{Publisher, Scope, Timestamp};
use prometheus::Registry;
use rustc_hash::FxHashMap;

use crate::entry::Entry;
use crate::levels::{Absent, Groups, Levels, Published, Subject, groups_of, things_of};
use crate::metrics::Metrics;
use crate::sink::{Place, Sink};

/// How log entries are kept.
pub struct Options {
    /// Where.
    pub place: Place,
    /// How many an account may have in a second.
    pub rate: u32,
    /// Tells the wall time.
    pub clock: fn() -> Timestamp,
}

/// Log entries of all accounts, or none. Clones share it.
#[derive(Clone, Default)]
pub struct Logs(Option<Arc<On>>);

struct On {
    /// Some account wants some.
    wanted: AtomicBool,
    scopes: ArcSwap<FxHashMap<Scope, Arc<OfScope>>>,
    /// What knows the things of certificates, once it is followed.
    metadata: OnceLock<Arc<dyn Metadata>>,
    sink: Sink,
    dir: Option<PathBuf>,
    rate: u32,
    clock: fn() -> Timestamp,
    metrics: Metrics,
}

/// What an account wants in a region, and how much of its rate is used up.
struct OfScope {
    levels: Levels,
    meters: Arc<Meters>,
}

/// A flood of one kind leaves room for the more important ones: what failed has a rate of its own, and of the rest only half
/// may be details.
struct Meters {
    failures: SharedMeter,
    rest: SharedMeter,
    details: SharedMeter,
}

impl Meters {
    fn new(rate: u32, origin: Instant) -> Self {
        let meter = |rate| SharedMeter::new(Rate::per_second(rate, 1), origin);
        Self { failures: meter(rate), rest: meter(rate), details: meter(rate.div_ceil(2)) }
    }

    fn admit(&self, level: LogLevel, now: Instant) -> bool {
        match level {
            LogLevel::Debug => self.details.take(1, now) && self.rest.take(1, now),
            LogLevel::Info => self.rest.take(1, now),
            LogLevel::Warn | LogLevel::Error | LogLevel::Disabled => self.failures.take(1, now),
        }
    }
}

impl Logs {
    /// Keeps none.
    pub fn off() -> Self {
        Self(None)
    }

    /// Keeps entries as `options` say; of no account until [`follow`](crate::follow()) has learnt what they want.
    ///
    /// # Errors
    ///
    /// When the place cannot be opened, or the registry has metrics of the same names.
    pub fn open(options: Options, registry: &Registry) -> io::Result<Self> {
        let Options { place, rate, clock } = options;
        let metrics = Metrics::new(registry).map_err(io::Error::other)?;
        let dir = match &place {
            Place::Folder(dir, _) => Some(dir.clone()),
            Place::Stream(_) => None,
        };
        let sink = Sink::open(place, clock, metrics.lost.clone())?;
        let (wanted, scopes) = (AtomicBool::new(false), ArcSwap::default());
        let metadata = OnceLock::new();
        Ok(Self(Some(Arc::new(On { wanted, scopes, metadata, sink, dir, rate, clock, metrics }))))
    }

    /// Whether entries are kept anywhere.
    pub fn are_kept(&self) -> bool {
        self.0.is_some()
    }

    /// The folder of the journal, where there is one.
    pub fn dir(&self) -> Option<PathBuf> {
        self.0.as_ref()?.dir.clone()
    }

    /// Whether any account wants any entry: what all that is logged costs where none does.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.as_ref().is_some_and(|on| on.wanted.load(Ordering::Relaxed))
    }

    /// An entry of `event` to be filled and [written](Self::write), if the account wants it and its rate is not used up.
    /// `trace` is the same for all that one request or message leads to.
    pub fn entry(
        &self,
        scope: Scope,
        (event, level): (LogEvent, LogLevel),
        trace: u128,
        subject: &dyn Subject,
    ) -> Option<Entry> {
        let on = self.0.as_ref().filter(|on| on.wanted.load(Ordering::Relaxed))?;
        let scopes = on.scopes.load();
        let of_scope = scopes.get(&scope)?;
        if !of_scope.levels.wants(event, level, subject) {
            return None;
        }
        if !of_scope.meters.admit(level, tokio::time::Instant::now().into_std()) {
            on.metrics.over_rate.inc();
            return None;
        }
        let entry = Entry::new(scope, event.as_str(), level, trace, (on.clock)());
        Some(Entry {
            client_id: subject.client_id().map(str::to_owned),
            principal_id: subject.principal().map(std::borrow::Cow::into_owned),
            source_ip: subject.source_ip(),
            log_group: of_scope.levels.log_group(event).map(str::to_owned),
            ..entry
        })
    }

    /// The same about whoever published a message, or sent a request, where no connection of theirs is at hand.
    pub fn about(&self, publisher: &Publisher, event: (LogEvent, LogLevel), trace: u128) -> Option<Entry> {
        self.about_published(publisher, None, event, trace)
    }

    /// The same about what becomes of a message in a rule, which may have a level of its own.
    pub fn about_rule(
        &self,
        publisher: &Publisher,
        rule: &str,
        event: (LogEvent, LogLevel),
        trace: u128,
    ) -> Option<Entry> {
        let entry = self.about_published(publisher, Some(rule), event, trace)?;
        Some(entry.with("ruleName", rule))
    }

    fn about_published(
        &self,
        publisher: &Publisher,
        rule: Option<&str>,
        event: (LogEvent, LogLevel),
        trace: u128,
    ) -> Option<Entry> {
        let groups = Groups::Copy(self.0.as_ref()?.metadata.get().map(AsRef::as_ref));
        self.entry(publisher.scope, event, trace, &Published { publisher, groups, rule })
    }

    /// The same about a client that is not connected.
    pub fn about_absent(
        &self,
        scope: Scope,
        client_id: &str,
        event: (LogEvent, LogLevel),
        trace: u128,
    ) -> Option<Entry> {
        self.entry(scope, event, trace, &Absent(client_id))
    }

    /// Whether the account may want such an entry: false where it does not, whomever it is about.
    pub fn may_want(&self, scope: Scope, (event, level): (LogEvent, LogLevel)) -> bool {
        let on = self.0.as_ref().filter(|on| on.wanted.load(Ordering::Relaxed));
        on.is_some_and(|on| {
            on.scopes.load().get(&scope).is_some_and(|of_scope| of_scope.levels.may_want(event, level))
        })
    }

    /// Entries that could not be made in time are lost.
    pub fn count_lost(&self) {
        if let Some(on) = &self.0 {
            on.metrics.lost.inc();
        }
    }

    /// The same in a process that keeps no copy of what the metadata store holds: where the account has levels for thing groups, the
    /// store is asked for those of the publisher's thing.
    pub async fn asked_about(
        &self,
        publisher: &Publisher,
        event: (LogEvent, LogLevel),
        trace: u128,
    ) -> Option<Entry> {
        let on = self.0.as_ref().filter(|on| on.wanted.load(Ordering::Relaxed))?;
        let has_groups = on.scopes.load().get(&publisher.scope)?.levels.has_groups();
        let asked = on.metadata.get().zip(things_of(publisher)).filter(|_| has_groups);
        let groups = match asked {
            Some((metadata, query)) => metadata.query(query).await.map(|reply| groups_of(publisher, reply)),
            None => Ok(Vec::new()),
        };
        let groups = Groups::Asked(groups.unwrap_or_default());
        self.entry(publisher.scope, event, trace, &Published { publisher, groups, rule: None })
    }

    /// Where the things of certificates are looked up from now on.
    pub(crate) fn ask(&self, metadata: &Arc<dyn Metadata>) {
        if let Some(on) = &self.0 {
            // Whoever was first is as good.
            let _ = on.metadata.set(metadata.clone());
        }
    }

    /// Keeps an entry, if there is room.
    pub fn write(&self, entry: Entry) {
        if let Some(on) = &self.0 {
            on.metrics.written.inc();
            on.sink.write(entry);
        }
    }

    /// What accounts want from now on.
    pub(crate) fn replace(&self, wanted: impl IntoIterator<Item = (Scope, Levels)>) {
        let Some(on) = &self.0 else { return };
        let before = on.scopes.load();
        let origin = tokio::time::Instant::now().into_std();
        let of_scope = |(scope, levels): (Scope, Levels)| {
            let meters = before.get(&scope).map(|before| before.meters.clone());
            let meters = meters.unwrap_or_else(|| Arc::new(Meters::new(on.rate, origin)));
            (scope, Arc::new(OfScope { levels, meters }))
        };
        let scopes: FxHashMap<_, _> =
            wanted.into_iter().filter(|(_, levels)| levels.is_on()).map(of_scope).collect();
        let is_wanted = !scopes.is_empty();
        on.scopes.store(Arc::new(scopes));
        on.wanted.store(is_wanted, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::net::IpAddr;
    use std::time::Duration;

    use fleethaven_journal::Bounds;
    use fleethaven_registry::logging::Stored;
    use fleethaven_registry::shapes::{LogTarget, LogTargetType};

    use super::*;
    use crate::filter::{Filter, read};

    struct Anyone;

    impl Subject for Anyone {
        fn client_id(&self) -> Option<&str> {
            Some("sensor")
        }

        fn principal(&self) -> Option<Cow<'_, str>> {
            None
        }

        fn source_ip(&self) -> Option<IpAddr> {
            None
        }

        fn thing_groups(&self) -> Vec<String> {
            Vec::new()
        }
    }

    fn scope(account: &str) -> Scope {
        Scope { account: account.parse().unwrap(), region: "eu-west-1".parse().unwrap() }
    }

    fn everything() -> Levels {
        let target = LogTarget { target_type: LogTargetType::Default, target_name: None };
        let default = Stored::Level { target, level: LogLevel::Debug, ancestors: Vec::new() };
        Levels::of(&[Stored::Options { disabled: false, events: Vec::new() }, default])
    }

    fn open(dir: &std::path::Path, rate: u32) -> Logs {
        let bounds = Bounds { bytes: 1 << 30, age: Duration::from_secs(3600) };
        let clock = || Timestamp(1_769_860_800_000);
        let options = Options { place: Place::Folder(dir.to_owned(), bounds), rate, clock };
        Logs::open(options, &Registry::new()).unwrap()
    }

    fn tell(logs: &Logs, scope: Scope, level: LogLevel) -> bool {
        let entry = logs.entry(scope, (LogEvent::Connect, level), 1, &Anyone);
        let told = entry.is_some();
        entry.into_iter().for_each(|entry| logs.write(entry));
        told
    }

    #[test]
    fn an_account_gets_what_it_asks_for_and_others_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let logs = open(dir.path(), 10);
        let (ours, theirs) = (scope("123456789012"), scope("210987654321"));
        assert!(!logs.is_on() && !tell(&logs, ours, LogLevel::Error));
        logs.replace([(ours, everything())]);
        assert!(logs.is_on() && tell(&logs, ours, LogLevel::Info) && !tell(&logs, theirs, LogLevel::Error));
        logs.replace([]);
        assert!(!logs.is_on() && !tell(&logs, ours, LogLevel::Error));
        drop(logs);
        let [(_, entry)] = &read(dir.path(), &Filter::default()).unwrap()[..] else { panic!("one entry") };
        assert_eq!((entry.event_type.as_str(), entry.client_id.as_deref()), ("Connect", Some("sensor")));
    }

    #[test]
    fn a_flood_of_details_leaves_room_for_what_failed_and_for_other_accounts() {
        let dir = tempfile::tempdir().unwrap();
        let logs = open(dir.path(), 10);
        let (flood, other) = (scope("123456789012"), scope("210987654321"));
        logs.replace([(flood, everything()), (other, everything())]);
        let told = |scope, level| (0..10_000).filter(|_| tell(&logs, scope, level)).count();
        let details = told(flood, LogLevel::Debug);
        assert!((5..100).contains(&details), "{details}");
        assert!(tell(&logs, flood, LogLevel::Info) && tell(&logs, flood, LogLevel::Error));
        assert!(tell(&logs, other, LogLevel::Debug));
        // What is used up stays so when the account changes its mind.
        let _ = told(flood, LogLevel::Info);
        logs.replace([(flood, everything())]);
        let again = told(flood, LogLevel::Info);
        assert!(again < 1000, "{again}");
    }

    #[test]
    fn a_stream_gets_an_entry_a_line() {
        #[derive(Clone, Default)]
        struct Shared(Arc<parking_lot::Mutex<Vec<u8>>>);
        impl io::Write for Shared {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().extend(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let told = Shared::default();
        let place = Place::Stream(Box::new(told.clone()));
        let options = Options { place, rate: 10, clock: || Timestamp(0) };
        let logs = Logs::open(options, &Registry::new()).unwrap();
        logs.replace([(scope("123456789012"), everything())]);
        assert!(tell(&logs, scope("123456789012"), LogLevel::Info));
        drop(logs);
        let lines = String::from_utf8(told.0.lock().clone()).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(lines.trim()).unwrap().event_type, "Connect");
    }
}
