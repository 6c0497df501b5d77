//! Typed reads of one scope.

use bytes::Bytes;
use fleethaven_types::{Arn, Scope};
use prost::Message;

use crate::command::Reply;
use crate::error::Error;
use crate::record;
use crate::view::{Effects, View};

/// What a command evaluates to.
pub(crate) type Outcome = Result<(Reply, Effects), Error>;

/// Nothing to tell, these changes.
pub(crate) fn done(effects: Effects) -> Outcome {
    Ok((Reply::Done, effects))
}

const BATCH: usize = 256;

/// The metadata of one scope as of one moment.
#[derive(Clone, Copy)]
pub(crate) struct Store<'a> {
    pub(crate) view: &'a dyn View,
    pub(crate) scope: Scope,
}

impl Store<'_> {
    pub(crate) fn record<R: Message + Default>(&self, key: &[u8]) -> Result<Option<R>, Error> {
        self.view.get(key).map(|value| record::decode(&value)).transpose()
    }

    pub(crate) fn exists(&self, key: &[u8]) -> bool {
        self.view.get(key).is_some()
    }

    /// Whether any key starts with `prefix`.
    pub(crate) fn any(&self, prefix: &[u8]) -> bool {
        !self.view.scan(prefix, None, 1).is_empty()
    }

    /// How many keys start with `prefix`; counting stops at `limit`.
    pub(crate) fn count(&self, prefix: &[u8], limit: usize) -> usize {
        self.view.scan(prefix, None, limit).len()
    }

    /// All pairs below `prefix`: only for sets that a quota bounds.
    pub(crate) fn all(&self, prefix: &[u8]) -> Vec<(Bytes, Bytes)> {
        let mut pairs = self.view.scan(prefix, None, BATCH);
        let mut fresh = pairs.len();
        while fresh == BATCH {
            let more = self.view.scan(prefix, pairs.last().map(|(key, _)| key.as_ref()), BATCH);
            fresh = more.len();
            pairs.extend(more);
        }
        pairs
    }

    pub(crate) fn arn(&self, kind: &str, name: &str) -> String {
        Arn::new(self.scope, kind, name).to_string()
    }
}
