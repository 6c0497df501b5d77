//! The `awsIotSqlVersion` of a rule, which decides the dialect.

use std::{fmt, str::FromStr};

/// Dialect of a rule (AWS page "SQL versions").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum SqlVersion {
    /// `2015-10-08`, the dialect of a rule that names none.
    #[default]
    V2015_10_08,
    /// `2016-03-23`, the recommended dialect.
    V2016_03_23,
    /// `beta`; here exactly `2016-03-23`.
    Beta,
}

/// A version string AWS does not know; the API answers `InvalidRequestException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown awsIotSqlVersion {0:?}: expected 2015-10-08, 2016-03-23 or beta")]
pub struct UnknownVersion(pub String);

impl SqlVersion {
    /// The string of the API, also what `sql_version()` answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2015_10_08 => "2015-10-08",
            Self::V2016_03_23 => "2016-03-23",
            Self::Beta => "beta",
        }
    }

    /// Whether whole Decimals become Int, and the clauses and functions of 2016-03-23 are there.
    #[must_use]
    pub fn is_second(self) -> bool {
        !matches!(self, Self::V2015_10_08)
    }
}

impl fmt::Display for SqlVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SqlVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, UnknownVersion> {
        match text {
            "2015-10-08" => Ok(Self::V2015_10_08),
            "2016-03-23" => Ok(Self::V2016_03_23),
            "beta" => Ok(Self::Beta),
            other => Err(UnknownVersion(other.to_owned())),
        }
    }
}
