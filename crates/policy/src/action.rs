//! The actions that IoT policies grant, the resource each is checked on, and action patterns.

use std::fmt;
use std::str::FromStr;

use crate::pattern;

/// What an ARN names: the word before the name, `arn:aws:iot:{region}:{account}:{kind}/{name}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind<'a> {
    /// `client/{clientId}`
    Client,
    /// `topic/{topic}`
    Topic,
    /// `topicfilter/{filter}`
    TopicFilter,
    /// `thing/{thing}` or `thing/{thing}/{shadow}`
    Thing,
    /// `rolealias/{alias}`
    RoleAlias,
    /// Any other type, with its separator: `cert/`, `thinggroup/`, `certificateprovider:` (security.md 10).
    Other(&'a str),
}

impl<'a> ResourceKind<'a> {
    /// The type with its separator, as it stands in an ARN.
    pub const fn prefix(self) -> &'a str {
        match self {
            Self::Client => "client/",
            Self::Topic => "topic/",
            Self::TopicFilter => "topicfilter/",
            Self::Thing => "thing/",
            Self::RoleAlias => "rolealias/",
            Self::Other(prefix) => prefix,
        }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident $text:literal $kind:expr;)*) => {
        /// An action of the data plane (security.md 9.3; AWS pages "AWS IoT Core policy actions" and
        /// "AWS IoT Core action resources").
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action { $($(#[$doc])* $name,)* }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Action] = &[$(Action::$name,)*];

            /// The action as policies write it, `iot:Publish`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => concat!("iot:", $text),)* }
            }

            /// What its resource names; `None` if it is checked on `*` only.
            pub const fn resource_kind(self) -> Option<ResourceKind<'static>> {
                match self { $(Self::$name => $kind,)* }
            }
        }
    };
}

actions! {
    /// Every CONNECT, on the client id.
    Connect "Connect" Some(ResourceKind::Client);
    /// Every PUBLISH, will messages (at CONNECT) and HTTPS publishes included.
    Publish "Publish" Some(ResourceKind::Topic);
    /// In addition to `Publish` when RETAIN is 1.
    RetainPublish "RetainPublish" Some(ResourceKind::Topic);
    /// Each filter of a SUBSCRIBE.
    Subscribe "Subscribe" Some(ResourceKind::TopicFilter);
    /// Every delivery to a client, direct messages included.
    Receive "Receive" Some(ResourceKind::Topic);
    /// `GetRetainedMessage`.
    GetRetainedMessage "GetRetainedMessage" Some(ResourceKind::Topic);
    /// `ListRetainedMessages`.
    ListRetainedMessages "ListRetainedMessages" None;
    /// `DeleteConnection`.
    DeleteConnection "DeleteConnection" Some(ResourceKind::Client);
    /// `GetConnection`.
    GetConnection "GetConnection" Some(ResourceKind::Client);
    /// `ListSubscriptions`.
    ListSubscriptions "ListSubscriptions" Some(ResourceKind::Client);
    /// `SendDirectMessage`, on the client id it goes to, with the key `iot:Topic`.
    SendDirectMessage "SendDirectMessage" Some(ResourceKind::Client);
    /// `GetThingShadow` over HTTPS.
    GetThingShadow "GetThingShadow" Some(ResourceKind::Thing);
    /// `UpdateThingShadow` over HTTPS.
    UpdateThingShadow "UpdateThingShadow" Some(ResourceKind::Thing);
    /// `DeleteThingShadow` over HTTPS.
    DeleteThingShadow "DeleteThingShadow" Some(ResourceKind::Thing);
    /// `ListNamedShadowsForThing`.
    ListNamedShadowsForThing "ListNamedShadowsForThing" None;
    /// `DescribeJobExecution` over HTTPS.
    DescribeJobExecution "DescribeJobExecution" Some(ResourceKind::Thing);
    /// `GetPendingJobExecutions` over HTTPS.
    GetPendingJobExecutions "GetPendingJobExecutions" Some(ResourceKind::Thing);
    /// `UpdateJobExecution` over HTTPS.
    UpdateJobExecution "UpdateJobExecution" Some(ResourceKind::Thing);
    /// `StartNextPendingJobExecution` over HTTPS.
    StartNextPendingJobExecution "StartNextPendingJobExecution" Some(ResourceKind::Thing);
    /// The credential provider's token request.
    AssumeRoleWithCertificate "AssumeRoleWithCertificate" Some(ResourceKind::RoleAlias);
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text is no data-plane action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no data-plane action")]
pub struct UnknownAction(pub String);

impl FromStr for Action {
    type Err = UnknownAction;

    /// Reads `iot:Publish`; letter case does not matter.
    fn from_str(text: &str) -> Result<Self, UnknownAction> {
        let found = Self::ALL.iter().find(|action| action.as_str().eq_ignore_ascii_case(text));
        found.copied().ok_or_else(|| UnknownAction(text.to_owned()))
    }
}

/// The action a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestedAction<'a> {
    /// An action of the data plane.
    Data(Action),
    /// Any other, in full: `iot:CreateThing`, `iam:PassRole`.
    Named(&'a str),
}

impl<'a> RequestedAction<'a> {
    /// The action a text names: a data-plane action if it is one.
    pub fn named(text: &'a str) -> Self {
        text.parse().map_or(Self::Named(text), Self::Data)
    }
}

impl From<Action> for RequestedAction<'_> {
    fn from(action: Action) -> Self {
        Self::Data(action)
    }
}

/// The `Action` or `NotAction` of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActionElement {
    /// `NotAction`: everything that no pattern matches.
    negated: bool,
    /// Patterns in lower case.
    patterns: Vec<Vec<u8>>,
    /// One bit for each data-plane action that the element covers, by its discriminant.
    data: u32,
}

impl ActionElement {
    pub(crate) fn new(names: &[String], negated: bool) -> Self {
        let patterns =
            names.iter().map(|name| pattern::compile(&name.to_ascii_lowercase())).collect::<Vec<_>>();
        let mut element = Self { negated, patterns, data: 0 };
        for action in Action::ALL {
            if element.matches_name(action.as_str()) {
                element.data |= bit(*action);
            }
        }
        element
    }

    pub(crate) fn matches(&self, action: RequestedAction<'_>) -> bool {
        match action {
            RequestedAction::Data(action) => self.data & bit(action) != 0,
            RequestedAction::Named(name) => self.matches_name(name),
        }
    }

    fn matches_name(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.patterns.iter().any(|glob| pattern::matches(glob, name.as_str())) != self.negated
    }
}

const fn bit(action: Action) -> u32 {
    1 << (action as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(patterns: &[&str], action: &str) -> bool {
        let names = patterns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        ActionElement::new(&names, false).matches(RequestedAction::named(action))
    }

    #[test]
    fn every_action_reads_back() {
        for action in Action::ALL {
            assert_eq!(action.as_str().to_uppercase().parse(), Ok(*action));
        }
        assert!("iot:Nothing".parse::<Action>().is_err());
    }

    #[test]
    fn resources_are_those_of_the_table() {
        assert_eq!(Action::Subscribe.resource_kind(), Some(ResourceKind::TopicFilter));
        assert_eq!(Action::Receive.resource_kind(), Some(ResourceKind::Topic));
        assert_eq!(Action::SendDirectMessage.resource_kind(), Some(ResourceKind::Client));
        assert_eq!(Action::ListRetainedMessages.resource_kind(), None);
        assert_eq!(Action::ListNamedShadowsForThing.resource_kind(), None);
        assert_eq!(Action::AssumeRoleWithCertificate.resource_kind(), Some(ResourceKind::RoleAlias));
    }

    #[test]
    fn patterns_ignore_case_and_have_wildcards() {
        assert!(covers(&["iot:*"], "iot:Publish"));
        assert!(covers(&["IOT:publish"], "iot:Publish"));
        assert!(covers(&["iot:*Publish"], "iot:RetainPublish"));
        assert!(covers(&["iot:?eceive"], "iot:Receive"));
        assert!(!covers(&["iot:?Receive"], "iot:Receive"));
        assert!(!covers(&["iot:Publish"], "iot:RetainPublish"));
        assert!(covers(&["iot:Create*"], "iot:CreateThing"));
        assert!(!covers(&["iot:Create*"], "iot:DeleteThing"));
    }

    #[test]
    fn not_action_is_the_rest() {
        let rest = ActionElement::new(&["iot:Publish".to_owned()], true);
        assert!(!rest.matches(Action::Publish.into()));
        assert!(rest.matches(Action::Connect.into()));
        assert!(rest.matches(RequestedAction::Named("iot:CreateThing")));
    }
}
