//! The rules workers' door. Messages enter through [`Request::Publish`](crate::Request::Publish), in the same durable
//! batch as the session queues.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use fleethaven_types::{AccountId, Message, Timestamp};

use crate::{Error, RuleRef};

/// Position of an entry in the rules queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleEntryId(pub u64);

/// A message with the rules it matched.
#[derive(Debug, Clone)]
pub struct RuleEntry {
    /// Position; acknowledge with it.
    pub id: RuleEntryId,
    /// The message.
    pub message: Arc<Message>,
    /// The rules that matched.
    pub rules: Vec<RuleRef>,
    /// How often it has been claimed before: above the worker's bound it is a poison message.
    pub deliveries: u32,
}

/// A poison entry that was taken out of the rules queue.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// Its id; redrive or discard with it.
    pub id: RuleEntryId,
    /// Why the worker gave up.
    pub reason: String,
    /// When it was put here.
    pub at: Timestamp,
    /// The message.
    pub message: Arc<Message>,
    /// The rules that matched.
    pub rules: Vec<RuleRef>,
    /// How often it had been claimed before the claim that failed last.
    pub deliveries: u32,
}

/// A future that a seam returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The queue between routers and rules workers. At least once: an entry that was claimed and not acknowledged is given
/// out again when its worker is gone (here: after a restart).
pub trait RuleQueue: Send + Sync + 'static {
    /// Waits until entries are there and claims at most `max` of them, oldest first.
    fn claim(&self, max: usize) -> BoxFuture<'_, Result<Vec<RuleEntry>, Error>>;

    /// Forgets entries whose rules have run.
    fn acknowledge(&self, entries: Vec<RuleEntryId>) -> Result<(), Error>;

    /// Moves a poison entry to the dead-letter list, with the reason.
    fn dead_letter(&self, entry: RuleEntryId, reason: &str) -> Result<(), Error>;

    /// At most `limit` dead letters, oldest first; only those of `account`, where one is named. Waits for the store, and holds no more
    /// of them in memory than twice the limit.
    fn dead_letters(&self, account: Option<AccountId>, limit: usize) -> Result<Vec<DeadLetter>, Error>;

    /// Puts a dead letter back at the end of the rules queue, as if it had never been claimed; false when there is none of
    /// this id. Waits for the store.
    fn redrive(&self, entry: RuleEntryId) -> Result<bool, Error>;

    /// Forgets a dead letter; false when there is none of this id. Waits for the store.
    fn discard(&self, entry: RuleEntryId) -> Result<bool, Error>;

    /// Entries that wait or are claimed.
    fn depth(&self) -> u64;
}
