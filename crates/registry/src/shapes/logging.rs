//! Which log entries are written (operations.md sections 3, 4 and 6).

use serde::{Deserialize, Serialize};

/// How much is logged, in the order in which it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LogLevel {
    /// Nothing.
    Disabled,
    /// What failed.
    Error,
    /// What may lead to inconsistencies, too.
    Warn,
    /// The flow of things, too.
    Info,
    /// Everything.
    Debug,
}

impl LogLevel {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Disabled, Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// The name in AWS's model.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "DISABLED",
            Self::Error => "ERROR",
            Self::Warn => "WARN",
            Self::Info => "INFO",
            Self::Debug => "DEBUG",
        }
    }

    /// The level of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}

/// What a level is set for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LogTargetType {
    /// Everything that nothing else is said of.
    Default,
    /// The things of a group and of those below it.
    ThingGroup,
    /// A client.
    ClientId,
    /// Whoever comes from an address.
    SourceIp,
    /// A certificate, or a user.
    PrincipalId,
    /// A topic rule: ours, AWS has none.
    RuleName,
}

impl LogTargetType {
    /// Every one.
    pub const ALL: [Self; 6] =
        [Self::Default, Self::ThingGroup, Self::ClientId, Self::SourceIp, Self::PrincipalId, Self::RuleName];

    /// The name in AWS's model, or in ours.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "DEFAULT",
            Self::ThingGroup => "THING_GROUP",
            Self::ClientId => "CLIENT_ID",
            Self::SourceIp => "SOURCE_IP",
            Self::PrincipalId => "PRINCIPAL_ID",
            Self::RuleName => "RULE_NAME",
        }
    }

    /// The type of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

macro_rules! log_events {
    ($($event:ident = $name:literal,)*) => {
        /// What a log entry tells of: AWS's `eventType`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "AWS's names say it")]
        pub enum LogEvent {
            $($event,)*
        }

        impl LogEvent {
            /// Every one.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$event),*];

            /// The name that AWS gives it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$event => $name,)*
                }
            }
        }
    };
}

log_events! {
    Connect = "Connect",
    Disconnect = "Disconnect",
    Ping = "Ping",
    AuthNError = "Connection.AuthNError",
    DeleteConnection = "DeleteConnection",
    GetConnection = "GetConnection",
    ListSubscriptions = "ListSubscriptions",
    SendDirectMessage = "SendDirectMessage",
    GetRetainedMessage = "GetRetainedMessage",
    ListRetainedMessage = "ListRetainedMessage",
    PublishIn = "Publish-In",
    PublishOut = "Publish-Out",
    Queued = "Queued",
    Subscribe = "Subscribe",
    Unsubscribe = "Unsubscribe",
    RetrieveOcspStapleData = "RetrieveOCSPStapleData",
    GetThingShadow = "GetThingShadow",
    UpdateThingShadow = "UpdateThingShadow",
    DeleteThingShadow = "DeleteThingShadow",
    RuleMatch = "RuleMatch",
    StartingRuleExecution = "StartingRuleExecution",
    RuleExecution = "RuleExecution",
    FunctionExecution = "FunctionExecution",
    RuleNotFound = "RuleNotFound",
    RuleMessageThrottled = "RuleMessageThrottled",
    DescribeJobExecution = "DescribeJobExecution",
    GetPendingJobExecution = "GetPendingJobExecution",
    StartNextPendingJobExecution = "StartNextPendingJobExecution",
    UpdateJobExecution = "UpdateJobExecution",
    ReportFinalJobExecutionCount = "ReportFinalJobExecutionCount",
    GetDeviceCredentials = "GetDeviceCredentials",
    ProvisionDevice = "ProvisionDevice",
    AddThingToDynamicThingGroupsFailed = "AddThingToDynamicThingGroupsFailed",
    NamedShadowCountForDynamicGroupQueryLimitExceeded = "NamedShadowCountForDynamicGroupQueryLimitExceeded",
    IndexingCustomFieldFailed = "IndexingCustomFieldFailed",
}

impl LogEvent {
    /// The event of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }

    /// Whether its entries are written only where an event configuration says so.
    pub fn is_opt_in(self) -> bool {
        matches!(self, Self::Ping | Self::AuthNError)
    }
}

/// What is said of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEventConfiguration {
    /// Its name, that of a [`LogEvent`].
    pub event_type: String,
    /// How much is logged of it; `None`: as much as of others.
    pub log_level: Option<LogLevel>,
    /// The log group of its entries; `None`: that of all others.
    pub log_destination: Option<String>,
}

/// Arguments of SetV2LoggingOptions; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetV2LoggingOptions {
    /// The role that AWS would write with.
    pub role_arn: Option<String>,
    /// How much is logged of what nothing else is said of.
    pub default_log_level: Option<LogLevel>,
    /// Whether nothing is logged, whatever else is said.
    pub disable_all_logs: Option<bool>,
    /// All events of which something is said.
    pub event_configurations: Option<Vec<LogEventConfiguration>>,
}

/// Answer of GetV2LoggingOptions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct V2LoggingOptions {
    /// The role; `None`: everything was disabled before there was one.
    pub role_arn: Option<String>,
    /// How much is logged of what nothing else is said of.
    pub default_log_level: LogLevel,
    /// Whether nothing is logged, whatever else is said.
    pub disable_all_logs: bool,
    /// The events of which something is said.
    pub event_configurations: Vec<LogEventConfiguration>,
}

/// What a level is set for, by type and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTarget {
    /// Its type.
    pub target_type: LogTargetType,
    /// Its name; `None` for the default.
    pub target_name: Option<String>,
}

/// Arguments of SetV2LoggingLevel, and an item of ListV2LoggingLevels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTargetConfiguration {
    /// For what.
    pub log_target: LogTarget,
    /// How much.
    pub log_level: LogLevel,
}

/// Arguments of SetLoggingOptions and answer of GetLoggingOptions, as they were before the second version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggingOptions {
    /// The role that AWS would write with.
    pub role_arn: Option<String>,
    /// How much is logged.
    pub log_level: LogLevel,
}
