//! What connections use of what AWS bills for: minutes and messages.
//!
//! A connection finds its place once, when CONNECT is accepted; from then on it counts there, without a lock and without looking
//! anything up. Each core counts for itself, and adds what it has to the process's [`Usage`] once a second.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use fleethaven_usage::{Amounts, Owner, Usage};
use rustc_hash::FxHashMap;

/// Seconds in a minute, the unit of connections.
const MINUTE: u64 = 60;

/// What the connections of one core use.
pub(crate) struct Metering {
    usage: Arc<Usage>,
    places: RefCell<FxHashMap<Owner, Rc<Place>>>,
    since: Instant,
    /// The last second since then whose minutes were counted.
    second: Cell<u64>,
}

/// What the connections of one account and billing group use.
struct Place {
    messages: Cell<u64>,
    minutes: Cell<u64>,
    /// How many connections begin another minute in each second of it.
    begun: [Cell<u32>; MINUTE as usize],
}

/// One connection's place.
pub(crate) struct Metered {
    place: Rc<Place>,
    /// The second of the minute in which it was opened, until it is over.
    second: Cell<Option<u8>>,
}

impl Metering {
    pub(crate) fn new(usage: Arc<Usage>, now: Instant) -> Self {
        Self { usage, places: RefCell::default(), since: now, second: Cell::new(0) }
    }

    /// Who decides whose a client's usage is.
    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    /// A connection begins, and its first minute with it. `None` where nothing is counted.
    pub(crate) fn begin(&self, owner: Owner) -> Option<Metered> {
        if !self.usage.is_on() {
            return None;
        }
        let place = self.places.borrow_mut().entry(owner).or_insert_with(|| Rc::new(Place::new())).clone();
        let second = (self.second.get() % MINUTE) as u8;
        place.minutes.set(place.minutes.get() + 1);
        if let Some(begun) = place.begun.get(usize::from(second)) {
            begun.set(begun.get() + 1);
        }
        Some(Metered { place, second: Cell::new(Some(second)) })
    }

    /// Counts the minutes that have begun, and adds what there is to the process's usage.
    pub(crate) fn tick(&self, now: Instant) {
        let reached = now.saturating_duration_since(self.since).as_secs();
        let places = self.places.borrow();
        for second in self.second.get() + 1..=reached {
            for place in places.values() {
                place.count_minutes((second % MINUTE) as usize);
            }
        }
        self.second.set(reached.max(self.second.get()));
        drop(places);
        self.flush();
    }

    /// Adds what there is to the process's usage.
    pub(crate) fn flush(&self) {
        let mut places = self.places.borrow_mut();
        let counted = places.iter().map(|(owner, place)| (owner, place.take()));
        let counted = counted.filter(|(_, amounts)| !amounts.is_none());
        self.usage.add_all(counted.map(|(owner, amounts)| (owner.clone(), amounts)));
        places.retain(|_, place| Rc::strong_count(place) > 1);
    }
}

impl Place {
    fn new() -> Self {
        Self {
            messages: Cell::new(0),
            minutes: Cell::new(0),
            begun: [const { Cell::new(0) }; MINUTE as usize],
        }
    }

    fn count_minutes(&self, second: usize) {
        let begun = self.begun.get(second).map_or(0, Cell::get);
        self.minutes.set(self.minutes.get() + u64::from(begun));
    }

    fn take(&self) -> Amounts {
        Amounts { connection_minutes: self.minutes.take(), messages: self.messages.take(), ..Amounts::NONE }
    }
}

impl Metered {
    /// So many messages came or went, by AWS's count.
    pub(crate) fn messages(&self, pieces: u64) {
        self.place.messages.set(self.place.messages.get() + pieces);
    }

    /// The connection is over: no further minute begins.
    pub(crate) fn end(&self) {
        let begun = self.second.take().and_then(|second| self.place.begun.get(usize::from(second)));
        if let Some(begun) = begun {
            begun.set(begun.get().saturating_sub(1));
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fleethaven_fabric::metadata::{AppliedMarker, BoxFuture, Error, Executed, Position, WatchStream};
    use fleethaven_registry::{Command, Query, QueryReply};
    use fleethaven_types::Scope;

    use super::*;

    /// Knows no billing group.
    struct Nothing;

    impl fleethaven_fabric::Metadata for Nothing {
        fn execute(&self, _command: Command) -> BoxFuture<'_, Result<Executed, Error>> {
            Box::pin(std::future::ready(Err(Error::Unknown)))
        }

        fn query(&self, _query: Query) -> BoxFuture<'_, Result<QueryReply, Error>> {
            Box::pin(std::future::ready(Err(Error::Unknown)))
        }

        fn query_local(&self, _query: Query) -> Result<QueryReply, Error> {
            Err(Error::Unknown)
        }

        fn staleness(&self) -> Duration {
            Duration::ZERO
        }

        fn watch(&self, _prefixes: Vec<bytes::Bytes>, _from: Option<Position>) -> WatchStream {
            unreachable!("nothing is watched")
        }

        fn register(&self, _name: &'static str) -> AppliedMarker {
            Box::new(|_| ())
        }

        fn in_force(&self, _revision: u64) -> BoxFuture<'_, bool> {
            Box::pin(std::future::ready(true))
        }
    }

    fn minutes(usage: &Usage) -> u64 {
        usage.take().iter().map(|(_, amounts)| amounts.connection_minutes).sum()
    }

    #[test]
    fn each_minute_that_begins_is_counted_once() {
        let (usage, start) = (Usage::new(Arc::new(Nothing)), tokio::time::Instant::now().into_std());
        let metering = Metering::new(usage.clone(), start);
        let at = |seconds| start + Duration::from_secs(seconds);
        metering.tick(at(7));
        let one = metering.begin(Owner::account(Scope::CLUSTER)).unwrap();
        metering.tick(at(8));
        let two = metering.begin(Owner::account(Scope::CLUSTER)).unwrap();
        assert_eq!(minutes(&usage), 1);
        metering.tick(at(66));
        assert_eq!(minutes(&usage), 1, "of the second one");
        metering.tick(at(67));
        assert_eq!(minutes(&usage), 1);
        // The clock stood still for a while.
        metering.tick(at(200));
        assert_eq!(minutes(&usage), 2 * 2 + 1);
        one.end();
        one.end();
        drop(one);
        metering.tick(at(400));
        assert_eq!(minutes(&usage), 3);
        two.messages(5);
        drop(two);
        metering.tick(at(10_000));
        let left = usage.take();
        assert_eq!(left.iter().map(|(_, amounts)| amounts.messages).sum::<u64>(), 5);
        assert!(metering.places.borrow().is_empty());
    }

    #[test]
    fn nothing_is_counted_where_usage_is_off() {
        let metering = Metering::new(Usage::off(), tokio::time::Instant::now().into_std());
        assert!(metering.begin(Owner::account(Scope::CLUSTER)).is_none());
    }
}
