//! The one place that reads the wall clock; everything below the services takes time as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use fleethaven_types::Timestamp;

/// The time now. A clock set before 1970 reads as 0.
#[expect(clippy::disallowed_methods, reason = "this is the function that the ban points to")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
