//! The storage seam on Redis 7 or Valkey.
//!
//! Each lane has a thread with a connection of its own, which never reconnects by itself. The thread takes what was
//! submitted, sends one script call for each partition that the batch touches, all in one pipeline with the command
//! that waits for durability (WAIT, WAITAOF) behind them, and hands the completions back when that has confirmed
//! enough; the next batch starts as the last answer arrives, with what was submitted meanwhile and with the next steps of what
//! takes several. When a connection breaks, nobody knows what became of its
//! batch: it is sent again under the same number, and a partition that had carried it out gives the same answers
//! without doing it twice. Why the keys are as they are: `docs/decisions/`.
//!
//! - [`store`]: [`RedisStore`], which connects and implements the seam's traits
//! - [`options`]: [`Options`] with the server, the [`Durability`], the bounds and the clock
//! - [`stats`]: [`Stats`], plain counters
//! - `script`, `script/*.lua`: what is atomic, and how calls are encoded; `head.lua` lists all keys
//! - `keys`: partitions and the writing of ids
//! - `address`, `cluster`: where servers are; `connection`, `durability`, `links`, `client`: one connection; what it must promise;
//!   those to all primaries; sending until it is answered
//! - `door`, `lane`, `batch`, `publish`, `reading`, `round`, `delivery`, `answers`: from requests to calls and from replies to
//!   completions
//! - `outbox`: shares on their way from one partition to another
//! - `sessions`, `groups`, `retained`, `merge`: what is asked beside the lanes
//! - `rules`, `dead_letters`, `depth`: the rules queue
//! - `errands`, `kept`: what is done for callers that do not wait
//! - `reply`: reading answers
//!
//! Not here: matching, timers, and the decision when to publish a will; the store only keeps what it is given.
#![warn(missing_docs)]

mod address;
mod answers;
mod batch;
mod client;
mod cluster;
mod connection;
mod dead_letters;
mod delivery;
mod depth;
mod door;
mod durability;
mod errands;
mod groups;
mod kept;
mod keys;
mod lane;
mod links;
mod merge;
pub mod options;
mod outbox;
mod publish;
mod reading;
mod reply;
mod retained;
mod round;
mod rules;
mod script;
mod sessions;
pub mod stats;
pub mod store;

pub use options::{Clock, Durability, Options, Server, Tls};
pub use stats::Stats;
pub use store::RedisStore;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no Redis, or none that answers as a primary.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(String),
    /// The settings or the server do not allow what was asked for; the text says what to change.
    #[error("Redis cannot be used: {0}")]
    Refused(String),
    /// The data was written in another layout, or with another number of partitions.
    #[error("Redis holds data of layout {found}; this is layout {wanted}")]
    Layout {
        /// Layout and partitions of the data.
        found: String,
        /// Layout and partitions asked for.
        wanted: String,
    },
    /// The system gave no thread.
    #[error("no thread for the store: {0}")]
    Thread(std::io::Error),
}
