//! The behaviour every store must show. A store's own tests implement [`Harness`] and call [`run`].
//!
//! - `caller`: a lane driven as a gateway core would, one answer at a time
//! - `sessions`, `queues`, `groups`, `exactly_once`, `wills`, `fences`, `rules`, `retained`: the cases, each a story told to a
//!   fresh store
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a suite says what is wrong by panicking"
)]

mod caller;
mod exactly_once;
mod fences;
mod groups;
mod queues;
mod retained;
mod rules;
mod sessions;
mod wills;

use fleethaven_types::Timestamp;

use crate::{RetainedStore, RuleQueue, SessionStore};

/// Makes stores to test.
pub trait Harness {
    /// A store with nothing in it, at [`START`].
    fn fresh(&self) -> Box<dyn Instance>;
}

/// One store under test.
pub trait Instance {
    /// Its sessions and queues.
    fn sessions(&self) -> &dyn SessionStore;

    /// Its retained messages.
    fn retained(&self) -> &dyn RetainedStore;

    /// Its rules queue.
    fn rules(&self) -> &dyn RuleQueue;

    /// The store as a process beside the first reaches it; where there can be but one, that one's.
    fn neighbour(&mut self) -> &dyn SessionStore;

    /// Ends the process that uses the store, and its neighbour, without closing it, and starts another.
    fn crash(&mut self);

    /// Sets the store's clock.
    fn set_time(&self, now: Timestamp);
}

/// The time at which a fresh store stands.
pub const START: Timestamp = Timestamp(1_700_000_000_000);

/// One story.
type Case = fn(&mut dyn Instance);

const CASES: &[(&str, &[(&str, Case)])] = &[
    ("sessions", sessions::CASES),
    ("queues", queues::CASES),
    ("groups", groups::CASES),
    ("exactly once", exactly_once::CASES),
    ("wills", wills::CASES),
    ("fences", fences::CASES),
    ("rules", rules::CASES),
    ("retained", retained::CASES),
];

/// Tells every story to a fresh store of its own.
///
/// # Panics
/// When the store does not behave; the name of the story is on standard error, after the assertion that failed.
pub fn run(harness: &dyn Harness) {
    run_without(harness, &[]);
}

/// As [`run`], but for a store that refuses some families of stories altogether, and says so.
///
/// # Panics
/// As [`run`].
pub fn run_without(harness: &dyn Harness, refused: &[&str]) {
    for (family, cases) in CASES.iter().filter(|(family, _)| !refused.contains(family)) {
        for (name, case) in *cases {
            let _naming = Naming(family, name);
            case(&mut *harness.fresh());
        }
    }
}

/// Says which story it was when an assertion fails.
struct Naming(&'static str, &'static str);

impl Drop for Naming {
    #[expect(clippy::print_stderr, reason = "only while a test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the storage suite: {}: {}", self.0, self.1);
        }
    }
}
