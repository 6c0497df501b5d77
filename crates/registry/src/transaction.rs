//! Several operations as one command: each sees what the ones before it have done, and all of it happens or nothing.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use fleethaven_types::Scope;
use sha2::{Digest, Sha256};

use crate::command::{Context, Reply};
use crate::error::Error;
use crate::store::{Outcome, Store};
use crate::view::{Effects, View, Write};

/// What has been done so far, over what there was.
pub(crate) struct Transaction<'a> {
    scope: Scope,
    context: &'a Context,
    view: Changed<'a>,
    effects: Effects,
    steps: u64,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(store: &Store<'a>, context: &'a Context) -> Self {
        let view = Changed { below: store.view, changes: BTreeMap::new() };
        Self { scope: store.scope, context, view, effects: Effects::default(), steps: 0 }
    }

    /// What there is by now.
    pub(crate) fn store(&self) -> Store<'_> {
        Store { view: &self.view, scope: self.scope }
    }

    /// Does one more operation; its effects count for the next one.
    pub(crate) fn run(
        &mut self,
        operation: impl FnOnce(&Store<'_>, &Context) -> Outcome,
    ) -> Result<Reply, Error> {
        // Each operation has entropy of its own: what it makes has ids of its own.
        let mut hash = Sha256::new();
        hash.update(self.context.random);
        hash.update(self.steps.to_be_bytes());
        self.steps = self.steps.saturating_add(1);
        let context = Context { random: hash.finalize().into(), ..self.context.clone() };
        let (reply, effects) = operation(&self.store(), &context)?;
        for write in &effects.writes {
            let value = match write {
                Write::Put { value, .. } => Some(value.clone()),
                Write::Delete { .. } => None,
            };
            self.view.changes.insert(write.key().clone(), value);
        }
        self.effects.writes.extend(effects.writes);
        self.effects.emits.extend(effects.emits);
        Ok(reply)
    }

    /// Does several operations, or none of them.
    pub(crate) fn attempt<T>(
        &mut self,
        operations: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let before = self.view.changes.clone();
        let (writes, emits) = (self.effects.writes.len(), self.effects.emits.len());
        let outcome = operations(self);
        if outcome.is_err() {
            self.view.changes = before;
            self.effects.writes.truncate(writes);
            self.effects.emits.truncate(emits);
        }
        outcome
    }

    /// All that was done.
    pub(crate) fn into_effects(self) -> Effects {
        self.effects
    }
}

/// A view with changes on top.
struct Changed<'a> {
    below: &'a dyn View,
    /// `None`: removed.
    changes: BTreeMap<Bytes, Option<Bytes>>,
}

impl View for Changed<'_> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        match self.changes.get(key) {
            Some(value) => value.clone(),
            None => self.below.get(key),
        }
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<(Bytes, Bytes)> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let changes = self.changes.range::<[u8], _>((start, Bound::Unbounded));
        let changes: Vec<_> = changes.take_while(|(key, _)| key.starts_with(prefix)).collect();
        // As many more as changes could take away.
        let below = self.below.scan(prefix, after, limit.saturating_add(changes.len()));
        // Where as much was read as was asked for, nothing is known beyond the last pair.
        let is_whole = below.len() < limit.saturating_add(changes.len());
        let end = below.last().map(|(key, _)| key.clone());
        let mut merged: BTreeMap<Bytes, Bytes> = below.into_iter().collect();
        for (key, value) in changes.into_iter().filter(|(key, _)| is_whole || Some(*key) <= end.as_ref()) {
            match value {
                Some(value) => _ = merged.insert(key.clone(), value.clone()),
                None => _ = merged.remove(key),
            }
        }
        merged.into_iter().take(limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::MemoryView;

    fn key() -> impl Strategy<Value = Bytes> {
        "[ab]{1,3}".prop_map(Bytes::from)
    }

    fn value() -> impl Strategy<Value = Bytes> {
        "[xy]".prop_map(Bytes::from)
    }

    proptest! {
        #[test]
        fn what_is_seen_is_what_would_be_there(
            stored in btree_map(key(), value(), 0..12),
            writes in vec((key(), option::of(value())), 0..12),
            (prefix, after, limit) in ("[ab]{0,2}", option::of("[ab]{1,3}"), 0..8usize),
        ) {
            let put = |(key, value): (Bytes, Bytes)| Write::Put { key, value };
            let mut below = MemoryView::default();
            below.apply(&Effects { writes: stored.into_iter().map(put).collect(), emits: Vec::new() });
            let view = Changed { below: &below, changes: writes.iter().cloned().collect() };
            let writes = writes.iter().map(|(key, value)| match value {
                Some(value) => Write::Put { key: key.clone(), value: value.clone() },
                None => Write::Delete { key: key.clone() },
            });
            let mut applied = below.clone();
            applied.apply(&Effects { writes: writes.collect(), emits: Vec::new() });
            let after = after.as_deref().map(str::as_bytes);
            let (seen, there) = (
                view.scan(prefix.as_bytes(), after, limit),
                applied.scan(prefix.as_bytes(), after, limit),
            );
            prop_assert_eq!(seen, there);
        }
    }
}
