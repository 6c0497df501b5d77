//! Loading the subscriptions of persistent sessions from the store: all of them at the start of one process, those of the
//! slots that a router gains in a cluster, while requests go on.

use std::sync::atomic::{AtomicBool, Ordering};

use fleethaven_fabric::routing::OwnerNumber;
use fleethaven_storage::{Error, SessionId, SessionRecord, Subscription};
use fleethaven_topics::{Depths, Placement, Slot};
use fleethaven_types::Scope;
use parking_lot::Mutex;
use rustc_hash::FxHashSet;

use crate::router::Router;

/// Sessions read from the store at a time.
const PAGE: usize = 1000;
/// How often what changed meanwhile is read again, before it is taken as it was read.
const PASSES: usize = 5;

/// Sessions from which something was removed while a load goes on: what was read of them before may be out of date.
#[derive(Default)]
pub(crate) struct Touched {
    loading: AtomicBool,
    sessions: Mutex<FxHashSet<SessionId>>,
}

impl Touched {
    /// Something is removed from a session. To be called before that is done.
    pub(crate) fn note(&self, session: SessionId) {
        if self.loading.load(Ordering::SeqCst) {
            self.sessions.lock().insert(session);
        }
    }
}

impl Router {
    /// Loads the subscriptions of all persistent sessions and the queues of their groups; returns how many sessions there
    /// are.
    pub fn warm_up(&self) -> Result<usize, Error> {
        let mut opening = Vec::new();
        let count = self.each_session(|record| {
            let (session, owner) = (record.session, OwnerNumber(record.version_number));
            self.know(session, record.scope, owner);
            opening.append(&mut self.subscribe(session, &record.subscriptions, owner).opening);
        })?;
        self.warm_up_groups(&opening)?;
        Ok(count)
    }

    /// Loads the subscriptions of persistent sessions whose filters are pinned to one of `slots` by any of the `depths`, and with
    /// `spread` those that are pinned to none; what else this router has is left as it is, and requests go on meanwhile. Returns how many sessions
    /// have such filters.
    pub fn load(&self, slots: &[Slot], spread: bool, depths: &Depths) -> Result<usize, Error> {
        let slots: FxHashSet<Slot> = slots.iter().copied().collect();
        let wanted = |scope: &Scope, filter: &str| {
            depths.places(scope, filter).iter().any(|place| match place {
                Placement::Pinned(slot) => slots.contains(&slot),
                Placement::Spread => spread,
            })
        };
        self.touched.sessions.lock().clear();
        self.touched.loading.store(true, Ordering::SeqCst);
        let loaded = self.load_wanted(&wanted);
        self.touched.loading.store(false, Ordering::SeqCst);
        loaded
    }

    fn load_wanted(&self, wanted: &dyn Fn(&Scope, &str) -> bool) -> Result<usize, Error> {
        let mut count = 0;
        let mut again: Option<FxHashSet<SessionId>> = None;
        for pass in 1..=PASSES {
            let mut skipped = FxHashSet::default();
            self.each_session(|record| {
                let session = record.session;
                if again.as_ref().is_some_and(|again| !again.contains(&session)) {
                    return;
                }
                let is_wanted = |held: &&Subscription| wanted(&record.scope, &held.filter);
                let subscriptions: Vec<_> = record.subscriptions.iter().filter(is_wanted).cloned().collect();
                if subscriptions.is_empty() {
                    return;
                }
                // Held, so that nothing is removed between the look and the change.
                let touched = self.touched.sessions.lock();
                if touched.contains(&session) && pass < PASSES {
                    skipped.insert(session);
                    return;
                }
                self.know(session, record.scope, OwnerNumber(record.version_number));
                // Those of their groups that want a queue are seen to at the end.
                self.subscribe(session, &subscriptions, OwnerNumber::UNKNOWN);
                drop(touched);
                count += 1;
            })?;
            if skipped.is_empty() {
                break;
            }
            self.touched.sessions.lock().clear();
            again = Some(skipped);
        }
        self.find_queues()?;
        Ok(count)
    }

    fn each_session(&self, mut each: impl FnMut(&SessionRecord)) -> Result<usize, Error> {
        let (mut after, mut count) = (0, 0);
        loop {
            let page = self.store.persistent_sessions(after, PAGE)?;
            let Some(last) = page.last() else { return Ok(count) };
            after = last.session.0;
            count += page.len();
            page.iter().for_each(&mut each);
        }
    }
}
