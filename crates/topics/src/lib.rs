//! Topic names, topic filters, and finding the one by the other. Pure: no sockets, no clock, no random
//! source.
//!
//! - [`name`]: what a topic name may be; Basic Ingest's prefix
//! - [`filter`]: [`Filter`], a checked topic filter with its share name; [`matches()`], the rule of MQTT 4.7
//! - [`filter_map`]: [`FilterMap`], from filters to values, asked by topic; a hash map for exact filters and
//!   a trie for those with wildcards
//! - [`index`]: [`SubscriptionIndex`], who subscribed to what
//! - [`reserved`]: which topics below `$` clients may use, and how
//! - [`slot`]: [`Slot`], which part of the topic space a topic belongs to; pinned and spread filters
//! - [`rendezvous`]: which member owns a slot
//!
//! All indexes are of one scope (account and region); the caller keeps one per scope. Authorisation is
//! `policy`'s, choosing a member of a shared group the router's.
#![warn(missing_docs)]

pub mod filter;
pub mod filter_map;
pub mod index;
pub mod name;
pub mod rendezvous;
pub mod reserved;
pub mod slot;

mod levels;

pub use filter::{Filter, matches, split_shared};
pub use filter_map::{FilterMap, Options};
pub use index::SubscriptionIndex;
pub use slot::{DepthRules, Depths, Placement, Places, Slot};
