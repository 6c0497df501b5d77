//! What was used.

use prost::Message;

use crate::shapes::Amounts;

/// What was used on one day.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Usage {
    /// Minutes of connections.
    #[prost(uint64, tag = "1")]
    pub connection_minutes: u64,
    /// Messages, in pieces of 5 KB.
    #[prost(uint64, tag = "2")]
    pub messages: u64,
    /// Rules triggered.
    #[prost(uint64, tag = "3")]
    pub rules_triggered: u64,
    /// Actions executed.
    #[prost(uint64, tag = "4")]
    pub actions_executed: u64,
    /// Operations on shadows, in pieces of 1 KB.
    #[prost(uint64, tag = "5")]
    pub shadow_operations: u64,
    /// Operations on the registry, in pieces of 1 KB.
    #[prost(uint64, tag = "6")]
    pub registry_operations: u64,
}

/// How far a process has reported what was used.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct UsageSource {
    /// Number of its last report.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    /// When that came.
    #[prost(uint64, tag = "2")]
    pub at: u64,
}

impl From<Amounts> for Usage {
    fn from(amounts: Amounts) -> Self {
        let Amounts {
            connection_minutes,
            messages,
            rules_triggered,
            actions_executed,
            shadow_operations,
            registry_operations,
        } = amounts;
        Self {
            connection_minutes,
            messages,
            rules_triggered,
            actions_executed,
            shadow_operations,
            registry_operations,
        }
    }
}

impl From<Usage> for Amounts {
    fn from(usage: Usage) -> Self {
        let Usage {
            connection_minutes,
            messages,
            rules_triggered,
            actions_executed,
            shadow_operations,
            registry_operations,
        } = usage;
        Self {
            connection_minutes,
            messages,
            rules_triggered,
            actions_executed,
            shadow_operations,
            registry_operations,
        }
    }
}
