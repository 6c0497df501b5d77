//! Accounts and regions. Every resource, topic, client id, metric and log line belongs to one [`Scope`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no account id or region name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An account id is exactly twelve decimal digits.
    #[error("'{0}' is not an account id: twelve digits are expected")]
    Account(String),
    /// A region is 1 to 32 characters of `a-z`, `0-9` and `-`.
    #[error("'{0}' is not a region name: 1 to 32 characters of a-z, 0-9 and '-' are expected")]
    Region(String),
}

/// An AWS account id: twelve decimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(u64);

impl AccountId {
    /// The number that the twelve digits spell.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The id spelt by a number below 10¹².
    pub fn from_u64(number: u64) -> Option<Self> {
        (number < 1_000_000_000_000).then_some(Self(number))
    }
}

impl FromStr for AccountId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        let number = digits.then(|| text.parse().ok()).flatten();
        number.map(Self).ok_or_else(|| Error::Account(text.to_owned()))
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for AccountId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.to_string()
    }
}

const REGION_MAX: usize = 32;

/// An AWS region name such as `us-east-1`, held inline so that a [`Scope`] is `Copy`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region {
    bytes: [u8; REGION_MAX],
    len: u8,
}

impl Region {
    /// The name.
    pub fn as_str(&self) -> &str {
        self.bytes.get(..usize::from(self.len)).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default()
    }
}

impl FromStr for Region {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let mut bytes = [0; REGION_MAX];
        match bytes.get_mut(..text.len()) {
            Some(head) if plain && !text.is_empty() => head.copy_from_slice(text.as_bytes()),
            _ => return Err(Error::Region(text.to_owned())),
        }
        Ok(Self { bytes, len: text.len() as u8 })
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TryFrom<String> for Region {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.as_str().to_owned()
    }
}

/// The owner of resources, topics and client ids: an account in a region. Nothing crosses from one scope to another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Scope {
    /// The account.
    pub account: AccountId,
    /// The region.
    pub region: Region,
}

impl Scope {
    /// Where what belongs to the whole cluster asks for a scope: an account and a region that nobody has.
    pub const CLUSTER: Self = Self {
        account: AccountId(0),
        region: Region { bytes: *b"cluster\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", len: 7 },
    };
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_are_twelve_digits() {
        assert_eq!("000000000042".parse::<AccountId>().unwrap().to_string(), "000000000042");
        for bad in ["", "42", "1234567890123", "12345678901a", "+12345678901"] {
            assert!(bad.parse::<AccountId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn regions_are_short_lower_case_names() {
        assert_eq!("eu-central-1".parse::<Region>().unwrap().as_str(), "eu-central-1");
        for bad in ["", "US-EAST-1", "a/b", "a:b", &"x".repeat(33)] {
            assert!(bad.parse::<Region>().is_err(), "{bad}");
        }
    }
}
