//! What an operator may set: how large a document may be, and how variables are treated.

/// Which services' actions and resources a document may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Services {
    /// IoT policies: `iot:` actions, `*`, which AWS's console offers first, and `greengrass:` actions, which the policies of
    /// Greengrass cores name and which no request here asks for.
    #[default]
    Iot,
    /// Any `service:action`: identity policies of operators, which also name `iam:PassRole` or
    /// `iotjobsdata:` actions.
    Any,
}

/// Bounds that [`PolicyDocument::parse`](crate::PolicyDocument::parse) enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most characters, white space excluded. AWS: 2048.
    pub characters: usize,
    /// Most characters in all. AWS: 404 600, the bound of the API model.
    pub total_characters: usize,
    /// Which services may be named.
    pub services: Services,
}

impl Default for Limits {
    fn default() -> Self {
        Self { characters: 2048, total_characters: 404_600, services: Services::Iot }
    }
}

/// How a [`PolicySet`](crate::PolicySet) treats variables (security.md 9.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A client id with any of `+ # * ?` in it is not substituted for `${iot:ClientId}`, because in a topic
    /// filter it would grant a wildcard. Default on.
    pub reject_wildcards_in_variables: bool,
    /// In a Deny statement, a resource or condition value with an unresolved variable counts as matching, so
    /// that the statement fires. Default off, as AWS.
    pub unresolved_deny_is_match: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { reject_wildcards_in_variables: true, unresolved_deny_is_match: false }
    }
}
