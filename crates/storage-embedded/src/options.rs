//! Bounds of the store and its clock.

use std::sync::Arc;

use fleethaven_types::Timestamp;
use fleethaven_vault::Vault;

/// Tells the time. The store reads it once per batch, to pass over expired messages and sessions.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Settings of an [`EmbeddedStore`](crate::EmbeddedStore).
#[derive(Clone)]
pub struct Options {
    /// Wall-clock time.
    pub clock: Clock,
    /// Whether commits are fsynced. `false` only for tests and throw-away data: a power failure then loses what was
    /// acknowledged last, the death of the process alone does not.
    pub fsync: bool,
    /// A lane is congested when so many of its requests are outstanding.
    pub lane_requests: usize,
    /// A lane is congested when its outstanding requests hold so many bytes.
    pub lane_bytes: usize,
    /// A message is copied into each queue while its size times the number of queues is at most so many bytes;
    /// above, it is stored once and referenced.
    pub inline_bytes: usize,
    /// Bytes of queued messages kept decoded in memory.
    pub queue_cache_bytes: usize,
    /// Bytes of retained messages kept decoded in memory.
    pub retained_cache_bytes: usize,
    /// Entries in the rules queue at which every lane reports congestion.
    pub rule_entries: usize,
    /// Rule entries whose messages are kept in memory; durable ones above it are read back from disk.
    pub rule_cached_entries: usize,
    /// Rule entries of QoS 0 messages, kept in memory only; above it new ones are dropped and counted.
    pub rule_volatile_entries: usize,
    /// Dead letters kept; the oldest are dropped and counted.
    pub dead_letters: usize,
    /// fjall's block cache in bytes.
    pub block_cache_bytes: u64,
    /// Seals what is written and opens what is read. Without it nothing is sealed.
    pub vault: Option<Arc<Vault>>,
}

impl Options {
    /// Bounds for a machine with a gigabyte or two to spare.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            fsync: true,
            lane_requests: 20_000,
            lane_bytes: 32 << 20,
            inline_bytes: 4096,
            queue_cache_bytes: 64 << 20,
            retained_cache_bytes: 32 << 20,
            rule_entries: 1_000_000,
            rule_cached_entries: 10_000,
            rule_volatile_entries: 10_000,
            dead_letters: 10_000,
            block_cache_bytes: 64 << 20,
            vault: None,
        }
    }
}
