//! Amazon Resource Names of the `iot` service: `arn:aws:iot:{region}:{account}:{resource}`.

use std::fmt;
use std::str::FromStr;

use crate::{AccountId, Region, Scope};

/// Why a text is no ARN of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an ARN of the form arn:aws:iot:<region>:<account>:<type>/<name>")]
pub struct Error(pub String);

/// The name of one resource, such as `arn:aws:iot:us-east-1:123456789012:thing/sensor01`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Arn {
    /// The account and region that own the resource.
    pub scope: Scope,
    /// What kind of resource: `thing`, `cert`, `policy`, `rule`, …
    pub kind: String,
    /// Its name within the kind; may itself contain `/`.
    pub name: String,
}

impl Arn {
    /// The ARN of the resource `name` of kind `kind` in `scope`.
    pub fn new(scope: Scope, kind: &str, name: &str) -> Self {
        Self { scope, kind: kind.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scope { account, region } = self.scope;
        write!(f, "arn:aws:iot:{region}:{account}:{}/{}", self.kind, self.name)
    }
}

impl FromStr for Arn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let mut parts = text.splitn(6, ':');
            let prefix = [parts.next()?, parts.next()?, parts.next()?];
            let region: Region = parts.next()?.parse().ok()?;
            let account: AccountId = parts.next()?.parse().ok()?;
            let (kind, name) = parts.next()?.split_once('/')?;
            let ours = prefix == ["arn", "aws", "iot"] && !kind.is_empty() && !name.is_empty();
            ours.then(|| Self::new(Scope { account, region }, kind, name))
        };
        parse().ok_or_else(|| Error(text.to_owned()))
    }
}

/// Whether `text` has the syntax of an IAM role ARN, `arn:aws:iam::<12 digits>:role/<path and name>`.
/// Roles are checked for syntax and stored, never looked up, when a resource that names one is created.
pub fn is_role_arn(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("arn:aws").and_then(|r| r.split_once(":iam::")) else { return false };
    let (partition, rest) = rest;
    let Some((account, role)) = rest.split_once(":role/") else { return false };
    let partition_ok = partition.is_empty() || partition.starts_with('-');
    let name_ok = !role.is_empty() && role.len() <= 512 && role.bytes().all(|b| b.is_ascii_graphic());
    partition_ok && account.parse::<AccountId>().is_ok() && name_ok
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_survive_a_round_trip() {
        let text = "arn:aws:iot:us-east-1:123456789012:topic/a/b:c";
        let arn: Arn = text.parse().unwrap();
        assert_eq!((arn.kind.as_str(), arn.name.as_str()), ("topic", "a/b:c"));
        assert_eq!(arn.to_string(), text);
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "arn:aws:iot",
            "arn:aws:s3:us-east-1:123456789012:thing/x",
            "arn:aws:iot:us-east-1:1:thing/x",
        ] {
            assert!(bad.parse::<Arn>().is_err(), "{bad}");
        }
    }

    #[test]
    fn role_arns() {
        assert!(is_role_arn("arn:aws:iam::123456789012:role/service-role/x"));
        assert!(is_role_arn("arn:aws-cn:iam::123456789012:role/x"));
        for bad in [
            "",
            "arn:aws:iam::12:role/x",
            "arn:aws:iam::123456789012:user/x",
            "arn:aws:iam::123456789012:role/",
        ] {
            assert!(!is_role_arn(bad), "{bad}");
        }
    }
}
