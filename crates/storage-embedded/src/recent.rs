//! Which cached values to drop first: those put in first.

use std::collections::VecDeque;

/// The order in which values came into a cache whose values are held elsewhere.
pub(crate) struct Recent<K> {
    order: VecDeque<(K, usize)>,
    bytes: usize,
    limit: usize,
}

impl<K> Recent<K> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { order: VecDeque::new(), bytes: 0, limit }
    }

    /// Notes that the value of `key`, of so many bytes, is now cached.
    pub(crate) fn push(&mut self, key: K, bytes: usize) {
        self.order.push_back((key, bytes));
        self.bytes += bytes;
    }

    /// The oldest key while the cache is above its limit; its value is to be dropped.
    pub(crate) fn evict(&mut self) -> Option<K> {
        if self.bytes <= self.limit {
            return None;
        }
        let (key, bytes) = self.order.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(key)
    }
}
