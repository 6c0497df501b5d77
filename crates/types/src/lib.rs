//! Words that every crate shares: accounts, regions, ARNs, messages, limits, time. No behaviour beyond
//! parsing and printing.
//!
//! - [`account`]: [`AccountId`], [`Region`] and the pair of them, [`Scope`], which owns every resource and topic
//! - [`arn`]: `arn:aws:iot:…` names
//! - [`text`]: [`Utf8Bytes`], a checked UTF-8 string that shares its buffer
//! - [`message`]: [`Message`], an accepted PUBLISH on its way to subscribers, queues and rules
//! - [`queue`]: [`SessionId`] and [`EntryId`], a session and a position in its queue; [`GroupId`] and [`Share`], a group of
//!   members of a shared subscription and what one of them gets
//! - [`qos`][]: the levels, [`QoS`]
//! - [`limits`]: [`Profile`], [`Behaviour`] and [`Limits`]: what a listener and an account allow
//! - [`time`]: [`Timestamp`], milliseconds since the epoch
#![warn(missing_docs)]

pub mod account;
pub mod arn;
pub mod limits;
pub mod message;
pub mod qos;
pub mod queue;
pub mod text;
pub mod time;

pub use account::{AccountId, Region, Scope};
pub use arn::Arn;
pub use limits::{AccountLimits, Behaviour, Limits, Profile};
pub use message::{Message, MessageProperties, Publisher};
pub use qos::QoS;
pub use queue::{EntryId, GroupId, Held, SessionId, Share};
pub use text::Utf8Bytes;
pub use time::Timestamp;
