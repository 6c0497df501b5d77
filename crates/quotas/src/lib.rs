//! What accounts may use and have used. Counts and rates of an account are shared by all cores, as atomics: nothing on the
//! publish path takes a lock, and what has no limit costs nothing. Time is an argument.
//!
//! | module | owns |
//! |---|---|
//! | [`rate`] | [`Rate`] and [`Meter`]: so many a second, with bursts, for one owner |
//! | [`shared`] | [`SharedMeter`]: the same for many threads |
//! | [`keyed`] | [`KeyedMeters`]: one meter per client id or topic, swept when level |
//! | [`count`] | [`Count`]: how many there are now |
//! | [`account`] | [`Account`]: everything of one account and region; [`Accounts`]: all of them |
#![warn(missing_docs)]

pub mod account;
pub mod count;
pub mod keyed;
pub mod rate;
pub mod shared;

pub use account::{Account, Accounts};
pub use count::{Count, Held};
pub use keyed::KeyedMeters;
pub use rate::{Meter, Rate};
pub use shared::SharedMeter;
