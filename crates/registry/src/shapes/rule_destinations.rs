//! Where `http` actions may go: addresses whose owners have confirmed it.

use std::str::FromStr;

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Secret, timestamp};

/// Whether rules may call an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DestinationStatus {
    /// They may.
    Enabled,
    /// The owner has been asked, and has not answered yet.
    InProgress,
    /// An operator has said that they may not for now.
    Disabled,
    /// The owner could not be asked.
    Error,
}

impl DestinationStatus {
    /// As AWS writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "ENABLED",
            Self::InProgress => "IN_PROGRESS",
            Self::Disabled => "DISABLED",
            Self::Error => "ERROR",
        }
    }
}

impl FromStr for DestinationStatus {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Enabled, Self::InProgress, Self::Disabled, Self::Error];
        all.into_iter().find(|status| status.as_str() == text).ok_or(())
    }
}

/// Arguments of UpdateTopicRuleDestination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateRuleDestination {
    /// Which.
    pub arn: String,
    /// `ENABLED` (once it was confirmed), `DISABLED` or `IN_PROGRESS`, which asks again.
    pub status: DestinationStatus,
}

/// The owner of an address could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreachableRuleDestination {
    /// Which.
    pub arn: String,
    /// The token that was to be sent: a later one is another matter.
    pub token: Secret,
    /// Why, for people.
    pub reason: String,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleDestination {
    /// `arn:aws:iot:<region>:<account>:ruledestination/http/<uuid>`.
    pub arn: String,
    /// Rules may call it and what is below it.
    pub confirmation_url: String,
    /// Whether they may.
    pub status: DestinationStatus,
    /// Why it has this status.
    pub status_reason: Option<String>,
    /// What the owner is asked with, while nobody has answered.
    pub token: Option<Secret>,
    /// When it was made.
    #[serde(with = "timestamp")]
    pub created_at: Timestamp,
    /// When it changed last.
    #[serde(with = "timestamp")]
    pub last_updated_at: Timestamp,
}

impl RuleDestination {
    /// Whether rules may call `url` because of this one: its address, or one below it.
    pub fn lets(&self, url: &str) -> bool {
        self.status == DestinationStatus::Enabled && is_below(&self.confirmation_url, url)
    }
}

/// Whether `url` begins with the address `base` and goes on below it: not on another host that begins alike.
pub fn is_below(base: &str, url: &str) -> bool {
    let Some(rest) = url.strip_prefix(base) else { return false };
    rest.is_empty() || base.ends_with(['/', '?', '=', '&']) || rest.starts_with(['/', '?', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lets_what_is_below_it_and_nothing_that_begins_alike() {
        let base = "https://a.example/hook";
        for url in [base, "https://a.example/hook/x", "https://a.example/hook?x=1"] {
            assert!(is_below(base, url), "{url}");
        }
        for url in ["https://a.example/", "https://a.example/hooks", "https://a.example.evil/hook"] {
            assert!(!is_below(base, url), "{url}");
        }
        assert!(!is_below("https://a.example", "https://a.example.evil/"));
        assert!(!is_below("https://a.example", "https://a.example@evil/"));
        assert!(is_below("https://a.example/", "https://a.example/x"));
        assert!(is_below("https://a.example", "https://a.example/x"));
    }

    #[test]
    fn statuses_are_written_as_aws_does() {
        for text in ["ENABLED", "IN_PROGRESS", "DISABLED", "ERROR"] {
            let status: DestinationStatus = text.parse().unwrap();
            assert_eq!((status.as_str(), serde_json::to_value(status).unwrap().as_str()), (text, Some(text)));
        }
        assert_eq!("DELETING".parse::<DestinationStatus>(), Err(()));
    }
}
