//! Event configurations (provisioning.md section 11).

use std::collections::BTreeMap;

use fleethaven_types::Timestamp;
use serde::{Deserialize, Serialize};

use super::timestamp;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "AWS's names say it")]
pub enum EventType {
    Thing,
    ThingGroup,
    ThingType,
    ThingGroupMembership,
    ThingGroupHierarchy,
    ThingTypeAssociation,
    Job,
    JobExecution,
    Policy,
    Certificate,
    CaCertificate,
}

impl EventType {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Thing,
        Self::ThingGroup,
        Self::ThingType,
        Self::ThingGroupMembership,
        Self::ThingGroupHierarchy,
        Self::ThingTypeAssociation,
        Self::Job,
        Self::JobExecution,
        Self::Policy,
        Self::Certificate,
        Self::CaCertificate,
    ];

    /// The name in AWS's model.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Thing => "THING",
            Self::ThingGroup => "THING_GROUP",
            Self::ThingType => "THING_TYPE",
            Self::ThingGroupMembership => "THING_GROUP_MEMBERSHIP",
            Self::ThingGroupHierarchy => "THING_GROUP_HIERARCHY",
            Self::ThingTypeAssociation => "THING_TYPE_ASSOCIATION",
            Self::Job => "JOB",
            Self::JobExecution => "JOB_EXECUTION",
            Self::Policy => "POLICY",
            Self::Certificate => "CERTIFICATE",
            Self::CaCertificate => "CA_CERTIFICATE",
        }
    }
}

/// Arguments of UpdateEventConfigurations: types that are not named stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateEventConfigurations {
    /// Whether events of a type are published from now on.
    pub enabled: BTreeMap<EventType, bool>,
}

/// Answer of DescribeEventConfigurations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventConfigurationsDescription {
    /// Whether events of a type are published, for every type.
    pub enabled: BTreeMap<EventType, bool>,
    /// When they were first changed; `None`: never.
    #[serde(with = "timestamp::optional")]
    pub created_at: Option<Timestamp>,
    /// When they were last changed.
    #[serde(with = "timestamp::optional")]
    pub modified_at: Option<Timestamp>,
}
