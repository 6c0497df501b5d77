//! What is known of retained messages without asking Redis: how many there are, and whether there is one of a topic.
//!
//! An event loop asks this for each retained message of an account with a bound. It gets what was last heard, and Redis is asked
//! meanwhile: a count may be a second old, and a topic that nobody asked about before counts as new.

use std::time::Duration;

use fleethaven_storage::Error;
use fleethaven_types::{Scope, Utf8Bytes};
use moka::sync::Cache;

use crate::client::Client;
use crate::errands::{Errands, Question};
use crate::keys::Keys;
use crate::retained;

/// How old an answer may be before it is asked for again.
const FRESH: Duration = Duration::from_secs(1);

/// Accounts and topics that are remembered.
const SCOPES: u64 = 4096;
const TOPICS: u64 = 65_536;

/// What was last heard.
pub(crate) struct Kept {
    counts: Cache<Scope, u64>,
    /// Those whose count is fresh.
    fresh: Cache<Scope, ()>,
    topics: Cache<(Scope, Utf8Bytes), bool>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            counts: Cache::new(SCOPES),
            fresh: Cache::builder().max_capacity(SCOPES).time_to_live(FRESH).build(),
            topics: Cache::builder().max_capacity(TOPICS).time_to_live(60 * FRESH).build(),
        }
    }
}

impl Kept {
    pub(crate) fn count(&self, scope: Scope, errands: &Errands) -> u64 {
        if !self.fresh.contains_key(&scope) {
            errands.ask(Question::Count(scope));
        }
        self.counts.get(&scope).unwrap_or_default()
    }

    pub(crate) fn holds(&self, scope: Scope, topic: &str, errands: &Errands) -> bool {
        let topic = Utf8Bytes::from(topic);
        let known = self.topics.get(&(scope, topic.clone()));
        if known.is_none() {
            errands.ask(Question::Holds(scope, topic));
        }
        known.unwrap_or_default()
    }

    /// The message of a topic was replaced or cleared by this store.
    pub(crate) fn note(&self, scope: Scope, topic: &Utf8Bytes, holds: bool) {
        if self.counts.contains_key(&scope) {
            self.topics.insert((scope, topic.compact()), holds);
        }
    }

    pub(crate) fn answer(&self, client: &mut Client, keys: &Keys, question: &Question) -> Result<(), Error> {
        match question {
            Question::Count(scope) => {
                self.counts.insert(*scope, retained::count(client, keys, *scope)?);
                self.fresh.insert(*scope, ());
            }
            Question::Holds(scope, topic) => {
                let holds = retained::holds(client, keys, *scope, topic)?;
                self.topics.insert((*scope, topic.clone()), holds);
            }
        }
        Ok(())
    }
}
