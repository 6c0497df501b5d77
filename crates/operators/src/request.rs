//! Condition keys that every request has, whoever sends it.

use fleethaven_policy::CustomKeys;
use fleethaven_types::Timestamp;

/// What is known of a request besides its sender and its resource.
#[derive(Debug, Clone, Copy)]
pub struct RequestKeys<'a> {
    /// When it came.
    pub now: Timestamp,
    /// The region that it is for.
    pub region: &'a str,
    /// `User-Agent`.
    pub user_agent: Option<&'a str>,
    /// `Referer`.
    pub referer: Option<&'a str>,
}

impl RequestKeys<'_> {
    /// Adds them to `keys`. Whoever comes without TLS is no operator, so that `aws:SecureTransport` is always true.
    pub fn add_to(&self, keys: &mut CustomKeys) {
        keys.insert("aws:CurrentTime", iso(self.now.as_secs()));
        keys.insert("aws:EpochTime", self.now.as_secs().to_string());
        keys.insert("aws:SecureTransport", "true");
        keys.insert("aws:RequestedRegion", self.region);
        for (name, value) in [("aws:UserAgent", self.user_agent), ("aws:Referer", self.referer)] {
            if let Some(value) = value {
                keys.insert(name, value);
            }
        }
    }
}

/// Seconds since the epoch as policies and answers write times: `2026-01-31T23:59:59Z`.
pub fn iso(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// The condition key of a tag that who asks has.
pub(crate) fn principal_tag(key: &str) -> String {
    format!("aws:PrincipalTag/{key}")
}
